"""The first schema: calls, parts, gaps, events, tokens, alerts, certificates, positions, gauges."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    _alerts()
    _calls()
    _certificates()
    _events()
    _positions()
    _gauges()
    _gaps()
    _parts()
    _tokens()


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("dedupe", sa.String(length=160), nullable=False),
        sa.Column("recording", sa.String(length=32), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("acknowledged_by", sa.String(length=32), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_at", "alerts", ["at"], unique=False)
    op.create_index("ix_alerts_dedupe", "alerts", ["dedupe", "last_at"], unique=False)


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("recording", sa.String(length=32), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("recording_class", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("sealed_through_ms", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("legs", sa.JSON(), nullable=False),
        sa.Column("transport", sa.String(length=64), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("end_reason", sa.String(length=64), nullable=True),
        sa.Column("group_name", sa.String(length=128), nullable=True),
        sa.Column("leaf", sa.BigInteger(), nullable=True),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("lawful_basis", sa.Text(), nullable=False),
        sa.Column("delete_by", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("recording", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_delete_by", "calls", ["delete_by"], unique=False)
    op.create_index("ix_calls_group_name", "calls", ["group_name"], unique=False)
    op.create_index("ix_calls_started_at", "calls", ["started_at", "recording"], unique=False)
    op.create_index("ix_calls_state", "calls", ["state"], unique=False)


def _certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("final_on", sa.BigInteger(), nullable=True),
        sa.Column("log_index", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("digest", name=op.f("uq_certificates_digest")),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("recording", sa.String(length=32), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("source", "n", name=op.f("pk_events")),
    )
    op.create_index("ix_events_recording", "events", ["recording"], unique=False)
    op.create_index("ix_events_type_at", "events", ["type", "at"], unique=False)


def _positions() -> None:
    op.create_table(
        "positions",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_positions")),
    )


def _gaps() -> None:
    op.create_table(
        "gaps",
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("recording", sa.String(length=32), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["recording"], ["calls.recording"], name="fk_gaps_recording_calls"),
        sa.PrimaryKeyConstraint("source", "n", name=op.f("pk_gaps")),
    )
    op.create_index("ix_gaps_recording", "gaps", ["recording"], unique=False)


def _parts() -> None:
    op.create_table(
        "parts",
        sa.Column("recording", sa.String(length=32), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("instance", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed_through_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("messages", sa.Integer(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("end_reason", sa.String(length=64), nullable=True),
        sa.Column("path", sa.String(length=128), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("row", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_meta", sa.LargeBinary(), nullable=True),
        sa.Column("log_index", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["recording"], ["calls.recording"], name=op.f("fk_parts_recording_calls")),
        sa.PrimaryKeyConstraint("recording", "part", name=op.f("pk_parts")),
    )
    op.create_index("ix_parts_state", "parts", ["state"], unique=False)


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("group_name", sa.String(length=128), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("recording", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["recording"], ["calls.recording"], name=op.f("fk_tokens_recording_calls")),
        sa.PrimaryKeyConstraint("group_name", "token", "recording", name=op.f("pk_tokens")),
    )
    op.create_index("ix_tokens_token", "tokens", ["token"], unique=False)


def _gauges() -> None:
    op.create_table(
        "gauges",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gauges")),
    )
