"""The phone system's own records tell of a call that was not sealed."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

WHY = {
    "no-voice": "it was signalled, and no voice of it came",
    "refused": "it was offered and refused; see the refused offers of that time",
    "draining": "no new calls were taken then",
    "recorder-away": "the recorder was not running",
    "unknown": "it was never offered to the recorder",
}


def detect(view: View) -> Iterator[Finding]:
    """One alert for each phone system, moved by each further call; which they are stands on the reconciliation page."""
    for event in view.of_type("CallNotSealed"):
        peer, why = event.data.get("peer", ""), WHY.get(event.data.get("why", ""), WHY["unknown"])
        text = f"A call in the records of {peer} was not sealed: {why}. The reconciliation page lists each."
        yield Finding("not_sealed", Severity.CRITICAL, f"not_sealed:{peer}", event.at, text, event.recording)
