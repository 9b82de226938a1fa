"""What stands between the bot and harm: how much it costs, and what it holds.

    make bench BENCH=guard [ARGS="freezes history redaction"]

- freezes: `GET /v1/freezes/<service>` of a service with 5,000 ended runs, by 50 askers who ask again 0.1 s after they
  were answered; and the CPU time that the server spends on one. Yardstick: an aiohttp handler that sends the same
  bytes and knows nothing (`bench/bare_server.py`), asked in turns with it.
- history: the same by one asker, and the memory of the server before and after. Yardstick: the build d2318bd, which
  read the whole history for each answer, in a worktree and an environment of its own (made once, under `.bench/`).
  Both serve a database of their own with the same history.
- redaction: 1 MB of log text, with a secret every 40 lines, in CPU time; yardstick: the same vendors' forms and
  names of secrets as one compiled alternation, which sees neither what is known nor what stands around a value.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench import median, report
from bot.redaction.patterns import FORMS
from bot.redaction.redactor import Redactor
from tests.redaction.secret_forms import innocents, secrets

HERE = Path(__file__).resolve().parent.parent
EARLIER = "d2318bd"
"""The build that is the yardstick."""
RUNS, RELEASES = 5000, 300
PAUSE = 0.1
"""Seconds between an answer and the asker's next question, about."""
TOKEN = "a-token-that-all-pipelines-share"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
ASKED = "/v1/freezes/shop?version=2.1.0"
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

    @property
    def cpu(self) -> float:
        """Seconds that it has worked so far."""
        spent = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def serving(tree: Path, folder: Path) -> AsyncIterator[Server]:
    """A build with its database filled."""
    folder.mkdir()  # noqa: ASYNC240
    database = f"sqlite:///{folder / 'bot.db'}"
    port = free_port()
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
    async with program(tree, port, python, "-m", "bot.cli", "serve", env=env) as server:
        yield server


@asynccontextmanager
async def bare(like: Server, folder: Path) -> AsyncIterator[Server]:
    """A server that says what the other one says, without finding it out."""
    said, port = folder / "said.json", free_port()
    async with aiohttp.ClientSession(headers=HEADERS) as client, client.get(like.url + ASKED) as answer:
        said.write_bytes(await answer.read())
    words = sys.executable, str(HERE / "bench" / "bare_server.py"), str(port), str(said)
    async with program(HERE, port, *words, env=dict(os.environ)) as server:
        yield server


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@asynccontextmanager
async def program(tree: Path, port: int, *words: str, env: Mapping[str, str]) -> AsyncIterator[Server]:
    """A program that says when it listens, until it is needed no more."""
    child = await asyncio.create_subprocess_exec(*words, env=env, cwd=tree, stdout=asyncio.subprocess.PIPE)
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
    url = server.url + ASKED
    limits = aiohttp.ClientTimeout(total=1800.0)
    connector = aiohttp.TCPConnector(limit=askers)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=limits, connector=connector) as client:

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
                await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))

        await asyncio.gather(*(one() for _ in range(askers)))
    return took


@dataclass
class Figures:
    """What was measured of one server. took: seconds of each answer; cpu: seconds that the server worked for them."""

    server: Server
    took: list[float] = field(default_factory=list)
    cpu: float = 0.0

    async def ask(self, askers: int, seconds: float) -> None:
        """Some more."""
        before = self.server.cpu
        self.took += await ask(self.server, askers, seconds)
        self.cpu += self.server.cpu - before

    @property
    def p99(self) -> float:
        """Seconds that one answer in a hundred took longer than."""
        return sorted(self.took)[int(0.99 * len(self.took))]


async def freezes(askers: int = 50, turns: int = 5) -> None:
    """CI asks, after a long history."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(HERE, Path(folder, "ours")) as here, bare(here, Path(folder)) as plain:
            ours, theirs = Figures(here), Figures(plain)
            for server in (here, plain):
                await ask(server, askers, 1.0)
            for _ in range(turns):
                for side in (ours, theirs):
                    await side.ask(askers, 3.0)
    ms = 1e3
    name = f"freezes, {RUNS} ended runs"
    report(f"{name}, {askers} askers, p50", ms * median(ours.took), ms * median(theirs.took), "ms", None)
    report(f"{name}, {askers} askers, p99", ms * ours.p99, ms * theirs.p99, "ms", 20)
    report("... which is, of the bare server's", ms * ours.p99, ms * theirs.p99, "ms", 1.25, of="ratio")
    spent = [ms * side.cpu / len(side.took) for side in (ours, theirs)]
    report(f"{name}, CPU of one answer", spent[0], spent[1], "ms", 2, of="ratio")


async def history(askers: int = 50, turns: int = 3) -> None:
    """The same, and a build that read all of it."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(HERE, Path(folder, "ours")) as here, serving(earlier(), Path(folder, "earlier")) as there:
            await ask(here, askers, 2.0)
            before = here.memory, there.memory
            ours = await ask(here, 1, 2.0)
            more = [took for _ in range(turns) for took in await ask(here, askers, 4.0)]
            theirs = await ask(there, 1, 0.0)  # once: it takes as long as all of the others
            after = here.memory, there.memory
    name = f"freezes, {RUNS} ended runs"
    report(f"{name}, one asker", 1e3 * median(ours), 1e3 * max(theirs), "ms", 20)
    report(f"{name}, memory that {len(more)} answers cost", after[0] - before[0], after[1] - before[1], "MB", 5)


# -- redaction ---------------------------------------------------------------------------------------------------------

SIZE = 1_000_000


def log_text(size: int = SIZE) -> str:
    """Lines of a log, the same every time."""
    dice = random.Random(7)
    clean, dirty = innocents(), [text for text, _ in secrets()]
    lines: list[str] = []
    length = 0
    while length < size:
        what = dice.choice(dirty if len(lines) % 40 == 39 else clean)
        lines.append(f"2026-11-28T04:17:11.{len(lines) % 1000:03d}Z INFO shop.worker.{dice.randrange(99)} {what}")
        length += len(lines[-1]) + 1
    return "\n".join(lines)[:size]


def alternation() -> re.Pattern[str]:
    """What somebody would write first."""
    forms = [rf"(?<![A-Za-z0-9_])(?:{'|'.join(map(re.escape, f.begins))})(?:{f.rest.pattern})" for f in FORMS]
    names = r"(?i:passw(?:or)?d|pwd|secret|token|credentials?|(?:api|access|secret|private|signing)[_-]?key)"
    value = r"[\"']?\s{0,3}[:=]\s{0,3}(?:\"[^\"\n]+\"|'[^'\n]+'|[^\s\"',;&)}\]]+)"
    return re.compile("|".join([*forms, rf"{names}{value}", r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"]))


def redaction(turns: int = 7) -> None:
    """Ours and the alternation in turns, in CPU time."""
    text, redactor, plain = log_text(), Redactor(f"of-this-process-{i:04d}" for i in range(20)), alternation()
    sides: Mapping[str, Callable[[str], str]] = {"ours": redactor.text, "plain": lambda t: plain.sub("[redacted]", t)}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            start = time.process_time()
            side(text)
            spent[name].append((time.process_time() - start) * 1000)
    report("redaction of 1 MB of log text", median(spent["ours"]), median(spent["plain"]), "ms", 3, of="ratio")


async def everything(which: Collection[str]) -> None:
    """All figures."""
    if "freezes" in which:
        await freezes()
    if "history" in which:
        await history()
    if "redaction" in which:
        redaction()


if __name__ == "__main__":
    asyncio.run(everything(sys.argv[1:] or ("freezes", "history", "redaction")))
