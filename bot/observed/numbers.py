"""Points of a series made into what can be compared: a mean, and how far it went. Pure.

A point that is no number (`NaN`, infinite) is a gap; too many gaps are no answer, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.ports.metrics import TimeSeries, Watched

ENOUGH = 0.6
"""Share of the points of a window that must be there."""


def key(labels: Mapping[str, str]) -> str:
    """ "" for a number without labels, else `region=eu,zone=a`."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def finite(line: TimeSeries) -> list[tuple[float, float]]:
    """Its points that are numbers."""
    return [(at, value) for at, value in line.points if math.isfinite(value)]


def expected(seconds: float, step: float) -> int:
    """How many points a window has on a grid, at least."""
    return max(1, math.floor(seconds / step))


def mean(values: Iterable[float]) -> float:
    """Of at least one."""
    every = [*values]
    return math.fsum(every) / len(every)


@dataclass(frozen=True, slots=True)
class Span:
    """How a number was in a time: its mean, and the least and the greatest mean of parts as long as what is judged."""

    low: float
    mean: float
    high: float


def span(points: Sequence[tuple[float, float]], part: float) -> Span:
    """part: seconds. Of at least one point."""
    parts: dict[int, list[float]] = {}
    for at, value in points:
        parts.setdefault(int((at - points[0][0]) // part), []).append(value)
    means = [mean(values) for values in parts.values()]
    return Span(min(means), mean(value for _, value in points), max(means))


def off(watched: Watched, value: float, was: Span | None) -> str:
    """Why a number is not well; "" where it is, or there is nothing to tell it by. was: how it was in a good time."""
    limit = watched.limit
    if limit is not None and (value < limit if watched.good == "high" else value > limit):
        return f"the limit is {watched.shown(limit)}"
    if was is None:
        return ""
    up = value > was.high + watched.noise and value > was.mean * watched.tolerance + watched.noise
    down = value < was.low - watched.noise and value * watched.tolerance < was.mean - watched.noise
    if (up and watched.good != "high") or (down and watched.good != "low"):
        return f"it was {watched.shown(was.mean)}"
    return ""
