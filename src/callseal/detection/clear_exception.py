"""Voice in the clear is taken of a phone system, by an exception that two persons made; or no longer."""

from collections.abc import Iterator

from callseal.detection.view import Finding, View
from callseal.model.call import Severity


def detect(view: View) -> Iterator[Finding]:
    """One alert when it begins and one when it ends, for each phone system."""
    for event in view.of_type("ExceptionBegan", "ExceptionEnded"):
        peer, why = event.data.get("peer") or "unknown", event.data.get("why") or ""
        if event.type == "ExceptionBegan":
            text = f"Calls of {peer} are taken without encryption on the wire: {why}."
            yield Finding("clear_exception", Severity.WARNING, f"clear_exception:{peer}", event.at, text)
        else:
            text = f"The exception of {peer} has ended: a call without encryption gets 488 again."
            yield Finding("clear_exception_ended", Severity.INFO, f"clear_exception_ended:{peer}", event.at, text)
