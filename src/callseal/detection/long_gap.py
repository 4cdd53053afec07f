"""More than two seconds of a call are missing."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

LEAST_MS = 2000
EXPECTED = ("paused", "withheld")


def detect(view: View) -> Iterator[Finding]:
    """One alert for each call; a pause that was asked for is none."""
    for event in view.of_type("Gap"):
        length = event.data.get("to_ms", 0) - event.data.get("from_ms", 0)
        if length > LEAST_MS and event.data.get("why") not in EXPECTED:
            text = f"{length / 1000:.1f} seconds of a call are missing ({event.data.get('why') or 'no reason given'})."
            yield Finding("long_gap", Severity.WARNING, f"long_gap:{event.recording}", event.at, text, event.recording)
