"""The log, its index, and the small tables beside them.

Revision 0001, after nothing. Frozen once released: it imports nothing of ours.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

APPEND_ONLY = ("event", "checkpoint")


def upgrade() -> None:
    _the_log()
    _its_index()
    _small_tables()
    if op.get_context().dialect.name == "postgresql":
        _append_only_postgres()
    else:
        _append_only_sqlite()


def downgrade() -> None:
    tables = ("token", "progress", "node", "release", "inbox", "slot", "checkpoint", "head", "event")
    for table in tables:  # with their indexes and triggers
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION rollback_bot_append_only()")


def _the_log() -> None:
    op.create_table(
        "event",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("prev", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("prev", sa.Text, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
    )


def _its_index() -> None:
    op.create_table(
        "head",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("closed", sa.BigInteger),
    )
    op.create_index("head_due", "head", ["due"])
    op.create_index("head_service", "head", ["service", "created"])
    op.create_index(
        "head_one_open_rollback",
        "head",
        ["service"],
        unique=True,
        sqlite_where=sa.text("open = 1 AND kind = 'rollback'"),
        postgresql_where=sa.text("open AND kind = 'rollback'"),
    )


def _small_tables() -> None:
    op.create_table(
        "slot",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("ts", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("inbox_at", "inbox", ["at"])
    op.create_table(
        "release",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("served_from", sa.BigInteger),
        sa.Column("served_until", sa.BigInteger),
    )
    op.create_table(
        "node",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("done", sa.BigInteger),
        sa.Column("total", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("issued_by", sa.Text, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_index("token_person", "token", ["person"])


def _append_only_postgres() -> None:
    op.execute(
        """
        CREATE FUNCTION rollback_bot_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION rollback_bot_append_only()"
        )


def _append_only_sqlite() -> None:
    """The third trigger is for INSERT OR REPLACE, which deletes a row without firing the second."""
    keys = {"event": "run = NEW.run AND seq = NEW.seq", "checkpoint": "n = NEW.n"}
    for table in APPEND_ONLY:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        there = f"EXISTS (SELECT 1 FROM {table} WHERE {keys[table]})"  # noqa: S608
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} {refuse}")
