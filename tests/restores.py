"""A service's database with backups of it: a real server, an admin who may restore, and archives that pg_dump made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg.rows import TupleRow

from bot.adapters.backups import FolderShelf, ServiceBackups, Shelved
from bot.adapters.backups.shelves import Kept
from bot.adapters.postgres import Databases, DatabaseTarget
from bot.adapters.postgres.maintenance import Maintenance
from bot.playground.postgres import execute
from bot.ports.backups import Backup, Proof, Rules
from bot.ports.databases import Database
from tests.archives import client_programs, dump

ROLES = """
DO $$ BEGIN CREATE ROLE {0} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$
"""
TABLES = """
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
CREATE VIEW recent AS SELECT * FROM orders WHERE id > 1;
INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 200) i;
INSERT INTO alembic_version VALUES ('0041');
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO res_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO res_app;
"""


@dataclass(frozen=True)
class Home:
    """A database, its backups, and what reaches both. server: URL of the server's maintenance database."""

    server: str
    target: DatabaseTarget
    folder: Path
    memory: Kept

    @property
    def name(self) -> str:
        return self.target.at.database

    def info(self, user: str, database: str = "") -> str:
        """How libpq gets there."""
        return f"host={self.target.host} port={self.target.port} dbname={database or self.name} user={user}"

    def connect(self, user: str = "res_app", database: str = "") -> psycopg.Connection[TupleRow]:
        """A session of somebody else's."""
        return psycopg.connect(self.info(user, database), autocommit=True)

    def sql(self, statement: str, user: str = "res_owner", database: str = "") -> list[TupleRow]:
        """As somebody, in a session of its own."""
        with self.connect(user, database) as c:
            cursor = c.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def dump(self, name: str = "shop.dump", *how: str) -> Path:
        """A backup as it stands now."""
        path = self.folder / name
        how = how or ("-Fc",)
        dump(f"postgresql://postgres@/{self.name}?host={self.target.host}&port={self.target.port}", path, *how)
        return path

    def note(self, path: Path) -> None:
        """Writes its digest beside a backup."""
        path.with_name(f"{path.name}.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def databases(self) -> Databases:
        return Databases([self.target])

    def backups(self, programs: str = "", rules: Rules | None = None) -> ServiceBackups:
        shelf = Shelved(FolderShelf(self.folder), rules or Rules("db"), programs or client_programs())
        return ServiceBackups({"db-backups": shelf}, self.memory)

    @property
    def maintenance(self) -> Maintenance:
        return Maintenance(self.databases, self.backups())

    async def newest(self) -> tuple[Backup, Proof]:
        """The newest backup, proven."""
        backup = (await self.backups().list("db-backups"))[0]
        return backup, await self.backups().proof("db-backups", backup, fresh=1e9, counted=True)

    def names(self) -> list[str]:
        """Every database that has, had or is to have the name."""
        with psycopg.connect(self.info("postgres", "postgres"), autocommit=True) as c:
            found = c.execute("SELECT datname FROM pg_database WHERE datname LIKE %s ORDER BY 1", [f"{self.name}%"])
            return [str(row[0]) for row in found.fetchall()]

    def like(self, **changed: object) -> Home:
        """The same with something of its target otherwise."""
        return replace(self, target=replace(self.target, at=replace(self.target.at, **changed)))  # type: ignore[arg-type]


@contextmanager
def home(server: str, name: str, folder: Path) -> Iterator[Home]:
    """A database of this name; gone afterwards with all that a restore has left beside it."""
    parts = urlsplit(server)
    query = parse_qs(parts.query)
    plain = server.replace("+psycopg", "", 1)
    with psycopg.connect(plain, autocommit=True) as c:
        for role in ("res_owner", "res_reader", "res_app", "res_admin", "res_stranger"):
            c.execute(ROLES.format(role).encode())
        c.execute(b"ALTER ROLE res_admin CREATEDB")
        for granted in ("res_owner", "pg_signal_backend", "pg_monitor"):
            c.execute(f"GRANT {granted} TO res_admin".encode())
        c.execute(f"CREATE DATABASE {name} OWNER res_owner".encode())
        c.execute(f"ALTER DATABASE {name} SET work_mem = '7MB'".encode())
        c.execute(f"ALTER DATABASE {name} SET search_path = public, other".encode())
        c.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC".encode())
        c.execute(f"GRANT CONNECT ON DATABASE {name} TO res_app, res_reader".encode())
        c.execute(f"COMMENT ON DATABASE {name} IS 'the shop''s own'".encode())
    port = int(query.get("port", ["5432"])[0])
    at = Database("db", name)
    target = DatabaseTarget(at, query["host"][0], port, "RES_LOGIN", "RES_ADMIN", lock=0.5, timeout=5.0)
    found = Home(server, target, folder, Kept())
    found.sql(TABLES)
    try:
        yield found
    finally:
        for each in found.names():
            with psycopg.connect(plain, autocommit=True) as c:
                c.execute(f'ALTER DATABASE "{each}" ALLOW_CONNECTIONS true'.encode())
            execute(server, f'DROP DATABASE "{each}" WITH (FORCE)')
