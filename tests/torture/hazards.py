"""What else goes wrong in a bout, beside kills: catalogues that differ, clocks that jump, full disks, floods.

Each is a task of the harness that meddles with one node (or with all) for a while and then puts it right; while the
bout is quiet nothing new begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import aiohttp
import psycopg

from tests.torture.machine import MOST, RESERVE, catalogue
from tests.torture.verdicts import Flood

JUMPS = (40.0, -40.0, 3600.0, -3600.0, 86400.0, 7 * 86400.0)
"""Seconds by which a clock is set."""
FULL = (0.5, 3.0)
"""Seconds for which a disk stays full."""
FLOOD = 4.0
"""Seconds for which a flood lasts."""
SENT = (b"", b"POST /command HTTP/1.1\r\nHost: node\r\n", b"GET / HTTP/1.1\r\nX-A: ")
"""What connections of a flood send: nothing, or half a head."""
_NO_ROOM = """
create or replace function torture_full() returns trigger language plpgsql as $$
begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
create or replace trigger torture_full before insert on event execute function torture_full()
"""


class Host(Protocol):
    """A node, as far as it is meddled with."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def pid(self) -> int: ...


@dataclass
class Hazards:
    """All of one bout. How many of each at most: wanders (of catalogues), jumps, fills, floods;
    by: how far clocks jump; hurry: how much faster than usual one follows another.

    up: the nodes at work; session: name -> the way to a node; places: the addresses of the world.
    """

    random: Random
    folder: Path
    database: str
    up: Callable[[], Sequence[Host]]
    http: Mapping[str, aiohttp.ClientSession]
    kinds: Counter[str]
    by: tuple[float, ...] = JUMPS
    hurry: float = 1.0
    wanders: int = 0
    jumps: int = 0
    fills: int = 0
    floods: int = 0
    services: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    quiet: bool = False
    over: bool = False
    ahead: dict[str, float] = field(default_factory=dict)
    wandered: bool = False
    told: list[Flood] = field(default_factory=list)

    def tasks(self) -> list[asyncio.Task[None]]:
        """Everything at once."""
        found = ((self.wanders, self._wander), (self.jumps, self._jump), (self.fills, self._fill))
        self.wandered = not self.wanders
        return [
            *(asyncio.create_task(self._often(n, one)) for n, one in found if n),
            *([asyncio.create_task(self._often(self.floods, self._flood))] if self.floods else []),
        ]

    async def _often(self, most: int, one: Callable[[], Any]) -> None:
        while most and not self.over:
            await asyncio.sleep(self.random.uniform(0.4, 3.0) / self.hurry)
            if self.up() and not self.quiet:
                most -= 1
                await one()

    # -- catalogues -----------------------------------------------------------------------------------------------

    def write(self, name: str, places: Mapping[str, str]) -> None:
        """A node's catalogue, whole at every moment."""
        file, fresh = self.folder / f"{name}.yaml", self.folder / f"{name}.yaml.new"
        fresh.write_text(catalogue(places))
        fresh.replace(file)

    async def _wander(self) -> None:
        """A node's catalogue (or every node's) leads elsewhere, or lacks a service; later it is as it was."""
        names = sorted(self.http)
        some = names if self.random.random() < 0.3 else [self.random.choice(names)]
        leads = {s: self.random.choice(self.places) for s in self.services}
        if self.random.random() < 0.2:
            leads.pop(self.random.choice(self.services))
        for name in some:
            self.write(name, leads)
        self.kinds["catalogues changed"] += len(some)
        self.wanders -= 1
        self.wandered = not self.wanders

    def right(self, places: Mapping[str, str]) -> None:
        """Every catalogue leads where runs are pinned by now, once nobody changes them any more."""
        if self.wandered or self.quiet:
            for name in self.http:
                self.write(name, {s: places.get(s, self.places[0]) for s in self.services})

    # -- machines -------------------------------------------------------------------------------------------------

    async def meddle(self, name: str, **how: object) -> None:
        """Tells a node what its machine is like, until it has heard. Where it dies, the next one finds all in order."""
        pid = next((n.pid for n in self.up() if n.name == name), 0)
        while not self.over and any(n.pid == pid for n in self.up()):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.http[name].post("http://node/machine", json=how):
                    return
            await asyncio.sleep(0.2)

    async def _jump(self) -> None:
        """A clock is set, and a while later set right."""
        node = self.random.choice(self.up())
        self.ahead[node.name] = self.random.choice(self.by)
        self.kinds[f"clocks set {'ahead' if self.ahead[node.name] > 0 else 'back'}"] += 1
        await self.meddle(node.name, ahead=self.ahead[node.name])
        await asyncio.sleep(self.random.uniform(0.5, 4.0) / self.hurry)
        self.ahead[node.name] = 0.0
        await self.meddle(node.name, ahead=0.0)

    async def _fill(self) -> None:
        """A disk is full, and a while later there is room again."""
        self.kinds["disks full"] += 1
        if not self.database.startswith("sqlite"):
            async with self._sql("drop trigger torture_full on event"):
                await asyncio.sleep(self.random.uniform(*FULL))
            return
        node = self.random.choice(self.up())
        await self.meddle(node.name, full=True)
        await asyncio.sleep(self.random.uniform(*FULL))
        await self.meddle(node.name, full=False)

    @contextlib.asynccontextmanager
    async def _sql(self, afterwards: str) -> AsyncIterator[None]:
        def say(text: str) -> None:
            with psycopg.connect(self.database.replace("+psycopg", "", 1), autocommit=True) as c:
                c.execute(text.encode())

        await asyncio.to_thread(say, _NO_ROOM)
        try:
            yield
        finally:
            say(afterwards)  # also where this task is cancelled

    # -- floods ---------------------------------------------------------------------------------------------------

    async def _flood(self) -> None:
        """More connections than a node serves, none of which says anything whole; probes meanwhile."""
        node = self.random.choice(self.up())
        since, until = time.time(), time.monotonic() + FLOOD
        inside = asyncio.Semaphore(0)
        floods = [asyncio.create_task(self._hold(node.port, until, inside)) for _ in range(MOST + RESERVE)]
        asked = answered = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLOOD / 2):
                for _ in floods:
                    await inside.acquire()
        while time.monotonic() < until:
            asked += 1
            answered += await _probe(node.port)
            await asyncio.sleep(0.2)
        await asyncio.gather(*floods)
        self.kinds["floods"] += 1
        alive = any(n.pid == node.pid for n in self.up())
        self.told.append(Flood(node.pid, since, time.time(), asked, answered, alive))

    async def _hold(self, port: int, until: float, inside: asyncio.Semaphore) -> None:
        """One connection at a time, for as long as it is left open. inside: told of each."""
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(left):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    try:
                        writer.write(self.random.choice(SENT))
                        inside.release()
                        while await reader.read(4096):
                            pass
                    finally:
                        writer.close()
            await asyncio.sleep(0.05)


async def _probe(port: int) -> bool:
    """Whether `/healthz` is answered."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(3.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
                return (await reader.read(64)).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
    return False
