"""What is kept of private calls: invitations by their call id; who, when, how long, how it ended, as long as the policy says.

docs/spec/private-call.md section 10, "Kept". No secret, address, name or message stands in any row. Every function takes a
connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from callseal.errors import Conflict, LimitExceeded
from callseal.store import schema
from callseal.store.database import insert_new

INVITATION_LIMIT = 10_000


@dataclass(frozen=True)
class Invitation:
    """A link that a person (random id) made: it works once, until it expires."""

    who: str
    expires_at: datetime
    used: bool


@dataclass(frozen=True)
class KeptCall:
    """One call that rang. `who` is the staff member's random id, empty where nobody answered."""

    who: str
    at: datetime
    length_ms: int
    outcome: str


def add_invitation(connection: Connection, call: str, who: str, expires_at: datetime, now: datetime) -> None:
    """Keep an invitation. Raises Conflict where the call id is known, LimitExceeded."""
    table = schema.private_invitations
    connection.execute(delete(table).where(table.c.expires_at <= now))
    if len(connection.execute(select(table.c.call)).all()) >= INVITATION_LIMIT:
        raise LimitExceeded(f"invitations: expected at most {INVITATION_LIMIT}")
    if not insert_new(connection, table, call=call, who=who, expires_at=expires_at, used=False):
        raise Conflict("call: expected one that is not known yet")


def find_invitation(connection: Connection, call: str) -> Invitation | None:
    """The invitation of a call id."""
    table = schema.private_invitations
    row = connection.execute(select(table.c.who, table.c.expires_at, table.c.used).where(table.c.call == call)).one_or_none()
    return None if row is None else Invitation(row.who, row.expires_at, row.used)


def use_invitation(connection: Connection, call: str) -> None:
    """Note that an invitation has been answered: it works no more."""
    table = schema.private_invitations
    connection.execute(update(table).where(table.c.call == call).values(used=True))


def keep_call(connection: Connection, call: KeptCall) -> None:
    """Keep that a call was."""
    connection.execute(
        insert(schema.private_calls).values(who=call.who, at=call.at, length_ms=call.length_ms, outcome=call.outcome)
    )


def list_calls(connection: Connection, limit: int = 100) -> Sequence[KeptCall]:
    """The newest calls first."""
    table = schema.private_calls
    rows = connection.execute(select(table).order_by(table.c.at.desc(), table.c.id.desc()).limit(limit))
    return [KeptCall(row.who, row.at, row.length_ms, row.outcome) for row in rows]


def forget(connection: Connection, keep_days: int, now: datetime) -> int:
    """Delete what has been kept long enough, and invitations that have expired; returns how many rows went."""
    calls, invitations = schema.private_calls, schema.private_invitations
    gone = connection.execute(delete(calls).where(calls.c.at <= now - timedelta(days=keep_days))).rowcount
    return gone + connection.execute(delete(invitations).where(invitations.c.expires_at <= now)).rowcount
