"""Failures of the running line, each made for real: a part that stands still or lets nobody in, a disk that is frozen, slow or full."""

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import Stack
from tests.media_rig import media_ports
from tests.own_disk import own_disk


@contextmanager
def custodian_away(stack: Stack) -> Iterator[None]:
    """It is there and answers nothing, which is worse than gone."""
    pid = stack.pid("custodian")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def database_away(stack: Stack) -> Iterator[None]:
    """Nobody else may write, as long as this lasts."""
    path = stack.data / "database" / "callseal.db"
    connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


@contextmanager
def objects_away(stack: Stack) -> Iterator[None]:
    """The place of objects is another file system, which lets nobody in."""
    with mounted(stack.data / "objects", "ro"):
        yield


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory over a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "callseal-test", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def disk_stands_still(stack: Stack) -> Iterator[None]:
    """Whoever writes waits: fsfreeze(8) on the disk of the whole data folder."""
    _freeze(stack, "-f")
    try:
        yield
    finally:
        _freeze(stack, "-u")


@contextmanager
def disk_slow(stack: Stack) -> Iterator[None]:
    """It takes writes for a tenth of a second, and then none for one and a half, over and over."""
    over = threading.Event()

    def slow() -> None:
        while not over.wait(0.1):
            _freeze(stack, "-f")
            over.wait(1.5)
            _freeze(stack, "-u")

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def disk_full(stack: Stack) -> Iterator[None]:
    """Not a byte more fits on the disk of the whole data folder."""
    filler = stack.data / "filler"
    fill(filler)
    assert shutil.disk_usage(stack.data).free < 64 << 10
    try:
        yield
    finally:
        filler.unlink()


def _freeze(stack: Stack, option: str) -> None:
    place = subprocess.run(["findmnt", "-no", "TARGET", "--target", str(stack.data)], capture_output=True, text=True, check=True)
    subprocess.run(["fsfreeze", option, place.stdout.strip()], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while os.write(file, bytes(size)):
                    pass
    finally:
        os.close(file)


Away = Callable[[Stack], AbstractContextManager[None]]
OUTAGES: dict[str, Away] = {
    "custodian away": custodian_away,
    "database away": database_away,
    "object store away": objects_away,
    "disk stands still": disk_stands_still,
    "disk slow": disk_slow,
    "disk full": disk_full,
}
KILLS: dict[str, Sequence[str]] = {
    "media worker killed": ("media",), "signalling killed": ("sip",), "both killed": ("sip", "media"),
}  # fmt: skip


@contextmanager
def two_lines(megabytes: int) -> Iterator[tuple[Stack, Stack]]:
    """One line on an ext4 disk of its own, to be failed, and one beside it."""
    with (
        TemporaryDirectory(prefix="cs-", dir="/tmp") as folder,
        TemporaryDirectory(prefix="cs-", dir="/tmp") as beside,
        own_disk(Path(folder), megabytes) as disk,
    ):
        lines = Stack(disk.root / "home", media_ports()), Stack(Path(beside))
        try:
            for line in lines:
                line.start()
            yield lines
        finally:
            for line in lines:
                if line.process is not None:
                    line.stop()
