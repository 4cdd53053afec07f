"""The phone system's own records, what finds them, webhooks taken, and mail that waits."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the four tables."""
    _records()
    op.create_table(
        "record_tokens",
        sa.Column("record", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(["record"], ["records.record"], name=op.f("fk_record_tokens_record_records")),
        sa.PrimaryKeyConstraint("record", "token", name=op.f("pk_record_tokens")),
    )
    op.create_index("ix_record_tokens_token", "record_tokens", ["token"])
    op.create_table(
        "hooks",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("message", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "message", name=op.f("pk_hooks")),
    )
    _outbox()


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("record", sa.String(length=32), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(length=32), nullable=False),
        sa.Column("recording", sa.String(length=32), nullable=True),
        sa.Column("found_by", sa.String(length=16), nullable=False),
        sa.Column("skew_ms", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("record", name=op.f("pk_records")),
    )
    op.create_index("ix_records_key", "records", ["peer", "key"], unique=True)
    for name in ("started_at", "state", "recording"):
        op.create_index(f"ix_records_{name}", "records", [name])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("name", name=op.f("uq_outbox_name")),
    )
    op.create_index("ix_outbox_sent_at", "outbox", ["sent_at"])
