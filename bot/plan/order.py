"""The order of steps: every edge respected, otherwise as written; and the circles that make one impossible."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

MOST = 20
"""Circles that are named; who has more of them sees the rest next time."""

Edges = Mapping[str, Collection[str]]
"""Step -> the steps it waits for."""


def ordered(steps: Sequence[str], after: Edges) -> list[str]:
    """The steps, each behind those it waits for, otherwise in the given order. There must be no circle."""
    rank = {s: i for i, s in enumerate(steps)}
    waiting = {s: {a for a in after.get(s, ()) if a in rank} for s in steps}
    behind: dict[str, list[str]] = {s: [] for s in steps}
    for s, befores in waiting.items():
        for a in befores:
            behind[a].append(s)
    free = [rank[s] for s in steps if not waiting[s]]
    found: list[str] = []
    while free:
        step = steps[heapq.heappop(free)]
        found.append(step)
        for s in behind[step]:
            waiting[s].discard(step)
            if not waiting[s]:
                heapq.heappush(free, rank[s])
    return found


def circles(steps: Sequence[str], after: Edges) -> list[list[str]]:
    """Circles of steps that wait for each other: each waits for the next, the last for the first."""
    left = {s: set(after.get(s, ())) for s in steps}
    found: list[list[str]] = []
    while len(found) < MOST:
        try:
            TopologicalSorter(left).prepare()
            break
        except CycleError as error:
            circle = list(reversed(error.args[1][1:]))
        first = circle.index(min(circle, key=steps.index))
        circle = circle[first:] + circle[:first]
        found.append(circle)
        for step, waits_for in zip(circle, [*circle[1:], circle[0]], strict=True):
            left[step].discard(waits_for)
    return found
