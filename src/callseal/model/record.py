"""A call as the phone system's own records tell it, and how it stands beside what was sealed."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class RecordState(StrEnum):
    """`waiting`: its call goes on, or is being sealed. `unsealed` is a gap. `exempt`: of a class that is not to be recorded."""

    WAITING = "waiting"
    SEALED = "sealed"
    UNSEALED = "unsealed"
    EXEMPT = "exempt"


@dataclass(frozen=True)
class CallRecord:
    """One call of a phone system's records. Identifiers and numbers are personal data: they go to the custodian alone."""

    started_at: datetime
    call_ids: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    duration_ms: int | None = None
    exempt: str = ""

    def __repr__(self) -> str:
        return f"CallRecord({self.started_at.isoformat()})"


@dataclass(frozen=True)
class KeptRecord:
    """What is kept of it: times, ids, and why it has no recording."""

    record: str
    peer: str
    started_at: datetime
    duration_ms: int | None
    state: RecordState
    why: str
    recording: str | None
    found_by: str
    skew_ms: int | None
    source: str
    received_at: datetime


@dataclass(frozen=True)
class RecordedDay:
    """One peer's UTC day. `gaps` are records whose call is not sealed; `unlisted`, sealed calls that no record tells of."""

    day: date
    peer: str
    records: int = 0
    sealed: int = 0
    exempt: int = 0
    waiting: int = 0
    gaps: int = 0
    unlisted: int = 0
    skew_ms: int | None = None
    """The middle of what their clock is ahead of ours, over the calls found by an identifier."""

    @property
    def words(self) -> str:
        """The day in one line."""
        parts = [f"{self.records:,} calls by their records", f"{self.sealed:,} sealed", f"{self.gaps:,} gaps"]
        parts += [f"{self.exempt:,} not to be recorded"] if self.exempt else []
        parts += [f"{self.waiting:,} going on or being sealed"] if self.waiting else []
        parts += [f"{self.unlisted:,} sealed that their records do not tell of"] if self.unlisted else []
        return ", ".join(parts)
