"""Spool → custodian: no part sealed to an older card is waiting any more, so that its opening key can go.

1. Ask which epoch is the newest.
2. Of each older one, oldest first: does a spool still hold a part of it, or is one announced and not yet sealed?
3. Where not, say so (`epoch.drained`), and remember how far it was said.

Source: keys-and-recordings section 3 (`ingest[e]`) is its sketch. Invariants: an epoch is never called drained while a part's
header cannot be read, for it may be of any epoch; the custodian, which also counts the parts that were announced, decides.
"""

import contextlib

from sqlalchemy import Connection, and_, select

from callseal.errors import RequestError
from callseal.flows.capture_rows import get_position, set_position
from callseal.model.call import PartState
from callseal.model.keyring import Asks
from callseal.store import schema
from callseal.store.database import Database
from callseal.store.spool_reader import SpoolReader

POSITION = "drained"


class Drain:
    """The straight line above; call `step` every few minutes, after capture."""

    def __init__(self, database: Database, keyring: Asks, spool: SpoolReader) -> None:
        self._database = database
        self._keyring = keyring
        self._spool = spool

    async def step(self) -> list[int]:
        """Steps 1 to 3; returns the epochs that were said to be drained. Raises Unavailable."""
        newest = int((await self._keyring.ask("status"))["epoch"])  # 1
        with self._database.read() as connection:
            said = get_position(connection, POSITION)
            waiting = _announced(connection)
        for part in self._spool.parts.values():
            waiting.add(part.epoch if part.epoch is not None else 0)
        drained: list[int] = []
        for epoch in range(said + 1, newest):  # 2
            if waiting and min(waiting) <= epoch:
                break
            await self._say(epoch)  # 3
            drained.append(epoch)
        return drained

    async def _say(self, epoch: int) -> None:
        with contextlib.suppress(RequestError):  # gone already
            await self._keyring.ask("epoch.drained", epoch=epoch)
        with self._database.write() as connection:
            set_position(connection, POSITION, epoch)


def _announced(connection: Connection) -> set[int]:
    """The epochs of parts that were started and are not sealed, by their events."""
    parts, events = schema.parts, schema.events
    unsealed = parts.c.state.in_([PartState.LIVE.value, PartState.ENDED.value])
    started = select(events.c.data).join(parts, and_(parts.c.recording == events.c.recording, unsealed))
    return {int(data.get("epoch", 0)) for data in connection.scalars(started.where(events.c.type == "PartStarted"))}
