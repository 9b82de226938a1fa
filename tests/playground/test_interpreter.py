"""A program from a warm interpreter is what it would be if Python had started it afresh, and ends with its maker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot.playground.cluster.node.interpreter import COLD, Forked, Interpreter

LOOKS = """
import json, os, signal, sys, threading
handlers = {s: str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)}
print(json.dumps({
    "argv": sys.argv[1:], "called": os.path.basename(sys.argv[0]), "name": __name__, "env": dict(os.environ),
    "cwd": os.getcwd(), "path": sys.path, "leads": os.getpgid(0) == os.getpid(), "handlers": handlers,
    "stdin": os.readlink("/proc/self/fd/0"), "open": len(os.listdir("/proc/self/fd")), "encoding": sys.stdout.encoding,
    "buffered": sys.stdout.line_buffering, "threads": threading.active_count(), "flags": str(sys.flags),
}))
"""
ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ANSWER": "grün"}


@pytest.fixture
async def warm() -> AsyncIterator[Interpreter]:
    made = Interpreter(["json", "threading"])
    yield made
    await made.close()


Run = Callable[..., Awaitable[Forked]]


@pytest.fixture
def run(warm: Interpreter, tmp_path: Path) -> Run:
    async def started(text: str, *argv: str) -> Forked:
        program = tmp_path / "program.py"
        if not program.exists() or program.read_text() != text:  # others read it still
            program.write_text(text)
        command = [*COLD, "program", *argv]
        assert warm.takes(command)
        return await warm.start(command, ENV, str(tmp_path), 1 << 16)

    return started


async def ends(program: Forked) -> tuple[int, str]:
    """How, and what it said."""
    async with asyncio.timeout(60):
        said = await program.stdout.read()
        return await program.wait(), said.decode()


async def test_it_finds_what_a_fresh_one_finds(run: Run, tmp_path: Path) -> None:
    code, warm = await ends(await run(LOOKS, "a", "b c"))
    cold = subprocess.run(  # noqa: ASYNC221
        [*COLD, "program", "a", "b c"], env=ENV, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=True, start_new_session=True,
    )  # fmt: skip
    assert code == 0 and json.loads(warm) == json.loads(cold.stdout)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("import sys; print('so far'); sys.exit(3)", 3, "so far\n"),
        ("import sys; sys.exit('no good')", 1, "no good\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import threading, time; threading.Timer(0.2, print, ['last']).start()", 0, "last\n"),
        ("import atexit; atexit.register(print, 'bye')", 0, "bye\n"),
    ],
)
async def test_it_ends_as_a_fresh_one_ends(run: Run, text: str, code: int, says: str) -> None:
    assert await ends(await run(text)) == (code, says)


async def test_its_exception_is_told(run: Run) -> None:
    code, said = await ends(await run("raise ValueError('no good')"))
    assert code == 1 and said.startswith("Traceback") and said.endswith("ValueError: no good\n")


async def test_many_at_once_keep_their_ends_apart(run: Run) -> None:
    programs = [await run("import sys; print(sys.argv[1]); sys.exit(int(sys.argv[1]))", str(n)) for n in range(20)]
    assert [await ends(p) for p in programs] == [(n, f"{n}\n") for n in range(20)]


async def test_what_cannot_be_forked_is_not_taken(warm: Interpreter) -> None:
    for argv in (["/bin/true"], [sys.executable, "-m", "program"], [*COLD], [*COLD[:3], "-c", "pass"]):
        assert not warm.takes(argv)


LASTS = "import time; print('here', flush=True); time.sleep(600)"


async def test_it_ends_with_its_interpreter_and_the_next_one_gets_a_new_one(run: Run, warm: Interpreter) -> None:
    program = await run(LASTS)
    await program.stdout.readline()
    assert warm._process is not None
    warm._process.kill()
    assert (await ends(program))[0] == -signal.SIGKILL
    assert await ends(await run("print('again')")) == (0, "again\n")


async def test_all_of_it_ends_with_its_maker(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LASTS)
    maker = f"""
        import asyncio
        from bot.playground.cluster.node.interpreter import COLD, Interpreter

        async def main():
            program = await Interpreter(["json"]).start([*COLD, "program"], {ENV!r}, {str(tmp_path)!r}, 1000)
            await program.stdout.readline()
            print(program.pid, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(maker)]
    made = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert made.stdout is not None
    pid = int(await made.stdout.readline())
    os.kill(pid, 0)
    made.kill()
    await made.wait()
    async with asyncio.timeout(60):
        while os.path.exists(f"/proc/{pid}"):  # noqa: ASYNC110, ASYNC240, PTH110 - the system sees to it
            await asyncio.sleep(0.02)
