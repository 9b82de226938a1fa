"""B2: what clusters and monitors say of the incident is kept before it vanishes.

In the order in which it vanishes: events, logs of containers that have ended, logs of those that run, numbers of the
monitors. Each part is kept once (a crash in the middle loses none that was there), is bounded in size and time, and one
that could not be had is named and holds nothing up. Logs and events go to the evidence (few eyes, deleted in time), as
they hold people's data; the record has their digests. What exceptions there were, and how the numbers were under the
release that has to go, is handed to later checks as the contrast.

It changes nothing out there, so there is nothing to take back.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bot.contract import Action, Change, Ctx, Effect, Fact, Json, Outgoing, Output, Params, ReadCtx, Receipt, Value
from bot.observed.exceptions import Raised, exceptions, together
from bot.observed.pictures import Measured, means, picture, zones
from bot.observed.times import Window
from bot.ports import Unreachable
from bot.ports.kubernetes import Denied, Pod, digest
from bot.ports.metrics import QueryRefused, TimeSeries
from bot.ports.plots import Zone

AT_ONCE = 6
"""Pods whose logs are read side by side."""
TITLES = 100
"""Kinds of exceptions that are handed on, the most frequent first."""
PODS = 200
"""Pods of a cluster whose logs are kept."""
AWAY = (Unreachable, Denied, QueryRefused)


class EvidenceCaptureParams(Params):
    """What is kept, and for how long."""

    outgoing: list[Outgoing] = Field(
        [], description="The releases that have to go; their pods' exceptions count as theirs."
    )
    back_to: str = Field("", description="The version that is gone back to.")
    minutes: float = Field(60.0, gt=0, le=1440, description="How far back.")
    within: float = Field(90.0, gt=0, le=1800, description="Seconds after which it goes without what is not there yet.")
    megabytes: float = Field(32.0, gt=0, le=1024, description="Size of all logs together, before they are compressed.")
    days: int = Field(30, ge=1, le=3650, description="Days for which it is kept; the files are deleted then.")
    step: float = Field(15.0, ge=1, le=300, description="Seconds between two points of a number.")


class EvidenceFile(BaseModel):
    """One file of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="What it holds: events, logs or previous logs of a cluster, numbers of a monitor.")
    digest: str = Field(description="SHA-256 of the compressed file.")
    size: int = Field(description="Bytes of it.")
    lines: int = Field(description="Lines of text in it.")


class EvidenceCaptureOutput(Output):
    """What was kept, and what later checks compare with."""

    began: str = Field(description="Beginning of the time that it is about.")
    ended: str = Field(description="Its end.")
    kept: list[EvidenceFile] = Field(description="The files.")
    failed: dict[str, str] = Field(description="What could not be had, and why.")
    bad: dict[str, float] = Field(description="How each number was under the release that has to go.")
    raised: dict[str, int] = Field(description="Exceptions of its pods: fingerprint -> how often.")
    before: dict[str, int] = Field(description="Exceptions of pods that run something else.")
    titles: dict[str, str] = Field(description="Fingerprint -> what it is.")
    seen: bool = Field(description="Whether there were logs of pods that run something else.")


@dataclass
class _Capture:
    """One attempt. room: bytes of logs that may still be kept."""

    ctx: Ctx
    p: EvidenceCaptureParams
    window: Window
    room: int
    kept: list[EvidenceFile] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    bad: dict[str, float] = field(default_factory=dict)
    raised: list[Raised] = field(default_factory=list)
    before: list[Raised] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    seen: bool = False
    plot: Mapping[str, Json] | None = None

    @property
    def until(self) -> datetime:
        """Until when it is kept."""
        return self.ctx.now + timedelta(days=self.p.days)


class EvidenceCapture(Action[EvidenceCaptureParams]):
    """Keeps events, logs and numbers of the incident, with a picture for the thread."""

    name = "evidence.capture"
    needs = frozenset({"kubernetes", "metrics", "releases", "evidence", "blobs", "plots"})
    Params = EvidenceCaptureParams
    Output = EvidenceCaptureOutput

    async def plan(self, ctx: ReadCtx, p: EvidenceCaptureParams) -> Change:
        clusters = [c.name for c in ctx.ports.kubernetes.clusters]
        numbers = sum(len(m.series) for m in ctx.ports.metrics.monitors)
        if not clusters and not ctx.ports.metrics.monitors:
            return Change("nothing to keep evidence of: the catalogue names no cluster and no monitor")
        what = [*([f"events and logs of {', '.join(clusters)}"] if clusters else []), f"{numbers} numbers"]
        summary = f"keep {' and '.join(what)} of the last {p.minutes:g} min, for {p.days} days"
        facts = (Fact("time at most", p.within, "s"), Fact("logs at most", p.megabytes, "MB"))
        return Change(summary, effects=(Effect(summary),), facts=facts)

    async def observe(self, ctx: ReadCtx, p: EvidenceCaptureParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)

    async def apply(self, ctx: Ctx, p: EvidenceCaptureParams, change: Change) -> Receipt:
        window = Window(ctx.now - timedelta(minutes=p.minutes), ctx.now)
        work = _Capture(ctx, p, window, int(p.megabytes * 1024 * 1024))
        if change.effects:
            try:
                async with asyncio.timeout(p.within):
                    await _capture(work)
            except TimeoutError:
                work.failed["the rest"] = f"not there within {p.within:g} s"
        return _receipt(work)


async def _capture(work: _Capture) -> None:
    port = work.ctx.ports.kubernetes
    names = [c.name for c in port.clusters]
    await asyncio.gather(*(_part(work, f"events of {name}", _events(work, name)) for name in names))
    pods = dict(zip(names, await asyncio.gather(*(_pods(work, name) for name in names)), strict=True))
    # Asked of each cluster whether it has pods now or not: an attempt that crashed may have kept what is gone by now.
    for name in names:
        ended = [pod for pod in pods[name] if pod.restarts]
        await _part(work, f"previous logs of {name}", _logs(work, name, ended, previous=True) if ended else _nothing)
    for name in names:
        await _part(work, f"logs of {name}", _logs(work, name, pods[name], previous=False) if pods[name] else _nothing)
    monitors = [m.name for m in work.ctx.ports.metrics.monitors]
    await asyncio.gather(*(_part(work, f"numbers of {name}", _numbers(work, name)) for name in monitors))
    await _draw(work)


async def _nothing() -> Mapping[str, Any]:
    """No pod that could have logged."""
    return {}


async def _part(work: _Capture, name: str, make: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """One part, kept once whatever crashes later; one that cannot be had is named."""

    async def once() -> Json:
        return dict(await make())

    try:
        found = await work.ctx.once(name, once)
    except AWAY as error:
        work.failed[name] = str(error)
        return
    if not isinstance(found, dict):
        return
    if found:
        await work.ctx.report(f"kept {name}")
    if isinstance(file := found.get("file"), dict):
        work.kept.append(EvidenceFile.model_validate({"name": name, **file}))
    work.raised += _told(found.get("raised"))
    work.before += _told(found.get("before"))
    work.seen = work.seen or found.get("seen") is True
    if isinstance(missing := found.get("missing"), str) and missing:
        work.failed[name] = missing
    if isinstance(bad := found.get("bad"), dict):
        work.bad |= {str(k): float(v) for k, v in bad.items() if isinstance(v, int | float)}


_RAISED: TypeAdapter[list[tuple[str, str, int]]] = TypeAdapter(list[tuple[str, str, int]])


def _told(found: Json) -> list[Raised]:
    """What `_counted` said, as the memo gives it back."""
    return [Raised(*each) for each in _RAISED.validate_python(found or [])]


async def _file(work: _Capture, text: str) -> Mapping[str, Json]:
    blob = await work.ctx.ports.evidence.keep(text, work.until)
    return {"digest": blob.digest, "size": blob.size, "lines": text.count("\n")}


def _events(work: _Capture, cluster: str) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def make() -> Mapping[str, Any]:
        said = [s for s in await work.ctx.ports.kubernetes.events(cluster) if s.at >= work.window.start]
        lines = (
            f"{s.at.isoformat()} {'Warning' if s.warning else 'Normal'} {s.about} {s.reason} x{s.count}: {s.text}\n"
            for s in said
        )
        return {"file": await _file(work, "".join(lines))}

    return make


async def _pods(work: _Capture, cluster: str) -> Sequence[Pod]:
    """The newest that still are, at most PODS."""
    try:
        return (await work.ctx.ports.kubernetes.every_pod(cluster))[:PODS]
    except AWAY as error:
        work.failed[f"logs of {cluster}"] = str(error)
        return []


def _logs(
    work: _Capture, cluster: str, pods: Sequence[Pod], *, previous: bool
) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def make() -> Mapping[str, Any]:
        turns, missing = asyncio.Semaphore(AT_ONCE), list[str]()
        texts: dict[str, str] = {}

        async def read(pod: Pod) -> None:
            async with turns:
                try:
                    text = await work.ctx.ports.kubernetes.logs(
                        cluster, pod.name, previous=previous, since=work.window.seconds, stamps=True
                    )
                except AWAY as error:
                    missing.append(f"{pod.name} ({error})")
                    return
            if len(text) > work.room:
                missing.append(f"{pod.name} ({'in part' if work.room else 'not at all'}: no room)")
            texts[pod.name] = text[-work.room :] if work.room else ""
            work.room -= len(texts[pod.name])

        await asyncio.gather(*(read(pod) for pod in pods))
        whole = "".join(f"==> {name} <==\n{text}\n" for name, text in sorted(texts.items()) if text)
        bad = {pod.name for pod in pods if _runs(pod, work.p.outgoing)}
        raised, before = await asyncio.to_thread(_counted, texts, bad)
        return {
            "file": await _file(work, whole), "missing": ", ".join(missing[:10]), "raised": raised, "before": before,
            "seen": any(text for name, text in texts.items() if name not in bad),
        }  # fmt: skip

    return make


def _runs(pod: Pod, outgoing: Iterable[Outgoing]) -> bool:
    """Whether a pod runs an image of a release that has to go."""
    digests = {digest(image) for release in outgoing for image in release.images.values()} - {""}
    return bool(digests & {digest(image) for image in (*pod.images, *pod.runs.values())})


def _counted(texts: Mapping[str, str], bad: Collection[str]) -> tuple[Json, Json]:
    """Exceptions of the pods that have to go, and of the others, the most frequent first."""

    def of(theirs: bool) -> Json:
        chosen = [text for name, text in texts.items() if (name in bad) is theirs]
        every = together(e for text in chosen for e in exceptions(text).values())
        most = sorted(every.values(), key=lambda e: -e.count)[:TITLES]
        return [[e.fingerprint, e.title, e.count] for e in most]

    return of(True), of(False)


def _most(every: Iterable[Raised]) -> dict[str, Raised]:
    """The most frequent of them."""
    found = sorted(together(every).values(), key=lambda e: -e.count)
    return {e.fingerprint: e for e in found[:TITLES]}


def _numbers(work: _Capture, monitor: str) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def make() -> Mapping[str, Any]:
        measured = await _measured(work, monitor)
        document = {m.watched.name: [{"labels": dict(x.labels), "points": x.points} for x in m.lines] for m in measured}
        text = json.dumps(document, indent=None, separators=(",", ":"))
        bad = {
            f"{monitor}/{m.watched.name}": v
            for m in measured
            for z, v in means(m, await _zones(work))
            if z.kind == "bad"
        }
        return {"file": await _file(work, f"{text}\n"), "bad": bad}

    return make


async def _measured(work: _Capture, monitor: str) -> list[Measured]:
    port, window = work.ctx.ports.metrics, work.window
    [there] = [m for m in port.monitors if m.name == monitor]
    found = await asyncio.gather(
        *(port.range(monitor, s.query, window.start, window.end, work.p.step) for s in there.series.values())
    )
    return [Measured(monitor, s, _finite(f.lines)) for s, f in zip(there.series.values(), found, strict=True)]


def _finite(lines: Sequence[TimeSeries]) -> Sequence[TimeSeries]:
    """JSON has no NaN; what is no number is a gap."""
    return [TimeSeries(x.labels, tuple((at, v) for at, v in x.points if abs(v) < float("inf"))) for x in lines]


async def _zones(work: _Capture) -> list[Zone]:
    removed = work.p.outgoing[-1].version if work.p.outgoing else ""
    served = {removed: await work.ctx.ports.releases.served(removed)} if removed else {}
    return zones(work.window, work.p.back_to or "before", removed, served, None)


async def _draw(work: _Capture) -> None:
    """The picture of before and bad; one with the time after is drawn at the end."""
    measured: list[Measured] = []
    for m in work.ctx.ports.metrics.monitors:
        try:
            measured += await _measured(work, m.name)
        except AWAY:
            continue  # named already
    if not any(line.points for m in measured for line in m.lines):
        return
    shown = picture("Before the rollback", work.window, measured, await _zones(work), work.p.step)
    png = await work.ctx.ports.plots.draw(shown)
    if png is None:
        work.failed["the picture"] = "the bot's extra `plots` is not installed"
        return
    blob = await work.ctx.ports.blobs.put(png, "image/png")
    work.plot = {"digest": blob.digest, "size": blob.size, "type": blob.type, "alt": shown.words}


def _receipt(work: _Capture) -> Receipt:
    raised, before = _most(work.raised), _most(work.before)
    titles = {fp: e.title for fp, e in (*raised.items(), *before.items())}
    output = EvidenceCaptureOutput(
        began=work.window.start.isoformat(), ended=work.window.end.isoformat(), kept=work.kept, failed=work.failed,
        bad=work.bad, raised={fp: e.count for fp, e in raised.items()},
        before={fp: e.count for fp, e in before.items()}, titles=titles, seen=work.seen,
    )  # fmt: skip
    lines = sum(k.lines for k in work.kept if "logs" in k.name)
    kept = f"{lines:,} log lines and {len(work.kept)} files of the last {work.p.minutes:g} min, for {work.p.days} days"
    lost = f"; not kept: {'; '.join(f'{n} ({why})' for n, why in work.failed.items())}" if work.failed else ""
    files: dict[str, Json] = {k.name: f"{k.digest}, {k.size:,} bytes" for k in work.kept}
    picture_ = {"numbers.png": dict(work.plot)} if work.plot else {}
    return Receipt(f"{kept}{lost}", {**picture_, **files}, output=output.model_dump())
