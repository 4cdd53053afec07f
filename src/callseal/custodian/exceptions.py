"""Exceptions from SRTP: an administrator asks, another person, a compliance officer, approves; both by proof, both in the log.

docs/spec/open-call.md section 4, "Exceptions from SRTP".
1. `exception.ask`: peer, network, interface, days and reason, proved; an entry `ExceptionAsked`.
2. `exception.approve`: the officer signs what was asked; an entry `ExceptionMade` with its end.
3. The note of all that stand is signed and published; signalling believes it and nothing else.
4. It ends by its day, or by `exception.end`: an entry `ExceptionEnded`.

Invariants: what stands is what the log says stands; nobody approves what they asked; no exception is longer than 30 days; without
a fresh note, none holds.
"""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.audit.exception import LIMIT, ClearException, ExceptionNote, encode_exceptions
from callseal.audit.note import sign_note
from callseal.custodian.custody import Custody
from callseal.custodian.durable import make_folder, write_whole
from callseal.custodian.exception_file import days_of, find_exception, has_ended, keep_exceptions, known_exceptions
from callseal.custodian.history import Excepted
from callseal.custodian.request import Proved, check_policy, deny, prove
from callseal.errors import Conflict, Denied, NotFound, Unavailable
from callseal.model.clock import format_time
from callseal.vault.tree import KeyTree

NOTE_LIVES: Final = timedelta(hours=48)
NOTE_RENEWED: Final = timedelta(hours=12)


def ask_exception(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Step 1. Raises Denied, Conflict."""
    custody.check()
    proved = prove(custody, message, ("except",), now)
    check_policy(custody, proved, now)
    if len(known_exceptions(custody)) >= LIMIT:
        deny(custody, "not-possible", now, proved.request, proved)
        raise Conflict(f"exceptions: expected at most {LIMIT}")
    request = proved.request
    until = now + timedelta(days=request["days"])
    asked = ClearException(os.urandom(16).hex(), request["peer"], request["network"], request["interface"], until)
    keep_exceptions(custody, asked)
    index = custody.ledger.size
    year = custody.state.details.setdefault(f"{now.year:04d}", KeyTree.from_seed(os.urandom(32)))
    detail = custody.details.keep(index, year.leaf(index), {"reason": request["reason"], **asked.plain()})
    entry = custody.ledger.make("ExceptionAsked", now, what=asked.id, digest=asked.digest(), by=proved.who, detail=detail,
                                policy=custody.policy.digest, **proved.fields())  # fmt: skip
    return {"exception": asked.id, "log_index": custody.commit([entry])}


def approve_exception(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Steps 2 and 3. Raises Denied (also for whoever asked it), NotFound, Conflict."""
    custody.check()
    proved = prove(custody, message, ("approve",), now)
    check_policy(custody, proved, now)
    entry, asked = _proved_one(custody, proved, now)
    if entry.made:
        deny(custody, "not-possible", now, proved.request, proved)
        raise Conflict("exception: expected one that was not approved yet")
    if entry.by == proved.who:
        deny(custody, "same-person", now, proved.request, proved)
        raise Denied("exception: expected another person than the one who asked")
    made = replace(asked, until=now + timedelta(days=days_of(asked, entry.asked_at)))
    keep_exceptions(custody, made)
    index = custody.record(
        "ExceptionMade", now, what=made.id, digest=made.digest(), by=proved.who, who=entry.by,
        until=format_time(made.until), policy=custody.policy.digest, **proved.fields(),
    )  # fmt: skip
    publish_exceptions(custody, now, anew=True)
    return {"until": format_time(made.until), "log_index": index}


def end_exception(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Step 4 by a person: it is withdrawn, or was never approved. Raises Denied, NotFound."""
    custody.check()
    proved = prove(custody, message, ("withdraw",), now)
    check_policy(custody, proved, now)
    entry, asked = _proved_one(custody, proved, now)
    index = custody.record(
        "ExceptionEnded", now, what=asked.id, why="withdrawn" if entry.made else "refused", by=proved.who,
        policy=custody.policy.digest, **proved.fields(),
    )  # fmt: skip
    publish_exceptions(custody, now, anew=True)
    return {"log_index": index}


def list_exceptions(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What was asked and what stands, with who and why; the newest first."""
    shown = []
    for exception in known_exceptions(custody).values():
        entry = custody.history.exceptions[exception.id]
        shown.append(exception.plain() | {
            "state": "stands" if entry.made else "asked", "asked_by": entry.by, "asked_at": format_time(entry.asked_at),
            "approved_by": entry.approved_by, "days": days_of(exception, entry.made_at or entry.asked_at),
            "reason": _words(custody, entry), "log_index": entry.index,
        })  # fmt: skip
    return {"exceptions": sorted(shown, key=lambda item: -int(item["log_index"]))}


def end_expired(custody: Custody, now: datetime) -> None:
    """Step 4 by the clock, and a note that does not grow old. Call it every minute."""
    over = [one for one in known_exceptions(custody).values() if has_ended(custody, one, now)]
    if over:
        make = custody.ledger.make
        custody.commit([make("ExceptionEnded", now, at, what=one.id, why="expired") for at, one in enumerate(over)])
        keep_exceptions(custody)
    publish_exceptions(custody, now, anew=bool(over))


def publish_exceptions(custody: Custody, now: datetime, *, anew: bool = False) -> None:
    """Sign and write the note of all that stand; without `anew`, only where the last is old. Raises Unavailable."""
    if not anew and custody.note_written_at is not None and now - custody.note_written_at < NOTE_RENEWED:
        return
    standing = [one for one in known_exceptions(custody).values() if custody.history.exceptions[one.id].made and now < one.until]
    note = ExceptionNote(custody.ledger.size, now + NOTE_LIVES, tuple(sorted(standing, key=lambda one: one.id)))
    make_folder(custody.place.cards)
    try:
        text = encode_exceptions(note, lambda plain: sign_note(plain, custody.ledger.signer).decode())
        write_whole(custody.place.cards / "exceptions.note", text.encode())
    except OSError as error:
        raise Unavailable(f"exceptions: expected a durable write, got {error.strerror}") from error
    custody.note_written_at = now


def _proved_one(custody: Custody, proved: Proved, now: datetime) -> tuple[Excepted, ClearException]:
    try:
        return find_exception(custody, proved.request["exception"], now)
    except NotFound:
        deny(custody, "not-possible", now, proved.request, proved)
        raise


def _words(custody: Custody, entry: Excepted) -> str:
    tree = custody.state.details.get(f"{entry.asked_at.year:04d}")
    if tree is None or entry.detail is None:
        return ""
    words = custody.details.read(entry.index, tree.leaf(entry.index), entry.detail)
    return str((words or {}).get("reason", ""))
