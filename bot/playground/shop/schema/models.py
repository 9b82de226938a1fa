"""The shop's tables as a release's code knows them: `tables("0041")`. Comparing them with a live database tells whether
that database is the release's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

STATUS = {"0040": ("paid", "refunded"), "0041": ("paid", "refunded"), "0042": ("paid", "refunded", "discounted")}
"""Values of orders.status."""


def tables(revision: str) -> sa.MetaData:
    """Those of a revision."""
    found = sa.MetaData()
    _orders(found, revision)
    _work(found)
    if revision >= "0041":
        _people(found)
    if revision >= "0042":
        _coupons(found)
    return found


def _orders(found: sa.MetaData, revision: str) -> None:
    words = ", ".join(f"'{word}'" for word in STATUS[revision])
    columns: list[sa.Column[Any]] = [
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("customer", sa.Text, nullable=False, server_default=""),
        sa.Column("cents", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="paid"),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    ]
    if revision >= "0042":
        columns.append(sa.Column("coupon_id", sa.BigInteger, sa.ForeignKey("coupons.id")))
    orders = sa.Table("orders", found, *columns, sa.CheckConstraint(f"status in ({words})", name="orders_status"))
    sa.Index("orders_at", orders.c.at)
    if revision >= "0042":
        sa.Index("orders_coupon", orders.c.coupon_id)


def _work(found: sa.MetaData) -> None:
    sa.Table(
        "jobs", found,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id", ondelete="CASCADE"), nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="queued"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("why", sa.Text, nullable=False, server_default=""),
        sa.UniqueConstraint("order_id", "kind", name="jobs_once"),
    )  # fmt: skip
    for name in ("receipts", "settlements"):
        sa.Table(
            name, found,
            sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
            sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id", ondelete="CASCADE"), nullable=False),
            sa.Column("release", sa.Text, nullable=False),
            sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        )  # fmt: skip
    sa.Table(
        "carts", found,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
    )  # fmt: skip
    sa.Table("expired", found, sa.Column("release", sa.Text, primary_key=True))


def _people(found: sa.MetaData) -> None:
    sa.Table(
        "tenants", found,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("session", sa.Text),
    )  # fmt: skip
    sa.Table(
        "messages", found,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="queued"),
    )  # fmt: skip
    sa.Table(
        "disputes", found,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.name", ondelete="CASCADE"), nullable=False),
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id", ondelete="CASCADE"), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="received"),
    )  # fmt: skip


def _coupons(found: sa.MetaData) -> None:
    sa.Table(
        "coupons", found,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("code", sa.Text, nullable=False, unique=True),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )  # fmt: skip
