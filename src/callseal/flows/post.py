"""What is mailed: the day's reconciliation → outbox → mail server. A server that is away loses nothing.

1. Once a day after `mail.at` (UTC), put the account of each day that is over and not yet told into the outbox.
2. Hand what is due to the mail server, oldest first, one at a time.
3. Refused or away: try again, ever more slowly, for ever; sent: say when.

Invariants: a mail holds counts and random ids, no number, name or address of a caller; a day is told once, whatever is restarted,
and after a crash between 2 and 3 comes twice under one Message-ID.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import Connection, select, update

from callseal.detection.not_sealed import WHY
from callseal.errors import CallsealError
from callseal.flows.capture_rows import get_position, set_position
from callseal.store import schema
from callseal.store.database import Database, insert_new
from callseal.store.records import list_days, list_unsealed

POSITION: Final = "reported"
DAYS_BACK: Final = 7
NAMED: Final = 200
FIRST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(hours=1)

Send = Callable[[str, str, str, datetime], Awaitable[None]]
"""(name, subject, body, made_at); raises CallsealError where it cannot be sent now."""


class Post:
    """The straight line above. `console` is where the pages are; `at` the time of day in UTC."""

    def __init__(self, database: Database, send: Send, business: str, console: str, at: time) -> None:
        self._database, self._send, self._business, self._console, self._at = database, send, business, console, at

    def report(self, now: datetime) -> int:
        """Step 1; returns how many days were put into the outbox. Raises Unavailable."""
        last = (now - timedelta(hours=self._at.hour, minutes=self._at.minute)).astimezone(UTC).date() - timedelta(days=1)
        with self._database.read() as connection:
            told = get_position(connection, POSITION)
        first = max(told + 1, last.toordinal() - DAYS_BACK + 1) if told else last.toordinal()
        days = [date.fromordinal(number) for number in range(first, last.toordinal() + 1)]
        for day in days:
            with self._database.write() as connection:
                put_mail(connection, f"reconciliation.{day}", *self.write_day(connection, day), now)
                set_position(connection, POSITION, day.toordinal())
        return len(days)

    def write_day(self, connection: Connection, day: date) -> tuple[str, str]:
        """Subject and body of a day's account."""
        found = list_days(connection, day, day)
        when = f"{day.day} {day:%B %Y}"
        records, sealed, gaps = (sum(getattr(one, name) for one in found) for name in ("records", "sealed", "gaps"))
        subject = f"Callseal, {when}: {records:,} calls by their records, {sealed:,} sealed, {gaps:,} gaps"
        lines = [f"{self._business}: {when} (UTC)", ""]
        lines += [f"{one.peer}: {one.words}{_clock_words(one.skew_ms)}" for one in found]
        if not found:
            lines.append("No records came for this day, so nothing was compared. Import them with `callseal reconcile`.")
        unsealed = list_unsealed(connection, day, day, limit=NAMED)
        if unsealed:
            lines += ["", "Not sealed, with why:"]
            lines += [f"  {self._console}/reconciliation/{one.record}  {WHY.get(one.why, WHY['unknown'])}" for one in unsealed]
            lines += [f"  and {gaps - len(unsealed):,} more"] if gaps > len(unsealed) else []
        lines += ["", f"Each call: {self._console}/reconciliation"]
        return subject, "\n".join(lines) + "\n"

    async def deliver(self, now: datetime) -> bool:
        """Steps 2 and 3 for the oldest that is due; returns whether one went. Raises Unavailable for the database alone."""
        table = schema.outbox
        due = select(table).where(table.c.sent_at.is_(None), table.c.next_at <= now).order_by(table.c.id).limit(1)
        with self._database.read() as connection:
            row = connection.execute(due).one_or_none()
        if row is None:
            return False
        values: dict[str, object] = {"tries": row.tries + 1, "sent_at": now, "why": ""}
        try:
            await self._send(row.name, row.subject, row.body, row.made_at)
        except CallsealError as error:
            pause = min(FIRST_PAUSE * 2 ** min(row.tries, 10), LONGEST_PAUSE)
            values |= {"sent_at": None, "next_at": now + pause, "why": str(error)[:64]}
        with self._database.write() as connection:
            connection.execute(update(table).where(table.c.id == row.id).values(**values))
        return values["sent_at"] is not None


def put_mail(connection: Connection, name: str, subject: str, body: str, now: datetime) -> bool:
    """Put a mail into the outbox, once for each name."""
    return insert_new(connection, schema.outbox, name=name, made_at=now, subject=subject, body=body, tries=0, next_at=now, why="")


def _clock_words(skew_ms: int | None) -> str:
    if skew_ms is None or abs(skew_ms) < 1000:
        return ""
    return f"; their clock is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} ours"
