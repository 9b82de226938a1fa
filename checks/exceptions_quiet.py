"""V5: the release's pods raise nothing again and again that they did not before the bad release.

Exceptions are told apart by what they are (type and shape of the message), not by whom they hit. Looked at are the logs
of the pods that run the release, those of containers that have just ended too. What evidence.capture kept says what is
new: an exception that pods raised which did not run the bad release is noise; one that neither raised is new, and the
first to be told; one that only the bad release's pods raised has not gone with it.

Nothing passes on silence: no pod, logs that are empty for an hour, a cluster that does not answer, pods that run for a
shorter time than is looked at, and exceptions of which nobody kept whether they are old, are unknown.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import Field

from bot.contract import Check, Outgoing, Output, Params, ReadCtx, Status, Verdict
from bot.observed.exceptions import Raised, exceptions, together
from bot.ports import Unreachable
from bot.ports.kubernetes import Cluster, Denied, Pod, digest

AT_ONCE = 6
"""Pods whose logs are read side by side."""
HOUR = 3600.0
"""Seconds in which a log that is quiet must have said something, to be known to work."""
NAMED = 4
"""Exceptions that are told."""
KNOWN = 100
"""Exceptions that are handed on."""
GREW = 10.0
"""How many times as often as before is no noise any more."""


class ExceptionsQuietParams(Params):
    """What is looked at."""

    release: str = Field("", description="Version that serves.")
    images: dict[str, str] = Field({}, description="Its images by digest: its pods are those that run one of them.")
    outgoing: list[Outgoing] = Field([], description="The releases that had to go.")
    window: float = Field(120.0, ge=10, le=3600, description="Seconds of logs, up to now.")
    recurring: int = Field(3, ge=1, description="How often in that time is again and again.")
    lines: int = Field(
        3, ge=1, description="Lines below which a log says nothing; where the time is quiet those of the hour count."
    )


class ExceptionsQuietOutput(Output):
    """What was raised."""

    lines: int = Field(description="Lines of log that were read.")
    counts: dict[str, int] = Field(description="Fingerprint -> how often.")
    titles: dict[str, str] = Field(description="Fingerprint -> what it is.")
    new: list[str] = Field(description="Fingerprints of what was not raised before, nor by the bad release.")


@dataclass
class _Seen:
    """What one cluster's pods wrote. hour: lines of the last hour, counted only where the time itself was quiet; gaps:
    why something of it is not known."""

    lines: int = 0
    hour: int = 0
    raised: list[Raised] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


class ExceptionsQuiet(Check[ExceptionsQuietParams]):
    """Passes when the release's pods raise nothing again and again but what was there before the bad release."""

    name = "exceptions.quiet"
    needs = frozenset({"kubernetes"})
    Params = ExceptionsQuietParams
    Output = ExceptionsQuietOutput

    async def run(self, ctx: ReadCtx, p: ExceptionsQuietParams) -> Verdict:
        wanted = f"no exception {p.recurring} times in {p.window:.0f} s that was not there before"
        ours = {digest(image) for image in p.images.values()} - {""}
        clusters = ctx.ports.kubernetes.clusters
        if not clusters or not ours:
            words = "no cluster takes part" if ours else "the release names no image: nobody knows which pods are its"
            return Verdict(Status.UNKNOWN, words, wanted)
        seen = await asyncio.gather(*(_look(ctx, p, cluster, ours) for cluster in clusters))
        gaps = [gap for each in seen for gap in each.gaps]
        lines = sum(each.lines for each in seen)
        if sum(max(each.lines, each.hour) for each in seen) < p.lines:
            gaps.append(
                f"{lines} lines were logged in {p.window:.0f} s, and hardly more in an hour: nothing to judge by"
            )
        noise = {word for cluster in clusters for word in cluster.noise}
        judged = _judge(together(e for each in seen for e in each.raised), p, ctx.baseline, noise)
        return _verdict(judged, gaps, lines, wanted)


async def _look(ctx: ReadCtx, p: ExceptionsQuietParams, cluster: Cluster, ours: set[str]) -> _Seen:
    """What the release's pods in one cluster wrote."""
    seen, port = _Seen(), ctx.ports.kubernetes
    try:
        pods = [pod for pod in await port.every_pod(cluster.name) if ours & {*map(digest, pod.images)}]
    except (Unreachable, Denied) as error:
        seen.gaps.append(str(error))
        return seen
    serving = [pod for pod in pods if not pod.owner.startswith("job/")]
    if not serving:
        seen.gaps.append(f"no pod in {cluster.name} runs {p.release or 'the release'}")
        return seen
    newest = max((pod.started for pod in serving if pod.started), default=None)
    if newest is not None and (runs := _seconds(newest, ctx.now)) < p.window:
        seen.gaps.append(f"the newest pod in {cluster.name} has run for {runs:.0f} s of {p.window:.0f}")
    turns = asyncio.Semaphore(AT_ONCE)

    async def read(pod: Pod, since: float, previous: bool) -> str:
        async with turns:
            try:
                return await port.logs(cluster.name, pod.name, previous=previous, since=since, stamps=True)
            except (Unreachable, Denied) as error:
                seen.gaps.append(str(error))
                return ""

    looks = [(pod, p.window, previous) for pod in pods for previous in ((False, True) if pod.restarts else (False,))]
    for text in await asyncio.gather(*(read(*look) for look in looks)):
        seen.lines += text.count("\n")
        seen.raised += exceptions(text).values()
    if seen.lines < p.lines:  # whoever wrote as it began would have written an exception as well
        seen.hour = sum(t.count("\n") for t in await asyncio.gather(*(read(pod, HOUR, False) for pod in serving)))
    return seen


def _seconds(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())


@dataclass(frozen=True, slots=True)
class _Judged:
    """An exception, and what it means."""

    raised: Raised
    status: Status
    why: str


def _judge(
    found: Mapping[str, Raised], p: ExceptionsQuietParams, kept: Mapping[str, object] | None, noise: set[str]
) -> list[_Judged]:
    """New ones first, then the most frequent."""
    bad, before = (_counts(kept, key) for key in ("raised", "before"))
    version = p.outgoing[-1].version if p.outgoing else "the bad release"
    seen, minutes = (kept or {}).get("seen") is True, _minutes(kept)
    judged = []
    for fp, each in found.items():
        grew = minutes > 0 and each.count / (p.window / 60) > GREW * before.get(fp, 0) / minutes
        if each.count < p.recurring or any(word in each.title for word in noise):
            status, why = Status.PASS, ""
        elif fp in before and grew:
            status, why = Status.FAIL, f"{before[fp]} in {minutes:.0f} min before"
        elif fp in before:
            status, why = Status.PASS, ""
        elif kept is None:
            status, why = Status.UNKNOWN, "nothing was kept that says whether it is new"
        elif fp not in bad:
            status, why = Status.FAIL, "new"
        elif seen:
            status, why = Status.FAIL, f"as under {version}: not cured"
        else:
            status, why = Status.UNKNOWN, f"under {version} too; whether before it nobody kept"
        judged.append(_Judged(each, status, why))
    return sorted(judged, key=lambda j: (_ORDER.index(j.status), j.why != "new", -j.raised.count))


_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS)


def _counts(kept: Mapping[str, object] | None, key: str) -> dict[str, int]:
    found = (kept or {}).get(key)
    return {str(k): v for k, v in found.items() if isinstance(v, int)} if isinstance(found, Mapping) else {}


def _minutes(kept: Mapping[str, object] | None) -> float:
    try:
        began, ended = (datetime.fromisoformat(str((kept or {})[key])) for key in ("began", "ended"))
    except (KeyError, ValueError):
        return 0.0
    return (ended - began).total_seconds() / 60


def _verdict(judged: Sequence[_Judged], gaps: Sequence[str], lines: int, wanted: str) -> Verdict:
    told = [j for j in judged if j.status is not Status.PASS]
    quiet = len(judged) - len(told)
    words = [f"{j.raised.title} ×{j.raised.count} ({j.why})" for j in told[:NAMED]]
    words += [f"{len(told) - NAMED} more kinds"] if len(told) > NAMED else []
    words += gaps
    if not told and not gaps:
        noise = f", {quiet} kinds of exceptions that are no news" if quiet else ", no exception"
        words.append(f"{lines:,} lines of log{noise}")
    worst = min([*(j.status for j in told), *([Status.UNKNOWN] if gaps else [])], key=_ORDER.index, default=Status.PASS)
    few = judged[:KNOWN]
    output = ExceptionsQuietOutput(
        lines=lines, counts={j.raised.fingerprint: j.raised.count for j in few},
        titles={j.raised.fingerprint: j.raised.title for j in few},
        new=[j.raised.fingerprint for j in few if j.why == "new"],
    )  # fmt: skip
    return Verdict(worst, "; ".join(words), wanted, output.model_dump())
