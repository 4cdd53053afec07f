"""Early destruction: a person's proof for these recordings, above a day's limit that of two persons, one after the other.

Keys-and-recordings section 6; docs/spec/open-call.md section 4, "Two persons". Invariants: the first person's proof is verified
when it is made, and what they proved waits here for five minutes; policy, holds and keys are looked at again when the second has
signed; nothing is destroyed by one person above the limit.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.audit import canonical
from callseal.authn.challenge import challenge_of
from callseal.authn.passkey import request_options
from callseal.custodian.custody import Custody
from callseal.custodian.destruction import attest, make_destroyed
from callseal.custodian.leaf import known
from callseal.custodian.people import live_person, verify_passkey
from callseal.custodian.request import Proved, check_policy, deny, prove
from callseal.errors import CallsealError, Denied, Destroyed, RequestError
from callseal.model.message import to_bytes
from callseal.policy.decision import Question

A_DAY: Final = timedelta(days=1)
ALWAYS_ALONE: Final = 10
"""One person may destroy this many a day early, however small the installation."""


def erase_recordings(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Destroy the recordings of a proved request before their day; above the limit, a link for a second person instead.

    Raises Denied, Destroyed, each after its entry.
    """
    custody.check()
    proved = prove(custody, message, ("erase",), now)
    _check(custody, proved, now)
    if not _needs_second(custody, len(proved.recordings), now):
        return _destroy(custody, proved, None, now)
    token = secrets.token_urlsafe(32)
    custody.nonces.wait("second", _digest(token), proved, now)
    custody.keystore.save()  # the passkey's count
    return {"second": token}


def begin_second(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A second person has opened the link: what the first has signed, and options to sign the same. Raises Denied, RequestError.

    The link is used up by it, but not by the first person themselves, nor by somebody who may not sign.
    """
    custody.check()
    person = live_person(custody, message.get("person"))
    if person is None:
        custody.refusals.note("second")
        raise Denied("person: expected one who may sign in here")
    if not isinstance(message.get("link"), str):
        raise RequestError("link: expected text")
    link = _digest(message["link"])
    try:
        proved: Proved = custody.nonces.see("second", link, now)
    except Denied as error:
        custody.refusals.note("second")
        raise Denied("link: expected one that nobody has used, within five minutes; begin again") from error
    if message["person"] == proved.who or not person.passkeys:
        raise Denied("second: expected another person, with a passkey of their own")
    custody.nonces.take("second", link, now)
    custody.nonces.wait("second-proof", _nonce(proved), proved, now)
    allowed = [passkey.credential_id for passkey in person.passkeys]
    options = request_options(custody.party, challenge_of(canonical.encode(proved.request)), allowed)
    return {"request": proved.request, "options": options}


def finish_second(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Destroy what two persons have signed. Raises Denied, Destroyed, each after its entry."""
    custody.check()
    given = message.get("request")
    try:
        proved: Proved = custody.nonces.take("second-proof", to_bytes((given or {}).get("nonce"), "nonce"), now)
    except (CallsealError, AttributeError) as error:
        custody.refusals.note("second")
        raise Denied("request: expected one that waits for a second person; begin again") from error
    try:
        who, _ = verify_passkey(custody, message.get("response"), challenge_of(canonical.encode(proved.request)), now)
        person = live_person(custody, who)
        if person is None or who == proved.who:
            raise Denied("second: expected another person")
        for recording in proved.recordings:
            if not custody.policy.decide(Question(who, person.role, "erase", recording)).allowed:
                raise Denied("second: expected a person who may erase")
    except CallsealError as error:
        deny(custody, "second-person", now, proved.request, proved)
        raise Denied("second: expected another person's passkey, of one who may erase") from error
    if live_person(custody, proved.who) is None:
        deny(custody, "another-person", now, proved.request, proved)
        raise Denied("first: expected a person who has not been revoked since")
    _check(custody, proved, now)
    return _destroy(custody, proved, who, now)


def _check(custody: Custody, proved: Proved, now: datetime) -> None:
    """The policy allows each, and each has a key to destroy. Raises Denied, Destroyed, each after its entry."""
    check_policy(custody, proved, now)
    places = [known(custody, recording) for recording in proved.recordings]
    if any(place.destroyed or place.group not in custody.state.groups for place in places):
        deny(custody, "destroyed", now, proved.request, proved)
        raise Destroyed("recording: its key is gone already")


def _destroy(custody: Custody, proved: Proved, second: str | None, now: datetime) -> dict[str, Any]:
    entries, certificates, first = [], [], custody.ledger.size
    why = proved.request["reason_class"]
    for at, recording in enumerate(proved.recordings):
        place = known(custody, recording)
        attestation = attest(custody, f"recording:{recording}", why, [recording], first + at, now)
        custody.state.groups[place.group].tree.puncture(place.leaf)
        entries.append(make_destroyed(custody, attestation, recording, at, proved, now, why, second))
        certificates.append(attestation.write(now) | {"log_index": first + at})
    custody.commit(entries, rotate=True)
    return {"certificate": certificates[0], "certificates": certificates}


def _needs_second(custody: Custody, count: int, now: datetime) -> bool:
    today = sum(1 for moment in custody.history.erased if moment + A_DAY > now)
    alive = sum(1 for item in custody.history.recordings.values() if not item.destroyed)
    return today + count > min(custody.terms.most_destroyed_alone, max(ALWAYS_ALONE, alive // 200))


def _nonce(proved: Proved) -> bytes:
    return to_bytes(proved.request["nonce"], "nonce")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
