"""A recorder seals to a card that has run out: still never in the clear, but its key should have been renewed."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity


def detect(view: View) -> Iterator[Finding]:
    """One alert for each recorder."""
    for event in view.of_type("CardStale"):
        text = f"The recorder {event.source} has no valid sealing card and uses its last one. Is the custodian running?"
        yield Finding("card_stale", Severity.CRITICAL, f"card_stale:{event.source}", event.at, text)
