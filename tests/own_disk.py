"""A disk of a test's own: ext4 on an image, its data journalled too, and processes for which everything else is read-only.

So the image is the whole disk of whatever runs in `shut_in`: files, journal, and the blocks that deleted files left. Root only.
Source: mount_setattr(2), mount_namespaces(7), ext4(5).
"""

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1
_libc = ctypes.CDLL(None, use_errno=True)


class OwnDisk:
    """A mounted image: `root` is where its files are, `image` its raw bytes."""

    def __init__(self, image: Path, root: Path) -> None:
        self.image, self.root = image, root

    @property
    def environment(self) -> dict[str, str]:
        """Home and temporary folders of whoever works on this disk."""
        homes = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "home/.cache", "XDG_DATA_HOME": "home/.local/share"}
        return {name: str(self.root / place) for name, place in homes.items()}

    def flush(self) -> None:
        """Bring everything that is written to the image: data, journal, tables."""
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _check(_libc.syncfs(folder), "syncfs")
        finally:
            os.close(folder)

    def shut_in(self) -> None:
        """Called in a new process before its program: from here on it and its children can write to this disk and no other."""
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount private")
        _set_read_only(b"/", _AT_RECURSIVE, on=True)
        _set_read_only(bytes(self.root), 0, on=False)


@contextmanager
def own_disk(folder: Path, megabytes: int = 192) -> Iterator[OwnDisk]:
    """Make, mount and unmount a disk whose image and mount point lie in `folder`; the image outlives it there."""
    disk = OwnDisk(folder / "disk.img", folder / "disk")
    with disk.image.open("wb") as file:
        file.truncate(megabytes << 20)
    disk.root.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard", "-J", "size=16", str(disk.image)], check=True)
    subprocess.run(["mount", "-o", "loop,data=journal", str(disk.image), str(disk.root)], check=True)
    try:
        for place in ("home", "tmp"):
            (disk.root / place).mkdir()
        yield disk
    finally:
        subprocess.run(["umount", str(disk.root)], check=True)


def writable_mounts(pid: int) -> set[Path]:
    """Every file system on a device that a process can write to: proc(5), mountinfo."""
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {Path(words[4]) for words in lines if "rw" in words[5].split(",")}


def _set_read_only(path: bytes, flags: int, on: bool) -> None:
    attributes = struct.pack("<QQQQ", _READ_ONLY if on else 0, 0 if on else _READ_ONLY, 0, 0)
    _check(_libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, flags, attributes, len(attributes)), "mount_setattr")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)
