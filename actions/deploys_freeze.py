"""Refuse new releases of a service while it is rolled back, on every deploy path that can be made to.

A guard in each cluster refuses new workloads and changed pod templates, of anybody but the bot and the break-glass
group; scaling passes. CI asks the bot (docs/ci.md), which reads the answer from the run's own record. What neither
stops is said, never left out.

Invariants:
- nothing is called frozen before every cluster has refused a trial, one whose guard stands already too; nothing is
  called lifted before every cluster has taken one;
- a cluster that cannot be reached is named, the others are frozen all the same, and the step does not end well;
- undo takes away what this freeze put there and nothing else; a guard that somebody changed is theirs to decide on.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fact,
    Fatal,
    Json,
    Output,
    Params,
    ReadCtx,
    Receipt,
    ServiceName,
    Value,
)
from bot.ports import Unreachable, told
from bot.ports.guards import GuardRules
from bot.ports.kubernetes import Cluster, Denied, Place, Thing, standing
from bot.workloads.reaching import guards, left_out, not_reached, writing
from bot.workloads.trials import standing_since, until_let_in, until_refused


class DeploysFreezeParams(Params):
    """What to freeze, and which deploy paths there are besides the clusters."""

    service: ServiceName = Field(description="Service whose new releases are refused.")
    admitted: list[str] = Field(
        [], description="Image digests that pass all the same: the fix that people let through."
    )
    asked: list[str] = Field(["CI"], description="Deploy paths that ask the bot before they deploy (docs/ci.md).")
    uncovered: list[str] = Field(
        ["changes of ConfigMaps and Secrets", "Jobs, Pods and ReplicaSets that are made by hand"],
        description="Deploy paths that nothing stops; people are told.",
    )

    @property
    def guard(self) -> str:
        """Name of the guard in each cluster."""
        return f"rollback-freeze-{self.service}"

    def rules(self, cluster: Cluster) -> dict[str, Json]:
        """What the guard of a cluster refuses."""
        message = f"{self.service} is frozen while its release is changed; who may: its incident's commander"
        admitted = tuple(sorted(self.admitted))
        return GuardRules(
            self.service, admitted, selector=cluster.selector, groups=cluster.break_glass, message=message
        ).json


@dataclass(frozen=True, slots=True)
class GuardsSeen:
    """The guards that there are. there: cluster -> its guard, None for none; lost: cluster -> why not reached."""

    clusters: Sequence[Cluster]
    there: Mapping[str, Thing | None]
    lost: Mapping[str, str]


class FreezeOutput(Output):
    """What was seen to refuse."""

    clusters: list[str] = Field(description="Clusters that have refused a trial.")


class DeploysFreeze(Action[DeploysFreezeParams]):
    """Refuses new releases of a service on every deploy path it can, until it is undone."""

    name = "deploys.freeze"
    needs = frozenset({"kubernetes"})
    duties = frozenset({"freeze", "hold"})
    temporary = True
    Params = DeploysFreezeParams
    Output = FreezeOutput

    async def plan(self, ctx: ReadCtx, p: DeploysFreezeParams) -> Change:
        seen = await _look(ctx, p)
        edits = []
        for c in seen.clusters:
            if c.name in seen.there:
                now, rules = _in_force(seen.there[c.name]), p.rules(c)
                edits += [Edit(Place(c.name, "guard", p.guard).target("rules"), now, rules)] if now != rules else []
        if seen.lost and not edits:
            raise Unreachable(f"{told(seen.lost)}; every other cluster has its freeze already")
        facts, warnings = _facts(seen, p), _warnings(seen, p)
        if not edits:
            return Change(_already(seen, p), facts=facts, warnings=warnings)
        return Change(_summary(len(edits), p), tuple(edits), facts=facts, warnings=warnings)

    async def observe(self, ctx: ReadCtx, p: DeploysFreezeParams, targets: Collection[str]) -> Mapping[str, Value]:
        clusters = {c.name: c for c in ctx.ports.kubernetes.clusters}
        places = [Place.of(t) for t in targets]
        found = await asyncio.gather(*map(ctx.ports.kubernetes.get, places))
        return {
            target: standing(thing, p.rules(clusters[place.cluster]))
            for target, place, thing in zip(targets, places, found, strict=True)
        }

    async def apply(self, ctx: Ctx, p: DeploysFreezeParams, change: Change) -> Receipt:
        clusters = {c.name: c for c in ctx.ports.kubernetes.clusters}
        ours = {Place(c.name, "guard", p.guard): p.rules(c) for c in clusters.values()}
        put, lifted = guards(change)
        with writing("give the bot the right (docs/kubernetes.md), then try again; or skip the freeze"):
            for e in change.edits:
                await _put(ctx, e, put.get(Place.of(e.target)), ours[Place.of(e.target)])
            if lifted:
                remarks = await until_let_in(ctx, lifted)
                await until_refused(ctx, put, {})
                names = _and([place.cluster for place in reversed(lifted)])
                return Receipt("; ".join([f"{names}: new releases of {p.service} are taken again", *remarks]))
            there = await standing_since(ctx, ours)
            await until_refused(ctx, {**{place: ours[place] for place in there}, **put},
                                {place: since for place, since in there.items() if place not in put})  # fmt: skip
        if lost := left_out(change):
            done = f"{_and([p.cluster for p in put])} refuses" if len(put) == 1 else f"{len(put)} clusters refuse"
            raise Fatal(
                f"{done} new releases of {p.service}; {_and(lost)} could not be reached and may still take them",
                "try again when it is back: what is frozen stays frozen; skip goes on without it",
            )
        refusing: list[Json] = [*sorted({place.cluster for place in (*there, *put)})]
        return Receipt(change.summary, output={"clusters": refusing})


# -- looking ---------------------------------------------------------------------------------------------------------


async def _look(ctx: ReadCtx, p: DeploysFreezeParams) -> GuardsSeen:
    clusters = ctx.ports.kubernetes.clusters

    async def one(name: str) -> Thing | Unreachable | None:
        try:
            return await ctx.ports.kubernetes.get(Place(name, "guard", p.guard))
        except Unreachable as error:
            return error
        except Denied as error:
            raise Fatal(
                f"{name}: {error}", "give the bot the right, see docs/kubernetes.md; or skip the freeze"
            ) from error

    answers = zip(clusters, await asyncio.gather(*(one(c.name) for c in clusters)), strict=True)
    there: dict[str, Thing | None] = {}
    lost: dict[str, str] = {}
    for cluster, answer in answers:
        if isinstance(answer, Unreachable):
            lost[cluster.name] = str(answer)
        else:
            there[cluster.name] = answer
    return GuardsSeen(clusters, there, lost)


def _in_force(thing: Thing | None) -> Value:
    """The rules that a guard enforces; None where it is half put there, or half gone, and so enforces nothing."""
    now = standing(thing, None)
    if thing is not None and now is not None and thing.facts.get("altered"):
        what = ", ".join(_names(thing.facts["altered"]))
        raise Fatal(
            f"{thing.place} is there, and not as the bot made it: {what} differs",
            "find out who changed it; delete policy and binding by hand, then try again",
        )
    return now


# -- acting ----------------------------------------------------------------------------------------------------------


async def _put(ctx: Ctx, e: Edit, rules: Json, ours: Json) -> None:
    """One guard to where the edit leads: these rules, or none. What somebody else has made of it is left as it is."""
    place = Place.of(e.target)
    now = standing(await ctx.ports.kubernetes.get(place), ours)
    if now not in (e.before, e.after, ours):
        raise Fatal(f"{place} was changed by somebody", "ask who; then try again, or delete it by hand")
    await ctx.ports.kubernetes.guard(place.cluster, place.name, rules)


# -- in words --------------------------------------------------------------------------------------------------------


def _summary(count: int, p: DeploysFreezeParams) -> str:
    refuse = "1 cluster refuses" if count == 1 else f"{count} clusters refuse"
    parts = [f"{refuse} new releases of {p.service}", *_others(p)]
    return "; ".join(parts)


def _already(seen: GuardsSeen, p: DeploysFreezeParams) -> str:
    what = (
        "every cluster has a freeze already, which is not ours to lift; it is tried"
        if seen.clusters
        else "there is no cluster"
    )
    return "; ".join([f"new releases of {p.service}: {what}", *_others(p)])


def _others(p: DeploysFreezeParams) -> list[str]:
    found = [f"{_and(p.asked)} {'asks' if len(p.asked) == 1 else 'ask'}"] if p.asked else []
    return [*found, *([f"not covered: {', '.join(p.uncovered)}"] if p.uncovered else [])]


def _paths(names: Sequence[str]) -> str:
    """ "path: CI", "paths: eu-1, us-1"; "paths" where there are none."""
    return f"path{'' if len(names) == 1 else 's'}{': ' if names else ''}{', '.join(names)}"


def _facts(seen: GuardsSeen, p: DeploysFreezeParams) -> tuple[Fact, ...]:
    enforced = [c.name for c in seen.clusters if c.name in seen.there]
    found = [
        Fact("enforced", len(enforced), _paths(enforced)),
        Fact("asked", len(p.asked), _paths(p.asked)),
        Fact("not covered", len(p.uncovered), _paths(p.uncovered)),
    ]
    groups = sorted({g for c in seen.clusters for g in c.break_glass})
    found += [Fact("passes", ", ".join(["the bot", *groups]))]
    found += [Fact("admitted", len(p.admitted), "images of a fix")] if p.admitted else []
    return (*found, *not_reached(seen.lost))


def _warnings(seen: GuardsSeen, p: DeploysFreezeParams) -> tuple[str, ...]:
    found = [f"not reached, so not frozen: {told(seen.lost)}"] if seen.lost else []
    found += [f"nothing stops {what}" for what in p.uncovered]
    return tuple(found)


def _names(value: Json) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else []


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
