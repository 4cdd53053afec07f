"""Phone system → spool → sealed object: the watcher's half of a recording's way, with no key in it.

1. Take the events of every source, in order, into rows (`capture_rows`), and the position of each source with them.
2. Read the spools: which parts are over, by their END or because their worker is dead.
3. Assemble the object of each part that is over, from its frames as they are.
4. Write the object; it is durable when this returns.
5. The custodian adopts the part: it wraps its key under the group of its class and day. Keep what it returned in the row.
6. Write the wrapped key beside the object.
7. Tell the custodian what was sealed, for the log; then the part's row says sealed, and the call's, once all its parts are.
8. Free the spool segments of which every part has come through 7.

Source: docs/architecture.md; keys-and-recordings sections 4 and 8 are its sketch.
Invariants: each step may be cut off anywhere and is done again to the same result, except that a second adoption draws a
second leaf, of which only the kept one opens; nothing is freed that is not durable and adopted; while database, custodian or
object store is away, everything waits in order; one part that cannot be adopted holds up no other.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from callseal.config.settings import Retention
from callseal.errors import CallsealError, TamperedError, Unavailable
from callseal.flows.capture_rows import ensure_call, ensure_part, get_position, is_destroyed, set_position, take_event
from callseal.model.call import CallState, PartState
from callseal.model.clock import format_time
from callseal.model.keyring import Asks
from callseal.model.message import Message, to_bytes, to_text
from callseal.store import schema
from callseal.store.calls import get_rows
from callseal.store.database import Database, insert_new
from callseal.store.events import EventReader, list_sources
from callseal.store.objects import ObjectStore, object_path, row_path
from callseal.store.spool_reader import PartKey, SpooledPart, SpoolReader
from callseal.vault.header import HEADER_LENGTH
from callseal.vault.message import Kind, split_message
from callseal.vault.object import Assembled, State, assemble

EVENT_BATCH = 500
RETRY_REFUSED = timedelta(seconds=60)
QUIET_AFTER = timedelta(seconds=60)
"""How long an interrupted part waits for its successor before its call counts as over."""
WAIT_FOR_EVENTS = timedelta(seconds=10)
"""How long a part that is over waits for the events that describe it: its call's start, its own end."""
META_LIMIT = 64
"""META messages handed over with a part: the newest, for later ones replace earlier ones."""

Note = Callable[[str, str | None, dict[str, Any], datetime], object]


class Capture:
    """The straight line above, one `step` at a time. Everything it needs is handed in; what it remembers can be lost."""

    def __init__(
        self, database: Database, objects: ObjectStore, keyring: Asks, data: Path, note: Note, retention: Retention
    ) -> None:
        self._database = database
        self._objects = objects
        self._keyring = keyring
        self._events = data / "events"
        self._note = note
        self._retention = retention
        self.spool = SpoolReader(data / "spool")
        self._readers: dict[str, EventReader] = {}
        self._done: set[PartKey] = set()
        self._refused: dict[PartKey, datetime] = {}
        self._over_since: dict[PartKey, datetime] = {}

    async def step(self, now: datetime) -> None:
        """Steps 1 to 8 as far as they go. Raises Unavailable where a part of the installation is away; call again later."""
        self.take_events(now)  # 1
        away: Unavailable | None = None
        for part in self.find_over(now):  # 2
            try:
                await self._bring_in(part, now)  # 3 to 7
            except Unavailable as error:
                away = error
                break
        self.settle_calls(now)  # 7
        self.free_spool(now)  # 8
        if away is not None:
            raise away

    @property
    def waiting(self) -> int:
        """How many parts are over and not yet sealed."""
        return sum(part.is_over and part.key not in self._done for part in self.spool.parts.values())

    def waiting_age(self, now: datetime) -> timedelta | None:
        """How long the oldest of them has waited, by its spool; None where none waits."""
        waiting = [part for part in self.spool.parts.values() if part.is_over and part.key not in self._done]
        written_at = self.spool.oldest_write(waiting)
        return None if written_at is None else max(timedelta(0), now - written_at)

    def take_events(self, now: datetime) -> None:
        """Step 1."""
        for source in list_sources(self._events):
            while self._take_batch(source, now) == EVENT_BATCH:
                pass

    def find_over(self, now: datetime) -> list[SpooledPart]:
        """Step 2: the parts that are over and not yet sealed, oldest first."""
        try:
            self.spool.read(now)
        except OSError as error:
            raise Unavailable(f"spool: expected it to be readable, got {error.strerror}") from error
        over = [part for part in self.spool.parts.values() if part.is_over and part.key not in self._done]
        return [part for part in over if self._refused.get(part.key, now) <= now]

    async def _bring_in(self, part: SpooledPart, now: datetime) -> None:
        row = self._find_row(part, now)
        if row is None:
            return
        try:
            made = self.assemble_part(part)  # 3
            self.write_object(part, made, now)  # 4
            await self.adopt(part, made, row, now)  # 5
            self.write_row(part)  # 6
            await self.report_sealed(part, made, now)  # 7
        except Unavailable:
            raise
        except CallsealError as error:
            self._refused[part.key] = now + RETRY_REFUSED
            self._note(
                "PartRefused", part.recording, {"part": part.part, "why": type(error).__name__.removesuffix("Error").lower()}, now
            )

    def assemble_part(self, part: SpooledPart) -> Assembled:
        """Step 3. Raises TamperedError where the header cannot be read: then no key opens the part, and its spool stays."""
        frames = self.spool.load(part)
        header = next((frame.payload for frame in frames if frame.is_header), b"")
        made = assemble(header, [(frame.at_ms, frame.payload) for frame in frames if not frame.is_header])
        if (made.core.recording.hex(), made.core.part) != part.key:
            raise TamperedError("part: expected the header that names it, got another's")
        return made

    def write_object(self, part: SpooledPart, made: Assembled, now: datetime) -> None:
        """Step 4."""
        self._objects.put(object_path(*part.key), made.content)
        data = {"part": part.part, "digest": hashlib.sha256(made.content).hexdigest(), "bytes": len(made.content)}
        self._note("ObjectWritten", part.recording, data, now)

    async def adopt(self, part: SpooledPart, made: Assembled, row: Row[Any], now: datetime) -> None:
        """Step 5: skipped where the row holds a wrapped key already."""
        with self._database.read() as connection:
            if connection.scalar(select(schema.parts.c.row).where(*_of(schema.parts, part))) is not None:
                return
            siblings = get_rows(connection, part.recording)
        reply = await self._keyring.ask(
            "part.adopt",
            **{"class": row.recording_class},
            recording=part.recording,
            part=part.part,
            header=to_text(made.content[:HEADER_LENGTH]),
            meta=_meta_of(made),
            started_at=format_time(row.started_at),
            sibling_row=to_text(siblings[0]) if siblings else None,
        )
        with self._database.write() as connection:
            self._keep_adoption(connection, part, reply)
        self._note("PartAdopted", part.recording, {"part": part.part}, now)

    def write_row(self, part: SpooledPart) -> None:
        """Step 6."""
        with self._database.read() as connection:
            row = connection.scalar(select(schema.parts.c.row).where(*_of(schema.parts, part)))
        assert row is not None
        self._objects.put(row_path(*part.key), bytes(row))

    async def report_sealed(self, part: SpooledPart, made: Assembled, now: datetime) -> None:
        """Step 7 for one part."""
        state = made.state.name.lower()
        through = max([entry.at_ms for entry in made.rows], default=0)
        with self._database.read() as connection:
            row = connection.execute(select(schema.parts).where(*_of(schema.parts, part))).one()
            gap_ms = func.coalesce(func.sum(schema.gaps.c.to_ms - schema.gaps.c.from_ms), 0)
            gaps = connection.execute(select(func.count(), gap_ms).where(*_of(schema.gaps, part))).one()
        values = {"state": PartState.SEALED.value, "interrupted": made.state is State.INTERRUPTED, "messages": len(made.rows)}
        values |= {
            "path": object_path(*part.key),
            "size_bytes": len(made.content),
            "digest": hashlib.sha256(made.content).hexdigest(),
        }
        values |= {"sealed_through_ms": max(row.sealed_through_ms, through)}
        reply = await self._keyring.ask(
            "part.sealed",
            recording=part.recording,
            part=part.part,
            messages=len(made.rows),
            last_commitment=(made.rows[-1].commitment if made.rows else made.core.digest()).hex(),
            object_sha256=values["digest"],
            state=state,
            reason=row.end_reason or state,
            duration_ms=values["sealed_through_ms"] if row.duration_ms is None else row.duration_ms,
            gaps=gaps[0],
            gap_ms=int(gaps[1]),
        )
        values["log_index"] = reply.get("log_index")
        with self._database.write() as connection:
            connection.execute(update(schema.parts).where(*_of(schema.parts, part)).values(**values))
        self._done.add(part.key)
        if made.state is State.INTERRUPTED:
            self._note("PartInterrupted", part.recording, {"part": part.part}, now)

    def settle_calls(self, now: datetime) -> None:
        """Step 7 for the calls: ended once over, sealed or interrupted once all their parts are."""
        table = schema.calls
        unsettled = table.c.state.in_([CallState.LIVE.value, CallState.ENDED.value])
        with self._database.read() as connection:
            changes = [_settle(connection, row, now) for row in connection.execute(select(table).where(unsettled)).all()]
        changes = [change for change in changes if change[1]]
        if changes:
            with self._database.write() as connection:
                for recording, values in changes:
                    connection.execute(update(table).where(table.c.recording == recording).values(**values))

    def free_spool(self, now: datetime) -> None:
        """Step 8."""
        for path in self.spool.free(self._done):
            self._note("SpoolFreed", None, {"source": path.parent.name}, now)
        self._done &= self.spool.parts.keys()
        self._over_since = {key: at for key, at in self._over_since.items() if key in self.spool.parts}
        self._refused = {key: at for key, at in self._refused.items() if key in self.spool.parts}

    def _take_batch(self, source: str, now: datetime) -> int:
        name = f"rows:{source}"
        if source not in self._readers:
            with self._database.read() as connection:
                self._readers[source] = EventReader(self._events, source, get_position(connection, name))
        try:
            events = self._readers[source].read(EVENT_BATCH)
            if events:
                with self._database.write() as connection:
                    expected = get_position(connection, name) + 1
                    for event in events:
                        if event["n"] > expected:
                            missing = {"source": source, "missing_from": expected, "missing_to": event["n"] - 1}
                            self._note("EventsMissing", None, missing, now)
                        take_event(connection, event, self._retention)
                        expected = event["n"] + 1
                    set_position(connection, name, expected - 1)
        except BaseException:
            del self._readers[source]
            raise
        return len(events)

    def _find_row(self, part: SpooledPart, now: datetime) -> Row[Any] | None:
        """The call's row, its part's row made where it is missing; None where the part is done with or must wait."""
        with self._database.write() as connection:
            ensure_call(connection, part.recording, now, self._retention)
            row = connection.execute(select(schema.calls).where(schema.calls.c.recording == part.recording)).one()
            if not is_destroyed(connection, part.recording):
                ensure_part(connection, part.recording, part.part, part.worker, part.instance, now)
                known = connection.execute(select(schema.parts).where(*_of(schema.parts, part))).one()
                if known.state != PartState.SEALED.value:
                    since = self._over_since.setdefault(part.key, now)
                    complete = row.peer and (known.end_reason is not None or not part.has_end)
                    return row if complete or now - since >= WAIT_FOR_EVENTS else None
        self._done.add(part.key)
        return None

    def _keep_adoption(self, connection: Connection, part: SpooledPart, reply: Message) -> None:
        group = str(reply["group"])
        sealed_meta = reply.get("sealed_meta")
        values = {
            "row": to_bytes(reply["row"], "row"),
            "sealed_meta": None if sealed_meta is None else to_bytes(sealed_meta, "sealed_meta"),
            "state": PartState.ENDED.value,
        }
        connection.execute(update(schema.parts).where(*_of(schema.parts, part)).values(**values))
        call = update(schema.calls).where(schema.calls.c.recording == part.recording)
        connection.execute(call.values(group_name=group, leaf=reply["leaf"]))
        matching = reply.get("matching") or {"group": "", "tokens": []}
        for name, tokens in ((group, reply.get("tokens", [])), (str(matching["group"]), matching["tokens"])):
            for token in tokens:
                insert_new(connection, schema.tokens, group_name=name, token=token, recording=part.recording)


def _settle(connection: Connection, row: Row[Any], now: datetime) -> tuple[str, dict[str, Any]]:
    """What changes in a call's row by the state of its parts; an empty dict where nothing does."""
    table = schema.parts
    parts = connection.execute(select(table).where(table.c.recording == row.recording).order_by(table.c.part)).all()
    newest = connection.scalar(select(func.max(schema.events.c.at)).where(schema.events.c.recording == row.recording))
    is_quiet = now - max(newest or row.started_at, row.started_at) > QUIET_AFTER
    all_sealed = bool(parts) and all(part.state == PartState.SEALED.value for part in parts)
    ended_clean = bool(parts) and parts[-1].end_reason not in (None, "")
    is_over = row.ended_at is not None or ended_clean or (is_quiet and (all_sealed or not parts))
    if not is_over or not (all_sealed or is_quiet or row.state == CallState.LIVE.value):
        return row.recording, {}
    values: dict[str, Any] = {"state": CallState.ENDED.value}
    if row.ended_at is None and parts:
        values["ended_at"] = row.started_at + timedelta(milliseconds=max(part.sealed_through_ms for part in parts))
    if all_sealed:
        interrupted = any(part.interrupted for part in parts)
        values["state"] = (CallState.INTERRUPTED if interrupted else CallState.SEALED).value
        values["duration_ms"] = max(max(part.sealed_through_ms, part.duration_ms or 0) for part in parts)
        values["sealed_through_ms"] = max(part.sealed_through_ms for part in parts)
        values["digest"] = hashlib.sha256(b"".join(bytes.fromhex(part.digest) for part in parts)).hexdigest()
    elif not parts and is_quiet:
        values["state"] = CallState.INTERRUPTED.value
    return row.recording, {} if values["state"] == row.state else values


def _meta_of(made: Assembled) -> list[list[str]]:
    """Each META message of a part with the commitment it names as before it: what stood there may have been lost."""
    found = []
    for row in made.rows:
        if row.kind is Kind.META:
            message = made.content[row.offset : row.offset + row.length]
            found.append([to_text(split_message(message).previous), to_text(message)])
    return found[-META_LIMIT:]


def _of(table: Any, part: SpooledPart) -> tuple[Any, Any]:
    return table.c.recording == part.recording, table.c.part == part.part
