"""Programs in Python from an interpreter that is warm already (`bot.playground.forking`), so that a pod costs
milliseconds instead of a fifth of a second.

Invariants: a program that cannot be forked (another interpreter, other options, no Linux) is none of `takes`; where the
warm interpreter is gone, so are its programs, and the next one gets a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.playground.child import kept
from bot.playground.forking import LIMIT

COLD = (sys.executable, "-S", "-E", "-m")
"""How a command line begins that it can run instead."""
_HOME = Path(__file__).resolve().parents[4]
_FULL = 0.01
"""Seconds until it is tried again where a message did not fit."""


class Forked:
    """A program that runs, as `asyncio.subprocess.Process` has it."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader) -> None:
        self.pid, self.stdout = pid, stdout
        self.pipe: asyncio.ReadTransport | None = None
        self.returncode: int | None = None
        self._over = asyncio.Event()

    async def wait(self) -> int:
        """Its exit code, -n after signal n."""
        await self._over.wait()
        return self.returncode or 0

    def ended(self, code: int) -> None:
        """It has."""
        self.returncode = code
        self._over.set()

    def close(self) -> None:
        """Read no more of what it says."""
        if self.pipe is not None:
            self.pipe.close()


class Interpreter:
    """Begins with the first program. modules: what is imported once; folders: where else they are looked for."""

    def __init__(self, modules: Sequence[str], folders: Sequence[str] = ()) -> None:
        self._modules, self._folders = modules, folders
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._turn = asyncio.Lock()
        self._begun: deque[asyncio.Future[int]] = deque()
        self._running: dict[int, Forked] = {}
        self._codes: dict[int, int] = {}

    def takes(self, argv: Sequence[str]) -> bool:
        """Whether it can run this."""
        return sys.platform == "linux" and (*argv[:4],) == COLD and len(argv) > 4

    async def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, limit: int) -> Forked:
        """Run it; limit: bytes of a line. OSError."""
        reading, writing = os.pipe()
        try:
            pid = await self._ask(argv, env, cwd, writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        stdout = asyncio.StreamReader(limit=limit)
        made = Forked(pid, stdout)
        if pid in self._codes:
            made.ended(self._codes.pop(pid))
        else:
            self._running[pid] = made
        protocol, pipe = asyncio.StreamReaderProtocol(stdout), os.fdopen(reading, "rb", 0)
        made.pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        return made

    async def close(self) -> None:
        """End it, and with it whatever it runs. Harmless again."""
        async with self._turn:
            process, self._process = self._process, None
            if process is not None:
                self._gone()
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _ask(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, writing: int) -> int:
        asked = {"module": argv[4], "argv": [*argv[5:]], "env": dict(env), "cwd": cwd}
        data = json.dumps(asked).encode()
        async with self._turn:
            if self._channel is None:
                self._channel = await self._begin()
            while True:
                try:
                    socket.send_fds(self._channel, [data], [writing])
                    break
                except BlockingIOError:
                    await asyncio.sleep(_FULL)
            began: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._begun.append(began)
        return await began

    async def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            there = (str(theirs.fileno()), os.pathsep.join(self._folders), ",".join(self._modules))
            self._process = await asyncio.create_subprocess_exec(
                *kept([*COLD, "bot.playground.forking", *there]), cwd=_HOME, pass_fds=[theirs.fileno()],
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        asyncio.get_running_loop().add_reader(ours, self._heard)
        return ours

    def _heard(self) -> None:
        while self._channel is not None:
            try:
                data = self._channel.recv(LIMIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._gone()
                return
            said = json.loads(data)
            if "began" in said:
                began = self._begun.popleft()
                if not began.done():
                    began.set_result(said["began"])
                else:  # nobody waits for it any more
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(said["began"], signal.SIGKILL)
            elif (made := self._running.pop(said["ended"], None)) is not None:
                made.ended(said["code"])
            else:  # sooner than whoever asked for it was told that it began
                self._codes[said["ended"]] = said["code"]

    def _gone(self) -> None:
        """It runs no more, and nothing that it ran."""
        channel, self._channel = self._channel, None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
        while self._begun:
            began = self._begun.popleft()
            if not began.done():
                began.set_exception(OSError("the interpreter that programs are forked from is gone"))
        for made in self._running.values():
            made.ended(-signal.SIGKILL)
        self._running.clear()
        self._codes.clear()
