"""The phone system's own records → what was sealed: every call of theirs that has no recording is told of, within seconds.

1. `take`: calls as read (`read_records`) go to the custodian, which gives keyed tokens for them; only those are kept.
2. `step`: of each record that is not settled, find the recording that carries one of its identifiers, or else the only one with
   its numbers that began when it did, by their clock as measured.
3. Found and sealed with voice: sealed. Found and going on, or being sealed: wait. Of a class that is not to be recorded: exempt.
4. Not found within `GRACE`, and nothing that began then is still on its way: a gap. Say why as far as it is known, and tell once.
5. A gap whose recording comes later is closed; records older than what is kept are deleted.

Invariants: no identifier or number is kept; a record that comes again, by file or webhook, is the same record.
"""

import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, select, update

from callseal.model.call import CallState
from callseal.model.clock import format_time
from callseal.model.keyring import Asks
from callseal.model.record import CallRecord, RecordState
from callseal.store import schema
from callseal.store.database import Database, insert_new
from callseal.store.records import skew_of

BATCH: Final = 250
WAITING_AT_ONCE: Final = 500
GAPS_AT_ONCE: Final = 50
"""Records looked at in one step; the next step goes on behind them."""
GRACE: Final = timedelta(seconds=6)
"""A recording's end needs a few seconds to be adopted; a record may come before it."""
NUMBER_WINDOW: Final = timedelta(seconds=15)
ID_WINDOW: Final = timedelta(hours=15)
ON_ITS_WAY: Final = timedelta(seconds=5)
ON_ITS_WAY_UNMEASURED: Final = timedelta(seconds=30)
"""A recording that began so near, and is not adopted yet, may be the one; further off where their clock is not known."""
REFUSED_WITHIN: Final = timedelta(seconds=10)
LOOK_AGAIN: Final = timedelta(days=7)
DELETE_LIMIT: Final = 5000
OPEN: Final = (CallState.LIVE.value, CallState.ENDED.value)

Note = Callable[[str, str | None, dict[str, Any], datetime], object]


async def take_records(
    database: Database, keyring: Asks, peer: str, calls: Iterable[CallRecord], source: str, now: datetime
) -> dict[str, int]:
    """Step 1. Returns how many were `new`, `known` and `too_old` to have a recording.

    Raises RequestError, Unavailable; a batch is kept whole or not at all, and what was kept before may come again.
    """
    counts = {"new": 0, "known": 0, "too_old": 0}
    for batch in _batches(calls):
        asked = [
            {"call_ids": list(call.call_ids), "numbers": list(call.numbers), "started_at": format_time(call.started_at)}
            for call in batch
        ]
        reply = await keyring.ask("records.index", calls=asked)
        with database.write() as connection:
            for call, indexed in zip(batch, reply["calls"], strict=True):
                is_new = indexed is not None and _keep(connection, peer, call, indexed, source, now)
                counts["too_old" if indexed is None else "new" if is_new else "known"] += 1
    return counts


class Reconciliation:
    """Steps 2 to 5. `note` writes an event."""

    def __init__(self, database: Database, note: Note, keep: timedelta) -> None:
        self._database, self._note, self._keep = database, note, keep
        self._behind = {RecordState.WAITING: "", RecordState.UNSEALED: ""}

    def step(self, now: datetime) -> int:
        """Settle what can be settled; returns how many records turned out to be gaps now. Raises Unavailable."""
        with self._database.read() as connection:
            rows = [*self._next(connection, RecordState.WAITING, now), *self._next(connection, RecordState.UNSEALED, now)]
            skews = {peer: skew_of(connection, peer, now) for peer in {row.peer for row in rows}}
            changes = [(row, _judge(connection, row, skews[row.peer], now)) for row in rows]
        changes = [(row, values) for row, values in changes if any(getattr(row, name) != value for name, value in values.items())]
        told = 0
        for row, values in changes:
            if values["state"] == RecordState.UNSEALED.value and row.told_at is None:
                values["told_at"] = now
                told += 1
                facts = {"peer": row.peer, "why": values["why"], "record": row.record}
                self._note("CallNotSealed", values["recording"], facts, now)
        if changes:
            with self._database.write() as connection:
                for row, values in changes:
                    connection.execute(update(schema.records).where(schema.records.c.record == row.record).values(**values))
        return told

    def _next(self, connection: Connection, state: RecordState, now: datetime) -> list[Row[Any]]:
        """The next records of a state, in a round through all of them, so that none is left out however many there are."""
        table = schema.records
        limit = WAITING_AT_ONCE if state is RecordState.WAITING else GAPS_AT_ONCE
        of = and_(table.c.state == state.value, table.c.record > self._behind[state])
        if state is RecordState.UNSEALED:
            of = and_(of, table.c.received_at > now - LOOK_AGAIN)
        rows = list(connection.execute(select(table).where(of).order_by(table.c.record).limit(limit)))
        self._behind[state] = rows[-1].record if len(rows) == limit else ""
        return rows

    def forget_old(self, now: datetime) -> None:
        """Delete records of days whose recordings are no longer kept, and webhooks that can no longer be sent again."""
        table, tokens, hooks = schema.records, schema.record_tokens, schema.hooks
        with self._database.read() as connection:
            past = select(table.c.record).where(table.c.started_at < now - self._keep)
            old = list(connection.scalars(past.limit(DELETE_LIMIT)))
        with self._database.write() as connection:
            connection.execute(delete(tokens).where(tokens.c.record.in_(old)))
            connection.execute(delete(table).where(table.c.record.in_(old)))
            connection.execute(delete(hooks).where(hooks.c.at < now - timedelta(days=1)))


def _batches(calls: Iterable[CallRecord]) -> Iterable[list[CallRecord]]:
    whole = list(calls)
    return (whole[at : at + BATCH] for at in range(0, len(whole), BATCH))


def _keep(connection: Connection, peer: str, call: CallRecord, indexed: dict[str, Any], source: str, now: datetime) -> bool:
    """Write a record that is new; of one that is known, what is newly told. Returns whether it was new."""
    table = schema.records
    state, why = (RecordState.EXEMPT, call.exempt) if call.exempt else (RecordState.WAITING, "")
    record = secrets.token_hex(16)
    is_new = insert_new(
        connection, table, record=record, peer=peer, key=str(indexed["key"]), started_at=call.started_at,
        duration_ms=call.duration_ms, state=state.value, why=why, source=source, received_at=now, found_by="",
    )  # fmt: skip
    mine = and_(table.c.peer == peer, table.c.key == str(indexed["key"]))
    if not is_new:
        record = str(connection.scalar(select(table.c.record).where(mine)))
        if call.duration_ms is not None:
            connection.execute(update(table).where(mine, table.c.duration_ms.is_(None)).values(duration_ms=call.duration_ms))
        if call.exempt:
            connection.execute(update(table).where(mine).values(state=state.value, why=why))
    for kind in ("ids", "numbers"):
        for token in indexed[kind]:
            insert_new(connection, schema.record_tokens, record=record, token=token, kind=kind)
    return is_new


def _judge(connection: Connection, row: Row[Any], skew_ms: int | None, now: datetime) -> dict[str, Any]:
    """What a record's row should say now."""
    found, found_by = _find(connection, row, timedelta(milliseconds=skew_ms or 0))
    values: dict[str, Any] = {"recording": None, "found_by": found_by, "why": "", "skew_ms": None}
    if found is not None:
        values["recording"] = found.recording
        if found_by == "identifier":
            values["skew_ms"] = int((row.started_at - found.started_at).total_seconds() * 1000)
        if found.state in OPEN:
            return values | {"state": RecordState.WAITING.value}
        if found.counts.get("packets", 0) or found.state == CallState.DESTROYED.value:
            return values | {"state": RecordState.SEALED.value}
        return values | {"state": RecordState.UNSEALED.value, "why": "no-voice"}
    begun = row.started_at - timedelta(milliseconds=skew_ms or 0)
    near = ON_ITS_WAY_UNMEASURED if skew_ms is None else ON_ITS_WAY
    if now - row.received_at < GRACE or _is_on_its_way(connection, row.peer, begun - near, begun + near):
        return values | {"state": RecordState.WAITING.value}
    return values | {"state": RecordState.UNSEALED.value, "why": _why(connection, row, begun)}


def _find(connection: Connection, row: Row[Any], skew: timedelta) -> tuple[Row[Any] | None, str]:
    """Step 2: the recording of a record, and by what it was found."""
    for kind, words, window in (("ids", "identifier", ID_WINDOW), ("numbers", "number", NUMBER_WINDOW)):
        begun = row.started_at - (skew if kind == "numbers" else timedelta())
        candidates = _carrying(connection, row, kind, begun, window)
        if kind == "numbers" and len({found.same_call_as or found.recording for found in candidates}) > 1:
            return None, ""
        if candidates:
            return min(candidates, key=lambda found: abs(found.started_at - begun)), words
    return None, ""


def _carrying(connection: Connection, row: Row[Any], kind: str, begun: datetime, window: timedelta) -> list[Row[Any]]:
    calls, tokens, wanted = schema.calls, schema.tokens, schema.record_tokens
    query = (
        select(calls)
        .join(tokens, tokens.c.recording == calls.c.recording)
        .join(wanted, and_(wanted.c.token == tokens.c.token, wanted.c.record == row.record, wanted.c.kind == kind))
        .where(calls.c.peer == row.peer, calls.c.started_at >= begun - window, calls.c.started_at <= begun + window)
        .distinct()
        .limit(50)
    )
    if kind == "numbers":
        other = schema.records.alias()
        taken = select(other.c.recording).where(other.c.record != row.record, other.c.recording.is_not(None))
        query = query.where(calls.c.recording.not_in(taken))
    return list(connection.execute(query))


def _is_on_its_way(connection: Connection, peer: str, first: datetime, last: datetime) -> bool:
    """Whether a recording that began between these has not been adopted yet: its identifiers are not known before."""
    calls = schema.calls
    near = and_(calls.c.peer == peer, calls.c.state.in_(OPEN), calls.c.started_at >= first, calls.c.started_at <= last)
    return connection.scalar(select(calls.c.recording).where(near).limit(1)) is not None


def _why(connection: Connection, row: Row[Any], begun: datetime) -> str:
    """Why a call has no recording, as far as events tell: `refused`, `draining`, `recorder-away`, else `unknown`."""
    events = schema.events
    near = (events.c.at >= begun - REFUSED_WITHIN, events.c.at <= begun + REFUSED_WITHIN)
    refused = select(events.c.data).where(events.c.type.in_(("OfferRefused", "BadRequest")), *near)
    if any(data.get("peer") == row.peer for data in connection.scalars(refused.limit(500))):
        return "draining" if _last_of(connection, ("DrainBegan", "DrainEnded"), begun) == "DrainBegan" else "refused"
    if _last_of(connection, ("DrainBegan", "DrainEnded"), begun) == "DrainBegan":
        return "draining"
    return "recorder-away" if _last_of(connection, ("WorkerStarted", "WorkerStopped"), begun) != "WorkerStarted" else "unknown"


def _last_of(connection: Connection, kinds: tuple[str, str], before: datetime) -> str:
    events = schema.events
    query = select(events.c.type).where(events.c.type.in_(kinds), events.c.source == "sip", events.c.at <= before)
    return connection.scalar(query.order_by(events.c.at.desc(), events.c.n.desc()).limit(1)) or ""
