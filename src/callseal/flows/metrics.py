"""Figures of the watcher's work: written by the watcher, read by whoever shows them (`/metrics`, the health page).

Invariant: counts, ages and sizes; no ids.
"""

from datetime import datetime

from sqlalchemy import Connection, func, select

from callseal.flows.alert import count_overdue
from callseal.model.call import CallState
from callseal.store import schema
from callseal.store.database import put_row

GAUGES = {
    "spool_age_seconds": "Since the oldest finished part that is not yet sealed was last written, 0 for none",
    "spool_parts_waiting": "Finished parts that wait to be adopted and sealed",
    "spool_damaged_bytes": "Bytes in the spools that are no frame",
    "events_behind": "Events that are written and not yet in the log",
    "custodian_away_seconds": "Since the custodian last answered, 0 while it does",
    "watcher_step_milliseconds": "How long the watcher's last round took",
}
"""What the watcher measures, with its meaning."""


def write_gauges(connection: Connection, values: dict[str, int], now: datetime) -> None:
    """Keep the newest values; names outside `GAUGES` are a KeyError."""
    for name, value in values.items():
        assert GAUGES[name]
        put_row(connection, schema.gauges, name=name, value=value, at=now)


def read_figures(connection: Connection, now: datetime) -> dict[str, int]:
    """Every figure by its name: calls by state, alerts open, recordings overdue, the watcher's gauges and their age."""
    table = schema.calls
    states = {row[0]: row[1] for row in connection.execute(select(table.c.state, func.count()).group_by(table.c.state))}
    figures = {f"calls_{state.value}": int(states.get(state.value, 0)) for state in CallState}
    open_alerts = select(func.count()).select_from(schema.alerts).where(schema.alerts.c.acknowledged_at.is_(None))
    figures["alerts_open"] = int(connection.scalar(open_alerts) or 0)
    figures["destructions_overdue"] = count_overdue(connection, now)
    newest: datetime | None = None
    for row in connection.execute(select(schema.gauges)):
        figures[row.name] = row.value
        newest = row.at if newest is None else max(newest, row.at)
    if newest is not None:
        figures["watcher_quiet_seconds"] = max(0, int((now - newest).total_seconds()))
    return figures
