"""Numbers before, under and after a bad release, as a picture and in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.observed.numbers import finite, key, mean
from bot.observed.times import Window
from bot.ports.metrics import TimeSeries, Watched
from bot.ports.plots import Curve, Panel, Picture, Zone
from bot.ports.releases import Served

LONGEST = 900
"""Characters of the words."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of the catalogue, and how it was. monitor: where it comes from."""

    monitor: str
    watched: Watched
    lines: Sequence[TimeSeries]


def zones(
    window: Window, target: str, removed: str, served: Mapping[str, Sequence[Served]], back: datetime | None
) -> list[Zone]:
    """Which release served when. back: from when on the target serves again, where that is so."""
    start, end = window.start.timestamp(), window.end.timestamp()
    bad = served.get(removed) or ()
    began = bad[-1].since.timestamp() if bad else None
    until = back.timestamp() if back is not None else end
    found = []
    if began is None or began > start:
        begin = began if began is not None else until
        found.append(Zone(start, min(begin, until), target if began is not None else "before", "before"))
    if began is not None and began < until:
        found.append(Zone(max(began, start), until, removed, "bad"))
    if back is not None:
        found.append(Zone(until, end, f"{target} again", "after"))
    return [z for z in found if z.end > z.start]


def picture(title: str, window: Window, measured: Sequence[Measured], zones: Sequence[Zone], step: float) -> Picture:
    """All of them, one below the other."""
    many = len({m.monitor for m in measured}) > 1
    panels = [
        Panel(
            f"{m.monitor} {m.watched.name}" if many else m.watched.name,
            m.watched.unit,
            [Curve(key(line.labels), finite(line)) for line in m.lines],
            m.watched.limit,
            step,
        )
        for m in measured
        if any(finite(line) for line in m.lines)
    ]
    words = "; ".join(_words(m, zones) for m in measured)
    said = words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
    return Picture(title, window.start.timestamp(), window.end.timestamp(), panels, zones, f"{title}. {said}")


def _words(m: Measured, zones: Sequence[Zone]) -> str:
    """ "errors: 0.02 % with 2.4.0, 4.1 % with 2.4.1"."""
    told = [f"{m.watched.shown(value)} with {zone.label}" for zone, value in means(m, zones)]
    return f"{m.watched.name}: {', '.join(told) or 'nothing was measured'}"


def means(m: Measured, zones: Sequence[Zone]) -> Iterator[tuple[Zone, float]]:
    """How a number was in each of these times, where it was measured then: of all its series together."""
    for zone in zones:
        values = [v for line in m.lines for at, v in finite(line) if zone.start <= at <= zone.end]
        if values:
            yield zone, mean(values)
