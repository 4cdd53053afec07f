"""A call goes on and no voice of it has come five seconds after its start."""

from collections.abc import Iterator
from datetime import timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

GRACE = timedelta(seconds=5)


def detect(view: View) -> Iterator[Finding]:
    """One alert for each call: its worker says that no packet came, or nobody has sealed anything of it."""
    for event in view.of_type("VoiceMissing"):
        if event.data.get("why") == "none-yet":
            text = f"No voice came {GRACE.seconds} seconds after the phone system was answered. Does its SRTP reach our ports?"
            yield Finding("no_packets", Severity.CRITICAL, f"no_packets:{event.recording}", event.at, text, event.recording)
    for call in view.live_calls:
        if call.sealed_through_ms == 0 and view.now - call.started_at > GRACE:
            text = f"No voice has been sealed {GRACE.seconds} seconds after the call began."
            found_at = call.started_at + GRACE
            yield Finding("no_packets", Severity.CRITICAL, f"no_packets:{call.recording}", found_at, text, call.recording)
