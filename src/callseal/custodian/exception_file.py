"""The exceptions that the log knows by digest, spelled out in a file of the custodian's own; what a request about one says.

docs/spec/open-call.md section 4. Invariant: what the file says and the log does not know by its digest counts for nothing.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from callseal.audit import canonical
from callseal.audit.exception import LONGEST, ClearException, check_place, read_exception
from callseal.custodian.custody import Custody
from callseal.custodian.durable import write_whole
from callseal.custodian.history import Excepted
from callseal.errors import CallsealError, NotFound, RequestError, Unavailable
from callseal.policy.reason import LEAST_CHARACTERS, MOST_CHARACTERS

EXCEPTION_ACTIONS: Final = ("except", "approve", "withdraw")
ASKED_FOR: Final = timedelta(days=7)
"""What was asked and not approved lapses."""


def read_exception_request(custody: Custody, message: dict[str, Any], action: str, now: datetime) -> dict[str, Any]:
    """The fields of a request to make, approve or end an exception. Raises RequestError, NotFound."""
    if action == "except":
        check_place(message.get("peer"), message.get("network"), message.get("interface"))
        days, reason = message.get("days"), message.get("reason")
        if type(days) is not int or not 1 <= days <= LONGEST.days:
            raise RequestError(f"days: expected 1 to {LONGEST.days}")
        if not isinstance(reason, str) or not LEAST_CHARACTERS <= len(reason.strip()) <= MOST_CHARACTERS:
            raise RequestError(f"reason: expected {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
        return {name: message[name] for name in ("peer", "network", "interface", "days")} | {"reason": reason.strip()}
    entry, asked = find_exception(custody, message.get("exception"), now)
    shown = {"exception": asked.id} | {name: asked.plain()[name] for name in ("peer", "network", "interface")}
    return shown if action == "withdraw" else shown | {"days": days_of(asked, entry.asked_at)}


def known_exceptions(custody: Custody) -> dict[str, ClearException]:
    """What the file spells out, as far as the log has it by digest and has not ended it."""
    path = custody.place.exceptions
    try:
        listed = canonical.decode(path.read_bytes()) if path.exists() else []
        read = [read_exception(value) for value in listed]
    except (OSError, CallsealError, TypeError):
        return {}
    logged = custody.history.exceptions
    return {one.id: one for one in read if one.id in logged and one.digest() == logged[one.id].digest}


def keep_exceptions(custody: Custody, *more: ClearException) -> None:
    """Spell out before the entry: a kill in between leaves what the log does not know. Raises Unavailable."""
    known = {one.digest(): one for one in [*known_exceptions(custody).values(), *more]}
    try:
        write_whole(custody.place.exceptions, canonical.encode([one.plain() for one in known.values()]))
    except OSError as error:
        raise Unavailable(f"exceptions: expected a durable write, got {error.strerror}") from error


def find_exception(custody: Custody, name: object, now: datetime) -> tuple[Excepted, ClearException]:
    """One that was asked for or stands, and has not ended. Raises NotFound."""
    known = known_exceptions(custody).get(name) if isinstance(name, str) else None
    if known is None or has_ended(custody, known, now):
        raise NotFound("exception: expected one that was asked for or stands")
    return custody.history.exceptions[known.id], known


def has_ended(custody: Custody, exception: ClearException, now: datetime) -> bool:
    """Whether its day has come, or nobody approved it in time."""
    entry = custody.history.exceptions[exception.id]
    return now >= (exception.until if entry.made else entry.asked_at + ASKED_FOR)


def days_of(exception: ClearException, since: datetime) -> int:
    """For how many days it was asked."""
    return round((exception.until - since) / timedelta(days=1))
