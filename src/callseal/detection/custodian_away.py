"""The custodian does not answer: recording goes on, nothing can be opened or destroyed."""

from collections.abc import Iterator
from datetime import timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

GRACE = timedelta(seconds=5)


def detect(view: View) -> Iterator[Finding]:
    """One alert for each absence that lasts."""
    since = view.custodian_away_since
    if since is not None and view.now - since > GRACE:
        text = "The custodian does not answer. Calls are still sealed; none can be opened, adopted or destroyed."
        yield Finding("custodian_away", Severity.CRITICAL, "custodian_away", since, text)
