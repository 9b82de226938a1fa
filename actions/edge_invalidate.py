"""F3: have every edge forget what the release that goes has left in it, and no more; and see to service workers.

A worker that only the release that goes has would go on serving its pages: a script that is gone, or a page in its
place, leaves the old one where it is. So at its address, in the site itself, a worker is put that removes itself. One
that the target has too is published with the rest.

Invariants:
- what is forgotten is what may change under its name: entry points, configuration, workers, and whatever the builds
  have under one name with another content; a thousand paths and more are forgotten all at once;
- an invalidation is begun once for an application: its reference is the step's key, so a crash finds it again;
- slow is not failed: the step waits as long as its time allows, and says what is usual.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Effect,
    Fact,
    Fatal,
    Json,
    NotYet,
    Outgoing,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
    first_seen,
)
from bot.frontends import REMOVER_HEADERS, REMOVER_HELD, KnownBuilds, known, named, shown
from bot.ports import Unreachable
from bot.ports.builds import REMOVER
from bot.ports.edges import Edge
from bot.ports.sites import Missing, Site, StoredObject, StoreRefused

USUAL = 180.0
"""Seconds within which CloudFront mostly has done it."""
LOOK = 3.0
"""Seconds between two looks."""
ONLY_ENTRY = ("/", "/index.html")
"""What is forgotten where no build tells what changed."""


class EdgeInvalidateParams(Params):
    """What has changed."""

    build: str | None = Field(description="The build that is published now: prefix@sha256:<digest of its manifest>.")
    outgoing: list[Outgoing] = Field([], description="The releases that have to go, with their builds.")


@dataclass(frozen=True, slots=True)
class EdgesSeen:
    """What is to be forgotten, at which edges; workers: site, key and what is there, of workers that are to go."""

    paths: tuple[str, ...]
    edges: tuple[Edge, ...]
    workers: tuple[tuple[Site, str, StoredObject | None], ...] = ()
    unread: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()

    def forget(self, edge: Edge) -> Effect:
        """At one edge."""
        return Effect(f"{edge.name} forgets {shown(self.paths)}", on_undo="repeat")


class EdgeInvalidate(Action[EdgeInvalidateParams]):
    """Has every edge forget what has changed, and removes the service worker of the release that goes."""

    name = "edge.invalidate"
    needs = frozenset({"sites", "edges"})
    Params = EdgeInvalidateParams

    async def plan(self, ctx: ReadCtx, p: EdgeInvalidateParams) -> Change:
        seen = await _survey(ctx, p)
        if seen is None:
            return Change("no edge and no site is catalogued: nothing keeps an old page")
        edits = tuple(
            Edit(f"{site.name}/{key}", there.value, REMOVER_HELD.value)
            for site, key, there in seen.workers
            if there is not None and there != REMOVER_HELD
        )
        able = [e for e in seen.edges if e.by]
        effects = tuple(seen.forget(e) for e in able)
        names = ", ".join(e.name for e in able)
        words = [f"{names}: {_count(seen.paths)} forgotten" if able else "nothing that could be told to forget"]
        words += [f"a worker that removes itself at {', '.join(e.target for e in edits)}"] if edits else []
        facts = (Fact("paths", len(seen.paths), f"of {len(able)} edges"),) if able else ()
        return Change("; ".join(words), edits, effects, facts, tuple(_warnings(seen, edits)))

    async def observe(self, ctx: ReadCtx, p: EdgeInvalidateParams, targets: Collection[str]) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        for site in ctx.ports.sites.sites:
            keys = [t.removeprefix(f"{site.name}/") for t in targets if t.startswith(f"{site.name}/")]
            for key, there in (await ctx.ports.sites.look(site.name, keys)).items() if keys else ():
                found[f"{site.name}/{key}"] = there.value if there is not None else None
        return {t: found.get(t) for t in targets}

    async def apply(self, ctx: Ctx, p: EdgeInvalidateParams, change: Change) -> Receipt:
        try:
            seen = await _survey(ctx, p)
            if seen is None:
                return Receipt(change.summary)
            for e in change.edits:
                await _worker(ctx, seen, e)
            wanted = {e.what for e in change.effects}
            edges = [e for e in seen.edges if seen.forget(e).what in wanted]
            begun = [(edge, str(await _begun(ctx, edge, seen.paths))) for edge in edges]
            await _done(ctx, begun)
        except Unreachable as error:  # the next attempt finds what was begun
            raise Retryable(str(error)) from error
        except (Missing, StoreRefused) as error:
            hint = "correct the catalogue, or give the bot the rights of docs/frontend.md; then try again"
            raise Fatal(str(error), hint) from error
        ids = [f"{edge.name}: {id}" for edge, id in begun if id]
        return Receipt("; ".join([change.summary, *ids]))


async def _survey(ctx: ReadCtx, p: EdgeInvalidateParams) -> EdgesSeen | None:
    """None where the catalogue has neither edges nor sites."""
    sites, edges = ctx.ports.sites.sites, tuple(ctx.ports.edges.edges)
    if not sites and not edges:
        return None
    if not sites:
        return EdgesSeen(ONLY_ENTRY, edges, unread=("no site is catalogued, so which files changed is not known",))
    build = named(p.build)
    looks: list[tuple[Site, KnownBuilds]] = [
        (s, await known(ctx.ports.sites, s.name, build, p.outgoing)) for s in sites
    ]
    workers: list[tuple[Site, str, StoredObject | None]] = []
    for site, k in looks:
        if not site.switch and k.builds.orphans:
            there = await ctx.ports.sites.look(site.name, k.builds.orphans)
            workers += [(site, key, there[key]) for key in k.builds.orphans]
    stuck = tuple(f"{site.name}/{key}" for site, k in looks if site.switch for key in k.builds.orphans)
    paths = tuple(dict.fromkeys(path for _, k in looks for path in k.paths))
    unread = tuple(f"{site.name}: {why}" for site, k in looks for why in k.unread)
    return EdgesSeen(paths, edges, tuple(workers), unread, stuck)


async def _worker(ctx: Ctx, seen: EdgesSeen, e: Edit) -> None:
    """The script at one address, forwards or back."""
    found = [(s, key, there) for s, key, there in seen.workers if f"{s.name}/{key}" == e.target]
    if not found:
        raise Fatal(f"{e.target} is no worker of a release that goes any more", "plan the step again")
    site, key, there = found[0]
    now = there.value if there is not None else None
    if now == e.after:
        return
    if now != e.before:
        raise Fatal(f"{e.target} was changed by somebody else", "ask who, then try again")
    if e.after == REMOVER_HELD.value:
        await ctx.ports.sites.write(site.name, key, there, REMOVER, REMOVER_HEADERS)
    else:
        await ctx.ports.sites.replace(site.name, key, there, StoredObject.read(str(e.after)), ())


async def _begun(ctx: Ctx, edge: Edge, paths: Sequence[str]) -> Json:
    """The id of the invalidation of this application."""

    async def begin() -> Json:
        return await ctx.ports.edges.invalidate(edge.name, paths, ctx.key)

    try:
        return await ctx.once(f"forget.{edge.name}", begin)
    except ValueError as error:
        raise Fatal(f"{edge.name}: {error}", "purge by hand as the notice to the edge team says") from error


async def _done(ctx: Ctx, begun: Sequence[tuple[Edge, str]]) -> None:
    """NotYet while one is under way."""
    left = [(edge, id) for edge, id in begun if not await ctx.ports.edges.invalidated(edge.name, id)]
    if not left:
        return
    since = (ctx.now - await first_seen(ctx, "begun")).total_seconds()
    slow = (
        f", which is long: mostly it takes less than {USUAL / 60:.0f} min; it has not failed" if since > USUAL else ""
    )
    which = ", ".join(f"{edge.name} ({id})" for edge, id in left)
    raise NotYet(
        f"{which}: under way for {since:.0f} s{slow}", after=LOOK, done=len(begun) - len(left), total=len(begun)
    )


def _count(paths: Sequence[str]) -> str:
    return "everything" if paths == ("/*",) else f"{len(paths)} path{'' if len(paths) == 1 else 's'}"


def _warnings(seen: EdgesSeen, edits: Sequence[Edit]) -> list[str]:
    found = [f"{why}; only what the target build may have changed is forgotten" for why in seen.unread]
    found += [f"{e.name} has no way to be told: it serves old pages until they end" for e in seen.edges if not e.by]
    if edits:
        found.append(
            "browsers with the old service worker fetch the new one at their next visit or within a day; tabs that are "
            "open keep the old pages until they are reloaded, once or twice"
        )
    for target in seen.stuck:
        found.append(
            f"{target} is a service worker that the target build has not: browsers that have it keep the old pages. "
            "Put a script that unregisters itself there"
        )
    return found
