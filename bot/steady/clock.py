"""A clock that does not jump unannounced, and that goes by another one where its own is plainly wrong.

The time of day is set by people and by programs, and a computer that slept wakes up hours later. Going back is seen in
what was written (`bot/run/moments.py`). A jump ahead is not: it would look like time that passed, and end whatever was
under way. So it is held back here until the runs have been told of it.

Nodes that share a database have a clock in common, the database's. Whoever is far from it when it starts, or after a
jump, goes by that one: nobody need be told of a time that is only this machine's.

Invariants:
- what it says never goes ahead by `LEAST` or more at once, but by what was shown;
- where there is a clock in common it does not go back either before that one was asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable

LEAST = 10.0
"""Seconds that count as a jump, or as far from the clock in common; less passes."""
SURE = 2.0
"""Seconds that the clock in common may take to answer; a later answer says too little."""


class Steady:
    """Seconds since the epoch. wall: the clock; passed: a clock that nobody sets, of which only differences count;
    common: what the clock that all nodes share says now; None where there is no such clock."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        passed: Callable[[], float] = time.monotonic,
        common: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        self._wall, self._passed, self._common = wall, passed, common
        self._turn = threading.Lock()
        self._last = (wall(), passed())
        self._asked = common is None
        self.ahead = 0.0
        """Seconds that the wall clock is ahead of the one in common, where that is far; it goes by the latter."""
        self.held = 0.0
        """Seconds of jumps that are not shown yet; below zero only until the clock in common was asked."""
        self.gained = 0.0
        """Seconds of all jumps ahead that were shown."""
        self.backs = 0
        """How often it went back: what is held since is another jump than before."""

    def __call__(self) -> float:
        """Now, without jumps that nobody has been told of."""
        with self._turn:
            return self._look() - self.ahead - self.held

    def show(self, seconds: float) -> None:
        """Whoever had to be told of so much of a jump has been."""
        with self._turn:
            seconds = min(seconds, self.held)
            self.held -= seconds
            self.gained += seconds

    def old(self) -> float:
        """Now, as if the clock had never jumped ahead: for what may be forgotten once it is old."""
        return self() - self.gained

    @property
    def fault(self) -> str:
        """What is wrong with the wall clock, for people; empty where nothing is known to be."""
        if not self.ahead:
            return ""
        how = f"{abs(self.ahead):.0f} s {'ahead of' if self.ahead > 0 else 'behind'}"
        return f"this machine's is {how} the database's, by which the bot goes. Next: set it right (NTP)"

    async def refer(self) -> None:
        """Asks the clock in common, at the start and after a jump: what was a jump of this machine's alone is
        forgotten, what was one of both is held on. Raises what asking raises; nothing has changed then."""
        self()  # a jump that nobody has looked at yet
        if self._common is None or (self._asked and not self.held):
            return
        begun = self._passed()
        there = await self._common()
        took = self._passed() - begun
        if took > SURE:
            return  # asked again
        with self._turn:
            ahead = self._look() - there - took / 2
            ahead = ahead if abs(ahead) >= LEAST else 0.0
            both = self.held + self.ahead - ahead if self._asked else 0.0
            self._asked, self.ahead = True, ahead
            self.held = both if both >= LEAST else 0.0
            self.backs += both <= -LEAST

    def _look(self) -> float:
        """The wall clock, and what has become of it since the last look."""
        wall, passed = self._wall(), self._passed()
        jump = (wall - self._last[0]) - (passed - self._last[1])
        self._last = (wall, passed)
        if jump >= LEAST:
            self.held += jump
        elif jump <= -LEAST:  # back: what was held goes first
            self.backs += 1
            self.held += jump
            if self._common is None:
                self.held = max(0.0, self.held)
        return wall
