"""A live recording is not sealed up to five seconds ago: its disk is slow, full or away, or its worker is short of time."""

from collections.abc import Iterator
from datetime import timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

MOST = timedelta(seconds=5)


def detect(view: View) -> Iterator[Finding]:
    """One alert for each worker, with its recording that is furthest behind; `at` is when that had been so for `MOST`.

    Where watcher and worker have one disk, both stand still with it: then the worker's own event says it afterwards.
    """
    for event in view.of_type("SealingLate"):
        count, seconds = event.data.get("count", 0), event.data.get("duration_ms", 0) / 1000
        how = f"{count} calls fell behind" if count else f"calls had fallen {seconds:.0f} s behind and have caught up"
        text = f"On {event.source} {how}: the disk did not take what was sealed."
        yield Finding("seal_lag", Severity.CRITICAL, f"seal_lag:{event.source}", event.at, text)
    for account in view.workers:
        late = [recording for recording in account.recordings if timedelta(milliseconds=recording.lag_ms) > MOST]
        if late:
            worst = max(late, key=lambda recording: recording.lag_ms)
            text = (
                f"{len(late)} calls on {account.worker} are not sealed up to {MOST.seconds} seconds ago. They go on, and what "
                "was said waits for the disk. The health page shows each."
            )
            since = account.at - timedelta(milliseconds=worst.lag_ms) + MOST
            yield Finding("seal_lag", Severity.CRITICAL, f"seal_lag:{account.worker}", since, text, worst.recording)
