"""A media worker's account of itself, once a second, in `run/<worker>.json` (`store.accounts`).

Invariants: what is taken on the worker's loop is a few columns; it is written on a thread, never two at once, so that a disk that
is slow or full costs a call nothing and shows as the account's age. Counts never go back while the worker lives. `sealed_through`
is the recording's own, which moves only after fdatasync.
"""

import asyncio
import os
import resource
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from callseal.flows.record import Recorder
from callseal.flows.recording import Recording
from callseal.rtp.header import Ints
from callseal.store.accounts import account_path, write_account
from callseal.store.event_queue import EventQueue
from callseal.store.spool import QUEUE_BYTES, SpoolWriter

_COUNTS: Final = ("packets", "lost", "failed", "replayed")
LATE_MS: Final = 5000
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class MediaAccount:
    """One worker's account. `worker` is its name as a source of events."""

    def __init__(
        self, run: Path, worker: str, recorder: Recorder, spool: SpoolWriter, events: EventQueue, memory_locked: bool
    ) -> None:
        self._run, self._worker, self._recorder, self._spool, self._events = run, worker, recorder, spool, events
        self._memory_locked = memory_locked
        self._ended = dict.fromkeys(_COUNTS, 0)
        self._told = dict.fromkeys(_COUNTS, 0)
        self._is_writing = False
        self._late_ms = 0
        """While recordings are late: the furthest that any was behind."""

    def end(self, recording: Recording) -> None:
        """A recording is about to be closed: keep what its streams counted."""
        replayed = self._recorder.receiver.replayed[[stream.number for stream in recording.streams]]
        for name, count in {**self._recorder.count(recording), "replayed": int(replayed.sum())}.items():
            self._ended[name] += count

    async def write(self, now: datetime, now_ms: int, wakes: int, late_ms: Sequence[int]) -> None:
        """Write it, unless the one before is still being written; `now_ms` is the recorder's clock. Never raises for the disk."""
        if self._is_writing:
            return
        self._is_writing = True
        try:
            facts = self._facts(now, wakes, late_ms)
            recordings = self._recordings(now_ms)
            await asyncio.to_thread(write_account, self._run, facts, recordings)
        except OSError:
            pass  # its age says it
        finally:
            self._is_writing = False

    def find_late(self, now_ms: int) -> dict[str, int] | None:
        """Data of a `SealingLate` event when recordings fall `LATE_MS` behind, and (`count` 0) when all have caught up again."""
        lags = self._lags_ms(now_ms)
        worst = int(lags.max(initial=0))
        if worst > LATE_MS and not self._late_ms:
            self._late_ms = worst
            return {"count": int(np.count_nonzero(lags > LATE_MS)), "duration_ms": worst}
        if self._late_ms and worst <= LATE_MS:
            longest, self._late_ms = self._late_ms, 0
            return {"count": 0, "duration_ms": longest}
        self._late_ms = max(self._late_ms, worst) if self._late_ms else 0
        return None

    def remove(self) -> None:
        """The worker stops: it has no account any more."""
        account_path(self._run, self._worker).unlink(missing_ok=True)

    def _facts(self, now: datetime, wakes: int, late_ms: Sequence[int]) -> dict[str, Any]:
        used, late = resource.getrusage(resource.RUSAGE_SELF), sorted(late_ms)
        return {
            "worker": self._worker, "pid": os.getpid(), "at": now, "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
            "memory_bytes": _resident_bytes(), "memory_locked": self._memory_locked, "wakes": wakes,
            "late_ms_p99": late[len(late) * 99 // 100] if late else 0,
            "streams": int(np.count_nonzero(self._recorder.table.owner)), **self._counts(),
            "spool_waiting_bytes": self._spool.waiting_bytes, "spool_limit_bytes": QUEUE_BYTES,
            "spool_failing": self._spool.failing, "events_waiting": self._events.waiting,
            "events_dropped": self._events.dropped,
        }  # fmt: skip

    def _counts(self) -> dict[str, int]:
        """Of the worker's life. A packet that comes late is no longer lost; what was told before is not taken back."""
        receiver, live = self._recorder.receiver, self._recorder.table.owner > 0
        for name in _COUNTS:
            now = receiver.lost_in_all() if name == "lost" else int(getattr(receiver, name)[live].sum())
            self._told[name] = max(self._told[name], self._ended[name] + now)
        return dict(self._told)

    def _recordings(self, now_ms: int) -> list[tuple[str, int, int, int]]:
        lags = self._lags_ms(now_ms).tolist()
        live = self._recorder.recordings.values()
        return [(it.name, it.part, it.sealed_through_ms, lag) for it, lag in zip(live, lags, strict=True)]

    def _lags_ms(self, now_ms: int) -> Ints:
        """How far each live recording's sealed end stands behind."""
        live = self._recorder.recordings.values()
        base_ms = self._recorder.table.base_ms[[it.streams[0].number for it in live]]
        return np.maximum(now_ms + base_ms - np.array([it.sealed_through_ms for it in live], np.int64), 0)


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  (proc(5))
        return int(file.read().split()[1]) * _PAGE_BYTES
