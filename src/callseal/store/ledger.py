"""What people's decisions change in the rows of calls and alerts; the capture flow writes the rest.

Every function takes a connection of `Database.write`. Nothing here decides: the custodian has decided before.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select, update

from callseal.errors import NotFound
from callseal.store import schema


def acknowledge_alert(connection: Connection, alert: int, person: str, now: datetime) -> None:
    """Note that a person (random id) has seen an alert; a second time changes nothing. Raises NotFound."""
    table = schema.alerts
    if connection.scalar(select(table.c.id).where(table.c.id == alert)) is None:
        raise NotFound("alert: expected one that is known here")
    seen = update(table).where(table.c.id == alert, table.c.acknowledged_at.is_(None))
    connection.execute(seen.values(acknowledged_by=person, acknowledged_at=now))


def mark_held(connection: Connection, recordings: Sequence[str], held: bool) -> None:
    """Show recordings as held, or no longer; only after the custodian acknowledged it."""
    table = schema.calls
    connection.execute(update(table).where(table.c.recording.in_(list(recordings))).values(held=held))
