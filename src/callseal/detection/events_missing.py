"""A numbered event never arrived: somebody removed it, or a disk lost it; or events found no room while their disk took none."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity


def detect(view: View) -> Iterator[Finding]:
    """One alert for each producer and kind."""
    for event in view.of_type("EventsMissing"):
        source = event.data.get("source")
        first, last = event.data.get("missing_from"), event.data.get("missing_to")
        text = f"Events {first} to {last} of {source} are missing."
        yield Finding("events_missing", Severity.CRITICAL, f"events_missing:{source}", event.at, text)
    for event in view.of_type("EventsDropped"):
        text = f"{event.data.get('count')} events of {event.source} found no room while its disk took none. Calls went on."
        yield Finding("events_missing", Severity.CRITICAL, f"events_dropped:{event.source}", event.at, text)
