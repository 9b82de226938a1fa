"""When a post that an action asked for is due, and whom it mentions.

Revision 0005, after 0004. Frozen once released: it imports nothing of ours.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("notice") as notice:
        notice.add_column(sa.Column("due", sa.BigInteger))
        notice.add_column(sa.Column("people", sa.Text, nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    with op.batch_alter_table("notice") as notice:
        notice.drop_column("people")
        notice.drop_column("due")
