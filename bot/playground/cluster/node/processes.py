"""The real processes behind containers, and what they wrote.

Invariants: a process is the head of its own group and ends with it; where the system can (Linux with util-linux), it
is killed when the playground's process dies, however that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.playground.child import kept
from bot.playground.cluster.node.interpreter import Forked, Interpreter
from bot.playground.cluster.objects import micro_stamp
from bot.playground.workspace.clock import Clock

_LINE = 1 << 20
_KEPT = 50_000
"""Lines of a container's log that are kept."""


@dataclass
class Log:
    """What one run of a container wrote."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    closed: bool = False
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, at: float, line: str) -> None:
        """One more line."""
        self.lines.append((at, line))
        del self.lines[:-_KEPT]
        self._wake()

    def close(self) -> None:
        """It writes no more."""
        self.closed = True
        self._wake()

    @property
    def grown(self) -> asyncio.Event:
        """Set at the next line, or the end."""
        return self._grown

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def shown(line: tuple[float, str], *, timestamps: bool) -> str:
    """A line as the API gives it."""
    return f"{micro_stamp(line[0])} {line[1]}\n" if timestamps else f"{line[1]}\n"


class Process:
    """One run of a container."""

    def __init__(self, clock: Clock, log: Log, child: asyncio.subprocess.Process | Forked) -> None:
        self._clock, self.log, self._child = clock, log, child
        loop = asyncio.get_running_loop()
        self._reader = loop.create_task(self._read())
        self.life = loop.create_task(self._live())

    @classmethod
    async def start(
        cls, clock: Clock, argv: list[str], env: Mapping[str, str], cwd: str | None, log: Log,
        warm: Interpreter | None = None,
    ) -> Process:  # fmt: skip
        """Start it. warm: what runs it sooner, where it can. OSError where it cannot be."""
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise FileNotFoundError(f'exec: "{argv[0]}": executable file not found in $PATH')
        if warm is not None and warm.takes(argv):
            return cls(clock, log, await warm.start(argv, env, cwd, _LINE))
        child = await asyncio.create_subprocess_exec(
            *kept(argv), env=dict(env), cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True, limit=_LINE,
        )  # fmt: skip
        return cls(clock, log, child)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    async def wait(self) -> int:
        """Its exit code as containers have it: 128 + n after signal n. It may be cancelled; the process is not."""
        return await asyncio.shield(self.life)

    async def _live(self) -> int:
        code = await self._child.wait()
        self._signal(signal.SIGKILL)  # whatever it left behind
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reader), 1.0)
        self._reader.cancel()
        if isinstance(self._child, Forked):
            self._child.close()
        self.log.close()
        return 128 - code if code < 0 else code

    async def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after the grace period (seconds of the cluster's clock)."""
        if self._child.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        gone = asyncio.ensure_future(self._child.wait())
        patience = asyncio.ensure_future(self._clock.sleep(grace))
        try:
            await asyncio.wait([gone, patience], return_when=asyncio.FIRST_COMPLETED)
        finally:
            patience.cancel()
            self.kill()
        await gone

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self._child.returncode is None:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    async def _read(self) -> None:
        assert self._child.stdout is not None  # noqa: S101 - it is a pipe
        while True:
            try:
                line = await self._child.stdout.readline()
            except ValueError:  # longer than the limit
                continue
            if not line:
                return
            self.log.write(self._clock.time(), line.decode(errors="replace").rstrip("\n"))
