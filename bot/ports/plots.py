"""Pictures of numbers over time, for people who look at a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["before", "bad", "after"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A series. points: (seconds since the epoch, value), oldest first; a gap is where nothing is drawn."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One number. limit: beyond it is never well; step: seconds between two points, more is a gap."""

    title: str
    unit: str
    curves: Sequence[Curve]
    limit: float | None = None
    step: float = 15.0


@dataclass(frozen=True, slots=True)
class Zone:
    """A time in which something served. start, end: seconds since the epoch."""

    start: float
    end: float
    label: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Picture:
    """Numbers one below the other over the same time, in UTC. words: what it shows, for whoever does not see it."""

    title: str
    start: float
    end: float
    panels: Sequence[Panel]
    zones: Sequence[Zone] = ()
    words: str = ""


class Plots(Protocol):
    """Whoever draws."""

    async def draw(self, picture: Picture) -> bytes | None:
        """A PNG without transparent parts, to be read on light and dark; None where the bot cannot draw (its extra
        `plots` is not installed)."""
        ...
