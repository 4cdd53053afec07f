"""The disk that recordings are written to is nearly full."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

LEAST_SHARE = 0.10
LEAST_BYTES = 2 << 30


def detect(view: View) -> Iterator[Finding]:
    """Under a tenth of the disk and under 2 GiB free, or as a recorder reports it. One alert an hour."""
    hour = view.now.replace(minute=0, second=0, microsecond=0)
    if view.disk_free_bytes is not None and view.disk_total_bytes:
        low = view.disk_free_bytes < LEAST_BYTES and view.disk_free_bytes < LEAST_SHARE * view.disk_total_bytes
        if low:
            text = f"{view.disk_free_bytes / (1 << 30):.1f} GiB are left on the disk for recordings."
            yield Finding("disk_low", Severity.CRITICAL, "disk_low", hour, text)
    for event in view.of_type("DiskLow"):
        text = f"{event.source} reports that the disk for recordings is nearly full."
        yield Finding("disk_low", Severity.CRITICAL, "disk_low", event.at, text)
