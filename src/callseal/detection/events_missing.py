"""A numbered event never arrived: somebody removed it, or a disk lost it."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity


def detect(view: View) -> Iterator[Finding]:
    """One alert for each producer."""
    for event in view.of_type("EventsMissing"):
        source = event.data.get("source")
        first, last = event.data.get("missing_from"), event.data.get("missing_to")
        text = f"Events {first} to {last} of {source} are missing."
        yield Finding("events_missing", Severity.CRITICAL, f"events_missing:{source}", event.at, text)
