"""Customers: they pay, a few a second, in every cluster in turn; what they were told is counted by the second.

Invariants: `thanked` holds exactly the payments that were answered with 200, so what the shop lost can be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import aiohttp

from bot.playground.shop.behaviour import SAMPLES

_PATIENCE = 5.0


@dataclass
class Second:
    """What customers were told within one second. broken: no answer at all."""

    paid: int = 0
    failed: int = 0
    broken: int = 0

    @property
    def total(self) -> int:
        """All who tried."""
        return self.paid + self.failed + self.broken


@dataclass
class Traffic:
    """Goes on while it is a context. doors: addresses of the shop, asked anew each time; per_second: payments."""

    doors: Callable[[], Sequence[str]]
    per_second: float = 5.0
    seconds: dict[int, Second] = field(default_factory=dict)
    thanked: set[str] = field(default_factory=set)
    _flow: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Traffic:
        self._flow = asyncio.create_task(self._go())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._flow is not None:
            self._flow.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flow

    def of_late(self, seconds: float) -> Second:
        """The sum of the last so many seconds."""
        since = time.time() - seconds
        found = [s for at, s in self.seconds.items() if at >= since]
        return Second(*(sum(getattr(s, n) for s in found) for n in ("paid", "failed", "broken")))

    async def _go(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(_PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http, asyncio.TaskGroup() as group:
            began = f"{time.time():.3f}"
            for number, order in enumerate(itertools.cycle(SAMPLES)):
                doors = self.doors()
                door = doors[number % len(doors)]
                group.create_task(self._pay(http, door, {**order, "id": f"{began}-{number}"}))
                await asyncio.sleep(1 / self.per_second)

    async def _pay(self, http: aiohttp.ClientSession, door: str, order: dict[str, object]) -> None:
        second = self.seconds.setdefault(int(time.time()), Second())
        try:
            async with http.post(f"http://{door}/pay", json=order) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            second.broken += 1
            return
        if answer.status == 200:
            second.paid += 1
            self.thanked.add(str(order["id"]))
        else:
            second.failed += 1
