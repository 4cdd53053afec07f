"""The spool's writer: durable before it says so, in order, and never past a failure."""

import errno
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callseal.errors import Unavailable
from callseal.model.ids import RecordingId
from callseal.store import spool as spool_module
from callseal.store.spool import BLOCK_BYTES, QUEUE_BYTES, SpoolWriter
from callseal.store.spool_reader import SpoolReader
from callseal.vault.card import SealingCard
from callseal.vault.message import Kind
from callseal.vault.seal import PartSealer
from callseal.vault.spool import FRAME_OVERHEAD, Damage, Frame, encode_frame, iter_frames
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


@pytest.mark.parametrize("missing", [0, 1, 35, 36, 37, 4095])
def test_every_write_ends_at_a_whole_block_of_the_disk(missing: int, tmp_path: Path, tickets: Tickets) -> None:
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 30, tickets)
    writer.start()
    size = 2 * BLOCK_BYTES - missing - FRAME_OVERHEAD
    tickets.wait(writer.submit([_frame(1, size)]))
    (path,) = (tmp_path / "media-0").glob("*.spool")
    assert path.stat().st_size == (3 if 0 < missing < FRAME_OVERHEAD else 2) * BLOCK_BYTES
    tickets.wait(writer.submit([_frame(2, size)[:100], _frame(2, size)[100:]]))
    writer.close()
    items = list(iter_frames(path.read_bytes()))
    assert [item.part for item in items if isinstance(item, Frame)] == [1, 2]
    assert not [item for item in items if isinstance(item, Damage)]


def test_frames_longer_than_the_buffer_are_written_through_it(tmp_path: Path, tickets: Tickets) -> None:
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 30, tickets)
    writer.start()
    payloads = [os.urandom(900_000) for _ in range(11)]
    tickets.wait(writer.submit([encode_frame(RecordingId(bytes([1]) * 16), n, 0, payload) for n, payload in enumerate(payloads)]))
    writer.close()
    (path,) = (tmp_path / "media-0").glob("*.spool")
    assert [item.payload for item in iter_frames(path.read_bytes()) if isinstance(item, Frame)] == payloads


def test_a_file_system_without_o_direct_gets_the_same_bytes(
    tmp_path: Path, tickets: Tickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def without(path: Path, flags: int, *more: int, **named: int) -> int:
        if flags & os.O_DIRECT:
            os.close(real(path, flags & ~os.O_DIRECT, *more, **named))  # as Linux: the file is made, and then refused
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(spool_module.os, "open", without)
    writer = SpoolWriter(tmp_path / "media-0", "one", 1 << 20, tickets)
    writer.start()
    tickets.wait(writer.submit([_frame(1)]))
    writer.close()
    assert _numbers(tmp_path / "media-0") == [1]


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
