"""What a media worker says of itself once a second, and how far each of its live recordings is sealed.

Times are aware datetimes in UTC, offsets whole milliseconds from a recording's start. Ids, counts, sizes and ages; nothing of a
person, and nothing that was spoken.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class LiveRecording:
    """A recording that goes on, as it stood when the account was made."""

    recording: str
    part: int
    sealed_through_ms: int
    """Everything before it had been sealed and confirmed by fdatasync."""
    lag_ms: int
    """How far that stood behind the moment of the account."""


@dataclass(frozen=True)
class WorkerAccount:
    """One worker's account. Counts are of the worker's whole life, calls that are over included."""

    worker: str
    pid: int
    at: datetime
    cpu_seconds: float
    memory_bytes: int
    memory_locked: bool
    wakes: int
    late_ms_p99: int
    """How late it woke: 99 of its last 100 wakes were not later."""
    streams: int
    packets: int
    lost: int
    failed: int
    replayed: int
    spool_waiting_bytes: int
    spool_limit_bytes: int
    spool_failing: bool
    events_waiting: int
    events_dropped: int
    recordings: tuple[LiveRecording, ...]

    def age_ms(self, now: datetime) -> int:
        """How old it is."""
        return max(0, int((now - self.at).total_seconds() * 1000))

    def worst_lag_ms(self, now: datetime) -> int:
        """How far the recording that is sealed least stands behind `now`, as far as is known; 0 without any."""
        return max((recording.lag_ms for recording in self.recordings), default=-self.age_ms(now)) + self.age_ms(now)
