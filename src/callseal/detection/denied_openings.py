"""Somebody keeps asking for what they may not hear."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

WINDOW = timedelta(seconds=300)
LEAST = 3


def detect(view: View) -> Iterator[Finding]:
    """Three refused openings or sign-ins of one person (or of nobody known) within five minutes."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for event in view.of_type("AudioRefused", "SignInRefused"):
        times[str(event.data.get("person") or "unknown")].append(event.at)
    for person, seen in times.items():
        for first, last in zip(seen, seen[LEAST - 1 :], strict=False):
            if last - first <= WINDOW:
                text = f"{LEAST} or more requests of one person were refused within five minutes (person {person})."
                yield Finding("denied_openings", Severity.WARNING, f"denied_openings:{person}", last, text)
