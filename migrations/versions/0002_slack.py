"""What makes Slack look like the log: posts that actions asked for, what is shown, what was last known of people.

Revision 0002, after 0001. Frozen once released: it imports nothing of ours.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    zero = sa.text("0")
    op.add_column("head", sa.Column("shown", sa.BigInteger, nullable=False, server_default=zero))
    op.execute("UPDATE head SET shown = seq WHERE closed IS NOT NULL")
    waiting = sa.text("shown < seq")
    op.create_index("head_unshown", "head", ["run"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("checkpoint_run", "checkpoint", ["run"])
    op.add_column("slot", sa.Column("at", sa.BigInteger, nullable=False, server_default=zero))
    op.create_table(
        "notice",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "known",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("known")
    op.drop_table("notice")
    op.drop_column("slot", "at")
    op.drop_index("checkpoint_run", "checkpoint")
    op.drop_index("head_unshown", "head")
    op.drop_column("head", "shown")
