"""What lies in a folder that processes are working in."""

from collections.abc import Iterator
from pathlib import Path


def contents(place: Path, pattern: str = "*") -> Iterator[tuple[Path, bytes]]:
    """A file, or every file below a folder, with its bytes; a temporary name that has become another one is left out."""
    for path in [place] if place.is_file() else place.rglob(pattern):
        try:
            if path.is_file():
                yield path, path.read_bytes()
        except FileNotFoundError:
            continue
