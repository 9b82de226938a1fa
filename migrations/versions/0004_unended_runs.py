"""The runs of a service that bear on its freeze are found without a look at those that have ended.

Revision 0004, after 0003. Frozen once released: it imports nothing of ours.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index(
        "head_unended",
        "head",
        ["service", "created", "run"],
        sqlite_where=sa.text("open = 1 OR closed IS NULL OR due IS NOT NULL"),
        postgresql_where=sa.text("open OR closed IS NULL OR due IS NOT NULL"),
    )
    op.create_index("head_kind", "head", ["service", "kind", "created", "run"])


def downgrade() -> None:
    op.drop_index("head_kind", "head")
    op.drop_index("head_unended", "head")
