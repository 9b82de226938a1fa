"""V5: the numbers that the catalogue names are as they were while the target release served well.

Compared is with the release's own good time, at the same hour of the same weekday where it served then; the removed
release's numbers are shown beside it as contrast. A number passes only on fresh measurements of enough things, all
taken since the release serves: counters that began anew with their pods have lost what they counted before they were
first read, a series that is gone says nothing, and a monitor goes on giving the last value of what nobody measures.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from bot.contract import Check, Outgoing, Output, Params, ReadCtx, Status, Verdict
from bot.observed.numbers import ENOUGH, Span, expected, finite, key, mean, off, span
from bot.observed.times import Window, good, last
from bot.ports import Unreachable
from bot.ports.kubernetes import Denied, digest
from bot.ports.metrics import Monitor, QueryRefused, TimeSeries, Watched

STALE = 60.0
"""Seconds after which a measurement is an old one, at least."""
LINES = 20
"""Series that one number may have, by its labels."""
NAMED = 4
"""Numbers that are shown when all are well."""


class MetricsSteadyParams(Params):
    """What is judged, and by what."""

    release: str = Field("", description="Version that serves; its own good time is what is compared with.")
    images: dict[str, str] = Field({}, description="Its images by digest: judged is since they run.")
    outgoing: list[Outgoing] = Field([], description="Releases that had to go; the last one is the contrast.")
    window: float = Field(120.0, ge=15, le=3600, description="Seconds that are judged, up to now.")
    compared: float = Field(1800.0, ge=60, le=86400, description="Seconds of a good time that are compared with.")
    step: float = Field(15.0, ge=1, le=300, description="Seconds between two points.")


class MetricsSteadyOutput(Output):
    """The numbers, each by monitor, name and labels."""

    values: dict[str, float] = Field(description="What each is now, as a mean of the window.")
    compared: dict[str, float] = Field(description="What it was in the good time.")
    faults: dict[str, str] = Field(description="What is wrong with it, or not known.")


@dataclass(frozen=True, slots=True)
class JudgedNumber:
    """One number. was: in the good time, as far as one is known; when: that time."""

    name: str
    status: Status
    words: str
    value: float | None = None
    was: float | None = None


class MetricsSteady(Check[MetricsSteadyParams]):
    """Passes when every number is within its limit and about what it was in the release's own good time."""

    name = "metrics.steady"
    needs = frozenset({"metrics", "releases", "kubernetes"})
    Params = MetricsSteadyParams
    Output = MetricsSteadyOutput

    async def run(self, ctx: ReadCtx, p: MetricsSteadyParams) -> Verdict:
        wanted = f"each number as it was while {p.release or 'the release'} served well, and within its limit"
        port = ctx.ports.metrics
        if not port.catalogued:
            return Verdict(Status.PASS, "no monitor is in the catalogue: no number was looked at", wanted)
        pairs = [(m, s) for m in port.monitors for s in m.series.values()]
        if not pairs:
            words = "the catalogue names no series of a monitor that takes part"
            return Verdict(Status.UNKNOWN, words, wanted)
        since = await _serving_since(ctx, p)
        if isinstance(since, str):
            return Verdict(Status.UNKNOWN, since, wanted)
        looks = [_Look(ctx, p, m, s, since) for m, s in pairs]
        found = [j for each in await asyncio.gather(*(look.judge() for look in looks)) for j in each]
        return _verdict(found, wanted)


async def _serving_since(ctx: ReadCtx, p: MetricsSteadyParams) -> datetime | str | None:
    """When the newest of the release's pods began; None where no cluster says; why it is not known."""
    ours = {digest(image) for image in p.images.values()} - {""}
    if not ours:
        return None
    began: list[datetime] = []
    for cluster in ctx.ports.kubernetes.clusters:
        try:
            pods = await ctx.ports.kubernetes.every_pod(cluster.name)
        except (Unreachable, Denied) as error:
            return f"since when the release serves is not known: {error}"
        serving = (pod for pod in pods if not pod.owner.startswith("job/"))
        began += [pod.started for pod in serving if pod.started and ours & {*map(digest, pod.images)}]
    return max(began, default=None)


@dataclass(frozen=True, slots=True)
class _Look:
    """How one number of the catalogue is looked at. since: when the release began to serve, where that is known."""

    ctx: ReadCtx
    p: MetricsSteadyParams
    monitor: Monitor
    watched: Watched
    since: datetime | None

    async def judge(self) -> list[JudgedNumber]:
        """One for each series that it has."""
        try:
            if why := await self._doubt():
                return [self._unknown("", why)]
            return await self._compare()
        except Unreachable as error:
            return [self._unknown("", str(error).removeprefix(f"{self.monitor.name} "))]
        except QueryRefused as error:
            return [self._unknown("", str(error))]

    async def _doubt(self) -> str:
        """Why what it shows now says nothing; "" where it does."""
        port, now, name, query = self.ctx.ports.metrics, self.ctx.now, self.monitor.name, self.watched.query
        window = self.p.window
        if self.since is not None and (served := (now - self.since).total_seconds()) < window:
            return f"the release's newest pod has run for {max(0.0, served):.0f} s, {window:.0f} s are judged"
        newest = await port.newest(name, query, now)
        if newest is None:
            return "what it is made of is not there"
        if (age := (now - newest).total_seconds()) > max(STALE, 4 * self.p.step):
            return f"something that it is made of was last measured {age:.0f} s ago"
        if began := await port.began(name, query, now - timedelta(seconds=window), now):
            words = "a counter" if began == 1 else f"{began} counters"
            return f"{words} that it is made of began anew with a pod: what was counted until then is in no rate"
        if self.watched.samples:
            answer = await port.instant(name, self.watched.samples, now)
            count = math.fsum(s.value for s in answer.samples) if answer.samples else math.nan
            if not count >= self.watched.minimum:  # NaN is neither
                said = "an unknown number" if math.isnan(count) else f"{count:.0f}"
                return f"rests upon {said} of samples, {self.watched.minimum:.0f} say something"
        return ""

    async def _compare(self) -> list[JudgedNumber]:
        now = self.ctx.now
        lines = await self._lines(Window(now - timedelta(seconds=self.p.window), now))
        if isinstance(lines, str):
            return [self._unknown("", lines)]
        when, before = await self._before({*lines})
        bad = await self._contrast()
        gone = [self._unknown(k, f"gone; it was there {when.words}") for k in before if when and k not in lines]
        return gone + [self._judged(k, line, before.get(k), when, bad) for k, line in sorted(lines.items())]

    async def _lines(self, window: Window) -> Mapping[str, TimeSeries] | str:
        """Its series in a time, by their labels; or why there is no answer."""
        found = await self.ctx.ports.metrics.range(
            self.monitor.name, self.watched.query, window.start, window.end, self.p.step
        )
        if found.warnings:
            return f"the monitor's answer is not whole: {found.warnings[0]}"
        if len(found.lines) > LINES:
            return f"has {len(found.lines)} series, {LINES} are looked at: aggregate it"
        return {key(line.labels): line for line in found.lines} or "gives nothing"

    async def _before(self, wanted: set[str]) -> tuple[Window | None, Mapping[str, Span]]:
        """The first good time in which enough was measured, and how the series were then."""
        served = await self.ctx.ports.releases.served(self.p.release) if self.p.release else []
        for window in good(served, self.ctx.now, self.p.compared):
            lines = await self._lines(window)
            if isinstance(lines, str):
                continue
            least = ENOUGH * expected(window.seconds, self.p.step)
            points = {k: finite(line) for k, line in lines.items()}
            spans = {k: span(found, self.p.window) for k, found in points.items() if len(found) >= least}
            if wanted & spans.keys():
                return window, spans
        return None, {}

    async def _contrast(self) -> str:
        """ "4.1 % under 2.4.1", "" where it is not known."""
        if not self.p.outgoing:
            return ""
        version = self.p.outgoing[-1].version
        kept = (self.ctx.baseline or {}).get("bad")
        value = kept.get(f"{self.monitor.name}/{self.watched.name}") if isinstance(kept, dict) else None
        if not isinstance(value, int | float):
            window = last(await self.ctx.ports.releases.served(version), self.ctx.now, self.p.compared)
            lines = await self._lines(window) if window is not None else ""
            points = [v for line in lines.values() for _, v in finite(line)] if isinstance(lines, Mapping) else []
            value = mean(points) if points else None
        return f"{self.watched.shown(value)} under {version}" if value is not None else ""

    def _judged(self, k: str, line: TimeSeries, was: Span | None, when: Window | None, bad: str) -> JudgedNumber:
        points, wanted = finite(line), expected(self.p.window, self.p.step)
        if len(points) < ENOUGH * wanted:
            return self._unknown(k, f"{len(points)} of {wanted} points are numbers")
        value, watched = mean(v for _, v in points), self.watched
        then = f"{watched.shown(was.mean)} {when.words}" if was is not None and when is not None else ""
        words = f"{watched.shown(value)}{_beside(then, bad)}"
        before = was.mean if was is not None else None
        if why := off(watched, value, was):
            limit = f"; {why}" if was is None or not why.startswith("it was") else ""
            return JudgedNumber(self._name(k), Status.FAIL, f"{words}{limit}", value, before)
        if was is None and watched.limit is None:
            return self._unknown(k, f"{words}; no good time of the release to compare it with, and no limit", value)
        if was is None:
            return JudgedNumber(
                self._name(k), Status.WARN, f"{words}; within its limit, nothing to compare with", value
            )
        return JudgedNumber(self._name(k), Status.PASS, words, value, before)

    def _unknown(self, k: str, why: str, value: float | None = None) -> JudgedNumber:
        return JudgedNumber(self._name(k), Status.UNKNOWN, why, value)

    def _name(self, k: str) -> str:
        return f"{self.monitor.name}/{self.watched.name}{f'{{{k}}}' if k else ''}"


def _beside(*words: str) -> str:
    said = ", ".join(filter(None, words))
    return f" ({said})" if said else ""


_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS)


def _verdict(found: Sequence[JudgedNumber], wanted: str) -> Verdict:
    found = sorted(found, key=lambda j: _ORDER.index(j.status))
    worst = found[0].status
    told = [j for j in found if j.status is not Status.PASS] or found[:NAMED]
    words = "; ".join(f"{j.name.partition('/')[2]}: {j.words}" for j in told)
    well = len(found) - len(told) if worst is not Status.PASS else 0
    head = f"{len(found)} of {len(found)} steady: " if worst is Status.PASS else ""
    tail = f"; {well} more steady" if well else ""
    output = MetricsSteadyOutput(
        values={j.name: j.value for j in found if j.value is not None},
        compared={j.name: j.was for j in found if j.was is not None},
        faults={j.name: j.words for j in found if j.status is not Status.PASS},
    )
    return Verdict(worst, f"{head}{words}{tail}", wanted, output.model_dump())
