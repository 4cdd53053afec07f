"""Events → detectors → one alert for each thing that is wrong → word to people.

1. Gather the last minutes' events and how things stand into a view.
2. Ask every rule (`detection.rules`).
3. Findings with one `dedupe` are one alert: newer evidence moves it; after it was acknowledged, newer evidence opens another.
4. Tell people of the new ones.

Invariant: the same view changes nothing twice, so that a restart of the watcher repeats no alert.
"""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, and_, func, insert, select, update

from callseal.detection.rules import detect_all
from callseal.detection.view import Finding, LiveCall, SeenEvent, View
from callseal.model.call import CallState, Severity
from callseal.store import schema
from callseal.store.accounts import read_accounts
from callseal.store.database import Database

WINDOW = timedelta(minutes=10)
EVENT_LIMIT = 5000
LIVE_LIMIT = 5000
DESTROY_GRACE = timedelta(hours=1)

Announce = Callable[[str, Severity, str, str | None], None]


class Watch:
    """The straight line above; `announce` is told of each new alert once."""

    def __init__(self, database: Database, data: Path, announce: Announce) -> None:
        self._database = database
        self._data = data
        self._announce = announce

    def step(self, now: datetime, spool_age: timedelta | None, custodian_away_since: datetime | None) -> list[Finding]:
        """Steps 1 to 4; returns the findings that became new alerts. Raises Unavailable."""
        usage = shutil.disk_usage(self._data)
        with self._database.read() as connection:  # 1
            view = View(
                now=now,
                events=_recent_events(connection, now),
                live_calls=_live_calls(connection),
                spool_age=spool_age,
                custodian_away_since=custodian_away_since,
                disk_free_bytes=usage.free,
                disk_total_bytes=usage.total,
                overdue=count_overdue(connection, now),
                workers=read_accounts(self._data / "run").workers,
            )
            findings = [finding for finding in detect_all(view) if _is_news(connection, finding)]  # 2
        if not findings:
            return []
        with self._database.write() as connection:
            new = [finding for finding in findings if _keep(connection, finding)]  # 3
        for finding in new:
            self._announce(finding.kind, finding.severity, finding.text, finding.recording)  # 4
        return new


def count_overdue(connection: Connection, now: datetime) -> int:
    """Recordings past their day, not held, and still there an hour later."""
    table = schema.calls
    past = and_(table.c.delete_by < now - DESTROY_GRACE, ~table.c.held, table.c.state != CallState.DESTROYED.value)
    return int(connection.scalar(select(func.count()).select_from(table).where(past)) or 0)


def _recent_events(connection: Connection, now: datetime) -> tuple[SeenEvent, ...]:
    table = schema.events
    query = select(table).where(table.c.at >= now - WINDOW).order_by(table.c.at.desc(), table.c.n.desc()).limit(EVENT_LIMIT)
    rows = connection.execute(query).all()[::-1]
    return tuple(SeenEvent(row.source, row.n, row.at, row.type, row.recording, row.data) for row in rows)


def _live_calls(connection: Connection) -> tuple[LiveCall, ...]:
    table = schema.calls
    is_live = and_(table.c.state == CallState.LIVE.value, table.c.ended_at.is_(None))  # one that is over may wait to be settled
    rows = connection.execute(select(table).where(is_live).limit(LIVE_LIMIT))
    return tuple(LiveCall(row.recording, row.started_at, row.sealed_through_ms) for row in rows)


def _is_news(connection: Connection, finding: Finding) -> bool:
    last_at = connection.scalar(select(func.max(schema.alerts.c.last_at)).where(schema.alerts.c.dedupe == finding.dedupe))
    return last_at is None or finding.at > last_at


def _keep(connection: Connection, finding: Finding) -> bool:
    """Write a finding with new evidence; returns whether it opened a new alert."""
    table = schema.alerts
    newest = connection.execute(
        select(table).where(table.c.dedupe == finding.dedupe).order_by(table.c.id.desc()).limit(1)
    ).one_or_none()
    if newest is not None and newest.acknowledged_at is None:
        moved = update(table).where(table.c.id == newest.id)
        connection.execute(moved.values(last_at=finding.at, times=newest.times + 1, text=finding.text))
        return False
    if newest is not None and newest.acknowledged_at is not None and finding.at <= newest.acknowledged_at:
        return False
    connection.execute(
        insert(table).values(
            at=finding.at,
            last_at=finding.at,
            times=1,
            kind=finding.kind,
            severity=finding.severity.value,
            dedupe=finding.dedupe,
            recording=finding.recording,
            text=finding.text,
        )
    )
    return True
