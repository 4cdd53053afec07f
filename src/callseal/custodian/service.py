"""What the custodian answers: a message type, its function. Unknown types are refused; nothing else is reachable.

docs/architecture.md, "Keyring protocol". Invariants: one message is answered after another, so that keystore and log have one
order; a fault of our own is InternalError, and its words do not leave this process.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from callseal.custodian.adoption import adopt_part, find_tokens, report_sealed
from callseal.custodian.call_records import index_records
from callseal.custodian.card import rotate_cards
from callseal.custodian.custody import Custody
from callseal.custodian.destruction import destroy_due, find_due, finish_pending
from callseal.custodian.device import enrol_device, list_devices, revoke_device
from callseal.custodian.erasure import begin_second, erase_recordings, finish_second
from callseal.custodian.exceptions import approve_exception, ask_exception, end_exception, end_expired, list_exceptions
from callseal.custodian.exports import confirm_gone, list_exports, report_made
from callseal.custodian.holding import list_every_hold, list_holds, place_hold, release_hold
from callseal.custodian.manifest import current_manifest, publish_manifest
from callseal.custodian.opening import open_recordings, read_history
from callseal.custodian.people import (
    begin_enrolment,
    begin_sign_in,
    finish_enrolment,
    finish_sign_in,
    list_people,
    make_invite,
    revoke,
)
from callseal.custodian.relay import append_events, end_spool_of
from callseal.custodian.request import begin_request, check_policy, deny, prove
from callseal.custodian.terminal import begin_at_terminal, cancel, collect, take_up
from callseal.errors import CallsealError, RequestError
from callseal.model.ids import parse_recording_id
from callseal.model.message import Message, refuse, reply_to

Fields = dict[str, Any]
Answer = Callable[[Custody, Message, datetime], Fields]


def answer(custody: Custody, message: Message, now: datetime) -> Message:
    """The reply to one message; a refusal is a reply too. Raises only what is our own fault."""
    function = ANSWERS.get(message["type"])
    try:
        if function is None:
            raise RequestError("type: expected one of the keyring protocol")
        return reply_to(message, **function(custody, message, now))
    except CallsealError as error:
        return refuse(message, error)


def keep_house(custody: Custody, now: datetime, *, stopping: bool = False) -> None:
    """What time asks for: cards, certificates that become final, counted refusals. Call it every minute, and at the end."""
    counts = custody.refusals.due(now, all_of_them=stopping)
    custody.ledger.append(
        [custody.ledger.make("RefusalsCounted", now, at, kind=kind, count=count) for at, (kind, count) in enumerate(counts)]
    )
    custody.terminals.sweep(now)
    if not stopping:
        finish_pending(custody, now)
        rotate_cards(custody, now)
        end_expired(custody, now)


def _status(custody: Custody, message: Message, now: datetime) -> Fields:
    state = custody.state
    custody.check()
    return {
        "ready": bool(state.epochs), "epoch": state.last_epoch, "log_size": custody.ledger.size, "origin": state.origin,
        "cell_driver": custody.keystore.driver, "rp_id": custody.party.rp_id, "origins": list(custody.party.origins),
        "people": len(state.people), "enrolled": len(state.people), "policy": custody.policy.digest,
        "waiting_invites": sum(1 for invite in state.invites.values() if invite.expires_at > now),
    }  # fmt: skip


def _create_invite(custody: Custody, message: Message, now: datetime) -> Fields:
    custody.check()
    proved = prove(custody, message, ("invite",), now)
    check_policy(custody, proved, now)
    try:
        token = make_invite(custody, proved.request["role"], proved.request["name"], now)
    except CallsealError:
        deny(custody, "not-possible", now, proved.request, proved)
        raise
    fields = proved.fields() | {"by": proved.who, "role": proved.request["role"], "policy": custody.policy.digest}
    return {"token": token, "log_index": custody.record("InviteCreated", now, **fields)}


def _revoke(custody: Custody, message: Message, now: datetime) -> Fields:
    custody.check()
    proved = prove(custody, message, ("revoke",), now)
    check_policy(custody, proved, now)
    try:
        revoke(custody, proved.request["who"], now)
    except CallsealError:
        deny(custody, "not-possible", now, proved.request, proved)
        raise
    fields = proved.fields() | {"by": proved.who, "who": proved.request["who"], "policy": custody.policy.digest}
    return {"log_index": custody.record("PersonRevoked", now, **fields)}


def _history(custody: Custody, message: Message, now: datetime) -> Fields:
    recording = parse_recording_id(str(message.get("recording"))).hex()
    return {"entries": read_history(custody, recording), "holds": list_holds(custody, recording)}


def _end_spool(custody: Custody, message: Message, now: datetime) -> Fields:
    end_spool_of(custody, message.get("epoch"))
    return {}


ANSWERS: Final[dict[str, Answer]] = {
    "status": _status,
    "part.adopt": adopt_part,
    "part.sealed": report_sealed,
    "event.append": lambda custody, message, now: {"through": append_events(custody, message.get("events"), now)},
    "epoch.drained": _end_spool,
    "records.index": index_records,
    "search.tokens": lambda custody, message, now: {"tokens": find_tokens(custody, message.get("value"))},
    "invite.create": _create_invite,
    "enrol.begin": lambda custody, message, now: begin_enrolment(custody, message.get("token"), message.get("kind"), now),
    "enrol.finish": finish_enrolment,
    "signin.begin": lambda custody, message, now: begin_sign_in(custody, now),
    "signin.finish": finish_sign_in,
    "open.begin": begin_request,
    "open": open_recordings,
    "history": _history,
    "terminal.begin": begin_at_terminal,
    "terminal.take_up": take_up,
    "terminal.collect": collect,
    "terminal.cancel": cancel,
    "exports.list": list_exports,
    "export.made": report_made,
    "export.gone": confirm_gone,
    "exception.ask": ask_exception,
    "exception.approve": approve_exception,
    "exception.end": end_exception,
    "exceptions.list": list_exceptions,
    "hold.place": place_hold,
    "hold.release": release_hold,
    "holds.list": lambda custody, message, now: {"holds": list_every_hold(custody)},
    "dispose.due": lambda custody, message, now: {"groups": find_due(custody, now)},
    "dispose.run": lambda custody, message, now: {"certificates": destroy_due(custody, now)},
    "erase": erase_recordings,
    "second.begin": begin_second,
    "second": finish_second,
    "people.list": lambda custody, message, now: {"people": list_people(custody)},
    "person.revoke": _revoke,
    "device.enrol": enrol_device,
    "device.revoke": revoke_device,
    "device.list": lambda custody, message, now: list_devices(custody, now),
    "manifest.current": lambda custody, message, now: current_manifest(custody),
    "manifest.publish": publish_manifest,
}
