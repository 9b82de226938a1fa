"""Many who ask the same at once are answered by one look.

Invariant: nobody gets an answer from a look that began before he asked. Who asks while a look is under way waits for
the next one, with everybody else who does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """At most one look at a time for each key. look: what has to be found out about a key."""

    def __init__(self, look: Callable[[K], Awaitable[V]]) -> None:
        self._look = look
        self._now: dict[K, asyncio.Task[V]] = {}
        self._next: dict[K, asyncio.Task[V]] = {}

    async def of(self, key: K) -> V:
        """What a look finds that begins now or later; raises what it raises. Who gives up disturbs nobody else."""
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._after(self._now.get(key), key))
        return await asyncio.shield(task)

    async def _after(self, earlier: asyncio.Task[V] | None, key: K) -> V:
        if earlier is not None:
            await asyncio.wait([earlier])
        own = self._now[key] = self._next.pop(key)
        try:
            return await self._look(key)
        finally:
            if self._now.get(key) is own:
                del self._now[key]
