"""Is the ETA worth what it takes? Its ranges against plain ones, on simulated histories.

    make bench BENCH=eta

Runs of eight steps one after the other, whose times are log-normal and correlated within a run. For each number of
earlier runs: the share of next runs that ended in the range, and how many times its low end the high end is.

- model: `bot.telling.eta.estimate`, which is to hold four runs in five;
- quantiles: first and last decile of what the earlier runs took as a whole, their least and most where they are few;
- half more: from two thirds of the least of them to half more than the most.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, median, quantiles

from bot.plan.model import Plan, StepSpec
from bot.telling.eta import StepKey, WorkTimes, estimate

STEPS = (5.0, 20.0, 60.0, 90.0, 15.0, 45.0, 10.0, 30.0)
"""Seconds that each usually takes."""
TOGETHER = 0.3
NEXT = 400
"""Next runs that each figure rests on."""
Range = tuple[float, float]


def one_run(r: random.Random, spread: float) -> list[float]:
    """Seconds of each step: standard deviation of their logarithms, a part of which all steps share."""
    day = r.gauss(0, 1)
    shares = math.sqrt(TOGETHER), math.sqrt(1 - TOGETHER)
    return [s * math.exp(spread * (shares[0] * day + shares[1] * r.gauss(0, 1))) for s in STEPS]


def plan() -> Plan:
    """The steps, each behind the one before."""
    ids = [f"s{i}" for i in range(len(STEPS))]
    return Plan("eta", tuple(
        StepSpec(i, i, "main", "action", "doc.set", after=tuple(ids[n - 1 : n]), timeout=1e5) for n, i in enumerate(ids)
    ))  # fmt: skip


def model(past: Sequence[Sequence[float]]) -> Range:
    """What the bot says."""
    times = {StepKey("doc.set", "shop", f"s{i}"): WorkTimes(tuple(run[i] for run in past)) for i in range(len(STEPS))}
    found = estimate(plan(), times, service="shop", now=0.0)
    return found.low_s, found.high_s


def plain(past: Sequence[Sequence[float]]) -> Range:
    """Deciles of the wholes."""
    wholes = [sum(run) for run in past]
    if len(wholes) < 10:
        return min(wholes), max(wholes)
    deciles = quantiles(wholes, n=10)
    return deciles[0], deciles[-1]


def half_more(past: Sequence[Sequence[float]]) -> Range:
    """The wholes with room on both sides."""
    wholes = [sum(run) for run in past]
    return min(wholes) / 1.5, max(wholes) * 1.5


WAYS: dict[str, Callable[[Sequence[Sequence[float]]], Range]] = {
    "model": model, "quantiles": plain, "half more": half_more,
}  # fmt: skip


def main() -> None:
    """The table."""
    print("spread  earlier runs " + "".join(f"{name:>22}" for name in WAYS))
    for spread in (0.25, 0.5, 0.7):
        for n in (1, 2, 5, 20):
            cells = []
            for way in WAYS.values():
                r = random.Random(n * 1000 + int(spread * 100))
                held, widths = [], []
                for _ in range(NEXT):
                    low, high = way([one_run(r, spread) for _ in range(n)])
                    held.append(low <= sum(one_run(r, spread)) <= high)
                    widths.append(high / low)
                cells.append(f"{fmean(held):>12.0%} x{median(widths):<8.1f}")
            print(f"{spread:<8}{n:<13} " + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
