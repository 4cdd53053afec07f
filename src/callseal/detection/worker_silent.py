"""A media worker with calls has not spoken of itself for five seconds: it stands still, it died, or its disk takes nothing."""

from collections.abc import Iterator
from datetime import timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

MOST = timedelta(seconds=5)


def detect(view: View) -> Iterator[Finding]:
    """One alert for each worker and silence."""
    for account in view.workers:
        if account.recordings and view.now - account.at > MOST:
            count = len(account.recordings)
            text = f"{account.worker} records {count} calls and has not been heard of for {MOST.seconds} seconds."
            worst = max(account.recordings, key=lambda recording: recording.lag_ms).recording
            yield Finding("worker_silent", Severity.CRITICAL, f"worker_silent:{account.worker}", account.at + MOST, text, worst)
