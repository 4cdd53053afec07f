"""One producer's events on their way to its file: whoever notes one never waits for the disk.

Write and fdatasync have a thread of their own. Invariants: events reach the file in the order in which they were noted, each
with the time at which it was; what waits has a limit, and what found no room is one `EventsDropped` with its count, in its place;
what a killed process had noted and not written stands in memory that outlives it (`store.memory_log`), and its successor writes
it first.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from callseal.errors import CallsealError, LimitExceeded, Unavailable
from callseal.model.clock import format_time, parse_time
from callseal.store.events import Event, EventWriter
from callseal.store.memory_log import KEY_BYTES, MemoryLog

LIMIT: Final = 16_384
"""Events that may wait; of usual ones about 5 MB."""
SUPERSEDED: Final = ("Sealed",)
SUPERSEDED_LIMIT: Final = 256
"""Each of these says what the one before said and more: while so many events wait, it is left to the next."""
RETRY_SECONDS: Final = 0.5
SYNC_SECONDS: Final = 1.0
DROPPED: Final = "EventsDropped"
_KEY_MARK: Final = b"\xffevent"


def is_event_key(key: bytes) -> bool:
    """Whether a key of a memory log is one of this module's."""
    return key.startswith(_KEY_MARK)


@dataclass
class _Noted:
    """One event, or (`told`) somebody who wants to know when those before are written."""

    kind: str
    recording: str | None
    data: dict[str, Any]
    at: datetime
    key: bytes | None = None
    told: Callable[[], None] | None = None


class EventQueue:
    """Owns a writer; `start` begins its thread (after confinement)."""

    def __init__(self, writer: EventWriter, memory: MemoryLog, limit: int = LIMIT) -> None:
        """Take up what a process before this one had noted. `put` and `tidy` belong to the thread that owns `memory`."""
        self._writer, self._memory, self._limit = writer, memory, limit
        self._queue: deque[_Noted] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._written: deque[bytes] = deque()
        self._number = 0
        self.dropped = 0
        """How many found no room, in this process's life."""
        self.failing = False
        """The disk refused the last event; it is being tried again."""
        self.kept: list[dict[str, Any]] = []
        """What a process before this one had noted and not written: `type`, `recording`, `data`, `at`, in order."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._take_up()

    @property
    def waiting(self) -> int:
        """How many are not written yet."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, kind: str, recording: str | None, data: dict[str, Any], now: datetime) -> None:
        """Note one event. Raises InternalError, LimitExceeded where it could never be written; never for the disk."""
        self._writer.check(kind, data)
        self.tidy()
        with self._wake:
            if kind in SUPERSEDED and len(self._queue) >= SUPERSEDED_LIMIT:
                return
            if len(self._queue) >= self._limit:
                self._drop(now)
                return
            noted = _Noted(kind, recording, data, now)
            if kind not in SUPERSEDED:
                self._remember(noted)
            self._queue.append(noted)
            self._wake.notify()

    def then(self, told: Callable[[], None], now: datetime) -> None:
        """Call this, on the queue's thread, once everything noted so far is written; never where there is no room to wait."""
        with self._wake:
            if len(self._queue) >= self._limit:
                return
            self._queue.append(_Noted("", None, {}, now, told=told))
            self._wake.notify()

    def flush(self, timeout_seconds: float = 3.0) -> bool:
        """Wait until everything noted so far is written; whether it is."""
        written = threading.Event()
        self.then(written.set, datetime.now(UTC))
        return written.wait(timeout_seconds)

    def tidy(self) -> None:
        """Forget what is written."""
        while self._written:
            self._memory.remove(self._written.popleft())

    def close(self, timeout_seconds: float = 3.0) -> None:
        """Write what waits and make it durable; what the disk does not take in time is left to a successor."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self.tidy()

    def _drop(self, now: datetime) -> None:
        self.dropped += 1
        if self._queue[-1].kind != DROPPED:
            self._queue.append(_Noted(DROPPED, None, {"count": 0}, now))
        self._queue[-1].data["count"] += 1

    def _remember(self, noted: _Noted) -> None:
        self._number += 1
        key = _KEY_MARK + self._number.to_bytes(KEY_BYTES - len(_KEY_MARK))
        value = {"type": noted.kind, "recording": noted.recording, "data": noted.data, "at": format_time(noted.at)}
        with suppress(LimitExceeded):
            self._memory.put(key, json.dumps(value, separators=(",", ":")).encode())
            noted.key = key

    def _take_up(self) -> None:
        kept = sorted(item for item in self._memory.items().items() if is_event_key(item[0]))
        if not kept:
            return
        self._number = int.from_bytes(kept[-1][0][len(_KEY_MARK) :])
        written = [_essence(event) for event in self._writer.read_last(2 * self._limit)]
        for key, value in kept:
            event = json.loads(value)
            if _essence(event) in written:
                self._memory.remove(key)
            else:
                self.kept.append(event)
                self._queue.append(_Noted(event["type"], event["recording"], event["data"], parse_time(event["at"]), key))

    def _run(self) -> None:
        unsynced, synced_at = False, time.monotonic()
        while True:
            with self._wake:
                while not self._queue and not self._stopping:
                    if not self._wake.wait(SYNC_SECONDS if unsynced else None):
                        break
                noted, is_over = (self._queue[0] if self._queue else None), self._stopping
            if noted is not None:
                if not self._write(noted):
                    with self._wake:
                        if self._stopping or (self._wake.wait(RETRY_SECONDS) and self._stopping):
                            return
                    continue
                unsynced = True
                self._pop(noted)
            if unsynced and (noted is None or time.monotonic() - synced_at >= SYNC_SECONDS):
                synced_at = time.monotonic()
                with suppress(Unavailable):
                    self._writer.sync()
                    unsynced = False
            if noted is None and is_over:
                return

    def _write(self, noted: _Noted) -> bool:
        if noted.told is not None:
            return True
        try:
            self._writer.write(noted.kind, noted.recording, noted.data, noted.at)
        except Unavailable:
            self.failing = True
            return False
        except CallsealError:
            pass  # it was checked when it was noted; one that a process before this one kept badly holds up no other
        self.failing = False
        return True

    def _pop(self, noted: _Noted) -> None:
        with self._wake:
            self._queue.popleft()
        if noted.key is not None:
            self._written.append(noted.key)
        if noted.told is not None:
            noted.told()


def _essence(event: Event) -> tuple[str, str, str | None, str]:
    """What makes two notes of an event one."""
    return event["at"], event["type"], event["recording"], json.dumps(event["data"], sort_keys=True)
