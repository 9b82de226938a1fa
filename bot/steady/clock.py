"""A clock that does not jump ahead unannounced.

The time of day is set by people and by programs, and a computer that slept wakes up hours later. Going back is seen in
what was written (`bot/run/moments.py`). A jump ahead is not: it would look like time that passed, and end whatever was
under way. So it is held back here until the runs have been told of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LEAST = 10.0
"""Seconds that count as a jump; smaller ones pass."""


class Steady:
    """Seconds since the epoch. wall: the clock; passed: a clock that nobody sets, of which only differences count."""

    def __init__(self, wall: Callable[[], float] = time.time, passed: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._passed = wall, passed
        self._turn = threading.Lock()
        self._last = (wall(), passed())
        self.held = 0.0
        """Seconds of jumps ahead that are not shown yet."""
        self.gained = 0.0
        """Seconds of all jumps ahead that were shown."""
        self.backs = 0
        """How often it went back: what is held since is another jump than before."""

    def __call__(self) -> float:
        """Now, without jumps ahead that nobody has been told of."""
        with self._turn:
            wall, passed = self._wall(), self._passed()
            jump = (wall - self._last[0]) - (passed - self._last[1])
            self._last = (wall, passed)
            if jump >= LEAST:
                self.held += jump
            elif jump <= -LEAST:  # back: what was held goes first
                self.backs += 1
                self.held = max(0.0, self.held + jump)
            return wall - self.held

    def show(self, seconds: float) -> None:
        """Whoever had to be told of so much of a jump has been."""
        with self._turn:
            seconds = min(seconds, self.held)
            self.held -= seconds
            self.gained += seconds

    def old(self) -> float:
        """Now, as if the clock had never jumped ahead: for what may be forgotten once it is old."""
        return self() - self.gained
