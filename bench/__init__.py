"""Measurements, side by side with what a person would use instead: `make bench BENCH=<name>`.

Each prints one line a figure: name, ours, yardstick, ratio, goal, and `met` or `short`. Both sides run in turns in
the same run, medians count. Goals in seconds or megabytes are for the machine that CI runs on; elsewhere the ratio
decides. Results are looked at, never committed as facts.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def report(name: str, ours: float, yardstick: float, unit: str, goal: float | None, *, of: str = "ours") -> None:
    """One figure. of: what the goal bounds: "ours" (at most), "ratio" (at most) or "rate" (ratio at least).
    goal None: the figure is there to be seen."""
    ratio = ours / yardstick if yardstick else float("inf")
    verdict = "no goal"
    if goal is not None:
        met = {"ours": ours <= goal, "ratio": ratio <= goal, "rate": ratio >= goal}[of]
        wanted = {"ours": f"<= {goal:g} {unit}", "ratio": f"<= {goal:g}x", "rate": f">= {goal:g}x"}[of]
        verdict = f"goal {wanted}  {'met' if met else 'short'}"
    beside = f"yardstick {yardstick:9.3f} {unit}  {ratio:7.2f}x" if yardstick else "no yardstick"
    print(f"{name:<44} ours {ours:9.3f} {unit}  {beside}  {verdict}", flush=True)


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)
