"""Many packets of a call fail their authentication: wrong keys, or somebody forges them."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

LEAST = 50


def detect(view: View) -> Iterator[Finding]:
    """Fifty failed packets of one call among the last minutes' events."""
    failed: dict[str | None, int] = defaultdict(int)
    last: dict[str | None, datetime] = {}
    for event in view.of_type("PacketsFailed"):
        failed[event.recording] += event.data.get("failed", 0)
        last[event.recording] = event.at
    for recording, number in failed.items():
        if number >= LEAST:
            text = f"{LEAST} or more packets of a call failed their authentication and were not kept."
            yield Finding("packets_failed", Severity.WARNING, f"packets_failed:{recording}", last[recording], text, recording)
