"""What a tortured node stands on: its clock, its disk, its catalogue, and the door that clicks come through.

The harness meddles with each while the node is at work (`POST /machine` on its socket, and the catalogue's file). What
stands between that and harm is the product's own: `Steady`, the store, `Reach` and `Reloading`, `Doors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.catalogue import Catalogue, load_catalogue
from bot.engine.reconciler import Engine
from bot.node.reloading import InForce, Reloading
from bot.redaction.redactor import Redactor
from bot.settings import Settings
from bot.steady.clock import Steady
from bot.store.lease import Lease
from bot.store.log import Store
from bot.targets.reach import Reach
from bot.web import doors

MOST, RESERVE, HEAD_TIME = 16, 4, 1.0
"""Of the door: as in the product, but for one machine."""
LOOK = 0.3
"""Seconds between two looks at the catalogue."""
FULL = 4096
"""Bytes that a file may have on a full disk: less than any that matters has already."""


def catalogue(places: Mapping[str, str]) -> str:
    """A catalogue as text: service -> where its documents are. The target is called like the service's run, with which
    the names of documents begin."""
    names = {s: s.replace("service", "run") for s in places}
    services = ", ".join(f"{s}: {{targets: {{{names[s]}: {{http: {url!r}}}}}}}" for s, url in places.items())
    return f"roles: {{commander: {{people: [ana]}}, approver: {{people: [ben]}}}}\nservices: {{{services}}}\n"


@dataclass
class Machine:
    """One. ahead: seconds that its clock is ahead of the harness's; common: the clock of its database's server."""

    ahead: float = 0.0
    common: Callable[[], Awaitable[float]] | None = None

    def __post_init__(self) -> None:
        self.clock = Steady(self.wall, common=self.common)
        self.past = self.clock.old
        """For what may be forgotten once it is old."""

    def wall(self) -> float:
        """The time of day, as this machine has it."""
        return time.time() + self.ahead

    async def meddle(self, request: web.Request) -> web.Response:
        """Sets the clock, fills the disk or empties it."""
        said: dict[str, Any] = await request.json()
        self.ahead = float(said.get("ahead", self.ahead))
        if "full" in said:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL if said["full"] else most, most))
        return web.json_response(True)


@contextlib.asynccontextmanager
async def reaching(database: str, file: Path, store: Store, lease: Lease) -> AsyncIterator[tuple[Reach, InForce]]:
    """What leads to the world by the catalogue's file."""
    held = InForce(_read(file.read_text(), file))  # noqa: ASYNC240
    settings = Settings(database_url=database, blobs_url=f"file:{file.parent / 'files'}", catalogue=file)
    reach = Reach(settings, store, held, Redactor([]))
    await reach.join(lease)
    try:
        yield reach, held
    finally:
        await reach.close()


async def follow(file: Path, held: InForce, reach: Reach, engine: Engine) -> None:
    """Takes each catalogue that is put there, as `bot.wiring` does; until cancelled."""

    async def changed(_: Catalogue) -> None:
        await reach.renew()
        await engine.places_changed()

    await Reloading(file, held, lambda text: _read(text, file), changed, every=LOOK).run()


def _read(text: str, file: Path) -> Catalogue:
    return load_catalogue(text, str(file))


def small() -> None:
    """The door of this process is one for few connections, with little patience."""
    doors.MOST, doors.RESERVE, doors.HEAD_TIME = MOST, RESERVE, HEAD_TIME


async def listen(runner: web.AppRunner, port: int) -> asyncio.Server:
    """The product's door."""
    assert runner.server is not None
    inside = doors.Doors(runner.server, doors.MOST, doors.RESERVE)
    return await asyncio.get_running_loop().create_server(inside, "127.0.0.1", port, backlog=128)
