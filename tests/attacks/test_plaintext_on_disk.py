"""Nothing that was spoken reaches the disk: not during a call, not after it, not when any process is killed in the middle.

The whole stack runs on a disk of its own, the only one that it can write to; what is searched is that disk's raw bytes: files,
journal (which holds data too), and what deleted files left in free blocks. The positive control is a recorder that does not seal:
the same search finds what it kept, and still finds it after the file was deleted.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.own_disk import OwnDisk, own_disk
from tests.plaintext_search import Hit
from tests.spoken_line import MEMORY, build_detector, record_unsealed, speak_and_kill

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")]


@pytest.fixture
def marks() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def disk() -> Iterator[OwnDisk]:
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder, own_disk(Path(folder)) as made:
        yield made


def _search(marks: Path, disk: OwnDisk) -> list[Hit]:
    disk.flush()
    detector = build_detector(marks)
    hits = detector.search([disk.image])
    assert hits or detector.searched_bytes == disk.image.stat().st_size, "not searched whole"
    return hits


@pytest.mark.timeout(300)
def test_no_spoken_byte_reaches_the_raw_disk_during_a_call_after_it_or_when_any_process_is_killed(disk: OwnDisk, marks: Path) -> None:
    def look(when: str) -> None:
        assert not _search(marks, disk), f"speech on the disk {when}"

    speak_and_kill(disk, marks, look)


def test_the_same_search_finds_what_an_unsealed_recorder_keeps_and_what_it_deleted(disk: OwnDisk, marks: Path) -> None:
    kept = record_unsealed(disk.root, marks, disk.environment)
    assert _search(marks, disk), "the search is blind"
    kept.unlink()
    assert _search(marks, disk), "the search does not see what a deleted file left"


def test_a_process_that_is_shut_in_writes_to_no_other_disk(disk: OwnDisk) -> None:
    attempt = """
import sys
for folder in sys.argv[1:]:
    try:
        open(folder + "/callseal-attempt", "x").close()
        print("wrote")
    except OSError as error:
        print(error.strerror)
"""
    places = ["/tmp", "/var/tmp", "/dev/shm", str(Path.home()), str(disk.root / "tmp")]
    said = subprocess.run(
        [sys.executable, "-c", attempt, *places], capture_output=True, text=True, check=True, preexec_fn=disk.shut_in
    ).stdout.splitlines()
    assert said == ["Read-only file system"] * 4 + ["wrote"]
