"""Times to compare with: when a release served, at the same hour of the same weekday if it did. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.ports.releases import Served

MARGIN = timedelta(minutes=10)
"""At both ends of a time of serving: a release counts as serving once it does everywhere, and others came before."""
WEEKS = 4
"""How many weeks are looked back."""
DAYS = 6
"""How many days, where there is no such week."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time to look at."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds()

    @property
    def words(self) -> str:
        """ "Wed 18 Nov 14:10 UTC": its middle."""
        return f"{(self.start + (self.end - self.start) / 2):%a %d %b %H:%M} UTC"


def good(served: Sequence[Served], now: datetime, seconds: float) -> Iterator[Window]:
    """Windows of this length in which a release served, the best to compare with first: the same weekday and hour of
    the last weeks, the same hour of the last days, the end of the last time that is over."""
    spells = [(s.since + MARGIN, (s.until or now) - MARGIN) for s in served]
    half = timedelta(seconds=seconds) / 2
    back = (*(7 * week for week in range(1, WEEKS + 1)), *range(1, DAYS + 1))
    for days in back:
        middle = now - timedelta(days=days)
        if any(begin <= middle - half and middle + half <= end for begin, end in spells):
            yield Window(middle - half, middle + half)
    for (begin, end), spell in zip(reversed(spells), reversed(served), strict=True):
        if spell.until is not None and end - begin >= half / 2:
            yield Window(max(begin, end - 2 * half), end)


def last(served: Sequence[Served], now: datetime, seconds: float) -> Window | None:
    """The end of the last time in which a release served, at most this long; None where it never did."""
    if not served:
        return None
    end = served[-1].until or now
    start = max(served[-1].since, end - timedelta(seconds=seconds))
    return Window(start, end) if start < end else None
