"""Taking a schema down by one revision in a process of its own, stamp and schema verified, against `alembic downgrade`.

    make bench BENCH=data ARGS=downgrade

The same tree of 40 revisions and the same database, in turns; what brings it up again in between is not counted, nor is
asking the scripts for the way, which was done when it was planned. Both are compiled first: an environment without
bytecode makes alembic seven times as slow.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import alembic
import psycopg
import sqlalchemy

from bench import median, report
from bot.adapters.postgres import DatabaseTarget, PostgresDatabases
from bot.playground.postgres import port_of, private_postgres
from bot.ports.databases import Database

TURNS = 9
REVISIONS = 40
LOGIN = ("postgres", "playground-superuser")
_INI = "[alembic]\nscript_location = %(here)s/migrations\n"
_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_SCRIPT = """
from alembic import op
revision = "{name}"
down_revision = {below}
def upgrade():
    op.execute("CREATE TABLE t{name} (id bigint PRIMARY KEY, said text)")
def downgrade():
    op.execute("DROP TABLE t{name}")
"""


def tree(folder: Path) -> Path:
    """40 revisions of a table each."""
    versions = folder / "2.4.1" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "2.4.1" / "alembic.ini").write_text(_INI)
    (folder / "2.4.1" / "migrations" / "env.py").write_text(_ENV)
    for n in range(1, REVISIONS + 1):
        below = f'"{n - 1:04d}"' if n > 1 else "None"
        (versions / f"{n:04d}.py").write_text(_SCRIPT.format(name=f"{n:04d}", below=below))
    return folder


async def _alembic(folder: Path, url: str, *words: str) -> None:
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
    child = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("alembic")), *words, cwd=folder / "2.4.1", env=env,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await child.communicate()
    if child.returncode:
        raise RuntimeError(said.decode())


async def _ours(databases: PostgresDatabases, to: str) -> None:
    """As `schema.downgrade` does it, from the shape before to the stamp and the shape read back."""
    [step] = (await databases.route("db", "2.4.1", to)).steps
    before = await databases.shape("db")
    await databases.migrate("db", "2.4.1", step, "down")
    state, now = await databases.state("db"), await databases.shape("db")
    if state.stamp != (to,) or f"table t{step.revision}" in now or len(before) == len(now):
        raise RuntimeError(f"it is at {state.stamp}")


async def _timed(go: Callable[[], Awaitable[None]]) -> float:
    begun = time.perf_counter()
    await go()
    return time.perf_counter() - begun


async def downgrade() -> None:
    """The figure of issue 12's goal."""
    for package in (alembic, sqlalchemy, psycopg):
        compileall.compile_dir(str(Path(str(package.__file__)).parent), quiet=2, workers=2)

    async def recorded(command: str) -> None:
        """What is recorded costs the engine's bench."""

    with private_postgres(durable=False, tcp=True) as server, tempfile.TemporaryDirectory() as home:
        folder = tree(Path(home))
        os.environ["BENCH_DB"] = ":".join(LOGIN)
        port, top, below = port_of(server), f"{REVISIONS:04d}", f"{REVISIONS - 1:04d}"
        url = f"postgresql+psycopg://{':'.join(LOGIN)}@127.0.0.1:{port}/postgres"
        target = DatabaseTarget(
            Database("db", "postgres", scripts=True), "127.0.0.1", port, "BENCH_DB", "BENCH_DB", tls=False,
            folder=str(folder),
        )  # fmt: skip
        databases = PostgresDatabases([target], recorded)
        mine, yours = [], []
        for turn in range(TURNS + 1):
            await _alembic(folder, url, "upgrade", top)
            theirs = await _timed(lambda: _alembic(folder, url, "downgrade", below))
            await _alembic(folder, url, "upgrade", top)
            ours = await _timed(lambda: _ours(databases, below))
            if turn:  # the first one of each warms the caches of the file system
                yours.append(theirs)
                mine.append(ours)
    report(f"down by one of {REVISIONS} revisions, verified", median(mine), median(yours), "s", 1.0, of="ratio")
