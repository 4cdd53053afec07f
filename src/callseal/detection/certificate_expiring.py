"""A certificate ends soon, or has ended: the recorder's own, its authority's, or a phone system's."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

SOON_DAYS = 7


def detect(view: View) -> Iterator[Finding]:
    """One alert for each certificate and day; critical in the last week."""
    for event in view.of_type("CertificateExpiring"):
        name, days = event.data.get("peer") or "server", event.data.get("count", 0)
        left = f"ends in {days} days" if days > 0 else "has ended"
        how = "--server" if name == "server" else name
        text = f"The certificate of {name} {left}. Renew it: callseal peer renew {how}"
        severity = Severity.CRITICAL if days <= SOON_DAYS else Severity.WARNING
        yield Finding("certificate_expiring", severity, f"certificate_expiring:{name}:{days}", event.at, text)
