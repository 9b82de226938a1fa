"""The servers of the shop's second half: PostgreSQL with its database, Valkey, and the folder of its backups.

    with Data(folder) as data:                      # a server of its own; Data(folder, server=url) shares one
        data.upgrade("0041")                        # as the pipeline does, with the tree of the release that has it
        data.place, data.valkey                     # "127.0.0.1:5432/shop", "127.0.0.1:6379"
        data.logins["owner"]                        # ("shop_owner", its password): owns the schema, migrates
        data.backup(age=600)                        # a pg_dump, taken ten minutes ago by its name and its time
        data.rows("SELECT ..."), data.books()

The application logs in as shop_app, who may read and write rows and nothing else.

Invariants: everything listens on loopback, and ends with the context; a database on a shared server is dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from bot.playground.postgres import SUPERUSER, execute, port_of, private_postgres, tools
from bot.playground.shop import schema
from bot.playground.shop.cache import Valkey
from bot.playground.shop.database import Books
from bot.playground.shop.orders import ASIDE, EVENTS, GROUP, JOBS, TAKEN, begin
from bot.playground.shop.releases import SERVICE, VERSIONS
from bot.playground.shop.tenants import MAINTENANCE
from bot.playground.shop.truth import Second
from bot.playground.valkey import private_valkey

LOGINS = {"app": ("shop_app", "playground-app"), "owner": ("shop_owner", "playground-owner"), "admin": SUPERUSER}
"""Who may log in: name and password."""
_PATIENCE = 120.0
_numbers = itertools.count(1)


@dataclass
class Data:
    """folder: of trees and backups; server: the URL of a `private_postgres(tcp=True)` to share, else one of its own;
    name: of the database, another one on a shared server."""

    folder: Path
    server: str = ""
    name: str = ""
    valkey: str = ""
    trees: dict[str, Path] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def logins(self) -> Mapping[str, tuple[str, str]]:
        """`app`, `owner` and `admin` (a superuser): name and password."""
        return LOGINS

    @property
    def place(self) -> str:
        """`host:port/database`."""
        return f"127.0.0.1:{port_of(self.server)}/{self.name}"

    @property
    def migrations(self) -> Path:
        """The folder of the trees, one a release, called as it."""
        return self.folder / "migrations"

    @property
    def backups(self) -> Path:
        """The folder of the dumps, `shop-20260728T134500Z.dump`."""
        return self.folder / "backups"

    def dsn(self, who: str = "app", database: str = "") -> str:
        """libpq's address with a login."""
        name, password = self.logins[who]
        host, _, own = self.place.partition("/")
        return f"postgresql://{name}:{password}@{host}/{database or own}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.backups.mkdir(parents=True, exist_ok=True)
        self.trees = {v: schema.write(self.migrations / v, VERSIONS[v].schema).parent for v in VERSIONS}
        self.valkey = self._stack.enter_context(private_valkey())
        begin(self.valkey)
        self.name = self.name or (f"{SERVICE}_{os.getpid()}_{next(_numbers)}" if self.server else SERVICE)
        if not self.server:
            self.server = self._stack.enter_context(private_postgres(durable=False, tcp=True))
        for who in ("app", "owner"):
            self._role(*LOGINS[who])
        owner, app = LOGINS["owner"][0], LOGINS["app"][0]
        execute(self.server, f'CREATE DATABASE "{self.name}" OWNER {owner}')
        self._stack.callback(execute, self.server, f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        with psycopg.connect(self.dsn("owner"), autocommit=True) as connection:
            rights = "SELECT, INSERT, UPDATE, DELETE ON TABLES"
            connection.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} TO {app}".encode())
        with psycopg.connect(self.dsn("admin"), autocommit=True) as connection:
            connection.execute(f"GRANT ALL ON SCHEMA public TO {owner}".encode())
            for may in (f"ALTER ROLE {owner} CREATEDB", f"GRANT pg_signal_backend, pg_monitor TO {owner}"):
                connection.execute(may.encode())  # what a restore takes: docs/databases.md
            connection.execute(f"ALTER DATABASE \"{self.name}\" SET timezone = 'UTC'".encode())

    def _role(self, name: str, password: str) -> None:
        with contextlib.suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            execute(self.server, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")

    # -- the schema --------------------------------------------------------------------------------------------------

    def upgrade(self, revision: str) -> None:
        """Bring the database up to a revision, if it is not there, with the tree that has it: as the pipeline does
        before it deploys. It never goes down. RuntimeError with Alembic's words."""
        if self.revision() < revision:
            self.alembic(next(v for v in VERSIONS if VERSIONS[v].schema >= revision), "upgrade", revision)

    def alembic(self, version: str, *words: str, who: str = "owner") -> str:
        """What Alembic says, with the tree of a release. RuntimeError with its words."""
        command = [sys.executable, "-m", "alembic", "-c", str(self.trees[version] / "alembic.ini"), *words]
        env = {**os.environ, "DATABASE_URL": self.dsn(who).replace("postgresql:", "postgresql+psycopg:", 1)}
        return _run(command, env)

    def revision(self) -> str:
        """What is stamped; "" before the first migration."""
        try:
            return " ".join(str(row[0]) for row in self.rows("SELECT version_num FROM alembic_version ORDER BY 1"))
        except psycopg.errors.UndefinedTable:
            return ""

    # -- what is in it -----------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object, who: str = "admin", database: str = "") -> list[tuple[Any, ...]]:
        """What a statement answers, in a transaction of its own. psycopg.Error."""
        with psycopg.connect(self.dsn(who, database)) as connection:
            found = connection.execute(query.encode(), values)
            return found.fetchall() if found.description else []

    def expire(self, release: str) -> None:
        """The certificate with which this release pays has run out."""
        self.rows("INSERT INTO expired VALUES (%s) ON CONFLICT DO NOTHING", release)

    def renew(self, release: str) -> None:
        """It has a new one."""
        self.rows("DELETE FROM expired WHERE release = %s", release)

    def books(self) -> Books:
        """As `database.Database.books`, at one moment. queued: jobs that every release can read."""

        def ids(query: str) -> tuple[str, ...]:
            return tuple(str(row[0]) for row in connection.execute(query.encode()))

        def number(query: str) -> int:
            return int((connection.execute(query.encode()).fetchone() or (0,))[0] or 0)

        with psycopg.connect(self.dsn("admin")) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            return Books(
                payments=frozenset(ids("SELECT id FROM orders")),
                queued=number("SELECT count(*) FROM jobs WHERE state <> 'done' AND kind = 'receipt'"),
                tries=number("SELECT max(tries) FROM jobs"),
                unsettled=number("SELECT count(*) FROM orders WHERE id NOT IN (SELECT order_id FROM settlements)"),
                lost=ids(
                    "SELECT id FROM orders WHERE id NOT IN (SELECT order_id FROM jobs WHERE kind = 'receipt') UNION "
                    "SELECT order_id FROM jobs WHERE kind = 'receipt' AND state = 'done' AND order_id NOT IN"
                    " (SELECT order_id FROM receipts)"
                ),
                doubled=ids(
                    "SELECT order_id FROM receipts GROUP BY 1 HAVING count(*) > 1 UNION "
                    "SELECT order_id FROM settlements GROUP BY 1 HAVING count(*) > 1"
                ),
            )

    def queue(self) -> Mapping[str, int]:
        """Kind -> jobs that stand in the queue or are in hand."""
        with Valkey(self.valkey) as valkey:
            told = [*valkey.ask("LRANGE", JOBS, 0, -1), *valkey.ask("LRANGE", TAKEN, 0, -1)]
        return Counter(job.split('"kind":"')[1].split('"')[0] for job in told)

    def pending(self) -> int:
        """Events that somebody took and did not finish."""
        with Valkey(self.valkey) as valkey:
            return int(valkey.ask("XPENDING", EVENTS, GROUP)[0])

    def keys(self, prefix: str = f"{SERVICE}:") -> list[str]:
        """Names in Valkey that begin so."""
        found, cursor = set[str](), "0"
        with Valkey(self.valkey) as valkey:
            while True:
                cursor, some = valkey.ask("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 1000)
                found.update(some)
                if cursor == "0":
                    return sorted(found)

    def second(self) -> Second:
        """How all of it is."""
        read_only = self.rows(
            "SELECT 1 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = %s"
            " AND 'default_transaction_read_only=on' = ANY(s.setconfig)", self.name, database="postgres",
        )  # fmt: skip
        try:
            synthetic = int(self.rows("SELECT count(*) FROM tenants")[0][0])
        except psycopg.errors.UndefinedTable:
            synthetic = 0
        with Valkey(self.valkey) as valkey:
            switched = valkey.ask("HGET", MAINTENANCE, "read_only") == "1"
            aside = int(valkey.ask("LLEN", ASIDE))
        keys = {version: len(self.keys(f"{SERVICE}:{version}:")) for version in VERSIONS}
        owed = dict(self.rows("SELECT kind, count(*) FROM jobs WHERE state <> 'done' GROUP BY kind"))
        queue, pending, closed = self.queue(), self.pending(), bool(read_only) or switched
        return Second(self.revision(), queue, aside, owed, pending, keys, synthetic, self._kept(), closed)

    def _kept(self) -> frozenset[str]:
        """Payments that stand in databases alone that once had this one's name."""
        others = "SELECT datname FROM pg_database WHERE datname LIKE %s AND datname <> %s AND datallowconn"
        names = [str(row[0]) for row in self.rows(others, rf"{self.name}\_%", self.name, database="postgres")]
        found = {str(id) for name in names for (id,) in self.rows("SELECT id FROM orders", database=name)}
        return frozenset(found - {str(id) for (id,) in self.rows("SELECT id FROM orders")}) if found else frozenset()

    # -- backups -----------------------------------------------------------------------------------------------------

    def backup(self, age: float = 0.0) -> Path:
        """A dump of now that is so many seconds old by its name and its time. RuntimeError with pg_dump's words."""
        at = time.time() - age
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        file = self.backups / f"{SERVICE}-{stamp}.dump"
        part = file.with_suffix(".part")
        _run([str(tools() / "pg_dump"), "--format=custom", "--file", str(part), self.dsn("admin")], dict(os.environ))
        os.utime(part, (at, at))
        return part.rename(file)


def _run(command: Sequence[str], env: Mapping[str, str]) -> str:
    found = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if found.returncode != 0:
        raise RuntimeError(
            f"{Path(command[0]).name} ended with {found.returncode}: {(found.stdout + found.stderr)[-2000:]}"
        )
    return found.stdout + found.stderr


@contextlib.contextmanager
def database_server() -> Iterator[str]:
    """A PostgreSQL that several shops share, one after the other or at once: for `Data(server=...)`."""
    with private_postgres(durable=False, tcp=True) as url:
        yield url
