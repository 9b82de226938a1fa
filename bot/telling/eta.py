"""How long it will still take, as an honest range from earlier runs, wide where there were few.

Pure, but for `history`, which loads them.

Work and people are kept apart. A step's work time runs from its first acting (or looking) attempt to its end; what
people decide comes before that. Times in which people had to step in (a halt, a drift, a stop, a skip) are left out;
what went on by itself after an error or a lost process counts in full. While a person has still to decide anything,
no clock time is given.

**One step.** Work times vary by factors, so their logarithms are taken as normal. After n times x, with m the mean
of ln x and SS the sum of squares around it, the next one is taken to be

    exp(m + T * sqrt((WORTH * PRIOR^2 + SS) / f) * sqrt(1 + 1/n)),   f = n - 1 + WORTH,

where T is Student's t with f degrees of freedom: the predictive distribution of a normal with unknown mean and
variance, about whose variance as much is said beforehand as WORTH observations say (Gelman and others, Bayesian Data
Analysis, 3rd edition, sections 3.2 and 3.3; for many samples it is the usual prediction interval, mean ± t s
sqrt(1 + 1/n)). So one sample gives a range of 2.5 times either way, not one that the tail of every step of a plan
makes useless, and equal samples do not make it certain. Measured, the share of 1,500 next times that ended in their
range, by how many earlier times there were:

    true standard deviation of ln(time)    1      2      5      20
    0.25                                 .99    .96    .88    .83
    0.35                                 .94    .88    .83    .81
    0.5                                  .81    .76    .76    .78
    0.7                                  .67    .67    .73    .78

So a range from few samples is too narrow where times vary more than is assumed, until earlier runs show it.

A step that was never measured takes what its change says (`Change.lasts`: a rollout has a pace of its own), or else
anything between nothing and the plan's own limit; all such steps are taken to be fast or slow together. In words only
what is known is added up: a sum of time-outs says nothing, and frightens. What is not known is counted.

**A plan.** DRAWS times every step gets a time, each tenth of a percentile of its distribution once (Latin hypercube,
in an order that only its id decides, so the same question has the same answer), with the correlation TOGETHER
between steps, because a slow day is slow for all. The longest path through what is left is one draw's end; low and
high are the first and the last decile of the draws: about four runs in five end between them.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import add
from statistics import NormalDist, fmean
from types import MappingProxyType
from typing import Literal

from bot.contract import Change
from bot.plan.model import Plan, StepSpec
from bot.run import deadlines
from bot.run import events as ev
from bot.run.state import Run, Step
from bot.store.log import Store
from bot.telling.times import duration

log = logging.getLogger(__name__)

DRAWS = 400
DECILE = DRAWS // 10
PRIOR = 0.35
"""Assumed standard deviation of ln(time) where nothing is known: about a third up or down."""
WORTH = 2
"""Observations that this assumption is worth."""
TOGETHER = 0.3
"""Assumed correlation between the times of two steps of one run."""
UNMEASURED = 600.0
"""Seconds that a step nobody has measured is taken to need at most, if its plan allows more."""
NO_TIME = (0.0, 0.0)
LEAST = 0.1
"""Seconds below which a time is not told apart."""

Until = Literal["back", "verified"]
"""back: the checks have passed, what is behind a watch not waited for; verified: every step has ended."""


@dataclass(frozen=True, slots=True)
class StepKey:
    """Steps whose times are compared: same handler, same service, same place in the plan."""

    uses: str
    service: str
    step: str


@dataclass(frozen=True, slots=True)
class WorkTimes:
    """Seconds of work of one step, one for each time it was done without people."""

    seconds: tuple[float, ...]


History = Mapping[StepKey, WorkTimes]
Changes = Mapping[str, Change]
"""By step."""
Paces = Mapping[str, tuple[float, float]]
"""By step: seconds that it takes, at least and at most."""


@dataclass(frozen=True, slots=True)
class Eta:
    """low_s, high_s: seconds of work still to come; open_decisions: what people have to decide before the end;
    samples: the fewest earlier times of any step still to come (0: some were never measured); between: from when
    to when the end is expected (seconds since the epoch), None while people have to decide or nothing is left."""

    low_s: float
    high_s: float
    open_decisions: int
    samples: int
    text: str
    between: tuple[float, float] | None = None


# -- what earlier runs took ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Doing:
    """One application of a step, as its events are read. people: somebody had to step in; effect: it had something
    to do; good: passes of its check in a row."""

    spec: StepSpec
    application: int
    began: float
    effect: bool
    people: bool
    good: int = 0
    ended: float | None = None


_PEOPLE = (ev.Retried, ev.Drifted, ev.Cancelled, ev.Skipped, ev.Accepted, ev.AdoptAsked, ev.Adopted)


def durations(events: Iterable[tuple[float, ev.Event]]) -> dict[StepKey, WorkTimes]:
    """Work times by step, from the events (with their moments, seconds since the epoch) of any number of whole
    runs, one run after the other. Steps that had nothing to do, watches, and undoing on request are left out."""
    found: dict[StepKey, list[float]] = {}
    created: ev.Created | None = None
    doing: dict[str, _Doing] = {}
    for at, e in events:
        if isinstance(e, ev.Created):
            created, doing = e, {}
        elif isinstance(e, ev.Stopped):
            for d in doing.values():
                d.people = True
        elif isinstance(e, ev.Started):
            if created is not None:
                _begin(doing, created.plan, e, at)
        elif created is not None and (done := doing.get(getattr(e, "step", ""))) is not None:
            _follow(done, e, at, created.plan)
            if done.ended is not None and doing.pop(done.spec.id).effect and not done.people:
                key = StepKey(done.spec.uses, created.service, done.spec.id)
                found.setdefault(key, []).append(done.ended - done.began)
    return {k: WorkTimes(tuple(v)) for k, v in found.items()}


def _begin(doing: dict[str, _Doing], plan: Plan, e: ev.Started, at: float) -> None:
    known, spec = doing.get(e.step), plan.by_id.get(e.step)
    if e.doing == "plan" or spec is None or spec.kind == "watch" or (known and known.application == e.application):
        return
    on_request = e.doing == "undo" and spec.kind != "undo"
    doing[e.step] = _Doing(spec, e.application, at, effect=e.doing == "check", people=on_request)


def _follow(d: _Doing, e: ev.Event, at: float, plan: Plan) -> None:
    if isinstance(e, _PEOPLE) or (isinstance(e, ev.Failed) and e.cause != "retryable"):
        d.people = True
    elif isinstance(e, ev.ApplyStarted):
        d.effect = True
    elif isinstance(e, ev.Checked):
        d.good = d.good + 1 if plan.passes(d.spec.id, e.verdict.status) else 0
        d.ended = at if d.good >= d.spec.passes else None
    elif isinstance(e, ev.Applied | ev.Undone):
        d.ended = at


async def history(store: Store, service: str, limit: int = 20) -> History:
    """Work times from the service's last ended runs. A run that this version cannot read is left out, and logged."""
    pairs: list[tuple[float, ev.Event]] = []
    for head in await store.heads(service=service, open=False, limit=limit):
        try:
            pairs += [(row.at / 1e6, ev.decode(row.kind, row.body)) for row in await store.events(head.run)]
        except ev.BadEvent as e:
            log.warning("run %s gives no work times: %s", head.run, e)
    return durations(pairs)


# -- what is left ----------------------------------------------------------------------------------------------------


class Estimates:
    """What is left of runs. Earlier runs of a service are read again only when another one of it has ended."""

    def __init__(self, store: Store, foreseen: Callable[[Run], Changes] = lambda run: {}) -> None:
        self.store, self.foreseen = store, foreseen
        self._histories: dict[str, tuple[str, History]] = {}

    async def of(self, run: Run, now: float) -> Eta:
        """How long it will still take until the service is back, or, once it is, until that is verified."""
        newest = await self.store.heads(service=run.service, open=False, limit=1)
        last = newest[0].run if newest else ""
        known = self._histories.get(run.service)
        if known is None or known[0] != last:
            known = self._histories[run.service] = (last, await history(self.store, run.service))
        until: Until = "back" if run.restored is None else "verified"
        seen = self.foreseen(run)
        return estimate(run.plan, known[1], service=run.service, now=now, run=run, until=until, foreseen=seen)


def estimate(
    plan: Plan,
    history: History,
    *,
    service: str,
    now: float,
    run: Run | None = None,
    until: Until = "back",
    foreseen: Changes = MappingProxyType({}),
) -> Eta:
    """How long the plan will take, or what is left of a run of it. now: seconds since the epoch; foreseen: what steps
    would do of which the run does not know it yet."""
    way = _on_the_way(plan, until)
    if run is not None and (not run.open or run.aborted or (until == "back" and run.restored is not None)):
        gone = run.aborted is not None and run.open
        return Eta(0.0, 0.0, 0, 0, "being aborted: no return to expect" if gone else "nothing left to do")
    left = [s for s in plan.steps if s.id in way and not _ended(run, s.id)]
    works = [s for s in left if _works(run, s)]
    measured = {s.id: len(t.seconds) if (t := _times(history, service, run, s)) else 0 for s in works}
    paces = {s.id: pace for s in works if not measured[s.id] and (pace := _pace(run, s, foreseen))[1]}
    ends = _ends(plan, left, history, service, run, now, paces)
    low, high = ends[DECILE - 1], ends[-DECILE]
    decisions = _decisions(plan, run, {s.id for s in left})
    samples = min(measured.values(), default=0)
    unknown = [s for s in works if not measured[s.id] and s.id not in paces]
    known = [s.title for s in works if s not in unknown]
    if unknown:
        nothing = dict.fromkeys([s.id for s in unknown], NO_TIME)
        sure = _ends(plan, left, history, service, run, now, paces | nothing)
        text = _partly(sure[DECILE - 1], sure[-DECILE], known, len(unknown), decisions)
    else:
        text = _text(low, high, decisions, now, bool(left))
    between = (now + low, now + high) if left and not decisions else None
    return Eta(low, high, decisions, samples, text, between)


def _on_the_way(plan: Plan, until: Until) -> Collection[str]:
    """Steps that the end waits for: back is when every check of the verification has passed."""
    if until == "verified":
        return plan.by_id
    goals = [s.id for s in plan.steps if s.phase == "verify" and s.kind != "watch"]
    if goals:
        return set(goals).union(*(plan.before[g] for g in goals))
    watches = {s.id for s in plan.steps if s.kind == "watch"}
    return {s.id for s in plan.steps if s.id not in watches and not plan.before[s.id] & watches}


def _ends(
    plan: Plan, left: Sequence[StepSpec], history: History, service: str, run: Run | None, now: float, paces: Paces
) -> list[float]:
    """When it ends, in seconds from now, once for each draw, in order."""
    ends: dict[str, Sequence[float]] = {}
    for spec in left:
        begins = _latest(ends[a] for a in spec.after if a in ends)
        needed = _needed(plan, run, spec)
        times = _times(history, service, run, spec)
        work = _draws(spec, times, None if run is None else run.steps[spec.id], now, paces.get(spec.id))
        if work is _NOTHING or needed is _NEVER:
            ends[spec.id] = begins
            continue
        drawn = work if times is None else _pick(work, _ranks(spec.id))
        if needed is not _ALWAYS:
            drawn = [x if n else 0.0 for x, n in zip(drawn, needed, strict=True)]
        ends[spec.id] = drawn if begins is _NOTHING else [*map(add, begins, drawn)]
    return sorted(_latest(ends.values()))


def _latest(ends: Iterable[Sequence[float]]) -> Sequence[float]:
    """The last of these ends, draw by draw."""
    apart = {id(x): x for x in ends if x is not _NOTHING}
    if len(apart) < 2:
        return next(iter(apart.values()), _NOTHING)
    return [*map(max, *apart.values())]


def _pick(work: Sequence[float], order: Iterable[int]) -> Sequence[float]:
    return [*map(work.__getitem__, order)]


def _ended(run: Run | None, step: str) -> bool:
    return run is not None and not run.steps[step].open


def _works(run: Run | None, spec: StepSpec) -> bool:
    """Whether its time has to be known from earlier runs."""
    return spec.kind not in ("watch", "gate") and not (run is not None and _idle(run.steps[spec.id]))


def _idle(s: Step) -> bool:
    """Whether it is known to have nothing to do."""
    return s.change is not None and s.change.is_noop and not s.stale


def _times(history: History, service: str, run: Run | None, spec: StepSpec) -> WorkTimes | None:
    if run is not None and run.steps[spec.id].undoing:
        return None
    found = history.get(StepKey(spec.uses, service, spec.id))
    return found if found is not None and found.seconds else None


# -- one step --------------------------------------------------------------------------------------------------------


def _draws(
    spec: StepSpec, times: WorkTimes | None, s: Step | None, now: float, pace: tuple[float, float] | None
) -> Sequence[float]:
    """Seconds that the step still needs, DRAWS quantiles in order."""
    if spec.kind == "gate" or (s is not None and _idle(s)) or pace == NO_TIME:
        return _NOTHING
    spent = _spent(s, now)
    if spec.kind == "watch":
        return [max(0.0, spec.lasting - spent)] * DRAWS
    longest = max(_longest(spec), deadlines.limit(s) if s is not None and spec.changes else 0.0)
    whole = _spread(times.seconds, longest) if times is not None else _between(*(pace or (0.0, _limit(spec))))
    if not spent:
        return whole
    more = [x - spent for x in whole if x > spent]
    if not more:  # slower than it ever was
        return _between(0.0, min(max(longest - spent, 0.0), UNMEASURED))
    return [more[int(u * len(more))] for u in _POINTS]


def _spent(s: Step | None, now: float) -> float:
    """Seconds that it has been at work, without people."""
    if s is None or s.halt is not None or s.began is None:
        return 0.0
    acting = s.attempt is not None and s.attempt.doing != "plan"
    return max(0.0, now - s.began) if acting or s.applying or not s.spec.changes else 0.0


@lru_cache(maxsize=1024)
def _spread(seconds: tuple[float, ...], longest: float) -> Sequence[float]:
    """Quantiles of the next time after these (see the top)."""
    logs = [math.log(max(x, LEAST)) for x in seconds]
    n, mean = len(logs), fmean(logs)
    free = n - 1 + WORTH
    scale = math.sqrt((WORTH * PRIOR**2 + sum((y - mean) ** 2 for y in logs)) / free * (1 + 1 / n))
    most = math.log(max(longest, LEAST))
    return [math.exp(min(mean + scale * t, most)) for t in _student(free)]


@lru_cache(maxsize=1024)
def _between(least: float, most: float) -> Sequence[float]:
    """Quantiles where nothing was measured: the first decile is `least`, the last one `most`."""
    return [least + (most - least) * share for share in _BETWEEN]


def _pace(run: Run | None, spec: StepSpec, foreseen: Changes) -> tuple[float, float]:
    """Seconds that it takes by what it changes, at least and at most; zeros where that says nothing."""
    s = run.steps[spec.id] if run is not None else None
    change = s.change if s is not None and s.change is not None else foreseen.get(spec.id)
    return change.lasts if change is not None and not (s is not None and s.undoing) else NO_TIME


def _longest(spec: StepSpec) -> float:
    """Seconds after which it is over, one way or the other."""
    return spec.timeout if spec.changes else spec.within + spec.every * (spec.passes - 1) + spec.timeout


def _limit(spec: StepSpec) -> float:
    """Seconds that it may need at most by the plan, where it was never measured."""
    looks = max(spec.within, spec.every * (spec.passes - 1))
    return min(spec.timeout if spec.changes or not looks else looks, UNMEASURED)


_POINTS = tuple((i + 0.5) / DRAWS for i in range(DRAWS))
_BETWEEN = tuple(min(max((u - 0.1) / 0.8, 0.0), 1.0) for u in _POINTS)
_NORMAL = tuple(map(NormalDist().inv_cdf, _POINTS))
_NOTHING: Sequence[float] = (0.0,) * DRAWS
_ALWAYS: Sequence[bool] = (True,) * DRAWS
_NEVER: Sequence[bool] = (False,) * DRAWS
"""Told apart from equal ones by identity, so that nothing is reckoned with them."""


@lru_cache(maxsize=1024)
def _ranks(name: str) -> tuple[int, ...]:
    """Which quantile of the step each draw takes: an order of its own, correlated with what the draws share."""
    own = random.Random(name).sample(_NORMAL, DRAWS)  # noqa: S311
    mixed = [math.sqrt(TOGETHER) * c + math.sqrt(1 - TOGETHER) * o for c, o in zip(_NORMAL, own, strict=True)]
    found = [0] * DRAWS
    for rank, i in enumerate(sorted(range(DRAWS), key=mixed.__getitem__)):
        found[i] = rank
    return tuple(found)


@lru_cache(maxsize=128)
def _student(df: int) -> tuple[float, ...]:
    """DRAWS quantiles of Student's t, in order; by halving intervals of atan(t / sqrt(df))."""
    upper = []
    for u in _POINTS[DRAWS // 2 :]:
        low, high = 0.0, math.pi / 2
        for _ in range(40):
            mid = (low + high) / 2
            low, high = (mid, high) if _within(mid, df) < 2 * u - 1 else (low, mid)
        upper.append(math.sqrt(df) * math.tan(low))
    return (*(-x for x in reversed(upper)), *upper)


def _within(angle: float, df: int) -> float:
    """P(|T| <= sqrt(df) tan(angle)) of Student's t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    cos, odd = math.cos(angle), df % 2
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, df, 2):
        total += term
        term *= k / (k + 1) * cos * cos
    found = math.sin(angle) * total
    return (angle + found) * 2 / math.pi if odd else found


# -- what may not be needed ------------------------------------------------------------------------------------------


def _needed(plan: Plan, run: Run | None, spec: StepSpec) -> Sequence[bool]:
    """Whether each draw needs the step: of the options of a choice one, of opposite conditions one."""
    needed = _ALWAYS
    if spec.when is not None:
        known = _known(run, spec.when.ref)
        if known is not None:
            needed = _ALWAYS if (known[0] == spec.when.value) is spec.when.equal else _NEVER
        else:
            holds = (i < DRAWS // 2 for i in _ranks(f"{spec.when.ref} {spec.when.value}"))
            return [h is spec.when.equal for h in holds]
    d = plan.decision.get(spec.decision) if spec.decision else None
    if needed is _ALWAYS and d is not None and d.choice is not None and d.option is not None:
        options = sorted({o.option for o in plan.decisions if o.choice == d.choice and o.option is not None})
        taken = run.chosen(d.choice) if run is not None else None
        if taken is None:
            return [options[i * len(options) // DRAWS] == d.option for i in _ranks(d.choice)]
        needed = _ALWAYS if taken == d.option else _NEVER
    return needed


def _known(run: Run | None, ref: str) -> tuple[object] | None:
    try:
        return (run.value(ref),) if run is not None else None
    except LookupError:
        return None


def _decisions(plan: Plan, run: Run | None, left: Set[str]) -> int:
    """How often people still have to decide before the end: gates, choices, halts, a stop."""
    asked = [a.spec for a in run.asked.values() if a.decided is None] if run is not None else plan.decisions
    gated = {d.choice or d.name for d in asked if d.gate is not None and left & set(d.members)}
    settled = {d.choice or d.name for d in asked if d.unless is not None and _known(run, d.unless) == (True,)}
    if run is None:
        return len(gated)
    settled |= {d.choice for d in asked if d.choice is not None and run.chosen(d.choice) is not None}
    halted = sum(s.spec.id in left for s in run.halted)
    return len(gated - settled) + halted + (run.stopped is not None)


# -- in words --------------------------------------------------------------------------------------------------------


def _text(low: float, high: float, decisions: int, now: float, left: bool) -> str:
    if not left:
        return "nothing left to do"
    if not decisions:
        return f"expected between {_clock(now + low, now)} and {_clock(now + high, now, up=True)} UTC"
    return f"{_about(low, high)} of work and {_asked(decisions)}"


def _partly(low: float, high: float, known: Sequence[str], unknown: int, decisions: int) -> str:
    """What is known of the work, and how much is not: "up to 2 min for Deploy, 4 more steps not timed yet, and ..."."""
    parts = []
    if high > 0:
        parts.append(f"{_about(low, high)} for {known[0] if len(known) == 1 else f'{len(known)} steps'}")
    steps = f"{unknown} {'more ' if parts else ''}step{'s' if unknown > 1 else ''}"
    parts.append(f"{steps} not timed yet")
    if not decisions:
        return ", ".join(parts)
    return f"{', '.join(parts)}{',' if len(parts) > 1 else ''} and {_asked(decisions)}"


def _asked(decisions: int) -> str:
    return "1 decision by people" if decisions == 1 else f"{decisions} decisions by people"


def _about(low: float, high: float) -> str:
    """ "about 5-8 min", "up to 40 s", "about 55 min to 1 h 35 min"; rounded outwards."""
    size = 5 if high <= 90 else 60 if high <= 5400 else 300
    a, b = math.floor(low / size) * size, math.ceil(high / size) * size
    if a == 0:
        return f"up to {duration(b)}"
    if a == b:
        return f"about {duration(b)}"
    if b <= 5400:
        return f"about {a}-{b} s" if size == 5 else f"about {a // 60}-{b // 60} min"
    return f"about {duration(a)} to {duration(b)}"


def _clock(at: float, now: float, up: bool = False) -> str:
    """ "14:17", with the day where it is not today; rounded to the minute, down or up."""
    minute = (math.ceil if up else math.floor)(at / 60) * 60
    then, today = datetime.fromtimestamp(minute, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d %H:%M")
