"""The servers that the playground starts are real ones, on loopback, closed to who knows no password."""

from __future__ import annotations

import socket
import subprocess

import psycopg
import pytest

from bot.playground.postgres import SUPERUSER, execute, port_of, private_postgres, stopped, tools
from bot.playground.valkey import binary, private_valkey


def test_postgresql_listens_on_loopback_where_asked_and_lets_in_who_knows_the_password() -> None:
    name, password = SUPERUSER
    with private_postgres(durable=False, tcp=True) as url:
        place = f"postgresql://{name}:{password}@127.0.0.1:{port_of(url)}/postgres"
        with psycopg.connect(place) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(place.replace(password, "guessed"))
        with stopped(url), pytest.raises(psycopg.OperationalError):
            psycopg.connect(place)
        with psycopg.connect(place) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        execute(url, "CREATE TABLE of_the_socket (n integer)")
    said = subprocess.run([tools() / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("pg_dump (PostgreSQL) ")


def test_postgresql_without_a_port_says_that_it_has_none(postgres_url: str) -> None:
    with pytest.raises(LookupError):
        port_of(postgres_url)


def _says(place: str, *words: str) -> str:
    host, _, port = place.partition(":")
    command = [str(binary("valkey-cli")), "-h", host, "-p", port, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_valkey_answers_forgets_everything_and_listens_no_more_afterwards() -> None:
    with private_valkey() as place:
        assert _says(place, "SET", "a", "1") == "OK"
    with private_valkey(password="kept") as other:
        assert "NOAUTH" in _says(other, "GET", "a")
        assert _says(other, "-a", "kept", "--no-auth-warning", "GET", "a") == ""
    for gone in (place, other):
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(gone.rpartition(":")[2])), 1.0):
            pass


def test_a_valkey_that_cannot_start_says_what_it_said() -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)did not start on port .*no-such-option"),
        private_valkey("--no-such-option", "1"),
    ):
        pass
