"""Private calls: links that wait, and that calls were."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "private_invitations",
        sa.Column("call", sa.String(length=22), nullable=False),
        sa.Column("who", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("call", name=op.f("pk_private_invitations")),
    )
    op.create_index(op.f("ix_private_invitations_expires_at"), "private_invitations", ["expires_at"])
    op.create_table(
        "private_calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("length_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_private_calls")),
    )
    op.create_index(op.f("ix_private_calls_at"), "private_calls", ["at"])
