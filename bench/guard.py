"""What the bot answers under many askers and with a long history, against an earlier build of itself.

    make bench BENCH=guard [ARGS="freezes"]

- freezes: `GET /v1/freezes/<service>` of a service with 5,000 ended runs, by 50 askers who ask again 0.1 s after they
  were answered; and the memory of the server before and after. Yardstick: the build d2318bd, which read the whole
  history for each answer, in a worktree and an environment of its own (made once, under `.bench/`), asked by one
  asker, as it is slow enough so. Both serve a database of their own with the same history, one after the other.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import median, report

HERE = Path(__file__).resolve().parent.parent
EARLIER = "d2318bd"
"""The build that is the yardstick."""
RUNS, RELEASES = 5000, 300
PAUSE = 0.1
"""Seconds between an answer and the asker's next question."""
TOKEN = "a-token-that-all-pipelines-share"
CATALOGUE = """\
people: {ana: ana}
roles: {commander: {people: [ana]}, approver: {people: [ana]}}
services: {shop: {targets: {}}}
"""


def earlier() -> Path:
    """The earlier build, ready to run."""
    there = HERE / ".bench" / EARLIER
    if not there.exists():
        there.parent.mkdir(exist_ok=True)
        _do("git", "-C", str(HERE), "worktree", "add", "--quiet", "--detach", str(there), EARLIER)
    _do("make", "-s", "-C", str(there), "setup")
    python, ours = str(there / ".venv/bin/python"), [str(there / d) for d in ("bot", "actions", "checks")]
    _do(python, "-m", "compileall", "-q", *ours)
    return there


def _do(*words: str) -> None:
    subprocess.run(words, check=True)


@dataclass(frozen=True)
class Server:
    """A build at work on a history of its own."""

    tree: Path
    url: str
    pid: int

    @property
    def memory(self) -> float:
        """What it holds now, in MB."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


@asynccontextmanager
async def serving(tree: Path, folder: Path) -> AsyncIterator[Server]:
    """A build with its database filled."""
    folder.mkdir()  # noqa: ASYNC240
    database = f"sqlite:///{folder / 'bot.db'}"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    (folder / "rollback.yaml").write_text(CATALOGUE)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ROLLBACK_", "PYTHON"))} | {
        "PYTHONPATH": str(tree), "ROLLBACK_DATABASE_URL": database, "ROLLBACK_BLOBS_URL": f"file:{folder / 'files'}",
        "ROLLBACK_CATALOGUE": str(folder / "rollback.yaml"), "ROLLBACK_PORT": str(port), "ROLLBACK_CI_TOKEN": TOKEN,
    }  # fmt: skip
    python = str(tree / ".venv" / "bin" / "python")
    filling = await asyncio.create_subprocess_exec(
        python, str(HERE / "bench" / "ended_runs.py"), database, str(RUNS), str(RELEASES), env=env, cwd=tree
    )
    if await filling.wait():
        raise RuntimeError(f"the database of {tree} cannot be filled")
    child = await asyncio.create_subprocess_exec(
        python, "-m", "bot.cli", "serve", env=env, cwd=tree, stdout=asyncio.subprocess.PIPE
    )
    try:
        if child.stdout is None or "listens" not in (await child.stdout.readline()).decode():
            raise RuntimeError(f"{tree} does not serve")
        yield Server(tree, f"http://127.0.0.1:{port}", child.pid)
    finally:
        child.terminate()
        await child.wait()


async def ask(server: Server, askers: int, seconds: float) -> list[float]:
    """Seconds that each answer took; each asker gets one at least."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    url = f"{server.url}/v1/freezes/shop?version=2.1.0"
    limits = aiohttp.ClientTimeout(total=1800.0)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connector = aiohttp.TCPConnector(limit=askers)
    async with aiohttp.ClientSession(headers=headers, timeout=limits, connector=connector) as client:

        async def one() -> None:
            while True:
                begun = time.perf_counter()
                async with client.get(url) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{url} answered {answer.status}")
                took.append(time.perf_counter() - begun)
                if time.perf_counter() > until:
                    return
                await asyncio.sleep(PAUSE)

        await asyncio.gather(*(one() for _ in range(askers)))
    return took


async def freezes(askers: int = 50, turns: int = 3) -> None:
    """CI asks, after a long history."""
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with serving(HERE, Path(folder, "ours")) as here, serving(earlier(), Path(folder, "earlier")) as there:
            await ask(here, askers, 2.0)
            before = here.memory, there.memory
            for _ in range(turns):
                ours += await ask(here, askers, 4.0)
            theirs += await ask(there, 1, 0.0)  # once: it takes as long as all of the others
            after = here.memory, there.memory
    ms = 1e3
    name = f"freezes, {RUNS} ended runs"
    report(f"{name}, {askers} askers, p50", ms * median(ours), ms * median(theirs), "ms", None)
    report(f"{name}, {askers} askers, p99", ms * sorted(ours)[int(0.99 * len(ours))], ms * max(theirs), "ms", 20)
    report(f"{name}, memory that {len(ours)} answers cost", after[0] - before[0], after[1] - before[1], "MB", 5)


async def everything(which: Collection[str]) -> None:
    """All figures."""
    if "freezes" in which:
        await freezes()


if __name__ == "__main__":
    asyncio.run(everything(sys.argv[1:] or ("freezes",)))
