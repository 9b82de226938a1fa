"""What it costs to prove a backup and to bring a database back from it.

    make bench BENCH=restore

- proving an archive of about 90 MB by its digest, which was proven before; and anew, read to its end; yardstick:
  `pg_restore -f /dev/null`, in turns. Memory: what this process holds more afterwards.
- restoring it, comparing included; yardstick: `createdb` and `pg_restore -j 4`, in turns.
- switching to it while logins come all the time: how long until the first one that is let in; the slowest login.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from bench import median, report
from bot.adapters.backups import FolderShelf, ServiceBackups, Shelved
from bot.adapters.backups.shelves import ProcessMemory
from bot.adapters.postgres import DatabaseTarget, PostgresDatabases
from bot.adapters.postgres.maintenance import PostgresMaintenance
from bot.adapters.postgres.markers import beside
from bot.playground.postgres import database, execute, private_postgres, tools
from bot.ports.backups import Rules
from bot.ports.databases import Database

TURNS = 3
TABLES, ROWS = 6, 530_000
NAME = "bench"


def fill(info: str) -> None:
    """About 90 MB once packed, 480 MB as a database."""
    with psycopg.connect(info, autocommit=True) as c:
        for n in range(TABLES):
            c.execute(
                f"CREATE TABLE t{n} (id bigserial PRIMARY KEY, a text, b int, at timestamptz DEFAULT now())".encode()
            )
            rows = "SELECT md5(i::text) || md5((i + 1)::text), i % 1000"
            c.execute(f"INSERT INTO t{n} (a, b) {rows} FROM generate_series(1, {ROWS}) i".encode())
            c.execute(f"CREATE INDEX ON t{n} (b)".encode())


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


async def proving(path: Path) -> ProcessMemory:
    """The figures of P2; what was proven at the end."""
    pg_restore = str(tools() / "pg_restore")
    theirs: list[float] = []
    anew: list[float] = []
    counted: list[float] = []
    known: list[float] = []
    memory = ProcessMemory()
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = sized(path)
    for _ in range(TURNS):
        theirs.append(timed(lambda: subprocess.run([pg_restore, "-f", "/dev/null", str(path)], check=True)))
        memory = ProcessMemory()
        backups = ServiceBackups({"b": Shelved(FolderShelf(path.parent), Rules("db"), str(tools()))}, memory)
        anew.append(await prove(backups, False))
        known.append(await prove(backups, False))
        counted.append(await prove(backups, True))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024
    report(f"prove {size:.0f} MB, digest known", median(known), median(theirs), "s", 0.1, of="ratio")
    report(f"prove {size:.0f} MB anew", median(anew), median(theirs), "s", 1.1, of="ratio")
    report(f"prove {size:.0f} MB anew, rows counted", median(counted), median(theirs), "s", None)
    report("memory of it", more, 0.0, "MB", 32)
    return memory


async def prove(backups: ServiceBackups, counted: bool) -> float:
    """Seconds that it takes."""
    [backup] = await backups.list("b")
    begun = time.perf_counter()
    proof = await backups.proof("b", backup, counted=counted)
    if not proof.whole:
        raise RuntimeError(proof.fault)
    return time.perf_counter() - begun


def sized(path: Path) -> float:
    """Megabytes."""
    return path.stat().st_size / 1e6


async def nothing(text: str, done: int | None, total: int | None) -> None:
    """Progress."""


async def recorded(command: str) -> None:
    """What is recorded costs the engine's bench."""


async def restoring(
    server: str, info: Callable[[str], str], target: DatabaseTarget, path: Path, memory: ProcessMemory
) -> None:
    """The figures of B6."""
    backups = ServiceBackups({"b": Shelved(FolderShelf(path.parent), Rules("db"), str(tools()))}, memory)
    upkeep = PostgresMaintenance(PostgresDatabases([target]), backups, recorded)
    [backup] = await backups.list("b")
    proof = await backups.proof("b", backup, fresh=1e9, counted=True)
    mine: list[float] = []
    theirs: list[float] = []

    async def ours() -> float:
        begun = time.perf_counter()
        await upkeep.restore("db", "b", backup, proof, 4, nothing)
        if wrong := await upkeep.unlike("db", proof):
            raise RuntimeError(str(wrong))
        return time.perf_counter() - begun

    for turn in range(TURNS):
        execute(server, "CREATE DATABASE theirs")
        command = [str(tools() / "pg_restore"), f"--dbname={info('theirs')}", "-j", "4", str(path)]
        theirs.append(timed(lambda: subprocess.run(command, check=True)))  # noqa: B023
        execute(server, "DROP DATABASE theirs")
        mine.append(await ours())
        if turn < TURNS - 1:
            execute(server, f"DROP DATABASE {beside(NAME, proof.digest)}")
    report("restore it, compared", median(mine), median(theirs), "s", 1.1, of="ratio")
    await switching(upkeep, info, f"restored from {backup.name} ({proof.digest[:19]})")


async def switching(upkeep: PostgresMaintenance, info: Callable[[str], str], label: str) -> None:
    """While somebody logs in all the time."""
    logins: list[tuple[float, float, bool]] = []
    ended = threading.Event()

    def knock() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            try:
                psycopg.connect(info(NAME), autocommit=True).close()
                logins.append((begun, time.perf_counter(), True))
            except psycopg.OperationalError:
                logins.append((begun, time.perf_counter(), False))

    thread = threading.Thread(target=knock)
    held = psycopg.connect(info(NAME), autocommit=True)  # a session that has to move over
    thread.start()
    await asyncio.sleep(0.5)
    before = time.perf_counter()
    await upkeep.switch("db", label, "before_restore")
    whole = time.perf_counter() - before
    await asyncio.sleep(0.5)
    ended.set()
    thread.join()
    held.close()
    refused = [(begun, end) for begun, end, let_in in logins if not let_in]
    gap = refused[-1][1] - refused[0][0] if refused else 0.0
    report("switch: no login is let in for", gap, 0.0, "s", 0.1)
    report("switch: slowest login or refusal", max(end - begun for begun, end, _ in logins), 0.0, "s", 0.1)
    report("switch: the whole call", whole, 0.0, "s", None)


async def everything() -> None:
    """On a server of its own."""
    os.environ.update(BENCH_LOGIN="postgres", BENCH_ADMIN="postgres")
    with tempfile.TemporaryDirectory() as folder, private_postgres(durable=False) as server, database(server, NAME):
        query = parse_qs(urlsplit(server).query)
        host, port = query["host"][0], int(query.get("port", ["5432"])[0])

        def info(name: str) -> str:
            return f"host={host} port={port} dbname={name} user=postgres"

        fill(info(NAME))
        path = Path(folder) / "bench.dump"
        command = [str(tools() / "pg_dump"), "-Fc", f"--file={path}", f"--dbname={info(NAME)}"]
        timed(lambda: subprocess.run(command, check=True))
        memory = await proving(path)
        target = DatabaseTarget(Database("db", NAME), host, port, "BENCH_LOGIN", "BENCH_ADMIN", statement=600)
        await restoring(server, info, target, path, memory)


if __name__ == "__main__":
    asyncio.run(everything())
