"""V8: what watches the service works, and says what it said while the target release served well.

An alert that is quiet proves little: its target may not be scraped, its rule not be evaluated, its monitor have just
begun, a silence cover it, or its series be gone with the pod that had it. Each of these is looked at before quiet
counts as well. An alert that fired in the release's own good time too is part of the baseline, and no news.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.observed.times import Window, good
from bot.ports import Unreachable
from bot.ports.metrics import (
    NEVER,
    ActiveAlert,
    Fired,
    Monitor,
    MonitorRule,
    NotifiedAlert,
    QueryRefused,
    Scraped,
    Silence,
)

LATE = 10.0
"""Seconds that a rule may be late, beside three of its own intervals."""
UNREAD = 300.0
"""Seconds after which what was scraped last is an old measurement."""
COMPARED = 1800.0
"""Seconds of a good time that are compared with."""
TOLD = 90.0
"""Seconds after which an alert that fires has reached whoever tells people."""
NAMED = 6
"""Alerts, targets or rules that are named in one sentence."""


class AlertsBaselineParams(Params):
    """What is compared with what."""

    release: str = Field("", description="Version that serves; what fired in its own good time is no news.")
    since: float = Field(
        7200.0, ge=60, le=604800, description="Seconds back to the beginning of the trouble, where no evidence says."
    )


class AlertsBaselineOutput(Output):
    """What watches, and what is wrong with it."""

    rules: int = Field(description="Rules that are evaluated.")
    targets: int = Field(description="Targets that are scraped.")
    firing: list[str] = Field(description="Alerts that fire and did not in the good time.")
    silenced: list[str] = Field(description="Alerts of the service that are kept quiet.")
    faults: list[str] = Field(description="Everything that is wrong or not known, a sentence each.")


@dataclass
class MonitorFound:
    """What was found at one monitor: sentences by how bad they are."""

    name: str
    said: list[tuple[Status, str]] = field(default_factory=list)
    rules: int = 0
    targets: int = 0
    firing: list[str] = field(default_factory=list)
    usual: list[str] = field(default_factory=list)
    silenced: list[str] = field(default_factory=list)

    def add(self, status: Status, words: str) -> None:
        """One more."""
        self.said.append((status, words))

    @property
    def worst(self) -> Status:
        """PASS where nothing is wrong."""
        return max((s for s, _ in self.said), key=_ORDER.index, default=Status.PASS)

    @property
    def well(self) -> str:
        """What is right, in words."""
        fires = f"fires as before: {_some(self.usual)}" if self.usual else "nothing fires"
        return f"{self.rules} rules evaluated, {self.targets} targets scraped, {fires}"


_ORDER = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)


class AlertsBaseline(Check[AlertsBaselineParams]):
    """Passes when all that watches works, nothing is silenced, and nothing fires that did not in a good time."""

    name = "alerts.baseline"
    needs = frozenset({"metrics", "releases"})
    Params = AlertsBaselineParams
    Output = AlertsBaselineOutput

    async def run(self, ctx: ReadCtx, p: AlertsBaselineParams) -> Verdict:
        wanted = f"rules and targets work, nothing silenced, alerts as while {p.release or 'the release'} served well"
        port = ctx.ports.metrics
        if not port.catalogued:
            return Verdict(Status.PASS, "no monitor is in the catalogue: no alert was looked at", wanted)
        if not port.monitors:
            return Verdict(Status.UNKNOWN, "no monitor takes part", wanted)
        served = await ctx.ports.releases.served(p.release) if p.release else []
        windows = [*good(served, ctx.now, COMPARED)]
        since = _since(ctx, p)
        found = await asyncio.gather(*(_at(ctx, m, since, windows) for m in port.monitors))
        return _verdict(found, wanted)


def _since(ctx: ReadCtx, p: AlertsBaselineParams) -> datetime:
    kept = (ctx.baseline or {}).get("began")
    try:
        return datetime.fromisoformat(kept) if isinstance(kept, str) else ctx.now - timedelta(seconds=p.since)
    except ValueError:
        return ctx.now - timedelta(seconds=p.since)


async def _at(ctx: ReadCtx, monitor: Monitor, since: datetime, windows: Sequence[Window]) -> MonitorFound:
    found = MonitorFound(monitor.name)
    try:
        await _look(ctx, monitor, since, windows, found)
    except Unreachable as error:
        found.add(Status.UNKNOWN, str(error))
    except QueryRefused as error:
        found.add(Status.UNKNOWN, str(error))
    return found


async def _look(ctx: ReadCtx, m: Monitor, since: datetime, windows: Sequence[Window], found: MonitorFound) -> None:
    port, now = ctx.ports.metrics, ctx.now
    targets, rules, started = await asyncio.gather(port.scraped(m.name), port.rules(m.name), port.started(m.name))
    fired = await port.fired(m.name, since, now)
    found.targets, found.rules = len(targets), len(rules)
    window = next((w for w in windows if w.end < since), None)
    before = await port.fired(m.name, window.start, window.end) if window else []
    then = await port.jobs(m.name, window.start, window.end) if window else {}
    _targets(m, targets, then, now, found)
    _rules(m, rules, started, now, found)
    raised = [a for rule in rules for a in rule.alerts]
    _raised(m, raised, {f.name for f in before}, found)
    held: Sequence[NotifiedAlert] = []
    if m.told:
        held, silences, receivers = await asyncio.gather(
            port.held(m.name), port.silences(m.name), port.receivers(m.name)
        )
        if not receivers:
            found.add(Status.FAIL, "it tells its alerts to no Alertmanager")
        _silences(m, silences, rules, targets, since, found)
    _always(m, raised, held, now, found)
    active = {(a.name, *sorted(_own(a.labels).items())) for a in raised}
    for alert in fired:
        if (alert.name, *sorted(alert.labels.items())) not in active and alert.name not in m.always:
            await _stopped(ctx, m, alert, rules, found)


def _targets(
    m: Monitor, targets: Sequence[Scraped], then: Mapping[str, int], now: datetime, found: MonitorFound
) -> None:
    """Is all of the service scraped that was, and has to be?"""
    if not targets:
        found.add(Status.UNKNOWN, "nothing of the service is scraped")
    up = [t for t in targets if t.health == "up"]
    for t in targets:
        if t.health == "down":
            found.add(Status.FAIL, f"{t.what} cannot be scraped ({t.error}): its alerts are quiet whatever happens")
        elif t.health != "up":
            found.add(Status.UNKNOWN, f"{t.what} has not been scraped yet")
        elif (now - t.last).total_seconds() > UNREAD:
            found.add(Status.UNKNOWN, f"{t.what} was last scraped {(now - t.last).total_seconds():.0f} s ago")
    for job, least in {**dict.fromkeys(then, 1), **m.jobs}.items():
        there = sum(t.job == job for t in up)
        if there < least and not any(t.job == job and t.health != "up" for t in targets):
            was = "" if job in m.jobs else f"; {then[job]} were while the release served well"
            found.add(Status.FAIL, f"{there or 'none'} of job {job} {'is' if there < 2 else 'are'} scraped{was}")


def _rules(
    m: Monitor, rules: Sequence[MonitorRule], started: datetime | None, now: datetime, found: MonitorFound
) -> None:
    """Are the rules evaluated, and for long enough?"""
    if not rules:
        of = f" in group {', '.join(m.groups)}" if m.groups else ""
        found.add(Status.UNKNOWN, f"there are no alerting rules{of}")
    for rule in rules:
        late = (now - rule.evaluated).total_seconds()
        if rule.health == "err":
            found.add(Status.FAIL, f"rule {rule.name} is broken: {rule.error}")
        elif rule.health != "ok" or rule.evaluated == NEVER:
            found.add(Status.UNKNOWN, f"rule {rule.name} has not been evaluated yet")
        elif late > 3 * rule.every + LATE:
            found.add(
                Status.UNKNOWN,
                f"rule {rule.name} was last evaluated {late:.0f} s ago, it should every {rule.every:g} s",
            )
    wanted = max((r.holds + 2 * r.every for r in rules), default=0.0)
    if started is not None and (worked := (now - started).total_seconds()) < wanted:
        words = f"it has worked for {worked:.0f} s only, an alert may take {wanted:.0f} s to fire"
        found.add(Status.UNKNOWN, words)


def _raised(m: Monitor, raised: Sequence[ActiveAlert], before: set[str], found: MonitorFound) -> None:
    """Does anything fire that did not?"""
    for a in raised:
        if a.name in m.always:
            continue
        since = f" since {a.since:%H:%M} UTC" if a.since != NEVER else ""
        if a.name in before:
            found.usual.append(a.name)
        elif a.state == "firing":
            found.firing.append(a.name)
            found.add(Status.FAIL, f"{_named(a)} fires{since}")
        elif a.state == "pending":
            found.add(Status.WARN, f"{_named(a)} is about to fire{since}")


def _always(
    m: Monitor, raised: Sequence[ActiveAlert], held: Sequence[NotifiedAlert], now: datetime, found: MonitorFound
) -> None:
    """Does what always fires do so, and arrive?"""
    for name in m.always:
        firing = next((a for a in raised if a.name == name and a.state == "firing"), None)
        if firing is None:
            found.add(Status.FAIL, f"{name} does not fire, and always should")
        elif m.told and not any(h.name == name for h in held):
            if (now - firing.since).total_seconds() < TOLD:
                found.add(Status.UNKNOWN, f"{name} has just begun to fire, and the Alertmanager does not have it yet")
            else:
                found.add(Status.FAIL, f"{name} fires and the Alertmanager does not have it: nobody would be told")


def _silences(
    m: Monitor,
    silences: Sequence[Silence],
    rules: Sequence[MonitorRule],
    targets: Sequence[Scraped],
    since: datetime,
    found: MonitorFound,
) -> None:
    """Is anything of the service kept quiet? By what a silence covers, not by its words."""
    for s in silences:
        if s.state != "active":
            continue
        surely = _covered(s, m, rules, targets, whole=True)
        names = surely or _covered(s, m, rules, targets, whole=False)
        if not names:
            continue
        found.silenced += [n for n in names if surely]
        bad = Status.FAIL if surely and s.starts >= since else Status.WARN
        keeps = "keeps" if surely else "may keep"
        until = f"until {s.ends:%H:%M} UTC"
        found.add(
            bad, f"a silence of {s.by or 'nobody named'} {until} {keeps} {_some(names)} quiet ({s.why or 'no reason'})"
        )


def _covered(
    s: Silence, m: Monitor, rules: Sequence[MonitorRule], targets: Sequence[Scraped], *, whole: bool
) -> Sequence[str]:
    """Names of the rules whose alerts it covers, of any target."""
    places: list[Mapping[str, str]] = [t.labels for t in targets] or [{}]
    every = ((r.name, {**place, **m.labels, **r.labels, "alertname": r.name}) for r in rules for place in places)
    return [*dict.fromkeys(name for name, labels in every if s.covers(labels, whole=whole))]


async def _stopped(ctx: ReadCtx, m: Monitor, alert: Fired, rules: Sequence[MonitorRule], found: MonitorFound) -> None:
    """Did it stop because all is well, or because there is nothing left to see?"""
    rule = next((r for r in rules if r.name == alert.name), None)
    if rule is None:
        found.add(Status.UNKNOWN, f"{alert.name} stopped at {alert.last:%H:%M} UTC, and its rule is not there any more")
        return
    labels = {n: v for n, v in alert.labels.items() if n not in rule.labels}
    if not await ctx.ports.metrics.there(m.name, rule.query, labels, alert.last, ctx.now):
        what = f"{alert.name} stopped at {alert.last:%H:%M} UTC"
        found.add(Status.FAIL, f"{what} only because what it watches is gone; whether it is cured is not known")


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in labels.items() if n != "alertname"}


def _named(a: ActiveAlert) -> str:
    where = a.labels.get("instance") or a.labels.get("job") or ""
    return f"{a.name}{f' ({where})' if where else ''}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return f"{', '.join(names[:NAMED])}{f' and {more} more' if more > 0 else ''}"


def _sentences(found: MonitorFound, many: bool) -> Iterator[str]:
    for _, words in sorted(found.said, key=lambda each: -_ORDER.index(each[0])):
        yield words if words.startswith(found.name) or not many else f"{found.name}: {words}"


def _verdict(every: Sequence[MonitorFound], wanted: str) -> Verdict:
    worst = max((f.worst for f in every), key=_ORDER.index)
    many = len(every) > 1
    said = [words for f in sorted(every, key=lambda f: -_ORDER.index(f.worst)) for words in _sentences(f, many)]
    words = said or [f"{f'{f.name}: ' if many else ''}{f.well}" for f in every]
    output = AlertsBaselineOutput(
        rules=sum(f.rules for f in every), targets=sum(f.targets for f in every),
        firing=sorted({n for f in every for n in f.firing}), silenced=sorted({n for f in every for n in f.silenced}),
        faults=said,
    )  # fmt: skip
    return Verdict(worst, _shortened(words), wanted, output.model_dump())


def _shortened(words: Sequence[str]) -> str:
    more = len(words) - NAMED
    return "; ".join([*words[:NAMED], *([f"{more} more"] if more > 0 else [])])
