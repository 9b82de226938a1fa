"""What the sites of a service hold of its releases: looked at when one is registered and every ten minutes.

A listing tells that a file has changed, but not how it is served: that takes a request for each file. They are made
here, when nobody waits, and what they say is kept for all nodes (`bot.ports.sites.Sites.look_over`). A rollback then
asks only for what is new.

Invariants:
- looking is reading; nothing rests on it: what was not looked at is asked for by whoever needs it;
- every node may look; looking takes a hundredth of its time at most, however much a site holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from bot.ports import Unreachable
from bot.ports.builds import Build
from bot.ports.sites import Missing, Sites, StoreRefused
from bot.releases.ledger import Registered
from bot.releases.register import ReleaseRegister
from bot.steady.outage import Outage
from bot.store.log import away

_LOG = logging.getLogger(__name__)
EVERY = 600.0
"""Seconds between two looks, at least."""
SHARE = 100
"""How many times as long as a look took it is until the next."""
FIRST = 30.0
"""Seconds until the first look: starting takes no part of it."""
RECENT = 5
"""Releases with a build, registered last, whose files are looked at; the one that serves is always among them."""
_WORDS = ("cannot be seen", "can be seen again")


def builds_of(releases: list[Registered]) -> list[Build]:
    """The builds whose files are worth a look. releases: last registered first. Pure."""
    own = [r for r in releases if r.release.frontend]
    wanted = [*own[:RECENT], *(r for r in own[RECENT:] if r.serves)]
    return [Build.of(text) for text in dict.fromkeys(str(r.release.frontend) for r in wanted)]


class Published:
    """sites: gives service -> its sites, as the catalogue is now; every: seconds between two looks."""

    def __init__(
        self, sites: Callable[[], Mapping[str, Sites]], releases: ReleaseRegister, *, every: float = EVERY
    ) -> None:
        self._sites, self._releases, self._every = sites, releases, every
        self._asked = asyncio.Event()
        self._outages: dict[str, Outage] = {}

    async def run(self) -> None:
        """Look, for ever. What goes wrong is logged, and tried again at the next look."""
        wait = min(FIRST, self._every)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._asked.wait()
            self._asked.clear()
            began = time.monotonic()
            for service in [*self._sites()]:
                await self.look(service)
            wait = max(self._every, SHARE * (time.monotonic() - began))

    def soon(self) -> None:
        """Look now: a release was registered, or the catalogue is another one."""
        self._asked.set()

    async def look(self, service: str) -> int:
        """Look once at every site of a service. How many objects were not known."""
        sites = self._sites().get(service)
        if sites is None or not sites.sites:
            return 0
        outage = self._outages.setdefault(service, Outage(f"What is published of {service}", _LOG, words=_WORDS))
        new = 0
        try:
            if builds := builds_of(await self._releases.all(service)):
                for site in sites.sites:
                    new += await sites.look_over(site.name, builds)
        except (Unreachable, StoreRefused, Missing) as error:
            outage.down(str(error))
        except Exception as error:
            if not away(error):  # which the store tells
                outage.down(f"{type(error).__name__}: {error}", exc_info=True)
        else:
            outage.up()
            if new:
                _LOG.info("%s: %d files that are published were looked at", service, new)
        return new
