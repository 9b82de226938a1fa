"""The schema of the bot's database, by Alembic, without an alembic.ini and without writing to this folder.

Every function is synchronous (from a coroutine: `asyncio.to_thread`) and one transaction: a migration that fails
leaves the database as it was. Upgraders queue: behind an advisory lock in PostgreSQL, behind SQLite's own.
DBOS keeps its tables elsewhere (schema `dbos`, or a file of its own); they are not ours to migrate.

Alembic is imported by whoever moves the schema, not by whoever asks where it is: each start of the bot asks. So the
revisions there are, in their order, are read from the names of their files (`0005_notices.py`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bot.store import triggers
from bot.store.database import (
    LITE,
    UPGRADE,
    SchemaMismatch,
    SqlDatabase,
    connect_args,
    parse_url,
    place,
    plain_errors,
    prepare_lite,
    private,
)

if TYPE_CHECKING:
    from alembic.config import Config

LOCK = 0x726F6C6C00
"""PostgreSQL advisory lock of whoever migrates."""

_ALEMBIC = threading.Lock()
"""Alembic keeps what it is doing in module globals: one thread at a time."""


class UnknownRevision(ValueError):
    """A revision that this version does not have; names those there are."""


def head() -> str:
    """The revision that this version of the bot needs."""
    return revisions()[-1]


@cache
def revisions() -> tuple[str, ...]:
    """Every revision of this version, first to last."""
    return tuple(sorted(f.name.partition("_")[0] for f in Path(__file__).parent.glob("versions/[0-9]*_*.py")))


def revision(connection: sa.Connection) -> str | None:
    """The revision that the database is at; None before the first."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def require(found: str | None, where: str) -> None:
    """SchemaMismatch unless `found` is what this version needs. where: names the database for people."""
    if found == head():
        return
    _refuse_newer(found, where)
    was = f"is at revision {found}" if found else "has no tables of ours yet"
    raise SchemaMismatch(f"{where[0].upper()}{where[1:]} {was}; this version needs {head()}. Next: {UPGRADE}.")


async def check(db: SqlDatabase) -> None:
    """SchemaMismatch if the database is older or newer than this version; it says which and what to run."""
    require(await db.read(revision), place(db.url))


def current(url: str) -> str | None:
    """The revision that the database is at; None before the first."""
    with _connection(url, 5.0, begin="BEGIN") as c:
        return revision(c)


def upgrade(url: str, to: str = "head", *, patience: float = 60.0) -> str:
    """Bring the database to a revision; nothing happens if it is there, but that triggers of the newest that were
    removed are put back. Returns where it is now.

    patience: seconds to wait for another upgrader. Raises UnknownRevision, SchemaMismatch (newer than this
    version), StoreUnavailable.
    """
    from alembic import command

    return _migrate(url, patience, _revision(to, "head"), command.upgrade)


def downgrade(url: str, to: str, *, patience: float = 60.0) -> str:
    """Take the database back to a revision ("base": before the first), and with it what later ones added."""
    from alembic import command

    return _migrate(url, patience, _revision(to, "base"), command.downgrade)


def _revision(word: str, other: str) -> str:
    """The word, if it is a revision or the `other` word for one. UnknownRevision."""
    if word not in (*revisions(), other):
        raise UnknownRevision(
            f"This version has no revision {word!r}; it has {', '.join(revisions())}, or {other}. Nothing was changed."
        )
    return word


def _migrate(url: str, patience: float, to: str, go: Callable[[Config, str], None]) -> str:
    with _ALEMBIC, _connection(url, patience, begin="BEGIN EXCLUSIVE") as c:
        if c.dialect.name == "postgresql":
            _queue(c, patience)
        _refuse_newer(revision(c), place(parse_url(url)))
        config = _config()
        config.attributes["connection"] = c
        go(config, to)
        now = revision(c) or ""
        if now == head():
            triggers.put_back(c)
        return now


def _queue(c: sa.Connection, patience: float) -> None:
    """Wait for other upgraders, then hold on to no lock of the running bot for long."""
    c.exec_driver_sql("SET LOCAL statement_timeout = 0")
    c.exec_driver_sql(f"SET LOCAL lock_timeout = {int(patience * 1000)}")
    c.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    c.exec_driver_sql("SET LOCAL lock_timeout = '5s'")


@contextlib.contextmanager
def _connection(url: str, patience: float, begin: str) -> Iterator[sa.Connection]:
    """A transaction on a connection of its own, with errors in plain words."""
    parsed = parse_url(url)
    engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=connect_args(parsed, patience))
    if parsed.drivername == LITE:
        private(parsed)
        prepare_lite(engine, patience)
    with plain_errors(parsed), engine.execution_options(begin=begin).begin() as c:
        yield c


def _refuse_newer(found: str | None, where: str) -> None:
    if found is not None and found not in revisions():
        raise SchemaMismatch(
            f"{where[0].upper()}{where[1:]} is at revision {found}, which this version (revision {head()}) does not "
            "know: a newer version upgraded it. Next: start that version; nothing was changed."
        )


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
