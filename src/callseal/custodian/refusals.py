"""Refusals before anybody is known: counted, and one entry a minute for each kind, so that a flood cannot fill the log.

Keys-and-recordings section 7. Invariant: every refusal noted is in exactly one entry, or waits for the next minute.
"""

from datetime import datetime, timedelta
from typing import Final

EVERY: Final = timedelta(minutes=1)
KINDS: Final = ("signin", "enrol", "message", "open", "terminal", "second", "export")
OWN_ENTRIES: Final = 20
"""How many refusals of a kind have an entry of their own in a minute, where a kind has such entries at all."""


class Refusals:
    """Counts since the last entry."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._written: dict[str, datetime] = {}
        self._own: dict[str, tuple[datetime, int]] = {}

    def note(self, kind: str) -> None:
        """Count one refusal of a kind of the table."""
        assert kind in KINDS
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def is_rare(self, kind: str, now: datetime) -> bool:
        """Whether one more refusal of a kind may have an entry of its own: the first few of a minute may."""
        since, count = self._own.get(kind, (now, 0))
        if since + EVERY <= now:
            since, count = now, 0
        self._own[kind] = (since, count + 1)
        return count < OWN_ENTRIES

    def due(self, now: datetime, *, all_of_them: bool = False) -> list[tuple[str, int]]:
        """Kinds and counts that are to be written now; they count from nought again."""
        ready = [
            (kind, count)
            for kind, count in sorted(self._counts.items())
            if all_of_them or self._written.get(kind, now - EVERY) + EVERY <= now
        ]
        for kind, _ in ready:
            del self._counts[kind]
            self._written[kind] = now
        return ready
