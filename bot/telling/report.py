"""What many runs tell together: how long it took until the first card, the first decision, the service was back, it was
verified; for whom was waited; which steps stop. Pure.

Invariants:
- people's waiting and work are told apart, as everywhere;
- what nobody measured is absent, never 0: a run that was aborted has no time until it was back;
- times of few runs are named one by one, never as a percentile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median, quantiles

from bot.run.decide import RELEASING
from bot.run.state import Run
from bot.telling.times import duration
from bot.telling.view import title

FEW = 5
"""Below so many times there is no telling of nine in ten."""

SPANS: Mapping[str, str] = {
    "card": "Asked to first card",
    "decided": "Asked to first decision by people",
    "restored": "Asked to service back",
    "work": "of it work",
    "waiting": "of it waiting for decisions",
    "verified": "Asked to verified",
}


@dataclass(frozen=True, slots=True)
class Timed:
    """One run. Times in seconds since it was asked for, absent where it never came so far; at: seconds since the epoch;
    waits: decision -> seconds that people had it before them; stops: (step, cause) of each halt."""

    run: str
    service: str
    title: str
    at: float
    outcome: str
    times: Mapping[str, float] = field(default_factory=dict)
    waits: Mapping[str, float] = field(default_factory=dict)
    stops: tuple[tuple[str, str], ...] = ()


def timed(run: Run, carded: float | None = None) -> Timed | None:
    """What one run took; None for one that brings no release back. carded: when its card stood in Slack, in seconds
    since the epoch, where that is known."""
    if run.created is None or run.purpose not in RELEASING:
        return None
    people = [a for a in run.asked.values() if a.decided is not None and a.said_by]
    moments = {
        "card": carded,
        "decided": min((a.decided for a in people if a.decided is not None), default=None),
        "restored": run.restored,
        "verified": run.closed_at if run.closed is not None and run.closed.outcome == "verified" else None,
    }
    times = {name: max(at - run.created_at, 0.0) for name, at in moments.items() if at is not None}
    if run.restored is not None:
        times |= {"work": run.spent.work, "waiting": run.spent.waiting}
    return Timed(
        run.id, run.service, title(run), run.created_at, run.closed.outcome if run.closed else "open", times,
        {a.spec.title: a.waited for a in people if a.waited is not None},
        tuple((run.steps[h.step].spec.title, h.halt.cause) for h in run.halts),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Durations:
    """A time over several runs, in seconds: of how many, the middle one, nine in ten (None where they are few), the
    longest."""

    runs: int
    median: float
    nine_in_ten: float | None
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Durations:
        """At least one."""
        most = quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) >= FEW else None
        return cls(len(seconds), median(seconds), most, max(seconds))

    def __str__(self) -> str:
        if self.runs == 1:
            return duration(self.median)
        wide = f"nine in ten within {duration(self.nine_in_ten)}, " if self.nine_in_ten is not None else ""
        return f"{duration(self.median)} in the middle, {wide}{duration(self.longest)} at most ({self.runs} runs)"


@dataclass(frozen=True, slots=True)
class RunsReport:
    """Over all runs, newest first. outcomes: outcome -> how many; spans: as in SPANS; waits: by decision; stops: step
    -> cause -> how often; unread: runs whose record could not be read."""

    runs: tuple[Timed, ...]
    outcomes: Mapping[str, int]
    spans: Mapping[str, Durations]
    waits: Mapping[str, Durations]
    stops: Mapping[str, Mapping[str, int]]
    unread: tuple[str, ...] = ()


def report(runs: Iterable[Timed], unread: Iterable[str] = ()) -> RunsReport:
    """The report of these runs."""
    known = tuple(sorted(runs, key=lambda r: r.at, reverse=True))
    spans = {
        name: Durations.of(found) for name in SPANS if (found := [r.times[name] for r in known if name in r.times])
    }
    asked = dict.fromkeys(decision for r in known for decision in r.waits)
    waits = {decision: Durations.of([r.waits[decision] for r in known if decision in r.waits]) for decision in asked}
    stops: dict[str, Counter[str]] = {}
    for step, cause in (s for r in known for s in r.stops):
        stops.setdefault(step, Counter())[cause] += 1
    return RunsReport(
        known,
        dict(Counter(r.outcome for r in known)),
        spans,
        dict(sorted(waits.items(), key=lambda w: -w[1].median)),
        {step: dict(stops[step]) for step in sorted(stops, key=lambda step: -stops[step].total())},
        tuple(unread),
    )


def lines(found: RunsReport) -> list[str]:
    """The report for a terminal."""
    if not found.runs:
        return ["There is no rollback yet.", *_unread(found)]
    first, last = (_day(r.at) for r in (found.runs[-1], found.runs[0]))
    outcomes = ", ".join(f"{n} {what}" for what, n in found.outcomes.items())
    count = "1 run" if len(found.runs) == 1 else f"{len(found.runs)} runs"
    told = [f"{count}, {first} to {last}: {outcomes}", ""]
    told += [f"{SPANS[name] + ':':<36} {span}" for name, span in found.spans.items()]
    if found.waits:
        told += ["", "Decisions, by how long people had them before them"]
        told += [f"  {name + ':':<34} {span}" for name, span in found.waits.items()]
    if found.stops:
        told += ["", "Steps that stopped and asked"]
        told += [f"  {step + ':':<34} {causes_of(causes)}" for step, causes in found.stops.items()]
    return [*told, *_unread(found)]


def causes_of(causes: Mapping[str, int]) -> str:
    """ "3 times (2 timeout, 1 unknown)"."""
    total = sum(causes.values())
    return f"{'once' if total == 1 else f'{total} times'} ({', '.join(f'{n} {c}' for c, n in causes.items())})"


def _unread(found: RunsReport) -> list[str]:
    return ["", f"Not in it, their record cannot be read: {', '.join(found.unread)}"] if found.unread else []


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
