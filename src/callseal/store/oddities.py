"""What each phone system sends that is odd: counted as events tell it, for the administrator and for `callseal peer check`.

Every list has a limit; every function takes an open connection.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select, update

from callseal.model.oddity import SeenOddity
from callseal.store import schema
from callseal.store.database import insert_new

LIST_LIMIT = 2000


def count_oddities(connection: Connection, peer: str, names: Iterable[str], recording: str | None, at: datetime) -> None:
    """Count one sighting of each name."""
    table = schema.oddities
    for name in names:
        if insert_new(connection, table, peer=peer, name=name, times=1, first_at=at, last_at=at, last_recording=recording):
            continue
        seen = update(table).where(table.c.peer == peer, table.c.name == name)
        connection.execute(seen.values(times=table.c.times + 1, last_at=at, last_recording=recording))


def list_oddities(connection: Connection, peer: str | None = None, limit: int = LIST_LIMIT) -> list[SeenOddity]:
    """Of one peer or of all, by peer and then the most frequent first."""
    table = schema.oddities
    query = select(table).order_by(table.c.peer, table.c.times.desc(), table.c.name).limit(min(limit, LIST_LIMIT))
    if peer is not None:
        query = query.where(table.c.peer == peer)
    rows = connection.execute(query)
    return [SeenOddity(row.peer, row.name, row.times, row.first_at, row.last_at, row.last_recording) for row in rows]
