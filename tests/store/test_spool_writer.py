"""The spool's writer: durable before it says so, in order, and never past a failure."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callseal.errors import Unavailable
from callseal.model.ids import RecordingId
from callseal.store import spool as spool_module
from callseal.store.spool import QUEUE_BYTES, SpoolWriter
from callseal.store.spool_reader import SpoolReader
from callseal.vault.card import SealingCard
from callseal.vault.message import Kind
from callseal.vault.seal import PartSealer
from callseal.vault.spool import Frame, encode_frame, iter_frames
from callseal.vault.unseal import new_key_pair

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Tickets:
    """What `done` was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._changed = threading.Condition()

    def __call__(self, ticket: int) -> None:
        with self._changed:
            self.seen.append(ticket)
            self._changed.notify_all()

    def wait(self, ticket: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.seen) and self.seen[-1] >= ticket, 20)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


@pytest.fixture
def writer(tmp_path: Path, tickets: Tickets) -> Iterator[SpoolWriter]:
    made = SpoolWriter(tmp_path / "media-0", "one", 16384, tickets)
    made.start()
    yield made
    made.close()


def _frame(number: int, size: int = 500) -> bytes:
    return encode_frame(RecordingId(bytes([1]) * 16), number, number, bytes([number]) * size)


def _numbers(folder: Path) -> list[int]:
    paths = sorted(folder.glob("*.spool"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [item.part for path in paths for item in iter_frames(path.read_bytes()) if isinstance(item, Frame)]


def test_frames_stand_in_order_across_segments(writer: SpoolWriter, tickets: Tickets, tmp_path: Path) -> None:
    last = 0
    for number in range(40):
        last = writer.submit([_frame(number)])
        if number % 3 == 0:
            tickets.wait(last)
    tickets.wait(last)
    assert _numbers(tmp_path / "media-0") == list(range(40))
    assert len(list((tmp_path / "media-0").glob("*.spool"))) > 2
    assert tickets.seen == sorted(tickets.seen)


def test_nothing_counts_as_durable_before_fdatasync_returned(
    tmp_path: Path, tickets: Tickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = threading.Event(), os.fdatasync
    entered = threading.Event()

    def slow(descriptor: int) -> None:
        entered.set()
        assert gate.wait(20)
        real(descriptor)

    monkeypatch.setattr(spool_module.os, "fdatasync", slow)
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 20, tickets)
    writer.start()
    ticket = writer.submit([_frame(1)])
    assert entered.wait(20)
    assert tickets.seen == []
    gate.set()
    tickets.wait(ticket)
    writer.close()


def test_a_failed_write_is_cut_off_and_done_again(tmp_path: Path, tickets: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = os.fdatasync, [OSError(28, "No space left on device")] * 2

    def failing(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(spool_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(spool_module.os, "fdatasync", failing)
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 20, tickets)
    writer.start()
    tickets.wait(writer.submit([_frame(1)]))
    tickets.wait(writer.submit([_frame(2)]))
    assert not writer.failing
    writer.close()
    assert _numbers(tmp_path / "media-0") == [1, 2]


def test_what_waits_for_the_disk_is_limited(tmp_path: Path, tickets: Tickets) -> None:
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 20, tickets)  # not started: nothing is taken from the queue
    writer.submit([bytes(QUEUE_BYTES)])
    assert not writer.has_room
    with pytest.raises(Unavailable):
        writer.submit([b"x"])
    writer.start()
    writer.close()


def test_the_reader_sees_a_live_writer_and_knows_when_it_is_gone(tmp_path: Path, tickets: Tickets) -> None:
    _private, public = new_key_pair()
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 20, tickets)
    writer.start()
    recording = RecordingId(os.urandom(16))
    with PartSealer(recording, 0, SealingCard(1, public, NOW, 0)) as sealer:
        frames = encode_frame(recording, 0, 0, sealer.header) + encode_frame(recording, 0, 0, sealer.seal(Kind.MEDIA, b"head"))
    tickets.wait(writer.submit([frames]))
    reader = SpoolReader(tmp_path)
    reader.read(NOW)
    assert not reader.parts[recording.hex(), 0].is_over
    writer.close()
    reader.read(NOW)
    assert reader.parts[recording.hex(), 0].is_over
    assert len(reader.parts[recording.hex(), 0].frames) == 2
