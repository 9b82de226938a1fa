"""The tables, as SQLAlchemy Core sees them. `migrations/` makes them; a test holds both to be equal.

Invariants:
- `event`, `checkpoint` and `signature` are append-only: triggers (in the migrations) refuse UPDATE, DELETE, TRUNCATE;
- everything else is an index, a picture or a convenience that can be made again from the events, or is small
  and of its own (releases, tokens);
- moments are BIGINT microseconds since the epoch, UTC, so that what is hashed is exact; only `node.until` is a
  timestamp, because the database's own clock judges it.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

event = sa.Table(
    "event",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("prev", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
"""The truth: one row an event, each with the hash of the one before it (`bot/store/chain.py`)."""

head = sa.Table(
    "head",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("due", sa.BigInteger),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("closed", sa.BigInteger),
    sa.Column("shown", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)
"""An index over the log, written in the same transaction. due NULL: only a person can move the run; shown: up to
which seq Slack shows the run, less than nothing where notices came since."""

sa.Index("head_due", head.c.due)
sa.Index("head_service", head.c.service, head.c.created)
_UNSHOWN = sa.text("shown < seq")
sa.Index("head_unshown", head.c.run, sqlite_where=_UNSHOWN, postgresql_where=_UNSHOWN)
sa.Index(
    "head_unended",
    head.c.service,
    head.c.created,
    head.c.run,
    sqlite_where=sa.text("open = 1 OR closed IS NULL OR due IS NOT NULL"),
    postgresql_where=sa.text("open OR closed IS NULL OR due IS NOT NULL"),
)
sa.Index("head_kind", head.c.service, head.c.kind, head.c.created, head.c.run)
ONE_OPEN_ROLLBACK = sa.Index(
    "head_one_open_rollback",
    head.c.service,
    unique=True,
    sqlite_where=sa.text("open = 1 AND kind = 'rollback'"),
    postgresql_where=sa.text("open AND kind = 'rollback'"),
)

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("prev", sa.Text, nullable=False),
    sa.Column("chain", sa.Text, nullable=False),
)
"""One small chain over starts, gates and ends of all runs: a missing run or a cut tail shows."""
sa.Index("checkpoint_run", checkpoint.c.run)

signature = sa.Table(
    "signature",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("signature", sa.Text, nullable=False),
)
"""Who vouches for the event (run, seq), and with it for all before; run empty: for the checkpoint `seq`
(`bot/store/signing.py`)."""

slot = sa.Table(
    "slot",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("ts", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)
"""Which Slack message shows what: (run, name) -> channel and ts, and the digest of what it shows; ts empty: it was
to be posted at that moment, and nobody knows whether it was. Alerts at the pager are kept alike
(`bot/node/paging.py`)."""

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("due", sa.BigInteger),
    sa.Column("people", sa.Text, nullable=False, server_default=sa.text("''")),
)
"""Posts that actions asked for (`bot/engine/notices.py`); due: not to be posted before, null: at once."""

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)
"""Keys of commands that were carried out, so that one delivered twice counts once."""
sa.Index("inbox_at", inbox.c.at)

release = sa.Table(
    "release",
    metadata,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("served_from", sa.BigInteger),
    sa.Column("served_until", sa.BigInteger),
)
"""Releases as registered (`bot/releases/register.py`); body is JSON."""

node = sa.Table(
    "node",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
)
"""Leases of running processes (`bot/store/lease.py`)."""

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("done", sa.BigInteger),
    sa.Column("total", sa.BigInteger),
    sa.Column("at", sa.BigInteger, nullable=False),
)
"""The last progress line of a step. Disposable."""

token = sa.Table(
    "token",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("issued_by", sa.Text, nullable=False),
    sa.Column("revoked", sa.BigInteger),
)
"""Personal tokens of the command line, by their SHA-256; the token itself is nowhere."""
sa.Index("token_person", token.c.person)

known = sa.Table(
    "known",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
"""What somebody outside last said, for when they cannot be asked (the people of Slack); body is JSON."""
