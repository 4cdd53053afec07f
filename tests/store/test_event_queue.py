"""Events that wait for the disk: in order, with their own times, within a limit; what found no room is told; a kill loses none."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callseal.errors import InternalError, LimitExceeded
from callseal.store.event_queue import SUPERSEDED_LIMIT, EventQueue, is_event_key
from callseal.store.events import Event, EventWriter, read_events
from callseal.store.memory_log import MemoryLog, make_memory_files

NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
RECORDING = "ab" * 16


@pytest.fixture
def files() -> tuple[int, int]:
    return make_memory_files("test")


class Place:
    """A producer's folder, and the memory that outlives its processes."""

    def __init__(self, folder: Path, files: tuple[int, int], limit: int = 16_384) -> None:
        self.folder, self.memory = folder, MemoryLog(files)
        self.writer = EventWriter(folder, "media-0")
        self.queue = EventQueue(self.writer, self.memory, limit)

    def put(self, *numbers: int, kind: str = "Gap") -> None:
        for number in numbers:
            self.queue.put(kind, RECORDING, {"count": number}, NOW + timedelta(milliseconds=number))

    def read(self) -> list[Event]:
        return read_events(self.folder, "media-0", 0, 100_000)

    def die(self) -> None:
        """As kill -9 leaves it: nothing more is written, nothing is tidied."""
        self.writer.close()

    def end(self) -> None:
        self.queue.close()
        self.writer.close()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "callseal-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_noted_is_written_in_order_with_its_own_time_and_forgotten(tmp_path: Path, files: tuple[int, int]) -> None:
    place = Place(tmp_path, files)
    place.put(*range(10))
    written = threading.Event()
    place.queue.then(written.set, NOW)
    assert place.read() == [] and len(place.memory.items()) == 10
    place.queue.start()
    assert written.wait(10)
    assert [(event["n"], event["data"]["count"]) for event in place.read()] == [(number + 1, number) for number in range(10)]
    assert [event["at"] for event in place.read()][9] == "2026-11-27T08:00:00.009Z"
    place.end()
    assert place.memory.items() == {}


def test_what_could_never_be_written_is_refused_at_once(tmp_path: Path, files: tuple[int, int]) -> None:
    place = Place(tmp_path, files)
    with pytest.raises(InternalError):
        place.queue.put("Gap", RECORDING, {"key": b"bytes"}, NOW)
    with pytest.raises(LimitExceeded):
        place.queue.put("Gap", RECORDING, {"why": "x" * 20_000}, NOW)
    assert place.queue.waiting == 0
    place.end()


def test_at_the_limit_events_are_counted_and_told_of_where_they_are_missing(tmp_path: Path, files: tuple[int, int]) -> None:
    place = Place(tmp_path, files, limit=5)
    place.put(*range(9))
    assert (place.queue.waiting, place.queue.dropped) == (6, 4)
    place.queue.start()
    wait_until(lambda: place.queue.waiting == 0)
    place.put(20)
    place.end()
    told = [(event["type"], event["data"]["count"]) for event in place.read()]
    assert told == [*(("Gap", number) for number in range(5)), ("EventsDropped", 4), ("Gap", 20)]
    assert [event["n"] for event in place.read()] == list(range(1, 8)), "no number is used up by what was dropped"


def test_what_the_next_one_says_too_takes_no_room_from_what_nobody_repeats(tmp_path: Path, files: tuple[int, int]) -> None:
    place = Place(tmp_path, files)
    place.put(*range(SUPERSEDED_LIMIT + 50), kind="Sealed")
    place.put(1)
    assert (place.queue.waiting, place.queue.dropped) == (SUPERSEDED_LIMIT + 1, 0)
    assert len(place.memory.items()) == 1
    place.queue.start()
    place.end()
    assert place.read()[-1]["type"] == "Gap"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_full_disk_keeps_them_waiting_and_takes_them_in_order_once_there_is_room(tmp_path: Path, files: tuple[int, int]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        place = Place(disk, files)
        place.queue.start()
        place.put(0)
        wait_until(lambda: len(place.read()) == 1)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        place.put(*range(1, 200))
        wait_until(lambda: place.queue.failing)
        assert place.queue.waiting > 0
        filler.unlink()
        wait_until(lambda: place.queue.waiting == 0)
        assert not place.queue.failing
        place.end()
        assert [event["data"]["count"] for event in place.read()] == list(range(200))


def test_what_a_killed_process_had_noted_its_successor_writes_first_and_once(tmp_path: Path, files: tuple[int, int]) -> None:
    first = Place(tmp_path, files)
    first.put(0, 1)
    first.queue.start()
    wait_until(lambda: len(first.read()) == 2)
    assert len(first.memory.items()) == 2, "written, and not yet forgotten"
    first.die()
    second = Place(tmp_path, files)
    assert second.queue.kept == []
    second.put(2, 3)
    second.die()
    third = Place(tmp_path, files)
    assert [event["data"]["count"] for event in third.queue.kept] == [2, 3]
    third.put(4)
    third.queue.start()
    third.end()
    assert [event["data"]["count"] for event in third.read()] == [0, 1, 2, 3, 4]
    assert third.memory.items() == {}


def test_other_values_of_the_same_memory_are_left_alone(tmp_path: Path, files: tuple[int, int]) -> None:
    MemoryLog(files).put(b"a recording's id", b"a dialog")
    place = Place(tmp_path, files)
    place.put(1)
    assert [is_event_key(key) for key in place.memory.items()].count(True) == 1
    place.queue.start()
    place.end()
    assert place.memory.items() == {b"a recording's id": b"a dialog"}
