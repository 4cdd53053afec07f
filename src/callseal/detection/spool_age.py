"""Finished recordings wait in the spool: database, custodian or object store is away, or slow."""

from collections.abc import Iterator
from datetime import timedelta

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

MOST = timedelta(seconds=120)


def detect(view: View) -> Iterator[Finding]:
    """One alert for each hour that it lasts."""
    if view.spool_age is not None and view.spool_age > MOST:
        hour = view.now.replace(minute=0, second=0, microsecond=0)
        text = "Finished recordings have waited more than two minutes in the spool. Nothing is lost; see what is away."
        yield Finding("spool_age", Severity.WARNING, "spool_age", hour, text)
