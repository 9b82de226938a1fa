"""Journeys that were begun and not cleaned up yet, in the database: whichever node walks next removes what is left.

No secret is kept here (`bot/adapters/journeys.py` sees to it); names begin with `journey/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.store.log import Store
from bot.store.rows import Known


@dataclass(frozen=True, slots=True)
class Begun:
    """clock: seconds since the epoch. Everything raises StoreUnavailable."""

    store: Store
    clock: Callable[[], float]

    async def begun(self, prefix: str) -> Mapping[str, str]:
        """Name -> body."""
        return {known.name: known.body for known in await self.store.all_known(prefix)}

    async def remember(self, name: str, body: str) -> None:
        """Keep it, or replace what was kept."""
        await self.store.put_known(Known(name, body, self.clock()))

    async def forget(self, name: str) -> None:
        """It is over."""
        await self.store.forget(name)
