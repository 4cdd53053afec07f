"""Step 1 of the capture flow: numbered events become rows, each exactly once.

Source: docs/architecture.md "Events". The position of each source moves in the same transaction as the rows.
Invariants: what a row keeps of an event is listed here, and a text that could be a number is left out; a call that is first
heard of by its media stands with what is known, and is filled in when its signalling is read.
"""

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from callseal.config.settings import Retention
from callseal.errors import RequestError
from callseal.model.call import CallState, PartState
from callseal.model.clock import parse_time
from callseal.model.ids import parse_recording_id
from callseal.sip.oddities import known_oddities
from callseal.store import schema
from callseal.store.database import insert_new, put_row
from callseal.store.events import Event
from callseal.store.oddities import count_oddities

UNKNOWN_CLASS = "default"
_NUMBERS = frozenset({
    "part", "epoch", "from_ms", "to_ms", "count", "failed", "replayed", "messages", "duration_ms", "sealed_through_ms", "packets",
    "lost", "status", "pid", "bytes", "missing_from", "missing_to",
})  # fmt: skip
_WORDS = frozenset(["peer", "weight", "party", "class", "transport", "why", "what", "reason", "role", "source", "cure"])
_IDS = frozenset(["instance", "person", "digest", "conversation", "same_call_as", "record"])
_LEG_FIELDS = ("number", "label", "party", "codec", "suite", "protection", "detail")
_DIGITS = re.compile(r"(?:\d[ .\-()]{0,2}){5,}")
_ID = re.compile(r"[0-9a-z-]{1,64}")
_RECORDING = re.compile(r"[0-9a-f]{32}")
_TEXT_LIMIT = 120
_CURE_LIMIT = 240

_FURTHER_CALL, _FURTHER_PART = (
    update(table)
    .where(table.c.recording == bindparam("of"), table.c.sealed_through_ms < bindparam("through"))
    .values(sealed_through_ms=bindparam("through"))
    for table in (schema.calls, schema.parts)
)
_FURTHER_CALL = _FURTHER_CALL.where(schema.calls.c.state != CallState.DESTROYED.value)
_FURTHER_PART = _FURTHER_PART.where(schema.parts.c.part == bindparam("its"))


def take_event(connection: Connection, event: Event, retention: Retention) -> None:
    """Write what one event says into the rows. Call it once for each `(source, n)`, in order."""
    recording = _recording_of(event)
    at = parse_time(event["at"])
    data = keep_data(event["data"])
    if event["type"] == "Sealed":
        _sealed(connection, event["data"])
    else:
        row = {"source": event["source"], "n": event["n"], "at": at, "type": event["type"][:32]}
        insert_new(connection, schema.events, **row, recording=recording, data=data)
    if event["type"] == "OddityNoticed" and data.get("peer"):
        count_oddities(connection, data["peer"][:64], data.get("odd", ()), recording, at)
    rule = _RULES.get(event["type"])
    if rule is None or recording is None:
        return
    ensure_call(connection, recording, at, retention)
    if is_destroyed(connection, recording):
        return
    rule(connection, recording, event, data, at)


def keep_data(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that may stand in the database: counts, short words, random ids."""
    kept: dict[str, Any] = {}
    for name, value in data.items():
        if (name in _NUMBERS and type(value) is int) or (name in _IDS and isinstance(value, str) and _ID.fullmatch(value)):
            kept[name] = value
        elif name in _WORDS and isinstance(value, str):
            kept[name] = _plain_text(value, _CURE_LIMIT if name == "cure" else _TEXT_LIMIT)
        elif name == "odd" and isinstance(value, list):
            kept[name] = known_oddities(value)
    return kept


def ensure_call(connection: Connection, recording: str, at: datetime, retention: Retention) -> None:
    """Make a call's row where there is none, with what is known before its signalling is read."""
    row = {
        "recording": recording,
        "peer": "",
        "recording_class": UNKNOWN_CLASS,
        "state": CallState.LIVE.value,
        "started_at": at,
        "sealed_through_ms": 0,
        "parts": 0,
        "legs": [],
        "transport": "",
        "counts": {},
        "held": False,
        "purpose": retention.purpose,
        "lawful_basis": retention.lawful_basis,
        "delete_by": delete_by(at, retention),
    }
    insert_new(connection, schema.calls, **row)


def ensure_part(connection: Connection, recording: str, part: int, source: str, instance: str, at: datetime) -> None:
    """Make a part's row where there is none, and count it; a call that was thought over goes on."""
    row = {"recording": recording, "part": part, "state": PartState.LIVE.value, "source": source, "instance": instance}
    if insert_new(connection, schema.parts, **row, started_at=at):
        counted = select(func.count()).select_from(schema.parts).where(schema.parts.c.recording == recording).scalar_subquery()
        _set_call(connection, recording, parts=counted, state=CallState.LIVE.value)


def is_destroyed(connection: Connection, recording: str) -> bool:
    """Whether a recording's row says destroyed; nothing is written to it any more."""
    state = connection.scalar(select(schema.calls.c.state).where(schema.calls.c.recording == recording))
    return state == CallState.DESTROYED.value


def get_position(connection: Connection, name: str) -> int:
    """How far a follower has come; 0 before its first."""
    return int(connection.scalar(select(schema.positions.c.n).where(schema.positions.c.name == name)) or 0)


def set_position(connection: Connection, name: str, n: int) -> None:
    """Note how far a follower has come."""
    put_row(connection, schema.positions, name=name, n=n)


def delete_by(started_at: datetime, retention: Retention) -> datetime:
    """The first moment at which a recording is due: its UTC day, that day's end, and the days of its policy."""
    day = datetime.combine(started_at.date(), time(), started_at.tzinfo)
    return day + timedelta(days=retention.default_days + 1)


def _call_started(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    started_at = _time_or(event["data"].get("started_at"), at)
    known = {"peer": data.get("peer", "")[:64], "recording_class": data.get("class", UNKNOWN_CLASS)[:64]}
    known |= {"transport": data.get("transport", "")[:64], **_relations(data)}
    _set_call(connection, recording, **known, started_at=started_at, legs=_legs(event["data"]))


def _call_updated(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    if legs := _legs(event["data"]):
        _set_call(connection, recording, legs=legs)
    if relations := _relations(data):
        _set_call(connection, recording, **relations)


def _call_ended(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    _set_call(connection, recording, ended_at=at, end_reason=data.get("reason", "")[:64])


def _part_started(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    ensure_part(connection, recording, data.get("part", 0), event["source"], data.get("instance", ""), at)


def _sealed(connection: Connection, data: dict[str, Any]) -> None:
    """How far each live recording of a worker is durable. A call or part without a row gets one by its own events."""
    parts = data.get("parts")
    rows = [
        {"of": row[0], "its": row[1], "through": row[2]}
        for row in (parts if isinstance(parts, list) else [])
        if isinstance(row, list) and [type(value) for value in row] == [str, int, int] and _RECORDING.fullmatch(row[0])
    ]
    if rows:
        connection.execute(_FURTHER_CALL, rows)
        connection.execute(_FURTHER_PART, rows)


def _gap(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    from_ms, to_ms = data.get("from_ms", 0), data.get("to_ms", 0)
    row = {"recording": recording, "part": data.get("part", 0), "from_ms": from_ms, "to_ms": to_ms}
    insert_new(connection, schema.gaps, source=event["source"], n=event["n"], why=data.get("why", "")[:64], **row)
    _add_counts(connection, recording, gaps=1, gap_ms=max(0, to_ms - from_ms))


def _tones_withheld(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    _add_counts(connection, recording, withheld=data.get("count", 0))


def _packets_failed(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    _add_counts(connection, recording, failed=data.get("failed", 0), replayed=data.get("replayed", 0))


def _part_ended(connection: Connection, recording: str, event: Event, data: dict[str, Any], at: datetime) -> None:
    part = data.get("part", 0)
    ensure_part(connection, recording, part, event["source"], "", at)
    values = {name: data[name] for name in ("messages", "duration_ms", "sealed_through_ms") if name in data}
    table = schema.parts
    connection.execute(
        update(table)
        .where(table.c.recording == recording, table.c.part == part)
        .values(end_reason=data.get("reason", "")[:64], **values)
    )
    _add_counts(connection, recording, packets=data.get("packets", 0), lost=data.get("lost", 0))


_RULES: dict[str, Callable[[Connection, str, Event, dict[str, Any], datetime], None]] = {
    "CallStarted": _call_started,
    "CallUpdated": _call_updated,
    "CallEnded": _call_ended,
    "PartStarted": _part_started,
    "Gap": _gap,
    "TonesWithheld": _tones_withheld,
    "PacketsFailed": _packets_failed,
    "PartEnded": _part_ended,
}


def _set_call(connection: Connection, recording: str, **values: Any) -> None:
    connection.execute(update(schema.calls).where(schema.calls.c.recording == recording).values(**values))


def _add_counts(connection: Connection, recording: str, **more: int) -> None:
    counts = connection.scalar(select(schema.calls.c.counts).where(schema.calls.c.recording == recording)) or {}
    _set_call(connection, recording, counts={**counts, **{name: counts.get(name, 0) + n for name, n in more.items()}})


def _relations(data: dict[str, Any]) -> dict[str, str]:
    """The recordings, by id, that a call belongs with: the first of its conversation, and the first of the same call."""
    return {name: data[name] for name in ("conversation", "same_call_as") if _RECORDING.fullmatch(data.get(name, ""))}


def _legs(data: dict[str, Any]) -> list[dict[str, Any]]:
    legs = data.get("legs")
    kept = []
    for number, leg in enumerate(legs[:64] if isinstance(legs, list) else []):
        if isinstance(leg, dict):
            texts = {name: _plain_text(str(leg.get(name) or "")) for name in _LEG_FIELDS[1:]}
            kept.append({"number": leg["number"] if type(leg.get("number")) is int else number, **texts})
    return kept


def _plain_text(text: str, limit: int = _TEXT_LIMIT) -> str:
    """A text without any run of five or more digits, cut to its limit; what is not Unicode is shown as such."""
    return _DIGITS.sub("…", text[:limit]).encode("utf-8", "replace").decode()


def _recording_of(event: Event) -> str | None:
    try:
        return None if event["recording"] is None else parse_recording_id(event["recording"]).hex()
    except RequestError:
        return None


def _time_or(text: object, otherwise: datetime) -> datetime:
    try:
        return parse_time(str(text))
    except RequestError:
        return otherwise
