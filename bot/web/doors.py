"""Who gets in: what each connection may cost before anybody knows whose it is.

Invariants:
- a connection that has not sent the head of its first request within `HEAD_TIME`, is idle for `IDLE`, or does not take
  its answer for `STUCK` is cut; bodies have a time of their own (`requests.BODY_TIME`);
- at most `MOST` connections are served at once. Beyond them `RESERVE` more may ask `/healthz`, whatever floods the
  bot; everybody else gets a 503 there. Who says nothing there gives way to who comes next, the longest first: so
  sockets that are silent keep no probe out. Beyond both nobody is answered;
- a flood costs a line of the log a minute (`bot/steady/seldom.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from aiohttp import web

from bot.steady.seldom import Seldom

log = logging.getLogger(__name__)

MOST = 512
"""Connections that are served at once. Each waiting command line and each long poll holds one."""
RESERVE = 16
"""Connections beyond them, for probes."""
HEAD_TIME = 10.0
"""Seconds in which the head of a connection's first request must be there."""
IDLE = 75.0
"""Seconds that a connection may be idle, or take for a further head: longer than the proxies' usual 60, so that it is
they who close."""
STUCK = 30.0
"""Seconds for which nobody may take any of an answer."""
HEAD = 64 * 1024
"""Bytes of a head, at most; aiohttp's own limits are lower, and answer."""

_PROBE = b"GET /healthz "
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close\r\n"
    b"Retry-After: 5\r\nContent-Length: 75\r\n\r\n"
    b'{"why":"busy","text":"Too many connections. Nothing was read or changed."}\n'
)


class Doors:
    """Makes the protocol of each new connection. inside: makes what serves it (the server of a runner)."""

    def __init__(self, inside: Callable[[], asyncio.Protocol], most: int = MOST, reserve: int = RESERVE) -> None:
        self.inside, self.most, self.reserve = inside, most, reserve
        self.open: set[_Door] = set()
        self.silent: dict[_Door, None] = {}
        """Those of the reserve that have not said what they want, in the order in which they came."""
        self.refused = Seldom(log, f"A connection was refused: {most} are open, the most that are served")
        self.cut = Seldom(log, "A connection was cut: no whole request in time, or nobody took the answer")

    def __call__(self) -> asyncio.Protocol:
        return _Door(self)

    def make_room(self) -> bool:
        """Cuts who has been silent in the reserve for the longest; False where nobody is."""
        silent = next(iter(self.silent), None)
        if silent is not None:
            self.leaves(silent)
            silent.cut()
        return silent is not None

    def leaves(self, door: _Door) -> None:
        """A connection is no more."""
        self.open.discard(door)
        self.silent.pop(door, None)


class _Door(asyncio.Protocol):
    """One connection. What it passes on it does not touch."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self._inside: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._head: bytes | None = b""
        self._waits: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        found = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(found[0]) if found else "somebody"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, doors = cast(asyncio.Transport, transport), self.doors
        if len(doors.open) >= doors.most + doors.reserve and not doors.make_room():
            doors.refused.say(f"from {self.peer}")
            self._transport.abort()
            return
        within = len(doors.open) < doors.most
        doors.open.add(self)
        self._wait(HEAD_TIME)
        if within:
            self._enter(transport)
        else:
            doors.silent[self] = None

    def _enter(self, transport: asyncio.BaseTransport) -> None:
        self._inside = self.doors.inside()
        self._inside.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if self._inside is None:
                if not self._let_in(self._head):
                    return
                data = self._head
            if len(self._head) > HEAD or b"\r\n\r\n" in self._head or b"\n\n" in self._head:
                self._head = None  # what follows has limits of its own
                self._stop()
        if self._inside is not None:
            self._inside.data_received(data)

    def _let_in(self, head: bytes) -> bool:
        """Of the reserve: a probe is answered like any other request, everything else is refused."""
        if self._transport is None or len(head) < len(_PROBE):
            return False
        self.doors.silent.pop(self, None)
        if head.startswith(_PROBE):
            self._enter(self._transport)
            return True
        self.doors.refused.say(f"from {self.peer}")
        self._transport.write(_BUSY)
        self._transport.close()
        self._transport = None
        return False

    def eof_received(self) -> bool | None:
        return self._inside.eof_received() if self._inside is not None else None

    def pause_writing(self) -> None:
        self._wait(STUCK)
        if self._inside is not None:
            self._inside.pause_writing()

    def resume_writing(self) -> None:
        self._stop()
        if self._inside is not None:
            self._inside.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.doors.leaves(self)
        self._stop()
        if self._inside is not None:
            self._inside.connection_lost(exc)

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._waits = asyncio.get_running_loop().call_later(seconds, self.cut)

    def _stop(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def cut(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self.doors.cut.say(f"from {self.peer}")
            self._transport.abort()


async def listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Takes connections for a runner that is set up; to be closed before that. OSError."""
    if runner.server is None:
        raise RuntimeError("the runner is not set up")
    return await asyncio.get_running_loop().create_server(Doors(runner.server), host, port, backlog=128)
