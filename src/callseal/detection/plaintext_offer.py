"""A call was offered without encryption, and refused."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity

STATUS_NOT_ACCEPTABLE = 488


def detect(view: View) -> Iterator[Finding]:
    """One alert for each phone system."""
    for event in view.of_type("OfferRefused"):
        if event.data.get("status") == STATUS_NOT_ACCEPTABLE:
            peer = event.data.get("peer") or "unknown"
            text = f"The phone system {peer} offered a call without the encryption we accept; the call was not recorded."
            if cure := event.data.get("cure"):
                text += f" Set there: {cure}."
            yield Finding("plaintext_offer", Severity.CRITICAL, f"plaintext_offer:{peer}", event.at, text)
