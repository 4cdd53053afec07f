"""The one way a file is replaced: temporary name, fsync, rename, fsync of the folder.

Invariant: after a crash at any moment the name holds the whole old content or the whole new one, never a mixture.
"""

import os
from pathlib import Path

from callseal.config.folders import file_mode, folder_mode


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file durably. The folder must exist; raises OSError, after which the old content still stands.

    Not `durable`: without either fsync, for what a crash of the machine makes worthless anyway.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, file_mode(path.parent))
    try:
        try:
            write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write every byte to an open descriptor; a short write is carried on with, an error raised (OSError)."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder (0700, or 0750 in one that is shared) and those above it, where they are missing."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=folder_mode(folder.parent), exist_ok=True)
