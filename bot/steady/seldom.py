"""What anybody can make happen as often as he likes is logged once a minute, with how often it was."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

EVERY = 60.0
"""Seconds between two lines about the same."""


class Seldom:
    """One kind of thing. what: said behind the number of times; clock: seconds, only their difference counts. What
    came after a line is told by the next, when something of the kind happens a minute later or more."""

    def __init__(self, log: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self.what, self._clock = log, what, clock
        self._said = float("-inf")
        self.times = 0
        """How often it happened since the last line."""

    def say(self, detail: str = "") -> None:
        """It happened. detail: of this time, told if this one brings the line."""
        self.times += 1
        now = self._clock()
        if now - self._said < EVERY:
            return
        more = f"; {detail}" if detail else ""
        self._log.warning("%s%s (%d since the last line)", self.what, more, self.times)
        self._said, self.times = now, 0


class SeldomTheSame(logging.Filter):
    """Of records that are worded alike (in the code, before their values) one passes a minute, with how many did not.
    It belongs on loggers whose lines strangers cause."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._known: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        said, left_out = self._known.get(str(record.msg), (float("-inf"), 0))
        now = self._clock()
        if now - said < EVERY:
            self._known[str(record.msg)] = said, left_out + 1
            return False
        self._known[str(record.msg)] = now, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out} more since the last line)"
        return True
