"""What one elected node keeps elsewhere as the runs want it: what pagers and customers' status pages have in common.

Level-triggered: what is to stand there is read from the runs, what was said is kept in rows, and the difference is sent
until it is taken.

Invariants:
- every node may look, one sends; no run waits for it;
- where somebody is away he is left alone for a while, which is a word in the log and in `/readyz`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bot.run import events as ev
from bot.run.events import BadEvent
from bot.run.state import Run
from bot.steady.outage import Outage
from bot.store.lease import Lease
from bot.store.log import Head, Store, away

W = TypeVar("W")


class Keeper(ABC, Generic[W]):
    """role: that one node is elected to; every: seconds between two looks; rest: seconds until the next try, at first
    and at most; looked_at: what is looked at, as a sentence begins; clock: seconds since the epoch.

    `run()` is to run as a task, on every node. `watch` is a watcher of the engine.
    """

    def __init__(
        self, store: Store, lease: Lease, clock: Callable[[], float], outage: Outage, *, role: str, every: float,
        rest: tuple[float, float], looked_at: str,
    ) -> None:  # fmt: skip
        self._store, self._lease, self._clock, self._outage = store, lease, clock, outage
        self._role, self._every, self._limits, self._looked_at = role, every, rest, looked_at
        self._wake, self._turn = asyncio.Event(), asyncio.Lock()
        self._known: dict[str, tuple[int, W]] = {}
        self._rest, self._not_before, self._for = 0.0, 0.0, 0.0
        self.fault = ""
        """What is wrong, for `/readyz`; empty where nothing is."""

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Something happened on this node."""
        if run.doubt or not events:  # which no number of events tells
            self._known.pop(run.id, None)
        if self._concerns(run, events):
            self._wake.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            self._wake.clear()
            try:
                wait = await self.round()
            except Exception as e:
                if not away(e):  # which the store tells
                    self._note(f"{self._looked_at} cannot be looked at: {type(e).__name__}: {e}")
                wait = self._every
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def round(self) -> float:
        """Sends what is to be sent now. Returns the seconds until the next look."""
        if not self._wanted_at_all() or not await asyncio.to_thread(self._lease.elect, self._role):
            self.fault = ""
            return self._every
        async with self._turn:
            await self._compare()
        return max(0.1, min(self._every, self._not_before - self._clock())) if self._rest else self._every

    @abstractmethod
    def _concerns(self, run: Run, events: Sequence[ev.Event]) -> bool:
        """Whether these may change what is to stand there."""

    def _wanted_at_all(self) -> bool:
        """Whether there is anything to keep."""
        return True

    @abstractmethod
    async def _compare(self) -> None:
        """Sends the difference."""

    async def _learnt(self, heads: Sequence[Head], of: Callable[[Run], W]) -> list[W]:
        """What these runs want; only those that have changed are read."""
        for head in heads:
            if self._known.get(head.run, (0,))[0] != head.seq:
                with contextlib.suppress(BadEvent):  # what cannot be read is told by those who need it
                    self._known[head.run] = (head.seq, of(await self._store.load(head.run)))
        self._known = {h.run: self._known[h.run] for h in heads if h.run in self._known}
        return [found for _, found in self._known.values()]

    @property
    def _resting(self) -> bool:
        """Whether somebody is left alone now; more than was meant is a clock that was ahead."""
        return 0 < self._not_before - self._clock() <= self._for

    def _wait(self, fault: str, after: float | None = None) -> None:
        """It was not taken. after: seconds that were asked for."""
        self._rest = min(self._limits[1], max(self._limits[0], 2 * self._rest))
        self._for = self._rest if after is None else after
        self._not_before = self._clock() + self._for
        self._note(fault)

    def _taken(self) -> None:
        """All of it was."""
        self._rest, self._not_before, self.fault = 0.0, 0.0, ""
        self._outage.up()

    def _note(self, fault: str) -> None:
        self.fault = fault
        self._outage.down(fault)
