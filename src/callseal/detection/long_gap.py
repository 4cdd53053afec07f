"""More than two seconds of a call are missing."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

LEAST_MS = 2000
EXPECTED = ("paused", "withheld")
NO_PACKETS = "no-packets"


def detect(view: View) -> Iterator[Finding]:
    """One alert for each call: while the gap lasts, and with its length once it is over; a pause that was asked for is none."""
    for event in view.of_type("VoiceMissing", "Gap"):
        why = event.data.get("why")
        length = event.data.get("to_ms", 0) - event.data.get("from_ms", 0)
        if event.type == "VoiceMissing" and why == NO_PACKETS:
            text = f"A call goes on and more than {LEAST_MS // 1000} seconds of it are missing: its packets have stopped."
        elif event.type == "Gap" and length > LEAST_MS and why not in EXPECTED:
            text = f"{length / 1000:.1f} seconds of a call are missing ({why or 'no reason given'})."
        else:
            continue
        yield Finding("long_gap", Severity.WARNING, f"long_gap:{event.recording}", event.at, text, event.recording)
