"""Steps 0 and 1 of everything a person does here: what is asked, and the proof that this person meant exactly that.

docs/spec/open-call.md; keys-and-recordings section 5. Invariants: the request that is proved is the one the custodian wrote,
byte for byte, and its nonce is used up before the proof is looked at; whatever fails is an entry in the log before it is an
answer.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from callseal.audit import canonical
from callseal.authn.challenge import challenge_of
from callseal.authn.passkey import request_options
from callseal.custodian.custody import Custody
from callseal.custodian.device_book import DEVICE_ACTIONS, read_device_request
from callseal.custodian.exception_file import EXCEPTION_ACTIONS, read_exception_request
from callseal.custodian.leaf import is_held, known, leaf_key
from callseal.custodian.people import live_person, verify_one_time_code, verify_passkey
from callseal.errors import CallsealError, Denied, Destroyed, NotFound, RequestError
from callseal.model.clock import format_time
from callseal.model.ids import parse_recording_id
from callseal.model.message import to_bytes, to_text
from callseal.model.roles import EXPORT_ENDS, ROLES
from callseal.policy.decision import OPENING_ACTIONS, RECORDING_ACTIONS, Decision, Question
from callseal.policy.reason import check_reason

RECORDING_LIMIT: Final = 50
LONGEST_MS: Final = 7 * 24 * 3600 * 1000
SLACK_MS: Final = 2000
"""How much shorter than the longest part a range of the whole may be, for clocks that differ."""


@dataclass(frozen=True)
class Proved:
    """Who asked and proved it; what they asked; the digests that the log keeps."""

    who: str
    role: str
    weaker: bool
    assertion: str | None
    request: dict[str, Any]
    request_sha256: str

    @property
    def recordings(self) -> list[str]:
        """The recordings it is about."""
        return list(self.request.get("recordings", []))

    def fields(self) -> dict[str, Any]:
        """What every entry about it carries."""
        return {
            "role": self.role, "method": "totp" if self.weaker else "passkey", "weaker": self.weaker or None,
            "assertion": self.assertion, "request": self.request_sha256,
        }  # fmt: skip


def begin_request(
    custody: Custody, message: dict[str, Any], now: datetime, terminal: str | None = None
) -> dict[str, Any]:
    """Write the request that is to be proved, with a nonce of ours; returns it with passkey options (None without a passkey).

    `terminal` is the digest of the secret with which a terminal collects the answer.
    Raises RequestError for a field that does not fit, NotFound for a recording that was not adopted, Denied for nobody we know.
    """
    action = message.get("action")
    name = message.get("person")
    person = live_person(custody, name)
    if person is None:
        custody.refusals.note("open")
        raise Denied("person: expected one who may sign in here")
    if action == "confirm":
        asked = read_export(custody, message)
    elif action in RECORDING_ACTIONS:
        asked = read_recordings(custody, message, str(action))
    elif action == "invite":
        if message.get("role") not in ROLES or not isinstance(message.get("name"), str):
            raise RequestError(f"role, name: expected one of {', '.join(ROLES)}, and a name")
        asked = {"role": message["role"], "name": message["name"]}
    elif action in EXCEPTION_ACTIONS:
        asked = read_exception_request(custody, message, str(action), now)
    elif action == "revoke":
        if not isinstance(message.get("who"), str) or message["who"] not in custody.state.people:
            raise NotFound("who: expected a person who enrolled here")
        asked = {"who": message["who"]}
    elif action in DEVICE_ACTIONS:
        asked = read_device_request(custody, str(action), message, now)
    else:
        raise RequestError("action: expected one that a person can ask for")
    request: dict[str, Any] = {"v": 1, "at": format_time(now), "person": name, "action": action, **asked}
    if terminal is not None:
        request["terminal"] = terminal
    nonce = custody.nonces.ask("open", request, now)
    request["nonce"] = to_text(nonce)
    options = None
    if person.passkeys:
        allowed = [passkey.credential_id for passkey in person.passkeys]
        options = request_options(custody.party, challenge_of(canonical.encode(request)), allowed)
    return {"request": request, "options": options}


def prove(custody: Custody, message: dict[str, Any], actions: tuple[str, ...], now: datetime) -> Proved:
    """Step 1: take the request out of waiting and verify its proof. Raises Denied, after the denial stands in the log."""
    given = message.get("request")
    request: dict[str, Any] | None = None
    why = "unknown-request"
    try:
        claimed = canonical.encode(given)
        request = custody.nonces.take("open", to_bytes(given.get("nonce") if isinstance(given, dict) else None, "nonce"), now)
        why = "request-changed"
        written = canonical.encode(request)
        if not hmac.compare_digest(written, claimed) or request["action"] not in actions:
            raise Denied("request: expected the one that was asked, unchanged")
        why = "no-proof" if message.get("response") is None and message.get("code") is None else "proof-refused"
        if message.get("response") is not None:
            who, assertion = verify_passkey(custody, message["response"], challenge_of(written), now)
        else:
            who, assertion = request["person"], None
            verify_one_time_code(custody, who, message.get("code"), now)
        why = "another-person"
        person = live_person(custody, who)
        if person is None or who != request["person"]:
            raise Denied("proof: expected that of the person who asked")
    except CallsealError as error:
        _refuse(custody, why, now, request)
        denied = Denied(f"proof: refused ({why})")
        custody.terminals.settle((request or {}).get("terminal"), denied, now)
        raise denied from error
    digest = hashlib.sha256(written).hexdigest()
    return Proved(who, person.role, assertion is None, assertion, request, digest)


def decide(custody: Custody, proved: Proved, recording: str | None = None) -> Decision:
    """Step 2 for one recording, or for the installation."""
    request = proved.request
    held = recording is not None and is_held(custody, recording)
    return custody.policy.decide(Question(
        proved.who, proved.role, request["action"], recording, held=held, weaker=proved.weaker,
        reason_class=request.get("reason_class", ""), target_role=request.get("role", ""),
    ))  # fmt: skip


def check_policy(custody: Custody, proved: Proved, now: datetime) -> None:
    """Decide for every recording of a request. Raises Denied, after the denial stands in the log."""
    about: list[str | None] = [*proved.recordings] or [None]
    for recording in about:
        decision = decide(custody, proved, recording)
        if not decision.allowed:
            deny(custody, decision.reasons[0], now, proved.request, proved)
            raise Denied(f"policy: {', '.join(decision.reasons)}")


def deny(
    custody: Custody, why: str, now: datetime, request: dict[str, Any] | None = None, proved: Proved | None = None
) -> int:
    """Log a denial: one entry for each recording that was asked for. Returns the first entry's number."""
    fields: dict[str, Any] = {}
    if request is not None:
        fields = {"who": request["person"], "action": request["action"], "reason_class": request.get("reason_class")}
        fields["request"] = hashlib.sha256(canonical.encode(request)).hexdigest()
        if "from_ms" in request:
            fields["range"] = [request["from_ms"], request["to_ms"]]
    if proved is not None:
        fields |= proved.fields() | {"policy": custody.policy.digest}
    recordings = (request or {}).get("recordings", [None])
    entries = []
    for at, recording in enumerate(recordings):
        detail = None
        if recording and request and "reason" in request:
            detail = keep_words(custody, recording, request, custody.ledger.size + at)
        entries.append(custody.ledger.make(
            "OpeningDenied", now, at, decision="deny", why=why, what=recording, detail=detail, **fields
        ))  # fmt: skip
    return custody.commit(entries)


def keep_words(custody: Custody, recording: str, request: dict[str, Any], index: int) -> str | None:
    """Seal the reason's words and case beside the log, under the recording's leaf; None where that is gone."""
    try:
        leaf = leaf_key(custody, recording)
    except (Destroyed, NotFound):
        return None
    return custody.details.keep(index, leaf, {"reason": request.get("reason", ""), "case": request.get("case", "")})


def _refuse(custody: Custody, why: str, now: datetime, request: dict[str, Any] | None) -> None:
    """An entry for each refusal; where nobody asked that we know, beyond a few a minute their number only (section 4)."""
    if request is not None or custody.refusals.is_rare("open", now):
        deny(custody, why, now, request)
    else:
        custody.refusals.note("open")


def read_export(custody: Custody, message: dict[str, Any]) -> dict[str, Any]:
    """Which export is confirmed as gone, and how that is known. Raises RequestError, NotFound."""
    export = custody.history.exports.get(message["export"]) if type(message.get("export")) is int else None
    if export is None:
        raise NotFound("export: expected the number of an entry that allowed one")
    if message.get("how") not in EXPORT_ENDS:
        raise RequestError(f"how: expected one of {', '.join(EXPORT_ENDS)}")
    return {"recordings": [export.recording], "export": message["export"], "how": message["how"]}


def read_recordings(custody: Custody, message: dict[str, Any], action: str) -> dict[str, Any]:
    """The recordings, the reason and, for an opening, the range that are asked for. Raises RequestError, NotFound."""
    recordings = message.get("recordings")
    if not isinstance(recordings, list) or not 1 <= len(recordings) <= RECORDING_LIMIT:
        raise RequestError(f"recordings: expected 1 to {RECORDING_LIMIT} ids")
    recordings = [parse_recording_id(str(recording)).hex() for recording in recordings]
    if len(set(recordings)) < len(recordings):
        raise RequestError("recordings: expected each once")
    check_reason(message.get("reason_class"), message.get("reason"), message.get("case", ""))
    asked = {
        "recordings": recordings, "reason_class": message["reason_class"], "reason": message["reason"].strip(),
        "case": message.get("case", "").strip(),
    }  # fmt: skip
    for recording in recordings:
        known(custody, recording)
    if action in ("erase", "hold"):
        twins = [twin for recording in recordings for twin in custody.history.same_call(recording)]
        asked["recordings"] = list(dict.fromkeys([*recordings, *twins]))  # a call recorded twice is kept and destroyed as one
    if action == "hold" and not asked["case"]:
        raise RequestError("case: expected a reference for the hold")
    if action == "release":
        if message.get("hold") not in custody.state.holds:
            raise NotFound("hold: expected one that stands")
        asked["hold"] = message["hold"]
    if action in OPENING_ACTIONS:
        asked |= _read_range(custody, message, recordings)
    return asked


def _read_range(custody: Custody, message: dict[str, Any], recordings: list[str]) -> dict[str, Any]:
    """The range in milliseconds. Less than the whole names its messages here, so that the person signs them."""
    from_ms, to_ms, indexes = message.get("from_ms"), message.get("to_ms"), message.get("indexes")
    if type(from_ms) is not int or type(to_ms) is not int or not 0 <= from_ms <= to_ms <= LONGEST_MS:
        raise RequestError(f"from_ms, to_ms: expected a range within 0 to {LONGEST_MS}")
    if indexes is None:
        longest = max(known(custody, recording).duration_ms or 0 for recording in recordings)
        if from_ms != 0 or to_ms + SLACK_MS < longest:
            raise RequestError("indexes: expected the messages of the range, where it is not the whole recording")
        return {"from_ms": from_ms, "to_ms": to_ms}
    read_indexes(indexes, recordings)
    return {"from_ms": from_ms, "to_ms": to_ms, "indexes": indexes}


def read_indexes(indexes: Any, recordings: list[str]) -> dict[str, dict[int, tuple[int, int]]]:
    """`{recording: [[part, first, last], …]}` as ranges of messages by part. Raises RequestError."""
    if not isinstance(indexes, dict) or not set(indexes) <= set(recordings):
        raise RequestError("indexes: expected lists by recording")
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for recording, spans in indexes.items():
        found[recording] = {}
        for span in spans if isinstance(spans, list) else [None]:
            if not isinstance(span, list) or len(span) != 3 or not all(type(number) is int for number in span):
                raise RequestError("indexes: expected [part, first, last]")
            part, first, last = span
            if not (0 <= part < 1 << 32 and 0 <= first <= last < 1 << 32) or part in found[recording]:
                raise RequestError("indexes: expected each part once, first to last")
            found[recording][part] = (first, last)
    return found
