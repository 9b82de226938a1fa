"""Small texts that adapters keep for all nodes: `bot.ports.backups.Memory` in the database.

Nothing rests on them: what is forgotten is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.store.log import Store
from bot.store.rows import Known

KEEP = 90 * 24 * 3600.0
"""Seconds after which what nobody has renewed is forgotten."""
PREFIX = "remembered/"


class Remembered:
    """By names like `backups/<shelf>/<backup>`. clock: seconds since the epoch."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock

    async def get(self, name: str) -> str | None:
        """The text; None where there is none."""
        known = await self._store.known(PREFIX + name)
        return known.body if known is not None else None

    async def put(self, name: str, text: str) -> None:
        """Keep it, over what was there; of its folder what is old is forgotten."""
        folder, _, _ = name.rpartition("/")
        for known in await self._store.all_known(f"{PREFIX}{folder}/"):
            if known.at < self._clock() - KEEP:
                await self._store.forget(known.name)
        await self._store.put_known(Known(PREFIX + name, text, self._clock()))
