"""One way into the database for SQLite and PostgreSQL: reads, write transactions, snapshots, and plain errors.

Work is a plain function of a SQLAlchemy connection, and runs whole in a thread, one hop a transaction. An asyncio
driver waits on the loop for each statement: half as much again as the statements cost (PostgreSQL), or four times
as much (SQLite).

Invariants:
- a write is one transaction; a cancelled caller never leaves half of one behind (it ends, then he is cancelled);
- in SQLite one writer at a time queues here, in order, and not in SQLite's busy loop;
- whatever keeps the database from working becomes `StoreUnavailable`: what, where, and what to do next. Broken
  constraints and our own mistakes stay what they are;
- no message holds a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from bot.steady.outage import Outage
from bot.store.moment import SNAPSHOT, LiteMoment

T = TypeVar("T")
Turn = contextlib.AbstractAsyncContextManager[None]
log = logging.getLogger(__name__)

LITE, POSTGRES = "sqlite", "postgresql+psycopg"
MEANT = {"sqlite+aiosqlite": LITE, "postgres": POSTGRES, "postgresql": POSTGRES}
"""Read as: what others write for SQLite beside asyncio, and what providers of PostgreSQL hand out."""
PRIVATE = 0o600
NO_WRITES = ("is not possible", "is possible again")
THREADS = 8
"""Statements that run at once, and connections that are kept, in PostgreSQL."""
UPGRADE = "run `rollback-bot db upgrade`"


class StoreUnavailable(Exception):
    """The database cannot be used now. Nothing was written, unless the connection was lost at the very commit:
    load again and look. away: nobody can use it, not only this statement could not."""

    def __init__(self, text: str, *, away: bool = True) -> None:
        super().__init__(text)
        self.away = away


class SchemaMismatch(Exception):
    """The database is older or newer than this version; says which, and what to run."""


class BadAddress(ValueError):
    """ROLLBACK_DATABASE_URL leads to no database that the bot could use; says what a good one looks like."""


def parse_url(url: str) -> URL:
    """The URL, if it is of one of the two kinds that work. BadAddress with an example otherwise."""
    example = f"use {LITE}:////var/lib/rollback-bot/bot.db or {POSTGRES.partition('+')[0]}://user@host/database"
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise BadAddress(f"ROLLBACK_DATABASE_URL is not a URL; {example}") from None
    parsed = parsed.set(drivername=MEANT.get(parsed.drivername, parsed.drivername))
    if parsed.drivername not in (LITE, POSTGRES):
        raise BadAddress(f"ROLLBACK_DATABASE_URL begins with {parsed.drivername}://; {example}")
    if parsed.drivername == LITE and parsed.database in (None, "", ":memory:"):
        raise BadAddress(f"ROLLBACK_DATABASE_URL names no file; {example}")
    return parsed


def place(url: URL) -> str:
    """Where the database is, for people: without user and password."""
    if url.drivername == LITE:
        return f"the database file {url.database}"
    host = url.host or url.query.get("host") or "the local socket"
    return f"the PostgreSQL database {url.database!r} at {host}{f':{url.port}' if url.port else ''}"


def connect_args(url: URL, patience: float) -> dict[str, Any]:
    """What a PostgreSQL connection is told, so that a dead server is noticed and no lock is awaited for ever."""
    if url.drivername != POSTGRES:
        return {}
    limits = f"-c lock_timeout={int(patience * 1000)} -c statement_timeout=60s"
    limits += " -c idle_in_transaction_session_timeout=60s"
    given = {
        "options": limits, "connect_timeout": 5, "application_name": "rollback-bot", "tcp_user_timeout": 15000,
        "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    }  # fmt: skip
    return {k: v for k, v in given.items() if k not in url.query}


def private(url: URL) -> None:
    """Makes SQLite's file, and those beside it, readable for nobody but the bot's user; where they are another user's
    they are left. Never opens one that is there: closing it would let go of SQLite's own locks."""
    path = Path(url.database or "")
    with contextlib.suppress(OSError):  # what is wrong with the place is told on connecting
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        with contextlib.suppress(OSError):
            found = name.stat()
            if found.st_mode & 0o077 and found.st_uid == os.geteuid():
                name.chmod(PRIVATE)


def prepare_lite(engine: sa.Engine, patience: float) -> None:
    """Make each connection of a SQLite engine durable, patient, and leave BEGIN to us."""

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        try:
            for pragma in (f"busy_timeout={int(patience * 1000)}", "journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        if statement := connection.get_execution_options().get("begin"):
            connection.exec_driver_sql(statement)


def disposable_lite(url: str) -> sa.Engine:
    """An engine over a SQLite file, for what a process may find gone of its last second after the machine lost power:
    it does not wait for the disk. Locks as DBOS's own engine does: who means to write has the file from the start."""
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


class Transaction(Protocol):
    """A transaction under way."""

    async def run_sync(self, work: Callable[[sa.Connection], T], /) -> T:
        """Do this within it."""
        ...


def open_database(url: str, patience: float = 5.0) -> SqlDatabase:
    """The database at this URL; it connects when first used. patience: seconds to wait for a lock. BadAddress."""
    parsed = parse_url(url)
    return Lite(parsed, patience) if parsed.drivername == LITE else Postgres(parsed, patience)


class SqlDatabase:
    """An open database. Every method raises StoreUnavailable or SchemaMismatch where it cannot be used.

    reads: statements of their own, each of which sees what is committed at that moment; writes: transactions;
    snapshots: transactions whose statements all see the same moment. turn: what a write holds while it is under way.
    outage: of the database; writing: of writing alone, as a disk that is full leaves reading possible.
    """

    lite: ClassVar[bool]

    def __init__(
        self, url: URL, reads: sa.Engine, writes: sa.Engine, snapshots: sa.Engine, *, threads: int, turn: Turn
    ) -> None:
        self.url, self.outage = url, Outage("The database", log)
        self.writing = Outage("Writing to the database", log, words=NO_WRITES)
        self._reads, self._writes, self._snapshots = reads, writes, snapshots
        self._threads, self._turn = ThreadPoolExecutor(threads, "database"), turn
        self._under_way: set[asyncio.Task[Any]] = set()

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work`, which only reads; every statement sees what is committed at that moment."""
        return await self._hop(_read, self._reads, work)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction. A cancelled caller waits for its end."""
        return await self._whole(self._write(work))

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        async with self._turn:
            return await self._hop(_write, self._writes, work, writing=self.writing)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """A transaction whose statements all see the same moment."""
        async with self._open(self._snapshots) as transaction:
            yield transaction

    async def moment(self) -> str | None:
        """Equal ones see the same rows (`bot/store/moment.py`); None where that cannot be told now."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let writes under way end, then close every connection."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await asyncio.to_thread(self._reads.dispose)  # the one pool that all three share
        await asyncio.to_thread(self._threads.shutdown)

    @contextlib.asynccontextmanager
    async def _open(self, engine: sa.Engine) -> AsyncIterator[Transaction]:
        """A connection that several hops use, one after another; it ends without a trace."""
        c = await self._hop(engine.connect)
        try:
            yield _Hops(self, c)
        finally:
            await self._hop(c.close)

    async def _whole(self, work: Awaitable[T]) -> T:
        """Await it, or if cancelled its end first: no thread is left with a connection that others go on with."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # looked at: the caller hears of the cancellation instead
            raise

    async def _hop(self, work: Callable[..., T], *args: Any, writing: Outage | None = None) -> T:
        with plain_errors(self.url, self.outage, writing):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


class Postgres(SqlDatabase):
    """PostgreSQL."""

    lite = False

    def __init__(self, url: URL, patience: float) -> None:
        pool = sa.create_engine(
            url, connect_args=connect_args(url, patience), pool_size=THREADS, pool_pre_ping=True,
            pool_timeout=patience + 5,
        )  # fmt: skip
        super().__init__(
            url,
            pool.execution_options(isolation_level="AUTOCOMMIT"),
            pool,
            pool.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
            threads=THREADS,
            turn=contextlib.nullcontext(),
        )

    async def moment(self) -> str | None:
        return str(await self.read(lambda c: c.scalar(SNAPSHOT)))


class Lite(SqlDatabase):
    """SQLite, through the standard library."""

    lite = True

    def __init__(self, url: URL, patience: float) -> None:
        private(url)
        pool = sa.create_engine(url, poolclass=sa.QueuePool, pool_timeout=patience + 5)
        prepare_lite(pool, patience)
        writes, snapshots = (pool.execution_options(begin=begin) for begin in ("BEGIN IMMEDIATE", "BEGIN"))
        super().__init__(url, pool, writes, snapshots, threads=THREADS // 2, turn=asyncio.Lock())
        self._moment = LiteMoment(url)

    async def moment(self) -> str | None:
        return self._moment.now()

    async def close(self) -> None:
        self._moment.close()  # before the others: who closes last tidies up the files
        await super().close()


class _Hops:
    """A transaction under way, each piece of work in a thread."""

    def __init__(self, db: SqlDatabase, connection: sa.Connection) -> None:
        self._db, self._connection = db, connection

    async def run_sync(self, work: Callable[[sa.Connection], T], /) -> T:
        return await self._db._whole(self._db._hop(work, self._connection))


def _read(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.connect() as c:
        return work(c)


def _write(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as c:
        return work(c)


@contextlib.contextmanager
def plain_errors(url: URL, outage: Outage | None = None, writing: Outage | None = None) -> Iterator[None]:
    """Turn what keeps the database from working into StoreUnavailable or SchemaMismatch, and tell its outage. writing:
    given where something is written; what that alone meets does not end when something was read."""
    outage = outage or Outage("The database", log)
    asked, written = outage.asked, writing.asked if writing is not None else 0
    try:
        yield
    except sa.exc.IntegrityError:
        outage.up(asked)
        raise
    except sa.exc.DBAPIError as e:
        told = _told(e, place(url))
        if told is None:
            raise
        if isinstance(told, StoreUnavailable) and told.away:
            (writing if writing is not None and _code(e).startswith(_NO_WRITES) else outage).down(str(told))
        raise told from e
    except sa.exc.TimeoutError as e:
        text = f"All connections to {place(url)} are in use. Next: wait, then try again."
        raise StoreUnavailable(text, away=False) from e
    outage.up(asked)
    if writing is not None:
        writing.up(written)


def away(e: BaseException) -> str:
    """Why the database is away, where that is what an exception comes from, DBOS's own included; else nothing."""
    cause: BaseException | None = e
    while cause is not None:
        if cause.away if isinstance(cause, StoreUnavailable) else isinstance(cause, psycopg.OperationalError):
            return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        cause = cause.__cause__
    return ""


@contextlib.contextmanager
def told(log: logging.Logger, what: str) -> Iterator[None]:
    """What goes wrong with a look that is repeated is a line of the log, and over: "what: TimeoutError: ..."; nothing
    where the database is away, which the store tells."""
    try:
        yield
    except Exception as e:
        if not away(e):
            log.warning("%s: %s: %s", what, type(e).__name__, e)


def away_by(text: str) -> str:
    """The same of an exception that was only logged, as SQLAlchemy words it: "(psycopg.errors.AdminShutdown) ..."."""
    found = _WORDED.search(text)
    if found is None:
        return ""
    kind = getattr(psycopg.errors, found["kind"], None)
    lost = isinstance(kind, type) and issubclass(kind, psycopg.OperationalError)
    return (found["why"].strip().splitlines() or [found["kind"]])[0] if lost else ""


_WORDED = re.compile(r"\(psycopg\.(?:errors\.)?(?P<kind>\w+)\)(?P<why>.*)", re.DOTALL)


def _code(e: sa.exc.DBAPIError) -> str:
    return getattr(e.orig, "sqlite_errorname", None) or getattr(e.orig, "sqlstate", None) or ""


def _told(e: sa.exc.DBAPIError, where: str) -> Exception | None:
    cause, code = e.orig, _code(e)
    first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    if code == "42P01" or code == "42703" or "no such table" in first or "no such column" in first:
        return SchemaMismatch(f"{_capital(where)} lacks a table or column of this version ({first}). Next: {UPGRADE}.")
    for prefixes, what, then in _FAULTS:
        if code.startswith(prefixes):
            text = f"{_capital(where)} {what}. Nothing was written. Next: {then.format(where=where)}."
            return StoreUnavailable(text, away=not code.startswith(_BUSY))
    if isinstance(e, sa.exc.OperationalError | sa.exc.InterfaceError) or e.connection_invalidated:
        if isinstance(cause, psycopg.Error) and not code:
            return StoreUnavailable(
                f"Cannot reach {where}: {first}. Next: check that it runs, that the database exists and that "
                "ROLLBACK_DATABASE_URL is right; the bot goes on by itself when it is back."
            )
        return StoreUnavailable(f"{_capital(where)} does not work: {first}. Next: look into its log and disk.")
    return None


_FAULTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("SQLITE_READONLY",), "is read-only",
     "make the file and its folder writable for the bot's user"),
    (("25006",), "is read-only",
     "point ROLLBACK_DATABASE_URL at the primary, or end its read-only mode (default_transaction_read_only)"),
    (("SQLITE_FULL", "53100"), "is full, or its disk is",
     "free space there, then try again; what was recorded before is safe"),
    (("SQLITE_BUSY", "SQLITE_LOCKED"), "is locked by another process",
     "find it (`fuser -v` on the file) and let it end; only one bot may use the file"),
    (("55P03",), "holds a lock that another session does not give back",
     "find that session in pg_stat_activity and end it"),
    (("57014",), "took too long to answer", "look at its load and at pg_stat_activity"),
    (("SQLITE_CANTOPEN",), "cannot be opened",
     "check that its folder exists and belongs to the bot's user"),
    (("SQLITE_CORRUPT", "SQLITE_NOTADB"), "is damaged, or is no database",
     "stop the bot, keep the file, restore the newest backup and run `rollback-bot audit verify`"),
    (("SQLITE_IOERR",), "cannot be read or written: its disk reports an error", "look at the disk (`dmesg`)"),
    (("42501",), "refuses the bot's user a right it needs", "grant it; the tables belong to who upgraded"),
    (("57P",), "is being shut down or started", "wait; the bot goes on by itself when it is back"),
    (("40",), "could not order two writes", "nothing; it is tried again"),
)  # fmt: skip

_NO_WRITES = ("SQLITE_READONLY", "25006", "SQLITE_FULL", "53100")
"""It can be read all the same."""
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "57014", "40", "42501")
"""It is there, and others can use it."""


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
