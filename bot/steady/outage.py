"""Something that is away: told once when it goes, and once when it is back, with how long it was.

Invariants:
- between the two lines nobody adds any: whoever else meets the same outage only counts;
- what was under way when it came back may still fail; for `SETTLE` seconds hearsay of that opens no new outage;
- where many ask at once, an answer to what was asked before it went ends nothing (`asked`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

SETTLE = 5.0
"""Seconds after its end in which hearsay is of the old outage."""


class Outage:
    """One thing that can be away: the database, Slack, a service's clusters. Any thread may tell it.

    what: its name, as a sentence begins; words: what it is then, and again; clock: seconds, only their difference
    counts.
    """

    def __init__(
        self,
        what: str,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
        *,
        words: tuple[str, str] = ("is away", "is back"),
    ) -> None:
        self.what, self._log, self._clock, self._words = what, log, clock, words
        self._turn = threading.Lock()
        self._since: float | None = None
        self._ended = float("-inf")
        self._times, self._begun = 0, 0
        self.why = ""
        """What is wrong, empty where nothing is."""

    @property
    def away(self) -> bool:
        """Whether it is."""
        return self._since is not None

    @property
    def asked(self) -> int:
        """To be kept by who asks it now, among others who do, and handed to `up` with the answer."""
        return self._begun

    def down(self, why: str, *, hearsay: bool = False, exc_info: bool = False) -> None:
        """It did not answer. hearsay: somebody else says so, who may be late; exc_info: with the exception's trace."""
        with self._turn:
            if hearsay and (self._since is not None or self._clock() - self._ended < SETTLE):
                self._times += 1
                return
            self._times += 1
            self.why, begins = why, self._since is None
            if begins:
                self._since, self._times, self._begun = self._clock(), 1, self._begun + 1
        if begins:
            self._log.warning(
                "%s %s: %s", self.what, self._words[0], why, exc_info=exc_info, extra={"outage": self.what}
            )

    def up(self, asked: int | None = None) -> None:
        """It answered. asked: what `asked` said before, where many ask it at once."""
        if self._since is None:  # the way of every good call: no lock
            return
        with self._turn:
            if asked not in (None, self._begun) or self._since is None:
                return
            self._ended = self._clock()
            seconds, times, self._since, self.why = self._ended - self._since, self._times, None, ""
        found = {"outage": self.what, "seconds": round(seconds, 1)}
        self._log.warning("%s %s, after %s (%d failed)", self.what, self._words[1], _long(seconds), times, extra=found)


def _long(seconds: float) -> str:
    """ "8.1 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
