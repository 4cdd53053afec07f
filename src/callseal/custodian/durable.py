"""Files of the custodian: written whole or not at all, readable by those who share their folder, erased as well as can be."""

import os
from pathlib import Path

from callseal.config.folders import file_mode, folder_mode
from callseal.errors import Unavailable


def make_folder(folder: Path) -> None:
    """Make a folder (0700, or 0750 in one that is shared), and those above it, where they are missing."""
    try:
        if not folder.is_dir():
            make_folder(folder.parent)
            folder.mkdir(mode=folder_mode(folder.parent), exist_ok=True)
    except OSError as error:
        raise Unavailable(f"custodian: expected to make its folders, got {error.strerror}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Temporary name, fsync, rename, fsync of the folder. Raises OSError; then the old content stands."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, file_mode(path.parent))
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append one line and make it durable. Raises OSError."""
    fresh = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, file_mode(path.parent))
    try:
        _write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        sync_folder(path.parent)


def erase(path: Path) -> None:
    """Overwrite in place with random bytes, fsync, unlink, fsync of the folder. Best effort: a medium may keep old blocks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _write(descriptor, os.urandom(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
