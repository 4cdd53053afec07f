"""What is due: a class's days from the UTC day of the call, by the policy version in force.

Keys-and-recordings section 6. Invariants: a version takes effect only after its notice, so that nobody shortens a period and
destroys in one step; what has no version is never due; nothing is due on its own day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from callseal.errors import RequestError

NOTICE: Final = timedelta(hours=24)
LONGEST_DAYS: Final = 36_500


@dataclass(frozen=True)
class PolicyVersion:
    """From `since`, recordings of a class are kept `days` from the UTC day of the call; `default_days` where it is not named."""

    since: datetime
    default_days: int
    days: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        """Raises RequestError for a period outside 1 to 36,500 days."""
        for count in (self.default_days, *(count for _, count in self.days)):
            if not 1 <= count <= LONGEST_DAYS:
                raise RequestError(f"retention: expected 1 to {LONGEST_DAYS} days, got {count}")

    def days_of(self, recording_class: str) -> int:
        """How many days this version gives a class."""
        return dict(self.days).get(recording_class, self.default_days)


def in_force(versions: Sequence[PolicyVersion], now: datetime) -> PolicyVersion | None:
    """The newest version whose notice has passed; the first one needs none. None where there is no version."""
    ordered = sorted(versions, key=lambda version: version.since)
    past = [version for version in ordered[1:] if version.since + NOTICE <= now]
    return past[-1] if past else (ordered[0] if ordered else None)


def earliest_destruction(group: str, version: PolicyVersion) -> datetime:
    """The moment from which a group `CLASS/YYYY-MM-DD` may be destroyed: midnight UTC after its last day."""
    recording_class, day = split_group(group)
    return datetime.combine(day + timedelta(days=version.days_of(recording_class) + 1), time(), UTC)


def due_groups(groups: Iterable[str], versions: Sequence[PolicyVersion], now: datetime) -> list[str]:
    """The groups whose day has come, oldest first."""
    version = in_force(versions, now)
    if version is None:
        return []
    due = [(earliest_destruction(group, version), group) for group in groups]
    return [group for moment, group in sorted(due) if moment <= now]


def group_of(recording_class: str, started_at: datetime) -> str:
    """The group of a call: its class and the UTC day on which it began."""
    return f"{recording_class}/{started_at.astimezone(UTC).date().isoformat()}"


def split_group(group: str) -> tuple[str, date]:
    """Class and day of a group's name. Raises RequestError."""
    recording_class, _, day = group.partition("/")
    try:
        return recording_class, date.fromisoformat(day)
    except ValueError as error:
        raise RequestError("group: expected CLASS/YYYY-MM-DD") from error
