"""What detectors look at, and what they say. Values only: no clock, no disk.

A rule is a pure function `detect(view) -> Iterator[Finding]` in a file of its own; `rules.RULES` lists them all.
Invariants: the same view gives the same findings, so that a restart finds nothing twice; a finding holds ids, counts and
short words, never a number, a name or speech.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from callseal.model.call import Severity
from callseal.model.worker import WorkerAccount


@dataclass(frozen=True)
class SeenEvent:
    """One event of the last minutes."""

    source: str
    n: int
    at: datetime
    type: str
    recording: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class LiveCall:
    """A call that goes on."""

    recording: str
    started_at: datetime
    sealed_through_ms: int


@dataclass(frozen=True)
class View:
    """The last minutes' events, oldest first, and how things stand."""

    now: datetime
    events: tuple[SeenEvent, ...] = ()
    live_calls: tuple[LiveCall, ...] = ()
    spool_age: timedelta | None = None
    """Since the oldest part that is over and not yet sealed was last written; None where nothing waits."""
    custodian_away_since: datetime | None = None
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    overdue: int = 0
    workers: tuple[WorkerAccount, ...] = ()
    """The media workers' newest accounts."""

    def of_type(self, *types: str) -> Iterator[SeenEvent]:
        """The events of these types, oldest first."""
        return (event for event in self.events if event.type in types)


@dataclass(frozen=True)
class Finding:
    """What a rule found. Findings with one `dedupe` are one alert; `at` is the time of its newest evidence."""

    kind: str
    severity: Severity
    dedupe: str
    at: datetime
    text: str
    recording: str | None = None
