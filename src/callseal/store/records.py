"""Questions about the phone system's records, by day and peer. Reading only; `flows.reconcile` writes.

Every list has a limit. No identifier and no number stands in these rows: tokens, times and ids.
"""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, exists, func, select, type_coerce

from callseal.errors import NotFound
from callseal.model.call import CallState
from callseal.model.record import KeptRecord, RecordedDay, RecordState
from callseal.store import schema

DAY_MS = 86_400_000
DAY_LIMIT = 400
LIST_LIMIT = 500
_SEALED = (CallState.SEALED.value, CallState.INTERRUPTED.value, CallState.DESTROYED.value)
_FIELD = {state: state.value for state in RecordState} | {RecordState.UNSEALED: "gaps"}


def list_days(connection: Connection, first: date, last: date) -> list[RecordedDay]:
    """Each peer's days from `first` to `last`, newest first; days without a record of theirs are left out."""
    table = schema.records
    of_days = _within(table.c.started_at, first, last)
    day = (type_coerce(table.c.started_at, BigInteger) // DAY_MS).label("day")
    counted = select(day, table.c.peer, table.c.state, func.count()).where(of_days).group_by(day, table.c.peer, table.c.state)
    days: dict[tuple[int, str], RecordedDay] = {}
    for number, peer, state, count in connection.execute(counted):
        key = int(number), str(peer)
        known = days.setdefault(key, RecordedDay(_day_of(key[0]), key[1]))
        name = _FIELD[RecordState(state)]
        days[key] = replace(known, records=known.records + count, **{name: getattr(known, name) + count})
    skews = _skews(connection, first, last)
    unlisted = _count_unlisted(connection, first, last)
    ordered = sorted(days.items(), key=lambda item: (-item[0][0], item[0][1]))[:DAY_LIMIT]
    return [replace(found, unlisted=unlisted.get(key, 0), skew_ms=skews.get(key)) for key, found in ordered]


def list_unsealed(connection: Connection, first: date, last: date, peer: str = "", limit: int = LIST_LIMIT) -> list[KeptRecord]:
    """The records whose call is not sealed, newest first."""
    table = schema.records
    of = and_(table.c.state == RecordState.UNSEALED.value, _within(table.c.started_at, first, last))
    query = select(table).where(of).order_by(table.c.started_at.desc(), table.c.record).limit(min(limit, LIST_LIMIT))
    return [kept(row) for row in connection.execute(query.where(table.c.peer == peer) if peer else query)]


def get_record(connection: Connection, record: str) -> KeptRecord:
    """One record. Raises NotFound."""
    row = connection.execute(select(schema.records).where(schema.records.c.record == record)).one_or_none()
    if row is None:
        raise NotFound("record: expected one that is known here")
    return kept(row)


def list_near(connection: Connection, record: KeptRecord, within: timedelta) -> list[tuple[str, datetime]]:
    """Recordings of the same peer that began about when a record says its call did, nearest first."""
    calls = schema.calls
    first, last = record.started_at - within, record.started_at + within
    near = and_(calls.c.peer == record.peer, calls.c.started_at >= first, calls.c.started_at <= last)
    rows = connection.execute(select(calls.c.recording, calls.c.started_at).where(near).limit(LIST_LIMIT))
    return sorted(((row[0], row[1]) for row in rows), key=lambda pair: abs(pair[1] - record.started_at))[:20]


def skew_of(connection: Connection, peer: str, now: datetime) -> int | None:
    """How far a peer's clock is ahead of ours in ms, by the last day's calls; None where nothing tells."""
    table = schema.records
    of = and_(table.c.peer == peer, table.c.skew_ms.is_not(None), table.c.received_at > now - timedelta(days=1))
    found = list(connection.scalars(select(table.c.skew_ms).where(of).order_by(table.c.received_at.desc()).limit(LIST_LIMIT)))
    return int(median(found)) if found else None


def kept(row: Row[Any]) -> KeptRecord:
    """A row as the noun."""
    return KeptRecord(
        row.record, row.peer, row.started_at, row.duration_ms, RecordState(row.state), row.why, row.recording, row.found_by,
        row.skew_ms, row.source, row.received_at,
    )  # fmt: skip


def _skews(connection: Connection, first: date, last: date) -> dict[tuple[int, str], int]:
    table = schema.records
    of = and_(_within(table.c.started_at, first, last), table.c.skew_ms.is_not(None))
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in connection.execute(select(table.c.started_at, table.c.peer, table.c.skew_ms).where(of).limit(100_000)):
        found[_number_of(row.started_at), row.peer].append(row.skew_ms)
    return {key: int(median(values)) for key, values in found.items()}


def _count_unlisted(connection: Connection, first: date, last: date) -> dict[tuple[int, str], int]:
    """Sealed calls that no record names, by day and peer; of a call that was recorded twice, one record is enough."""
    calls, table = schema.calls, schema.records
    twin = calls.alias("twin")
    itself = table.c.recording == calls.c.recording
    its_twin = and_(twin.c.same_call_as == calls.c.recording, table.c.recording == twin.c.recording)
    named = exists().where(itself) | exists().where(table.c.recording == calls.c.same_call_as) | exists().where(its_twin)
    day = (type_coerce(calls.c.started_at, BigInteger) // DAY_MS).label("day")
    of = and_(_within(calls.c.started_at, first, last), calls.c.state.in_(_SEALED), ~named)
    query = select(day, calls.c.peer, func.count()).where(of).group_by(day, calls.c.peer)
    return {(int(number), peer): count for number, peer, count in connection.execute(query)}


def _within(column: Any, first: date, last: date) -> Any:
    begin = datetime.combine(first, time(), UTC)
    return and_(column >= begin, column < datetime.combine(last, time(), UTC) + timedelta(days=1))


def _number_of(moment: datetime) -> int:
    return int(moment.timestamp() * 1000) // DAY_MS


def _day_of(number: int) -> date:
    return date.fromordinal(date(1970, 1, 1).toordinal() + number)
