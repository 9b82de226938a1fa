"""Keep releases out that a rollback has removed: each cluster refuses their images, of anybody but break-glass.

The freeze narrows to this at the end. A guard a release, `rollback-ban-<service>-<version>`, so that bans of several
rollbacks never touch each other; `release.unban` takes one away when a newer release is registered. The ledger's own
ban, which CI is told of (docs/ci.md), is written when the run ends.

Invariants:
- only digests that the restored release does not have are refused: what both share goes on being deployed;
- nothing is called banned before every cluster has refused a trial, one whose guard stands already too;
- what no guard can tell is said: images by tag, what controllers make of what stands already, settings;
- a cluster that cannot be reached is named, the others refuse all the same, and the step does not end well.
"""

import asyncio
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence

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
from bot.ports import Unreachable
from bot.ports.guards import LIMIT, GuardRules
from bot.ports.kubernetes import Cluster, Denied, Place, standing
from bot.workloads.reaching import guards, left_out, not_reached, writing
from bot.workloads.trials import standing_since, until_let_in, until_refused

UNCOVERED = (
    "images named by a tag alone",
    "what controllers make of templates that stand already",
    "its settings (the bot looks for them, and calls people when they are back)",
)
"""What comes past every ban."""
_CI = "and CI's question by digest cannot find it (by version it does)"
_PLAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?")


class ReleaseBanParams(Params):
    """Which images to keep out."""

    service: ServiceName = Field(description="Service whose releases these are.")
    releases: dict[str, list[str]] = Field(description="Digests that may not come back, by version of their release.")

    def guard(self, version: str) -> str:
        """Name of a version's guard in each cluster; what no name may hold is replaced by a digest of the version."""
        plain = _PLAIN.fullmatch(version) and ".." not in version and ".-" not in version and "-." not in version
        return f"rollback-ban-{self.service}-{version if plain else hashlib.sha256(version.encode()).hexdigest()[:12]}"

    def guards(self, cluster: Cluster) -> dict[str, dict[str, Json]]:
        """Name -> what it refuses; nothing for a release that has no image of its own, several for one that has more
        than a policy holds."""
        found = {}
        for version, digests in self.releases.items():
            for i in range(0, len(digests), LIMIT):
                part = f"-part{i // LIMIT + 1}" if i else ""
                found[self.guard(version) + part] = self._rules(cluster, version, sorted(digests)[i : i + LIMIT])
        return found

    def _rules(self, cluster: Cluster, version: str, digests: Sequence[str]) -> dict[str, Json]:
        message = f"{self.service} {version} was rolled back and is banned until a newer release is registered"
        return GuardRules(
            self.service, banned=tuple(digests), version=version, selector=cluster.selector,
            groups=cluster.break_glass, message=message,
        ).json  # fmt: skip


class BanOutput(Output):
    """What was seen to refuse."""

    clusters: list[str] = Field(description="Clusters that have refused a trial of each ban.")


class ReleaseBan(Action[ReleaseBanParams]):
    """Keeps removed releases out of every cluster until a newer one is registered."""

    name = "release.ban"
    needs = frozenset({"kubernetes"})
    duties = frozenset({"ban"})
    Params = ReleaseBanParams
    Output = BanOutput

    async def plan(self, ctx: ReadCtx, p: ReleaseBanParams) -> Change:
        edits: list[Edit] = []
        lost: dict[str, str] = {}
        for cluster in ctx.ports.kubernetes.clusters:
            try:
                edits += await _missing(ctx, p, cluster)
            except Unreachable as error:
                lost[cluster.name] = str(error)
            except Denied as error:
                hint = "give the bot the right (docs/kubernetes.md), then try again; or skip the ban"
                raise Fatal(f"{cluster.name}: {error}", hint) from error
        if lost and not edits:
            raise Unreachable(f"{'; '.join(lost.values())}; every other cluster has the ban already")
        versions = ", ".join(v for v, digests in p.releases.items() if digests)
        shared = [v for v, digests in p.releases.items() if not digests]
        facts = (*_facts(p), *not_reached(lost))
        warnings = tuple(
            [f"not reached, so not banned there: {'; '.join(lost.values())}"] * bool(lost)
            + [f"{v} has no image of its own: nothing in a cluster can tell it from what runs, {_CI}" for v in shared]
        )
        if not edits:
            return Change(_already(ctx, p, versions), facts=facts, warnings=warnings)
        where = ", ".join(dict.fromkeys(Place.of(e.target).cluster for e in edits))
        return Change(f"{where}: refuse {p.service} {versions}", tuple(edits), facts=facts, warnings=warnings)

    async def observe(self, ctx: ReadCtx, p: ReleaseBanParams, targets: Collection[str]) -> Mapping[str, Value]:
        ours = _ours(ctx, p)
        places = {t: Place.of(t) for t in targets}
        found = await asyncio.gather(*map(ctx.ports.kubernetes.get, places.values()))
        return {t: standing(thing, ours.get(t)) for t, thing in zip(places, found, strict=True)}

    async def apply(self, ctx: Ctx, p: ReleaseBanParams, change: Change) -> Receipt:
        ours = _ours(ctx, p)
        put, gone = guards(change)
        with writing("look at what the cluster says, then try again, or skip the ban"):
            for e in change.edits:
                place = Place.of(e.target)
                now = standing(await ctx.ports.kubernetes.get(place), ours.get(e.target))
                if now not in (e.before, e.after):
                    raise Fatal(f"{place} was changed by somebody", "ask who; then try again, or delete it by hand")
                await ctx.ports.kubernetes.guard(place.cluster, place.name, put.get(place))
            remarks = await until_let_in(ctx, gone)
            there = {} if gone else await standing_since(ctx, {Place.of(t): rules for t, rules in ours.items()})
            stand = {place: ours[place.target("rules")] for place in there} | put
            await until_refused(ctx, stand, {place: since for place, since in there.items() if place not in put})
        if lost := left_out(change):
            raise Fatal(f"{', '.join(lost)} could not be reached: nothing is banned there", "try again when it is back")
        clusters = sorted({place.cluster for place in stand})
        open_ = f"not refused: {', '.join(UNCOVERED)}"
        bare = [f"{v} has no image of its own, {_CI}" for v, digests in p.releases.items() if not digests]
        return Receipt("; ".join([change.summary, *remarks, *bare, open_]), output={"clusters": [*clusters]})


async def _missing(ctx: ReadCtx, p: ReleaseBanParams, cluster: Cluster) -> list[Edit]:
    """Edits that one cluster lacks. Unreachable, Denied."""
    guards = p.guards(cluster)
    places = [Place(cluster.name, "guard", name) for name in guards]
    found = await asyncio.gather(*map(ctx.ports.kubernetes.get, places))
    edits = []
    for place, thing in zip(places, found, strict=True):
        now, rules = standing(thing, None), guards[place.name]
        if now is not None and thing is not None and thing.facts.get("altered"):
            hint = "find out who changed it; delete policy and binding by hand, then try again"
            raise Fatal(f"{place} is there, and not as the bot made it", hint)
        edits += [Edit(place.target("rules"), now, rules)] if now != rules else []
    return edits


def _ours(ctx: ReadCtx, p: ReleaseBanParams) -> dict[str, Json]:
    """Target -> the rules that this step gives it."""
    clusters = ctx.ports.kubernetes.clusters
    return {
        Place(c.name, "guard", name).target("rules"): rules for c in clusters for name, rules in p.guards(c).items()
    }


def _facts(p: ReleaseBanParams) -> list[Fact]:
    found = [Fact(f"banned images of {v}", len(digests), "digests") for v, digests in p.releases.items()]
    return [*found, Fact("not covered", len(UNCOVERED), f"paths: {', '.join(UNCOVERED)}")]


def _already(ctx: ReadCtx, p: ReleaseBanParams, versions: str) -> str:
    if not versions:
        return f"no release of {p.service} has an image that only it has: there is nothing that a cluster could refuse"
    if not ctx.ports.kubernetes.clusters:
        return f"{p.service} has no cluster; CI is told of the ban on {versions}"
    return f"every cluster has the ban on {p.service} {versions} already; it is tried"
