"""A recorded call as every face shows it: rows of the database, and no personal data among them.

Times are aware datetimes in UTC; offsets are whole milliseconds from `started_at`. Nothing here opens anything: `row` and
`sealed_meta` are ciphertext that only the custodian's keys unlock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class CallState(StrEnum):
    """Where a call stands. `sealed`: every part is adopted and stored; `interrupted`: also, and a part ended by a fault."""

    LIVE = "live"
    ENDED = "ended"
    SEALED = "sealed"
    INTERRUPTED = "interrupted"
    DESTROYED = "destroyed"


class PartState(StrEnum):
    """Where a part stands: being written, ended in the spool, adopted and stored, or gone."""

    LIVE = "live"
    ENDED = "ended"
    SEALED = "sealed"
    DESTROYED = "destroyed"


class Severity(StrEnum):
    """How soon a person must look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Leg:
    """One stream of a call: what it carries, and how well we know its protection (`measured`, `claimed`, `not observed`)."""

    number: int
    label: str
    party: str
    codec: str
    suite: str
    protection: str
    detail: str


@dataclass(frozen=True)
class Counts:
    """What was received over all parts, in packets; gaps in number and milliseconds; tones withheld in number."""

    packets: int = 0
    lost: int = 0
    failed: int = 0
    replayed: int = 0
    withheld: int = 0
    gaps: int = 0
    gap_ms: int = 0


@dataclass(frozen=True)
class Call:
    """One recording: one SIPREC dialog."""

    recording: str
    peer: str
    recording_class: str
    state: CallState
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    sealed_through_ms: int
    parts: int
    legs: tuple[Leg, ...]
    transport: str
    counts: Counts
    end_reason: str | None
    group: str | None
    leaf: int | None
    held: bool
    digest: str | None
    """SHA-256 over the digests of the parts in order (each 32 bytes), hex; None until sealed."""
    purpose: str
    lawful_basis: str
    delete_by: datetime | None
    conversation: str | None = None
    """The recording that began the conversation (a transfer goes on in another call); its own id for the first."""
    same_call_as: str | None = None
    """The first recording of the same call, where a call is recorded twice; None for the first."""
    twins: int = 0
    """How many further recordings of the same call there are, counted at the first."""

    def is_same_call(self, other: "Call") -> bool:
        """Whether both are recordings of one call."""
        return (self.same_call_as or self.recording) == (other.same_call_as or other.recording)


@dataclass(frozen=True)
class Part:
    """One part of a recording. `path` names its object in the object store, None until it stands there."""

    recording: str
    part: int
    state: PartState
    interrupted: bool
    started_at: datetime
    duration_ms: int | None
    sealed_through_ms: int
    messages: int | None
    size_bytes: int | None
    end_reason: str | None
    path: str | None
    digest: str | None
    row: bytes | None
    sealed_meta: bytes | None
    log_index: int | None


@dataclass(frozen=True)
class Gap:
    """A named hole in a part."""

    part: int
    from_ms: int
    to_ms: int
    why: str


@dataclass(frozen=True)
class CallEvent:
    """One event of a call, as its source numbered it."""

    source: str
    n: int
    at: datetime
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class CallDetail:
    """A call with all that is known of it."""

    call: Call
    parts: tuple[Part, ...]
    gaps: tuple[Gap, ...]
    events: tuple[CallEvent, ...]


@dataclass(frozen=True)
class Alert:
    """Something a person must look at; `times` tells how often it came since the first."""

    id: int
    at: datetime
    last_at: datetime
    times: int
    kind: str
    severity: Severity
    recording: str | None
    text: str
    acknowledged_by: str | None
    acknowledged_at: datetime | None


@dataclass(frozen=True)
class Certificate:
    """What destruction left: the custodian's attestation, `pending` until `final_on`."""

    id: int
    at: datetime
    subject: str
    state: str
    final_on: datetime | None
    log_index: int | None
    detail: Mapping[str, Any]
