"""A call ended without the phone system saying so."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

SILENT = "signalling_lost"


def detect(view: View) -> Iterator[Finding]:
    """One alert for each call: as soon as its connection and its packets are gone, and once its recording was ended for that."""
    for event in view.of_type("SignallingLost", "CallEnded", "PartEnded"):
        if event.type == "SignallingLost":
            text = "The phone system's connection is gone and a call's packets have stopped, and no BYE came."
        elif event.data.get("reason") == SILENT:
            text = "A call ended because its signalling was lost: no BYE came."
        else:
            continue
        yield Finding("no_bye", Severity.WARNING, f"no_bye:{event.recording}", event.at, text, event.recording)
