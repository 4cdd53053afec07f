"""Numbered events → custodian → log: what happened outside the custodian, in the log under its source's own numbers.

1. Take each source's next events from its file, after the last that the custodian acknowledged.
2. Leave in them only counts, short words and random ids; for a number that is missing, an event that says so.
3. Hand them to the custodian (`event.append`), which is the log's only writer.
4. Keep the number it acknowledges, and go on from there.

Invariants: no number is skipped, so that a lost event shows in the log; an event is sent again until it is acknowledged, and
the custodian takes each number once; the custodian's own events are not sent back to it.
"""

from pathlib import Path

from callseal.flows.capture_rows import get_position, keep_data, set_position
from callseal.model.keyring import Asks
from callseal.store.database import Database
from callseal.store.events import Event, EventReader, list_sources

BATCH = 200
BATCH_LIMIT = 1000
OWN_SOURCE = "custodian"


class Relay:
    """Carries the events of one data folder."""

    def __init__(self, database: Database, keyring: Asks, data: Path) -> None:
        self._database = database
        self._keyring = keyring
        self._events = data / "events"
        self._readers: dict[str, EventReader] = {}
        self._sent: dict[str, int] = {}

    async def step(self) -> int:
        """Steps 1 to 4 for every source; returns how many events went. Raises Unavailable."""
        return sum([await self._step_source(source) for source in list_sources(self._events) if source != OWN_SOURCE])

    async def _step_source(self, source: str) -> int:
        if source not in self._readers:
            with self._database.read() as connection:
                self._sent[source] = get_position(connection, f"relay:{source}")
            self._readers[source] = EventReader(self._events, source, self._sent[source])
        try:
            events = self._readers[source].read(BATCH)  # 1
            if not events:
                return 0
            plain = _without_holes(events, self._sent[source])  # 2
            reply = await self._keyring.ask("event.append", events=plain)  # 3
            through = int(reply["through"][source])
            with self._database.write() as connection:  # 4
                set_position(connection, f"relay:{source}", through)
            self._sent[source] = through
        except BaseException:
            del self._readers[source]
            raise
        if through != events[-1]["n"]:
            del self._readers[source]
        return len(events)


def _without_holes(events: list[Event], after: int) -> list[Event]:
    """The events with only what may stand in the log, and a stand-in for each number that is missing between them."""
    plain: list[Event] = []
    for event in events:
        for number in range(after + 1, event["n"]):
            if len(plain) < BATCH_LIMIT:
                plain.append({**event, "n": number, "type": "EventsMissing", "recording": None, "data": {"why": "missing"}})
        if len(plain) >= BATCH_LIMIT:
            break
        plain.append({**event, "data": keep_data(event["data"])})
        after = event["n"]
    return plain
