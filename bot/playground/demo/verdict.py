"""What must be true at the end, asked of the shop, of the clusters and of the record: never of what the bot claims.

Invariant: nothing is done twice means that each object was changed at most once in each direction; that is counted in
the requests that the clusters got.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from bot.playground.demo.stage import Stage
from bot.playground.shop.orders import reads
from bot.playground.shop.truth import Truth

SETTLED = 45.0
"""Seconds in which what was queued must be worked off, and pods must have gone."""
LATE = 3.0
"""Seconds of traffic that are looked back on at the end."""
GUARDS = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")


async def settled(stage: Stage, version: str) -> Truth:
    """The shop, once it has come to rest on this version, or as it is after `SETTLED` seconds."""
    return await _until(lambda: stage.shop.truth(LATE), lambda t: not [*faults(t, version)])


async def resting(stage: Stage, good: Callable[[Truth], bool]) -> Truth:
    """The shop, once this holds of it, or as it is after `SETTLED` seconds."""
    return await _until(lambda: stage.shop.truth(LATE), good)


def faults(truth: Truth, version: str) -> Iterator[str]:
    """What is wrong with the shop if it is meant to run this version, a sentence each."""
    for cluster, workloads in truth.running.items():
        for name, found in workloads.items():
            if found != (version,):
                yield f"{name} in {cluster} runs {' and '.join(found) or 'nothing'}, not {version}"
    if truth.paused:
        yield f"paused: {', '.join(truth.paused)}"
    if truth.failing is None:
        yield "nobody paid"
    elif truth.failing > 0:
        yield f"{truth.failing:.0%} of the payments fail"
    if truth.queued > 5:
        yield f"{truth.queued} jobs wait"
    if truth.lost:
        yield f"{len(truth.lost)} payments were lost: {', '.join(truth.lost[:3])}"
    if truth.doubled:
        yield f"{len(truth.doubled)} payments were done twice: {', '.join(truth.doubled[:3])}"


def beside(truth: Truth, version: str, removed: str, revision: str) -> Iterator[str]:
    """What is wrong with the shop's second half. removed: the release that must have left nothing to trip over;
    revision: that the schema must have."""
    second = truth.second
    if second is None:
        return
    if second.revision != revision:
        yield f"the schema is at {second.revision or 'nothing'}, not {revision}"
    if strange := {kind: n for kind, n in second.kinds.items() if kind not in reads(version)}:
        yield f"jobs wait that {version} cannot read: {strange}"
    if (
        not second.kept
        and (owed := sum(n for kind, n in second.owed.items() if kind not in reads(version))) != second.aside
    ):
        yield f"{owed} jobs are owed that {version} cannot read, and {second.aside} are set aside"
    if second.pending > 5:
        yield f"{second.pending} events were taken and not carried out"
    if n := second.keys.get(removed, 0):
        yield f"{n} keys of {removed} are in the cache"
    if second.synthetic:
        yield f"{second.synthetic} synthetic accounts were left"
    if second.closed:
        yield "it takes no writes"


def twice(stage: Stage, deploys: int = 1, runs: int = 1) -> list[str]:
    """What the bot wrote to a cluster more often than its work needs. deploys: releases that it put there."""
    found = []
    for name, cluster in stage.shop.clusters.items():
        count = Counter((r.verb, r.resource, r.name) for r in cluster.requests.writes("bot") if r.status < 300)
        found += [
            f"{name}: {verb} {resource} {thing} {n} times, not {most}"
            for (verb, resource, thing), n in count.items()
            if n > (most := _most(resource, thing, deploys, runs))
        ]
    return found


def _most(resource: str, name: str, deploys: int, runs: int) -> int:
    """Changes of one object: a worker is also paused and started, auto-sync is switched off and on, with a question
    to Git before. Guards are created without a name, so all are counted as one: a freeze, and a ban each release."""
    if resource == "deployments" and name != "shop-worker":
        return deploys
    if resource in GUARDS:
        return runs if name else deploys + 1
    return {"configmaps": deploys, "scaledobjects": 2 * runs, "applications": 4 * runs}.get(
        resource, deploys + 2 * runs
    )


async def frontend(stage: Stage, version: str) -> list[str]:
    """What is wrong with the pages that browsers get, where the shop has a frontend."""
    seen = await stage.front.serves() if stage.front is not None else version
    return [] if seen == version else [f"browsers get the page of {seen or 'nobody'}, not of {version}"]


async def kept_out(stage: Stage, version: str) -> list[str]:
    """Where CI could bring this version back; it asks first, and then tries all the same."""
    allowed, _ = await stage.may_deploy(version)
    said = await stage.shop.deploy(version)
    found = [f"CI is told that it may deploy {version}"] if allowed else []
    return found + [f"{cluster} took {version}" for cluster, words in said.items() if not words]


async def let_in(stage: Stage, version: str) -> list[str]:
    """What still keeps this version out that nothing should keep out any more: CI's answer, and guards in clusters."""
    allowed, why = await stage.may_deploy(version)
    guards = [f"{name}: {p['metadata']['name']} is still there" for name, cluster in stage.shop.clusters.items()
              for p in cluster.all("ValidatingAdmissionPolicy")]  # fmt: skip
    return [*([] if allowed else [f"CI is told that it may not deploy {version}: {why}"]), *guards]


def posted_twice(stage: Stage) -> list[str]:
    """Messages of one run that stand in Slack more than once."""
    marks: Counter[tuple[str, str]] = Counter()
    for channel in ("inc-4211", "status", "shop-private"):
        for post in stage.workspace.driver.read(channel):
            payload = (post.metadata or {}).get("event_payload", {})
            if payload.get("slot"):
                marks[str(payload.get("run")), str(payload["slot"])] += 1
    return [f"{slot} of {run} stands there {n} times" for (run, slot), n in marks.items() if n > 1]


async def chain(stage: Stage) -> str:
    """What `rollback-bot audit verify` says. DemoFailed if the record does not verify."""
    return await stage.host("audit", "verify", token=await stage.token("ana"))


async def _until(look: Callable[[], Awaitable[Truth]], good: Callable[[Truth], bool]) -> Truth:
    end = time.monotonic() + SETTLED
    while True:
        found = await look()
        if good(found) or time.monotonic() > end:
            return found
        await asyncio.sleep(0.5)


def listed(words: Sequence[str]) -> str:
    """A line each."""
    return "\n".join(f"  - {word}" for word in words)
