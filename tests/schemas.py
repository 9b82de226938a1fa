"""A service's database to move about: a real one, with an owner and a reader, and the migrations of its releases."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg.rows import TupleRow

from bot.adapters.postgres import Databases, DatabaseTarget
from bot.contract import Json
from bot.ports.databases import Database

INI = """
[alembic]
script_location = %(here)s/migrations
"""
ENV = """
from alembic import context
from sqlalchemy import MetaData, engine_from_config, pool

{models}
target_metadata = {metadata}
config = context.config


def offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), target_metadata=target_metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def online():
    engine = engine_from_config(config.get_section(config.config_ini_section, {{}}), prefix="sqlalchemy.",
                                poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=target_metadata{options})
        with context.begin_transaction():
            context.run_migrations()


offline() if context.is_offline_mode() else online()
"""
SCRIPT = '''
"""{title}"""
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {below!r}
depends_on = {depends!r}


def upgrade():
{up}


def downgrade():
{down}
'''


@dataclass(frozen=True)
class Rev:
    """One revision: its script's two functions, as SQL (a list of statements) or as Python."""

    name: str
    below: str | tuple[str, ...] | None
    up: str | list[str] = "pass"
    down: str | list[str] = "pass"
    title: str = ""
    depends: str | None = None


SHOP = (
    Rev(
        "0040", None,
        ["CREATE TYPE status AS ENUM ('open', 'paid')",
         "CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)",
         "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
         "customer bigint REFERENCES customers, total numeric(10, 2) NOT NULL DEFAULT 0, "
         "status status NOT NULL DEFAULT 'open', at timestamptz DEFAULT now())"],
        ["DROP TABLE orders", "DROP TABLE customers", "DROP TYPE status"],
        "The shop",
    ),
    Rev("0041", "0040", ["CREATE INDEX orders_at ON orders (at)"], ["DROP INDEX orders_at"], "Orders by time"),
    Rev(
        "0042", "0041",
        ["CREATE TABLE coupons (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL UNIQUE)",
         "ALTER TABLE orders ADD COLUMN coupon_id bigint"],
        ["ALTER TABLE orders DROP COLUMN coupon_id", "DROP TABLE coupons"],
        "Coupons",
    ),
)  # fmt: skip
"""The shop's: 2.4.0 is at 0041, 2.4.1 at 0042."""


def tree(folder: Path, *revisions: Rev, models: str = "", metadata: str = "None", options: str = "") -> Path:
    """A release's migrations. models: more of env.py, which makes `metadata`; options: of context.configure."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (folder / "alembic.ini").write_text(INI)
    env = ENV.format(models=models, metadata=metadata, options=f", {options}" if options else "")
    (folder / "migrations" / "env.py").write_text(env)
    (folder / "migrations" / "script.py.mako").write_text("")
    for r in revisions:
        given = {"revision": r.name, "below": r.below, "depends": r.depends, "title": r.title or r.name}
        text = SCRIPT.format(**given, up=_body(r.up), down=_body(r.down))
        (versions / f"{r.name}_it.py").write_text(text)
    return folder


def _body(code: str | list[str]) -> str:
    lines = code if isinstance(code, str) else "\n".join(f"op.execute({statement!r})" for statement in code) or "pass"
    return textwrap.indent(textwrap.dedent(lines), "    ")


@dataclass(frozen=True)
class Place:
    """A database of its own on the tests' server, and the folder of its releases' migrations."""

    url: str
    releases: Path
    target: DatabaseTarget
    known: dict[str, tuple[Rev, ...]]

    def sql(self, statement: str, user: str = "shop_owner") -> list[TupleRow]:
        """As its owner, in autocommit; rows where there are any."""
        with self.connect(user) as c:
            cursor = c.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self, user: str = "shop_owner") -> psycopg.Connection[TupleRow]:
        """A session of somebody else's."""
        return psycopg.connect(self.info(user), autocommit=True)

    def info(self, user: str) -> str:
        """How libpq gets there."""
        t = self.target
        return f"host={t.host} port={t.port} dbname={t.at.database} user={user}"

    def like(self, *, at: Mapping[str, Any] | None = None, **changed: Any) -> Databases:
        """What reaches it, with something of the target otherwise."""
        return Databases([replace(self.target, at=replace(self.target.at, **(at or {})), **changed)])

    @property
    def databases(self) -> Databases:
        """What reaches it."""
        return Databases([self.target])

    def release(self, name: str, *revisions: Rev, **how: str) -> str:
        """Puts a release's migrations there; its name is what its record calls them."""
        tree(self.releases / name, *revisions, **how)
        self.known[name] = revisions
        return name

    def stamp(self) -> list[str]:
        """The rows of the version table."""
        return [str(row[0]) for row in self.sql("SELECT version_num FROM alembic_version ORDER BY 1")]

    async def upgrade(self, scripts: str, *through: str) -> None:
        """Brings it up by a release's migrations, without the bot: by their SQL where that is all there is to them."""
        if len(through) == 1 and all(
            isinstance(r.below, str | None) and r.depends is None for r in self.known[scripts]
        ):
            self._sent(self.known[scripts], through[0])
            return
        folder = self.releases / scripts
        url = f"postgresql+psycopg://shop_owner@/{self.target.at.database}?host={self.target.host}&port={self.target.port}"
        for to in through:
            await asyncio.to_thread(_alembic, folder, url, to)

    def _sent(self, revisions: tuple[Rev, ...], to: str) -> None:
        self.sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)")
        ahead = [r.name for r in revisions]
        for r in revisions[: ahead.index(to) + 1]:
            if (here := self.stamp()) and ahead.index(here[0]) >= ahead.index(r.name):
                continue
            for statement in r.up if isinstance(r.up, list) else ():
                self.sql(statement)
            self.sql("DELETE FROM alembic_version")
            self.sql(f"INSERT INTO alembic_version VALUES ('{r.name}')")


def _alembic(folder: Path, url: str, to: str) -> None:
    code = (
        "import sys; from alembic.config import Config; from alembic import command; "
        "c = Config('alembic.ini'); c.set_main_option('sqlalchemy.url', sys.argv[1].replace('%', '%%')); "
        "command.upgrade(c, sys.argv[2])"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, url, to], cwd=folder, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


@contextmanager
def place(url: str, releases: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The database of this URL, given to an owner; a reader may read all that the owner makes."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    name = parts.path.strip("/")
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as c:
        for role in ("shop_owner", "shop_reader", "shop_app"):
            c.execute(
                f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; "
                "END $$".encode()
            )
        c.execute(f"ALTER DATABASE {name} OWNER TO shop_owner".encode())
        c.execute(b"ALTER SCHEMA public OWNER TO shop_owner")
        c.execute(b"GRANT USAGE ON SCHEMA public TO shop_reader, shop_app")
        c.execute(b"ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT SELECT ON TABLES TO shop_reader")
    monkeypatch.setenv("SHOP_DB_LOGIN", "shop_reader")
    monkeypatch.setenv("SHOP_DB_ADMIN", "shop_owner")
    port = int(query.get("port", ["5432"])[0])
    target = DatabaseTarget(
        Database("db", name, scripts=True), query["host"][0], port, "SHOP_DB_LOGIN", "SHOP_DB_ADMIN",
        folder=str(releases), lock=0.5, timeout=5.0,
    )  # fmt: skip
    yield Place(url, releases, target, {})


async def world(place: Place) -> dict[str, Json]:
    """All that a handler could touch there: every object, every row, the stamp."""
    tables = [
        str(row[0]) for row in place.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    ]
    found: dict[str, Json] = {**await place.databases.shape("db")}
    for table in tables:
        found[f"rows of {table}"] = [str(row[0]) for row in place.sql(f"SELECT t::text FROM {table} t ORDER BY 1")]
    return found
