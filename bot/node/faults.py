"""What is wrong with what this node itself stands on: one list, which `/readyz`, `/metrics`, `doctor`, the log and the
threads of open runs tell. Targets and Slack are asked when somebody looks (`Bot.ready`).

Invariants:
- a fault is told once when it begins and once when it ends, wherever it is told;
- looking costs one small file: a disk that is full or read-only is found by writing to it, not by its numbers alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bot.steady.outage import Outage
from bot.store.database import LITE
from bot.store.log import Store, away
from bot.store.rows import Notice

log = logging.getLogger(__name__)

EVERY = 20.0
"""Seconds between two looks."""
LOW = 200 * 1024 * 1024
"""Bytes that must be free on a disk: some hundred large runs."""


def cramped(*folders: Path) -> str:
    """Which of these lie on a disk that is nearly full; empty where none does. Blocking."""
    found: dict[int, str] = {}
    for folder in folders:
        try:
            room, disk = os.statvfs(folder), folder.stat().st_dev
        except OSError:
            continue  # writing says more
        free = room.f_bavail * room.f_frsize
        if free < LOW:
            found[disk] = f"{free // 2**20} MB are left on the disk of {folder}; less than {LOW // 2**20} is too little"
    return "; ".join(found.values()) + (". Next: make room there" if found else "")


def folders(store: Store, files: Path) -> tuple[Path, ...]:
    """Where this node writes."""
    url = store.db.url
    return (files, Path(url.database).resolve().parent) if url.drivername == LITE and url.database else (files,)


class NodeFaults:
    """look: part -> what is wrong with it, empty where nothing is."""

    def __init__(
        self, look: Callable[[], Awaitable[Mapping[str, str]]], store: Store, clock: Callable[[], float]
    ) -> None:
        self._look, self._store, self._clock = look, store, clock
        self.now: Mapping[str, str] = {}
        """As last seen."""
        self._outages: dict[str, Outage] = {}

    @property
    def text(self) -> str:
        """All that is wrong in a sentence each; empty where nothing is."""
        return " ".join(f"The bot's {part}: {why}." for part, why in self.now.items() if why)

    async def run(self) -> None:
        """Looks, for ever. What goes wrong with looking is told, and tried again."""
        while True:
            try:
                await self.look()
            except Exception as e:
                if not away(e):  # which the store tells
                    log.exception("could not look what this node stands on; trying again")
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Once."""
        was, self.now = self.now, await self._look()
        for part, why in self.now.items():
            outage = self._outages.setdefault(
                part, Outage(f"The bot's {part}", log, words=("is at fault", "is fine again"))
            )
            outage.down(why) if why else outage.up()
            if bool(was.get(part)) != bool(why):
                await self._tell_runs(part, why)

    async def _tell_runs(self, part: str, why: str) -> None:
        """In the thread of each open run: what it is to be kept in is at fault, or fine again."""
        text = f"The bot's {part}: {why}" if why else f"The bot's {part}: fine again."
        now = self._clock()
        for head in await self._store.heads(open=True, limit=None):
            await self._store.put_notice(Notice(head.run, f"node.{part}.{int(now)}", "", text, now))
