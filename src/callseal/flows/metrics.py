"""Figures of the watcher's work: written by the watcher, read by whoever shows them (`/metrics`, the health page).

Invariant: counts, ages and sizes; no ids.
"""

from datetime import datetime

from sqlalchemy import Connection, func, select

from callseal.flows.alert import count_overdue
from callseal.model.call import CallState
from callseal.model.record import RecordState
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

COUNTED = {
    "calls_held": "Calls under a hold",
    "destructions_overdue": "Calls an hour past their day, not held, and still there",
    "offers_refused_today": "Offers and peers refused since midnight UTC",
    "alerts_open": "Alerts nobody has seen",
    "records_waiting": "Calls of the phone systems' records that go on, or are being sealed",
    "records_unsealed": "Calls of the phone systems' records that were not sealed",
    "mail_waiting": "Mails that the mail server has not taken yet",
}
"""What is counted in the database at the moment of asking, beside `calls_STATE`, with its meaning."""
_REFUSALS = ("OfferRefused", "PeerRefused")


def write_gauges(connection: Connection, values: dict[str, int], now: datetime) -> None:
    """Keep the newest values; names outside `GAUGES` are a KeyError."""
    for name, value in values.items():
        assert GAUGES[name]
        put_row(connection, schema.gauges, name=name, value=value, at=now)


def read_figures(connection: Connection, now: datetime) -> dict[str, int]:
    """Every figure: `calls_STATE`, those of `COUNTED`, the watcher's gauges and their age, `watcher_quiet_seconds`."""
    table, events = schema.calls, schema.events
    states = {row[0]: row[1] for row in connection.execute(select(table.c.state, func.count()).group_by(table.c.state))}
    figures = {f"calls_{state.value}": int(states.get(state.value, 0)) for state in CallState}
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    refused = select(func.count()).select_from(events).where(events.c.type.in_(_REFUSALS), events.c.at >= midnight)
    figures["offers_refused_today"] = int(connection.scalar(refused) or 0)
    figures["calls_held"] = int(connection.scalar(select(func.count()).select_from(table).where(table.c.held)) or 0)
    open_alerts = select(func.count()).select_from(schema.alerts).where(schema.alerts.c.acknowledged_at.is_(None))
    figures["alerts_open"] = int(connection.scalar(open_alerts) or 0)
    figures["destructions_overdue"] = count_overdue(connection, now)
    records, outbox = schema.records, schema.outbox
    for state in (RecordState.WAITING, RecordState.UNSEALED):
        of = select(func.count()).select_from(records).where(records.c.state == state.value)
        figures[f"records_{state.value}"] = int(connection.scalar(of) or 0)
    unsent = select(func.count()).select_from(outbox).where(outbox.c.sent_at.is_(None))
    figures["mail_waiting"] = int(connection.scalar(unsent) or 0)
    newest: datetime | None = None
    for row in connection.execute(select(schema.gauges)):
        figures[row.name] = row.value
        newest = row.at if newest is None else max(newest, row.at)
    if newest is not None:
        figures["watcher_quiet_seconds"] = max(0, int((now - newest).total_seconds()))
    return figures
