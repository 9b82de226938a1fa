"""Coupons, which an order may have been paid with; such an order is 'discounted'.

Revision 0042, after 0041. Frozen once released. On the way down discounted orders become paid ones: 2.4.0 knows no
others.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    op.create_table(
        "coupons",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("code", sa.Text, nullable=False, unique=True),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.add_column("orders", sa.Column("coupon_id", sa.BigInteger, sa.ForeignKey("coupons.id")))
    op.create_index("orders_coupon", "orders", ["coupon_id"])
    op.drop_constraint("orders_status", "orders")
    op.create_check_constraint("orders_status", "orders", "status in ('paid', 'refunded', 'discounted')")


def downgrade() -> None:
    op.execute("UPDATE orders SET status = 'paid' WHERE status = 'discounted'")
    op.drop_constraint("orders_status", "orders")
    op.create_check_constraint("orders_status", "orders", "status in ('paid', 'refunded')")
    op.drop_column("orders", "coupon_id")
    op.drop_table("coupons")
