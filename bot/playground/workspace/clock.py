"""The workspace's clock: it runs with the machine's, or stands still until a test moves it.

Everything that expires, retries or is paced in the workspace reads this clock, so ten minutes of Slack take no time.

Invariants: time never goes back; whoever sleeps wakes when the clock has passed the time, however it got there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time


class Clock:
    """start: Unix seconds, the machine's time where not given; frozen: only `advance` moves it."""

    def __init__(self, start: float | None = None, *, frozen: bool = False) -> None:
        self._base = time.time() if start is None else start
        self._frozen = frozen
        self._began = time.monotonic()
        self._moved = asyncio.Event()

    def time(self) -> float:
        """Unix seconds."""
        return self._base if self._frozen else self._base + time.monotonic() - self._began

    def advance(self, seconds: float) -> None:
        """Let this much time pass at once. ValueError for a negative span."""
        if seconds < 0:
            raise ValueError("the clock does not go back")
        self._base += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has moved on by this much."""
        due = self.time() + seconds
        while (left := due - self.time()) > 1e-6:
            moved = self._moved
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), None if self._frozen else left)
