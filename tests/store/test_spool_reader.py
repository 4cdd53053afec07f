"""Spools are followed as they grow, given up only when nobody can finish them, and freed segment by segment."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from callseal.errors import Unavailable
from callseal.store import spool_reader
from callseal.store.spool_reader import SpoolReader
from callseal.vault.message import Kind
from tests.spooled import NOW, Worker, recording_id

A, B = recording_id(1), recording_id(2)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.die()


def test_a_growing_spool_is_followed_frame_by_frame(tmp_path: Path, worker: Worker) -> None:
    reader = SpoolReader(tmp_path / "spool")
    reader.read(NOW)
    assert reader.parts == {}
    worker.start(A)
    reader.read(NOW)
    assert len(reader.parts[A, 0].frames) == 3
    worker.speak(A, seconds=2)
    reader.read(NOW)
    assert (len(reader.parts[A, 0].frames), reader.parts[A, 0].is_over) == (5, False)
    worker.end(A)
    reader.read(NOW)
    assert reader.parts[A, 0].is_over
    frames = reader.load(reader.parts[A, 0])
    assert frames[0].is_header
    assert [frame.at_ms for frame in frames[3:]] == [0, 1000, 3000]


def test_blocks_smaller_than_the_spool_give_the_same_frames(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.start(A)
    for second in range(40):
        worker.seal(A, 0, Kind.MEDIA, bytes(3000), second * 1000)
    worker.end(A)
    whole = SpoolReader(tmp_path / "spool")
    whole.read(NOW)
    monkeypatch.setattr(spool_reader, "READ_BYTES", 8192)
    in_blocks = SpoolReader(tmp_path / "spool")
    in_blocks.read(NOW)
    assert whole.parts == in_blocks.parts
    assert whole.damaged_bytes == in_blocks.damaged_bytes == 0


def test_half_a_frame_waits_while_its_worker_lives_and_is_dropped_when_it_died(tmp_path: Path, worker: Worker) -> None:
    worker.start(A)
    worker.tear()
    reader = SpoolReader(tmp_path / "spool")
    reader.read(NOW)
    assert (reader.damaged_bytes, reader.parts[A, 0].is_over) == (0, False)
    worker.die()
    reader.read(NOW)
    assert (reader.damaged_bytes, reader.parts[A, 0].is_over) == (200, True)


def test_a_segment_is_freed_only_when_closed_and_all_its_parts_are_done(tmp_path: Path, worker: Worker) -> None:
    first = worker.path
    worker.start(A)
    worker.start(B)
    worker.end(A)
    reader = SpoolReader(tmp_path / "spool")
    reader.read(NOW)
    assert reader.free({(A, 0), (B, 0)}) == []  # still being written
    second = worker.next_segment()
    worker.end(B)
    reader.read(NOW)
    assert reader.free({(A, 0)}) == []  # B is in it
    assert reader.free({(A, 0), (B, 0)}) == [first]
    assert (first.exists(), second.exists()) == (False, True)
    worker.die()
    reader.read(NOW)
    assert reader.free({(A, 0), (B, 0)}) == [second]
    assert reader.parts == {}


def test_a_dead_workers_lock_goes_only_when_it_is_old(tmp_path: Path, worker: Worker) -> None:
    lock = worker.folder / "one.lock"
    worker.path.unlink()
    worker.die()
    reader = SpoolReader(tmp_path / "spool")
    reader.read(NOW - timedelta(days=1))
    assert lock.exists()
    reader.read(NOW + timedelta(days=4000))
    assert not lock.exists()


def test_frames_of_one_part_from_a_second_worker_are_not_taken(tmp_path: Path, worker: Worker) -> None:
    worker.start(A)
    other = Worker(tmp_path, name="media-1")
    other.start(A)
    reader = SpoolReader(tmp_path / "spool")
    reader.read(NOW)
    assert len(reader.parts[A, 0].frames) == 3
    assert reader.damaged_bytes > 0
    other.die()


def test_a_spool_that_vanished_is_unavailable_and_not_an_empty_part(tmp_path: Path, worker: Worker) -> None:
    worker.start(A)
    reader = SpoolReader(tmp_path / "spool")
    reader.read(NOW)
    worker.path.unlink()
    with pytest.raises(Unavailable):
        reader.load(reader.parts[A, 0])
