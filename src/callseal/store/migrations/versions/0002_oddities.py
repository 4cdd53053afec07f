"""What phone systems send that is odd; which calls belong together."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of oddities; name a call's conversation and the recording that it is the same call as."""
    op.create_table(
        "oddities",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("last_recording", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("peer", "name", name=op.f("pk_oddities")),
    )
    for name in ("conversation", "same_call_as"):
        op.add_column("calls", sa.Column(name, sa.String(length=32), nullable=True))
        op.create_index(op.f(f"ix_calls_{name}"), "calls", [name])
