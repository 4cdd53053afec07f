"""Somebody without a known certificate keeps trying to deliver calls."""

from collections.abc import Iterator
from datetime import timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

WINDOW = timedelta(seconds=60)
LEAST = 5


def detect(view: View) -> Iterator[Finding]:
    """Five refusals within a minute."""
    times = [event.at for event in view.of_type("PeerRefused")]
    for first, last in zip(times, times[LEAST - 1 :], strict=False):
        if last - first <= WINDOW:
            text = f"{LEAST} or more connections within a minute came from a system whose certificate we do not know."
            yield Finding("unknown_peer", Severity.WARNING, "unknown_peer", last, text)
