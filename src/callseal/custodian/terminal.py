"""What a terminal asks of the custodian, and the link by which a person takes it up in the console.

docs/spec/open-call.md section 4, "From a terminal". Invariants: what a terminal asks is checked before a link is made; the
request that a person signs is written when they take the link up, names them, and carries the digest of the terminal's secret;
the answer is given to who knows the secret, once.
"""

from datetime import datetime
from typing import Any, Final

from callseal.custodian.custody import Custody
from callseal.custodian.people import live_person
from callseal.custodian.request import begin_request, read_recordings
from callseal.errors import CallsealError, Denied, NotFound, RequestError
from callseal.policy.decision import OPENING_ACTIONS

_GIVEN: Final = ("rows", "indexes", "sealed_meta")


def begin_at_terminal(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A terminal wants to open something: the link's token, and how long it works.

    Raises RequestError, NotFound, Conflict, LimitExceeded.
    """
    custody.check()
    ask, give = message.get("ask"), message.get("give")
    if not isinstance(ask, dict) or not isinstance(give, dict) or ask.get("action") not in OPENING_ACTIONS:
        raise RequestError("ask, give: expected what is asked, with an opening's action, and what it opens")
    read_recordings(custody, ask, ask["action"])
    given = {name: give[name] for name in _GIVEN if name in give}
    try:
        token = custody.terminals.begin(message.get("secret_sha256"), ask, given, now)
    except CallsealError:
        custody.refusals.note("terminal")
        raise
    return {"link": token}


def take_up(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A person has opened the link: the request for them to prove, and its passkey options. Raises NotFound, Denied."""
    custody.check()
    try:
        digest, opening = custody.terminals.find_link(message.get("link"), now)
    except NotFound:
        custody.refusals.note("terminal")
        raise
    person = live_person(custody, message.get("person"))
    if person is None:
        custody.refusals.note("terminal")
        raise Denied("person: expected one who may sign in here")
    reply = begin_request(custody, opening.ask | {"person": message["person"]}, now, terminal=digest)
    custody.terminals.take_up(opening, person.name, now)
    return reply


def collect(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """How it stands; once it is proved and decided, the answer of `open`, and then it is over. Raises its refusal, NotFound."""
    try:
        digest, opening = custody.terminals.of_secret(message.get("secret"), now)
    except CallsealError:
        custody.refusals.note("terminal")
        raise
    if opening.outcome is None:
        left = max(0, int((opening.until - now).total_seconds()))
        return {"state": "waiting" if opening.opened_by is None else "opened", "by": opening.opened_by, "seconds": left}
    custody.terminals.end(digest)
    if isinstance(opening.outcome, CallsealError):
        raise opening.outcome
    return {"state": "done", "by": opening.opened_by, **opening.outcome}


def cancel(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The terminal gives up: link and request are worth nothing from here. Raises NotFound."""
    digest, _ = custody.terminals.of_secret(message.get("secret"), now)
    custody.terminals.end(digest)
    return {}
