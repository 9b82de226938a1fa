"""The catalogue in force, and how another one takes its place: on SIGHUP, and by looking at the file.

Invariants:
- there is one holder (`InForce`), given wherever a catalogue is: services, roles and people are read from it at each
  use and kept nowhere else, so everything sees another catalogue at the same moment;
- a catalogue with a mistake is refused whole; the one in force stays, and the mistakes are told until they are mended;
- a run goes on with the plan, limits and channels of the catalogue that it was opened with, and at its places
  (`bot/targets/reach.py`); who may decide is always judged by the one in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bot.catalogue import Catalogue, Role, Service
from bot.located import Faults

log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks at the file."""


class InForce(Catalogue):
    """The catalogue that holds now, as a Catalogue; `put` replaces it as a whole."""

    def __init__(self, now: Catalogue) -> None:
        self.put(now)

    def put(self, now: Catalogue) -> None:
        """From here on this one holds."""
        object.__setattr__(self, "now", now)

    now: Catalogue

    @property
    def services(self) -> Mapping[str, Service]:
        """By name."""
        return self.now.services

    @property
    def roles(self) -> Mapping[str, Role]:
        """By name."""
        return self.now.roles

    @property
    def people(self) -> Mapping[str, str]:
        """Id -> name."""
        return self.now.people

    @property
    def text(self) -> bytes:
        """Of the one that holds."""
        return self.now.text

    @property
    def digest(self) -> str:
        """Of the one that holds."""
        return self.now.digest


class Reloading:
    """Looks at the file. read: its text -> catalogue, Faults; changed: called behind each change, with the catalogue of
    before; every: seconds."""

    def __init__(
        self,
        file: Path,
        held: InForce,
        read: Callable[[str], Catalogue],
        changed: Callable[[Catalogue], Awaitable[None]],
        *,
        every: float = EVERY,
    ) -> None:
        self.file, self.held, self.fault = file, held, ""
        self._read, self._changed, self._every = read, changed, every
        self._seen: str | None = None
        self._asked = asyncio.Event()

    def soon(self) -> None:
        """Look now: somebody asked (SIGHUP)."""
        self._seen = None
        self._asked.set()

    async def run(self) -> None:
        """Looks, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            await self.look()

    async def look(self) -> None:
        """Takes the file's catalogue where it is another one and has no mistake. What is wrong is told once."""
        try:
            text = await asyncio.to_thread(self.file.read_text, "utf-8")
        except (OSError, UnicodeDecodeError) as e:
            self._seen = None
            return self._refuse(f"{self.file} cannot be read: {e}")
        if text == self._seen:
            return None
        self._seen = text
        try:
            new = self._read(text)
        except Faults as e:
            return self._refuse(str(e))
        return await self._take(new)

    def _refuse(self, why: str) -> None:
        told = f"another one is refused, the one in force stays: {'; '.join(why.splitlines())}"
        if told != self.fault:
            log.error("the catalogue: %s", told)
        self.fault = told

    async def _take(self, new: Catalogue) -> None:
        old = self.held.now
        if self.fault or new != old:
            log.warning("the catalogue: %s", _words(old, new))
        self.fault = ""
        if new != old:
            self.held.put(new)
            await self._changed(old)


def _words(old: Catalogue, new: Catalogue) -> str:
    """What is in force from here on, and what it changes."""
    if new == old:
        return "the file is as the one in force again"
    said = []
    for what, was, now in (("services", old.services, new.services), ("roles", old.roles, new.roles),
                           ("people", old.people, new.people)):  # fmt: skip
        changed = sorted({n for n in {*was, *now} if was.get(n) != now.get(n)})
        said += [f"{what} {', '.join(changed)}"] if changed else []
    return f"another one is in force ({new.digest[7:19]}); it changes {'; '.join(said)}"
