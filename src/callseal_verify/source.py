"""Where the files come from: a data folder, or an evidence pack as a folder or a ZIP file. Read only.

Names are relative, with `/`. A file larger than the limit is refused, never cut.
"""

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

MAX_FILE_BYTES = 2 << 30


class TooLarge(Exception):
    """A file is larger than what is read."""


class Source(Protocol):
    """Files by name."""

    def names(self, folder: str) -> Iterator[str]:
        """Every file below a folder, sorted."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None where there is none. Raises TooLarge."""

    def age_seconds(self, name: str) -> float:
        """How long ago it was written, as far as is known."""


class Folder:
    """Files of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self, folder: str) -> Iterator[str]:
        base = self._path / folder
        found = (path for path in base.rglob("*") if not path.is_dir()) if base.is_dir() else iter(())
        yield from sorted(path.relative_to(self._path).as_posix() for path in found)

    def read(self, name: str) -> bytes | None:
        path = self._path / name
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise TooLarge(name)
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def age_seconds(self, name: str) -> float:
        try:
            return time.time() - (self._path / name).stat().st_mtime
        except OSError:
            return 0.0


class Zip:
    """Files of a ZIP file, which may stand in one folder of its own."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        names = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        marks = [f"/{name}" for name in names if f"/{name}".endswith("/log/checkpoint")]
        prefix = min(marks, key=len, default="/log/checkpoint").removesuffix("log/checkpoint")[1:]
        self._names = {name.removeprefix(prefix): self._zip.getinfo(name) for name in names if name.startswith(prefix)}

    def names(self, folder: str) -> Iterator[str]:
        yield from sorted(name for name in self._names if name.startswith(folder + "/"))

    def read(self, name: str) -> bytes | None:
        info = self._names.get(name)
        if info is None:
            return None
        if info.file_size > MAX_FILE_BYTES:
            raise TooLarge(name)
        return self._zip.read(info)

    def age_seconds(self, name: str) -> float:
        return float("inf")


def open_source(path: Path) -> Source:
    """The files at a path; raises FileNotFoundError or zipfile.BadZipFile."""
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    raise FileNotFoundError(path)
