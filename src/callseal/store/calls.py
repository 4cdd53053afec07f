"""Questions about calls, answered in `model.call`'s nouns. Reading only; `store.ledger` writes.

Every list has a limit; every function takes an open connection, so that one page is one consistent view.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, or_, select

from callseal.errors import NotFound, RequestError
from callseal.model.call import (
    Alert,
    Call,
    CallDetail,
    CallEvent,
    CallState,
    Certificate,
    Counts,
    Gap,
    Leg,
    Part,
    PartState,
    Severity,
)
from callseal.store import schema

RELATED_LIMIT = 50
_FIRST, _TWIN = schema.calls.alias("first"), schema.calls.alias("twin")
_COUNTED = select(func.count()).select_from(_TWIN).where(_TWIN.c.same_call_as == schema.calls.c.recording)
_TWINS = _COUNTED.scalar_subquery().label("twins")
LIST_LIMIT = 500
EVENT_LIMIT = 2000
TOKEN_LIMIT = 5000


def list_calls(
    connection: Connection,
    limit: int = 50,
    before: tuple[datetime, str] | None = None,
    state: CallState | None = None,
    tokens: Sequence[str] | None = None,
    day: date | None = None,
) -> list[Call]:
    """Calls, newest first. A call that is recorded twice stands once, as its first recording, unless it is searched for.

    `before` is `(started_at, recording)` of the last call of the page before; `tokens` are the custodian's search tokens, of
    which a call must carry one; `day` is a UTC day. Raises RequestError outside the limits.
    """
    if not 1 <= limit <= LIST_LIMIT:
        raise RequestError(f"limit: expected 1 to {LIST_LIMIT}, got {limit}")
    query = select(schema.calls, _TWINS)
    if before is not None:
        at, recording = before
        older = schema.calls.c.started_at < at
        query = query.where(or_(older, and_(schema.calls.c.started_at == at, schema.calls.c.recording < recording)))
    if state is not None:
        query = query.where(schema.calls.c.state == state.value)
    if day is not None:
        start = datetime.combine(day, time(), UTC)
        query = query.where(schema.calls.c.started_at >= start, schema.calls.c.started_at < start + timedelta(days=1))
    if tokens is not None:
        query = _with_tokens(query, tokens)
    else:
        first = and_(_FIRST.c.recording == schema.calls.c.same_call_as, _FIRST.c.peer == schema.calls.c.peer)
        query = query.where(~exists().where(first))
    query = query.order_by(schema.calls.c.started_at.desc(), schema.calls.c.recording.desc()).limit(limit)
    return [_call(row) for row in connection.execute(query)]


def get_call(connection: Connection, recording: str) -> CallDetail:
    """One call with its parts, gaps and newest events in order. Raises NotFound."""
    row = connection.execute(select(schema.calls, _TWINS).where(schema.calls.c.recording == recording)).one_or_none()
    if row is None:
        raise NotFound("recording: expected one that is known here")
    of = {name: table.c.recording == recording for name, table in schema.metadata.tables.items() if "recording" in table.c}
    parts = connection.execute(select(schema.parts).where(of["parts"]).order_by(schema.parts.c.part))
    gaps = connection.execute(
        select(schema.gaps).where(of["gaps"]).order_by(schema.gaps.c.part, schema.gaps.c.from_ms).limit(EVENT_LIMIT)
    )
    newest = select(schema.events).where(of["events"]).order_by(schema.events.c.at.desc(), schema.events.c.n.desc())
    events = sorted(connection.execute(newest.limit(EVENT_LIMIT)), key=lambda event: (event.at, event.source, event.n))
    return CallDetail(
        call=_call(row),
        parts=tuple(_part(part) for part in parts),
        gaps=tuple(Gap(gap.part, gap.from_ms, gap.to_ms, gap.why) for gap in gaps),
        events=tuple(CallEvent(event.source, event.n, event.at, event.type, event.data) for event in events),
    )


def list_related(connection: Connection, call: Call) -> list[Call]:
    """The other recordings of the same call and of the same conversation, oldest first."""
    table = schema.calls
    first, begun = call.same_call_as or call.recording, call.conversation or call.recording
    same = or_(table.c.recording.in_([first, begun]), table.c.same_call_as == first, table.c.conversation == begun)
    query = select(table, _TWINS).where(same, table.c.recording != call.recording, table.c.peer == call.peer)
    rows = connection.execute(query.order_by(table.c.started_at, table.c.recording).limit(RELATED_LIMIT))
    return [_call(row) for row in rows]


def get_rows(connection: Connection, recording: str) -> list[bytes]:
    """The wrapped keys of a recording's adopted parts, in order, for a request to the custodian."""
    table = schema.parts
    query = select(table.c.row).where(table.c.recording == recording, table.c.row.is_not(None)).order_by(table.c.part)
    return [bytes(row) for row in connection.scalars(query)]


def list_alerts(connection: Connection, limit: int = 50, open_only: bool = True) -> list[Alert]:
    """Alerts, newest first."""
    if not 1 <= limit <= LIST_LIMIT:
        raise RequestError(f"limit: expected 1 to {LIST_LIMIT}, got {limit}")
    query = select(schema.alerts).order_by(schema.alerts.c.last_at.desc(), schema.alerts.c.id.desc()).limit(limit)
    if open_only:
        query = query.where(schema.alerts.c.acknowledged_at.is_(None))
    return [
        Alert(
            id=row.id,
            at=row.at,
            last_at=row.last_at,
            times=row.times,
            kind=row.kind,
            severity=Severity(row.severity),
            recording=row.recording,
            text=row.text,
            acknowledged_by=row.acknowledged_by,
            acknowledged_at=row.acknowledged_at,
        )
        for row in connection.execute(query)
    ]


def get_started_at(connection: Connection, recordings: Sequence[str]) -> dict[str, datetime]:
    """When each of these calls began; one that is not known here is left out."""
    table = schema.calls
    query = select(table.c.recording, table.c.started_at).where(table.c.recording.in_(list(recordings)))
    return {row.recording: row.started_at for row in connection.execute(query)}


def list_certificates(connection: Connection, limit: int = 50) -> list[Certificate]:
    """Certificates of destruction, newest first."""
    table = schema.certificates
    rows = connection.execute(select(table).order_by(table.c.at.desc(), table.c.id.desc()).limit(min(limit, LIST_LIMIT)))
    return [Certificate(row.id, row.at, row.subject, row.state, row.final_on, row.log_index, row.detail) for row in rows]


def find_certificate(connection: Connection, recording: str, group: str | None) -> Certificate | None:
    """The certificate that names this recording: its own, or that of its group. None where it was not destroyed."""
    table = schema.certificates
    rows = connection.execute(select(table).where(table.c.subject.in_([f"recording:{recording}", f"group:{group}"])))
    for row in rows.all():
        if recording in row.detail.get("recordings", []):
            return Certificate(row.id, row.at, row.subject, row.state, row.final_on, row.log_index, row.detail)
    return None


def _with_tokens(query: Select[Any], tokens: Sequence[str]) -> Select[Any]:
    if len(tokens) > TOKEN_LIMIT:
        raise RequestError(f"tokens: expected at most {TOKEN_LIMIT}, got {len(tokens)}")
    carrying = select(schema.tokens.c.recording).where(schema.tokens.c.token.in_(list(tokens)))
    return query.where(schema.calls.c.recording.in_(carrying))


def _call(row: Row[Any]) -> Call:
    return Call(
        recording=row.recording,
        peer=row.peer,
        recording_class=row.recording_class,
        state=CallState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration_ms=row.duration_ms,
        sealed_through_ms=row.sealed_through_ms,
        parts=row.parts,
        legs=tuple(Leg(**leg) for leg in row.legs),
        transport=row.transport,
        counts=Counts(**row.counts),
        end_reason=row.end_reason,
        group=row.group_name,
        leaf=row.leaf,
        held=row.held,
        digest=row.digest,
        purpose=row.purpose,
        lawful_basis=row.lawful_basis,
        delete_by=row.delete_by,
        conversation=row.conversation,
        same_call_as=row.same_call_as,
        twins=row.twins,
    )


def _part(row: Row[Any]) -> Part:
    return Part(
        recording=row.recording,
        part=row.part,
        state=PartState(row.state),
        interrupted=row.interrupted,
        started_at=row.started_at,
        duration_ms=row.duration_ms,
        sealed_through_ms=row.sealed_through_ms,
        messages=row.messages,
        size_bytes=row.size_bytes,
        end_reason=row.end_reason,
        path=row.path,
        digest=row.digest,
        row=None if row.row is None else bytes(row.row),
        sealed_meta=None if row.sealed_meta is None else bytes(row.sealed_meta),
        log_index=row.log_index,
    )
