"""Word of an alert into the process log, from where a host's own monitoring takes it. Ids and short words only."""

import structlog

from callseal.model.call import Severity

_METHODS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "critical"}


def announce(kind: str, severity: Severity, text: str, recording: str | None) -> None:
    """Write one line for a new alert."""
    log = structlog.get_logger()
    getattr(log, _METHODS[severity])("alert", kind=kind, text=text, recording=recording)
