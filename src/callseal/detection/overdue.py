"""Recordings stand past the day on which they were to be gone."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity


def detect(view: View) -> Iterator[Finding]:
    """One alert for each day that it lasts."""
    if view.overdue:
        day = view.now.replace(hour=0, minute=0, second=0, microsecond=0)
        yield Finding(
            "overdue", Severity.CRITICAL, "overdue", day, f"{view.overdue} recordings are past their day and not yet destroyed."
        )
