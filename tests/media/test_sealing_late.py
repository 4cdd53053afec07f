"""What a worker says of recordings that fall behind, and what waits meanwhile: with a spool whose disk answers when the test says so."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from callseal.daemons.media_account import MediaAccount
from callseal.flows.record import FLUSH_MS, TELLERS_LIMIT, Recorder
from callseal.flows.recording import Recording, VoiceStream
from callseal.store.event_queue import EventQueue
from callseal.store.events import EventWriter
from callseal.store.memory_log import MemoryLog, make_memory_files
from callseal.store.spool import SpoolWriter
from callseal.vault.card import SealingCard
from callseal.vault.expand import Buffer
from callseal.vault.unseal import new_key_pair
from tests.media_rig import Sender

HOUR_MS = 3_600_000


class SlowSpool:
    """Takes frames; they are durable when `catch_up` says so."""

    def __init__(self) -> None:
        self.ticket = 0
        self.has_room = True
        self.failing = False
        self.waiting_bytes = 0

    def submit(self, frames: Sequence[Buffer]) -> int:
        self.waiting_bytes += sum(map(len, frames))
        self.ticket += 1
        return self.ticket


class Worker:
    """A recorder of one call on that spool, on a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.spool = SlowSpool()
        self.told: list[str] = []
        _private, public = new_key_pair()
        card = SealingCard(1, public, datetime.now(UTC) + timedelta(days=7), 0)
        self.recorder = Recorder(self.spool, lambda kind, _recording, _data: self.told.append(kind), lambda: card, "x")
        sender = Sender()
        stream = VoiceStream.read(self.recorder.table.take_number(), sender.stream())
        sender.close()
        self.recording = Recording(os.urandom(16), 0, [stream], b"{}", 0)
        self.now_ms = 1000
        self.recorder.open(self.recording, self.now_ms)
        events = EventQueue(EventWriter(folder, "media-0"), MemoryLog(make_memory_files("test")))
        spool: SpoolWriter = self.spool  # type: ignore[assignment]
        self.account = MediaAccount(folder, "media-0", self.recorder, spool, events, memory_locked=True)

    def flush(self, until_ms: int) -> list[dict[str, int]]:
        """A flush a second until then; what the account says of lateness."""
        late = []
        while self.now_ms < until_ms:
            self.now_ms += FLUSH_MS
            self.recorder.woke(self.now_ms - 300)
            self.recorder.flush(self.now_ms)
            if (data := self.account.find_late(self.now_ms)) is not None:
                late.append(data)
        return late

    def catch_up(self) -> None:
        self.recorder.is_durable(self.spool.ticket)


def test_nothing_counts_as_sealed_before_its_disk_says_so_however_long_that_takes(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    assert worker.flush(HOUR_MS) == [{"count": 1, "duration_ms": 6000}]
    assert worker.recording.sealed_through_ms == 0
    assert "Sealed" not in worker.told
    assert worker.recorder._promises.waiting <= TELLERS_LIMIT + 1, "what waits has a limit"
    worker.catch_up()
    assert 0 < worker.recording.sealed_through_ms < HOUR_MS
    (again,) = worker.flush(HOUR_MS + 1000) or worker.flush(HOUR_MS + 2000)
    assert again["count"] == 0 and again["duration_ms"] >= HOUR_MS - 10_000
    worker.catch_up()
    assert worker.recording.sealed_through_ms > HOUR_MS - 2000


def test_a_second_of_lateness_is_nobodys_news(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    for until in range(2000, 60_000, 4000):
        assert worker.flush(until) == []
        worker.catch_up()
