"""The tables: ids, states, counts and ciphertext. No number, name, account, speech or key stands in any of them.

Types are those SQLite and PostgreSQL share. Times are whole milliseconds since 1970 in UTC, read back as aware datetimes.
Every change to this page comes with a migration; tests/store compares the two.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware datetime kept as whole milliseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """Refuses a naive datetime (ValueError)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware datetime")
        return (value - _EPOCH) // timedelta(milliseconds=1)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(milliseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

calls = Table(
    "calls",
    metadata,
    Column("recording", String(32), primary_key=True),
    Column("peer", String(64), nullable=False),
    Column("recording_class", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("duration_ms", BigInteger),
    Column("sealed_through_ms", BigInteger, nullable=False, default=0),
    Column("parts", Integer, nullable=False, default=0),
    Column("legs", JSON, nullable=False),
    Column("transport", String(64), nullable=False),
    Column("counts", JSON, nullable=False),
    Column("end_reason", String(64)),
    Column("group_name", String(128)),
    Column("leaf", BigInteger),
    Column("held", Boolean, nullable=False, default=False),
    Column("digest", String(64)),
    Column("purpose", Text, nullable=False),
    Column("lawful_basis", Text, nullable=False),
    Column("delete_by", Moment),
    Column("conversation", String(32)),
    Column("same_call_as", String(32)),
    Index("ix_calls_conversation", "conversation"),
    Index("ix_calls_same_call_as", "same_call_as"),
    Index("ix_calls_started_at", "started_at", "recording"),
    Index("ix_calls_state", "state"),
    Index("ix_calls_group_name", "group_name"),
    Index("ix_calls_delete_by", "delete_by"),
)

parts = Table(
    "parts",
    metadata,
    Column("recording", ForeignKey("calls.recording"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("interrupted", Boolean, nullable=False, default=False),
    Column("source", String(32), nullable=False),
    Column("instance", String(64), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("sealed_through_ms", BigInteger, nullable=False, default=0),
    Column("duration_ms", BigInteger),
    Column("messages", Integer),
    Column("size_bytes", BigInteger),
    Column("end_reason", String(64)),
    Column("path", String(128)),
    Column("digest", String(64)),
    Column("row", LargeBinary),
    Column("sealed_meta", LargeBinary),
    Column("log_index", BigInteger),
    Index("ix_parts_state", "state"),
)

gaps = Table(
    "gaps",
    metadata,
    Column("source", String(32), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("recording", String(32), nullable=False),
    Column("part", Integer, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("why", String(64), nullable=False),
    ForeignKeyConstraint(["recording"], ["calls.recording"], name="fk_gaps_recording_calls"),
    Index("ix_gaps_recording", "recording"),
)

events = Table(
    "events",
    metadata,
    Column("source", String(32), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("type", String(32), nullable=False),
    Column("recording", String(32)),
    Column("data", JSON, nullable=False),
    Index("ix_events_recording", "recording"),
    Index("ix_events_type_at", "type", "at"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("group_name", String(128), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("recording", ForeignKey("calls.recording"), primary_key=True),
    Index("ix_tokens_token", "token"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("times", Integer, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("dedupe", String(160), nullable=False),
    Column("recording", String(32)),
    Column("text", Text, nullable=False),
    Column("acknowledged_by", String(32)),
    Column("acknowledged_at", Moment),
    Index("ix_alerts_dedupe", "dedupe", "last_at"),
    Index("ix_alerts_at", "at"),
)

records = Table(
    "records",
    metadata,
    Column("record", String(32), primary_key=True),
    Column("peer", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("duration_ms", BigInteger),
    Column("state", String(16), nullable=False),
    Column("why", String(32), nullable=False, default=""),
    Column("recording", String(32)),
    Column("found_by", String(16), nullable=False, default=""),
    Column("skew_ms", BigInteger),
    Column("source", String(16), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("told_at", Moment),
    Index("ix_records_key", "peer", "key", unique=True),
    Index("ix_records_started_at", "started_at"),
    Index("ix_records_state", "state"),
    Index("ix_records_recording", "recording"),
)

record_tokens = Table(
    "record_tokens",
    metadata,
    Column("record", ForeignKey("records.record"), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),
    Index("ix_record_tokens_token", "token"),
)

hooks = Table(
    "hooks",
    metadata,
    Column("peer", String(64), primary_key=True),
    Column("message", String(64), primary_key=True),
    Column("at", Moment, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("made_at", Moment, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("next_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("why", String(64), nullable=False, default=""),
    Index("ix_outbox_sent_at", "sent_at"),
)

certificates = Table(
    "certificates",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("at", Moment, nullable=False),
    Column("subject", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("final_on", Moment),
    Column("log_index", BigInteger),
    Column("detail", JSON, nullable=False),
)

oddities = Table(
    "oddities",
    metadata,
    Column("peer", String(64), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("times", BigInteger, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("last_recording", String(32)),
)

positions = Table(
    "positions",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("n", BigInteger, nullable=False),
)

gauges = Table(
    "gauges",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
)

private_invitations = Table(
    "private_invitations",
    metadata,
    Column("call", String(22), primary_key=True),
    Column("who", String(16), nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("used", Boolean, nullable=False),
)
"""Links to private calls that wait: a call id says nothing, and the secret of the link is not here."""

private_calls = Table(
    "private_calls",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("who", String(16), nullable=False),
    Column("at", Moment, nullable=False, index=True),
    Column("length_ms", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
)
"""Private calls that rang: who of the staff, when, how long, how it ended; deleted after `private.keep_days`."""
