"""Signatures of what nodes append. Append-only, like what they are over.

Revision 0003, after 0002. Frozen once released: it imports nothing of ours.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "signature",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("signature", sa.Text, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER signature_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signature "
            "FOR EACH STATEMENT EXECUTE FUNCTION rollback_bot_append_only()"
        )
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'signature is append-only'); END"
    there = "EXISTS (SELECT 1 FROM signature WHERE run = NEW.run AND seq = NEW.seq AND key = NEW.key)"
    op.execute(f"CREATE TRIGGER signature_no_update BEFORE UPDATE ON signature {refuse}")
    op.execute(f"CREATE TRIGGER signature_no_delete BEFORE DELETE ON signature {refuse}")
    op.execute(f"CREATE TRIGGER signature_no_replace BEFORE INSERT ON signature WHEN {there} {refuse}")


def downgrade() -> None:
    op.drop_table("signature")
