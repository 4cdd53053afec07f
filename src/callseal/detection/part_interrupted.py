"""A part of a recording ended because its worker died, or cannot be brought in."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity


def detect(view: View) -> Iterator[Finding]:
    """One alert for each recording and kind."""
    for event in view.of_type("PartInterrupted", "PartRefused"):
        if event.type == "PartInterrupted":
            kind, severity = "part_interrupted", Severity.WARNING
            text = (
                "A recording worker ended in the middle of a call; what it had sealed is kept, up to two seconds may be missing."
            )
        else:
            kind, severity = "part_refused", Severity.CRITICAL
            text = f"A recorded part could not be adopted ({event.data.get('why')}); it is kept in the spool."
        yield Finding(kind, severity, f"{kind}:{event.recording}", event.at, text, event.recording)
