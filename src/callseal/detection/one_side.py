"""One side of a call is missing while the other speaks."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

PARTIES = {"customer": "The customer's side", "staff": "The staff's side"}
HOW = {
    "one-side": "sends no packets while the other side does",
    "flat": "sends silence without any sound while the other side speaks: a muted telephone, or one-way audio",
}


def detect(view: View) -> Iterator[Finding]:
    """One alert for each call."""
    for event in view.of_type("VoiceMissing"):
        how = HOW.get(event.data.get("why", ""))
        if how is not None:
            text = f"{PARTIES.get(event.data.get('party', ''), 'One side')} of a call {how}."
            yield Finding("one_side", Severity.WARNING, f"one_side:{event.recording}", event.at, text, event.recording)
