"""A phone system sends metadata that cannot be read: its calls are recorded, and nobody knows whose they are."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

UNREADABLE = frozenset(["metadata-malformed", "metadata-too-long", "body-unreadable"])
"""Names of oddities that a person must look at."""


def detect(view: View) -> Iterator[Finding]:
    """One alert for each phone system."""
    for event in view.of_type("OddityNoticed"):
        names = UNREADABLE.intersection(event.data.get("odd", ()))
        if names:
            peer = event.data.get("peer") or "unknown"
            text = (
                f"The phone system {peer} sends metadata that cannot be read ({', '.join(sorted(names))}). Its calls are "
                "recorded and the metadata is sealed as it came; who spoke is not known. The page Odd says more."
            )
            yield Finding("metadata_lost", Severity.WARNING, f"metadata_lost:{peer}", event.at, text, event.recording)
