"""A call ended without the phone system saying so."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

SILENT = "signalling_lost"


def detect(view: View) -> Iterator[Finding]:
    """One alert for each call."""
    for event in view.of_type("CallEnded", "PartEnded"):
        if event.data.get("reason") == SILENT:
            text = "A call ended because its signalling was lost: no BYE came."
            yield Finding("no_bye", Severity.WARNING, f"no_bye:{event.recording}", event.at, text, event.recording)
