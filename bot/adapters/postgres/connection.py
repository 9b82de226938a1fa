"""Connections to one PostgreSQL database of the catalogue, and which place it is.

Two logins: `reader` for everything that looks, in sessions that cannot write; `admin` for what changes something. Each
comes from a variable of the environment that holds "user:password".

Invariants:
- nothing waits for ever: connecting, statements and locks have a time of their own each, in every session;
- a session of the admin is only handed out where the database is the one that was approved (`hold`);
- no password is in an address, a message or a command.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from psycopg import AsyncConnection, Error, OperationalError, errors
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from bot.adapters.gathering import gathered
from bot.ports import Unreachable, Where
from bot.ports.databases import Database, NotAllowed

PgConnection = AsyncConnection[TupleRow]

US = "rollback-bot"
"""What the bot calls itself in pg_stat_activity."""
KNOWN = 60.0
"""Seconds for which which place it is counts as known."""
UNKNOWN = 5.0
"""Seconds after which a database that did not answer is asked again which place it is."""
_KEPT_OUT = ("authentication failed", "pg_hba.conf", "permission denied", "not permitted to log in")
_NO_SUCH = ("does not exist",)


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """One database of the catalogue, with what reaches it.

    at: what handlers see of it; host: a name, an address, or the folder of a Unix socket; reader, admin: variables that
    hold "user:password", admin "" where there is none; tls: whether the server must prove who it is; ca: file with the
    certificates that vouch for it, "" for the usual ones; timeout: seconds until it must have answered; statement,
    lock: seconds that a statement may take, and wait for a lock; folder: below which the migrations of releases lie;
    python: what runs them, "" for the bot's own; url: variable that they read the address from; driver: of SQLAlchemy,
    in that address; passed: variables of the bot that they get as well.
    """

    at: Database
    host: str
    port: int
    reader: str
    admin: str = ""
    tls: bool = True
    ca: str = ""
    timeout: float = 5.0
    statement: float = 300.0
    lock: float = 2.0
    folder: str = ""
    python: str = ""
    url: str = "DATABASE_URL"
    driver: str = "psycopg"
    passed: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """ "db.internal:5432/shop"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.at.database}"

    def login(self, variable: str) -> tuple[str, str]:
        """User and password. NotAllowed where the variable is not set."""
        user, _, password = os.environ.get(variable, "").partition(":")
        if not user:
            raise NotAllowed(f"{self.at.name} is not asked, {variable} is not set in the bot's environment")
        return user, password

    @property
    def tls_options(self) -> dict[str, str]:
        """What libpq is told of certificates. A Unix socket has none."""
        if self.host.startswith("/"):
            return {}
        if not self.tls:
            return {"sslmode": "prefer"}
        return {"sslmode": "verify-full", "sslrootcert": self.ca or "system"}


class PostgresServer:
    """Makes connections to one database."""

    def __init__(self, target: DatabaseTarget) -> None:
        self.target = target
        self._held = ""
        self._found: tuple[float, Where] | None = None

    @property
    def name(self) -> str:
        """Of the target."""
        return self.target.at.name

    # -- which place it is -----------------------------------------------------------------------------------------

    def hold(self, digest: str) -> None:
        """From here on the admin changes nothing in another place than this ("": wherever it is)."""
        self._held = digest

    @property
    def named(self) -> Where:
        """Which place it is, as far as the catalogue alone tells, or was known last."""
        return (
            self._found[1] if self._found is not None else Where(f"{self.target.address}, not known", "", "databases")
        )

    async def where(self) -> Where:
        """Which place it is: address, server and name; the digest is empty where it does not answer."""
        if self._found is not None:
            at, where = self._found
            if time.monotonic() - at < (KNOWN if where.digest else UNKNOWN):
                return where
        try:
            async with self.reading() as c:
                digest = await self._digest(c)
        except (Unreachable, NotAllowed) as error:
            where = Where(f"{self.target.address}, not known ({error})", "", "databases")
        else:
            where = Where(self.target.address, digest, "databases")
        self._found = (time.monotonic(), where)
        return where

    async def _digest(self, c: PgConnection) -> str:
        """Of the address, the cluster that was once initialised there, and the database's name. Not of its oid, so that
        a database that takes over the name of another is the same place."""
        try:
            [system] = await one(c, "SELECT system_identifier::text FROM pg_catalog.pg_control_system()")
        except errors.InsufficientPrivilege:
            system = ""
        return sha256(f"{self.target.address} {system}".encode()).hexdigest()[:32]

    # -- sessions --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self, *, limit: float | None = None) -> AsyncIterator[PgConnection]:
        """A session that cannot write. limit: seconds for a statement, the target's timeout otherwise. Unreachable,
        NotAllowed: also for what goes wrong in the block."""
        given = {"default_transaction_read_only": "on", "statement_timeout": _ms(limit or self.target.timeout)}
        async with self._session(self.target.reader, self.target.at.database, given) as c:
            try:
                yield c
            except (errors.LockNotAvailable, errors.QueryCanceled) as error:
                raise self.away(f"no answer in time ({_first_line(error)})") from error

    @asynccontextmanager
    async def changing(self, database: str = "", **settings: str) -> AsyncIterator[PgConnection]:
        """A session of the admin, in autocommit, in the database of this name on the same server. Whoever uses it calls
        `record` before each statement that changes something. NotAllowed, Unreachable."""
        if not self.target.admin:
            raise NotAllowed(f"{self.name}: the catalogue names no admin login, so nothing is changed there")
        given = {"statement_timeout": _ms(self.target.statement), "default_transaction_read_only": "off", **settings}
        async with self._session(self.target.admin, database or self.target.at.database, given) as c:
            if self._held and (here := await self._digest(c)) != self._held:
                raise Unreachable(
                    f"{self.target.address} is another server by now ({here[:8]}, approved was {self._held[:8]})"
                )
            yield c

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[PgConnection]:
        """A session as the reader's own begin, with no setting of ours but how long a statement may take."""
        given = {"statement_timeout": _ms(self.target.timeout)}
        async with self._session(self.target.reader, self.target.at.database, given) as c:
            yield c

    @asynccontextmanager
    async def _session(self, login: str, database: str, settings: Mapping[str, str]) -> AsyncIterator[PgConnection]:
        target = self.target
        user, password = target.login(login)
        given = {"lock_timeout": _ms(target.lock), "search_path": quoted(target.at.schema), **settings}
        info = make_conninfo(
            host=target.host, port=target.port, dbname=database, user=user, password=password or None,
            application_name=US, connect_timeout=max(2, int(target.timeout)), options=options(given),
            **target.tls_options,
        )  # fmt: skip
        try:
            async with asyncio.timeout(target.timeout):
                c = await AsyncConnection.connect(info, autocommit=True, prepare_threshold=None)
        except TimeoutError as error:
            raise self.away(f"no answer within {target.timeout:g} s") from error
        except OperationalError as error:
            raise self._told(error) from error
        try:
            yield c
        except errors.InsufficientPrivilege as error:
            raise NotAllowed(f"{self.name}: {_first_line(error)}") from error
        except errors.AdminShutdown as error:
            raise self.away("the server ended the session") from error
        except OperationalError as error:
            if not c.broken:
                raise
            raise self.away(f"the connection broke ({_first_line(error)})") from error
        finally:
            await c.close()

    def away(self, why: str) -> Unreachable:
        """No answer, and nothing is known."""
        return Unreachable.of({self.name: why})

    def _told(self, error: Error) -> Exception:
        said = _first_line(error)
        if any(words in said for words in (*_KEPT_OUT, *_NO_SUCH)):
            return NotAllowed(f"{self.name}: {said}")
        return self.away(said)


def options(settings: Mapping[str, str]) -> str:
    """Settings of a session as libpq's `options` and PGOPTIONS want them."""
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


async def one(c: PgConnection, query: str, *given: Any) -> TupleRow:
    """The first row. LookupError where there is none."""
    row = await (await c.execute(query.encode(), given or None)).fetchone()
    if row is None:
        raise LookupError(f"no row: {query}")
    return row


async def rows(c: PgConnection, query: str, *given: Any) -> list[TupleRow]:
    """Every row."""
    return await (await c.execute(query.encode(), given or None)).fetchall()


async def together(server: PostgresServer, name: str, jobs: int, statements: Sequence[str]) -> list[Any]:
    """What each statement answers (None: nothing), over so many connections at a time, in the order given."""
    found: list[Any] = [None] * len(statements)
    todo = deque(enumerate(statements))

    async def work() -> None:
        async with server.changing(name, statement_timeout="0") as c:
            while todo:
                i, statement = todo.popleft()
                answer = await c.execute(statement.encode())
                row = await answer.fetchone() if answer.description else None
                found[i] = row[0] if row is not None else None

    await gathered(work() for _ in range(min(jobs, len(statements))))
    return found


def _ms(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))


def _first_line(error: Error) -> str:
    said = str(error.diag.message_primary or error).strip()
    return said.replace("\n", " ")[:200]
