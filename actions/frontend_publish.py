"""F2: bring the build of the target release to every site: files that are missing first, then what is replaced under
its name, and what names other files (configuration, service worker, entry points) last, the main page at the very end.

Invariants:
- at no moment an entry point names a file that is not there; nothing is deleted that a tab may still ask for, so an
  undo leaves the added files and takes away only what it added among the entry points;
- what is there already, content and headers, is not written again; nothing is written that somebody else has changed
  since it was approved;
- each object that is replaced is an edit of its own, so that whatever is half done can be gone on with and taken back;
  above 200 assets they are one edit, and a half-done one is shown to people as it is;
- where the catalogue says that an edge reads the build's own folder, nothing is copied: its origin path is an edit.
"""

import asyncio
import json
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
    NotYet,
    Outgoing,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
    canonical,
)
from bot.frontends import KnownBuilds, known, named
from bot.ports import Blob, Unreachable
from bot.ports.builds import Build
from bot.ports.sites import Missing, Site, StoredObject, StoreRefused, held

MOST = 200
"""Assets replaced under their names that are an edit each."""
ALL = "*"
"""Stands for these where they are more."""
ORIGIN = "origin"
SETTLE = 5.0
"""Seconds between two looks whether a distribution has taken its configuration to every edge."""


class FrontendPublishParams(Params):
    """What is to be published."""

    build: str | None = Field(description="The build, as the release names it: prefix@sha256:<digest of its manifest>.")
    outgoing: list[Outgoing] = Field([], description="The releases that have to go, with their builds.")


@dataclass(frozen=True, slots=True)
class SiteSeen:
    """A site beside the build that is to be there: what it holds otherwise, key -> that (None: nothing)."""

    site: Site
    known: KnownBuilds
    differing: Mapping[str, StoredObject | None]

    @property
    def lacking(self) -> list[str]:
        """Assets that are not there; to add one replaces nothing."""
        fronts = {*self.known.builds.target.fronts}
        return [key for key, there in self.differing.items() if there is None and key not in fronts]

    @property
    def replaced(self) -> dict[str, StoredObject]:
        """Assets that are there otherwise."""
        fronts = {*self.known.builds.target.fronts}
        return {key: there for key, there in self.differing.items() if there is not None and key not in fronts}

    @property
    def together(self) -> bool:
        """Whether the replaced assets are one edit. Told by the build where it can be, so that it stays as it is while
        work goes on."""
        m = self.known.builds.target
        return len(self.replaced) > MOST or sum(not m.files[key].immutable for key in m.assets) > MOST

    @property
    def adding(self) -> str:
        """What people read of the files that are added."""
        return f"add to {self.site.name} what it lacks of {self.known.build}"

    @property
    def front_edits(self) -> list[Edit]:
        """What names other files, in the order in which it is written."""
        files = self.known.builds.target.files
        return [
            Edit(f"{self.site.name}/{key}", _value(self.differing[key]), held(files[key]).value)
            for key in self.known.builds.target.fronts
            if key in self.differing
        ]


class FrontendPublish(Action[FrontendPublishParams]):
    """Publishes the build of a release at every site of the service."""

    name = "frontend.publish"
    needs = frozenset({"sites", "edges", "blobs"})
    Params = FrontendPublishParams

    async def plan(self, ctx: ReadCtx, p: FrontendPublishParams) -> Change:
        sites = ctx.ports.sites.sites
        if not sites:
            return Change("no site is catalogued: there is no frontend to publish")
        build = named(p.build)
        seen, switched = await _survey(ctx, p, build)
        edits: list[Edit] = [e for s in seen for e in await _asset_edits(ctx, s)]
        edits += [e for s in seen for e in s.front_edits]
        edits += [Edit(f"{site.name}/{ORIGIN}", now, then) for site, now, then in switched if now != then]
        effects = tuple(Effect(s.adding) for s in seen if s.lacking)
        if not edits and not effects:
            return Change(f"{', '.join(s.name for s in sites)}: {build.short} is published already")
        touched = [s for s in seen if s.differing]
        where = ", ".join([s.site.name for s in touched] + [s.name for s, now, then in switched if now != then])
        return Change(
            f"{where} to build {build.short}",
            tuple(edits),
            effects,
            facts=tuple(_facts(seen)),
            warnings=tuple(_warnings(seen, switched)),
        )

    async def observe(self, ctx: ReadCtx, p: FrontendPublishParams, targets: Collection[str]) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        for site in ctx.ports.sites.sites:
            mine = {t: t.removeprefix(f"{site.name}/") for t in targets if t.startswith(f"{site.name}/")}
            keys = [key for key in mine.values() if key not in (ALL, ORIGIN) or (key == ORIGIN and not site.switch)]
            held_there = await ctx.ports.sites.look(site.name, keys) if keys else {}
            for target, key in mine.items():
                if key == ORIGIN and site.switch:
                    found[target] = (await ctx.ports.edges.origin(site.switch)).path
                elif key == ALL:
                    s = await _look(ctx, site, named(p.build), p.outgoing)
                    found[target] = await _snapshot(ctx, s.replaced) if s.replaced else str(s.known.build)
                else:
                    found[target] = _value(held_there[key])
        return {t: found.get(t) for t in targets}

    async def apply(self, ctx: Ctx, p: FrontendPublishParams, change: Change) -> Receipt:
        build = named(p.build)
        try:
            done = [await self._site(ctx, p, build, site, change) for site in ctx.ports.sites.sites]
        except Unreachable as error:  # the next attempt looks at everything again
            raise Retryable(str(error)) from error
        except Missing as error:
            raise Fatal(str(error), f"put {build.prefix} back where it was, or choose another release") from error
        except StoreRefused as error:
            raise Fatal(str(error), "give the bot the rights of docs/frontend.md, then try again") from error
        return Receipt("; ".join([change.summary, *filter(None, done)]))

    async def _site(self, ctx: Ctx, p: FrontendPublishParams, build: Build, site: Site, change: Change) -> str:
        """Does what of the change is at this site; what was done, in words."""
        root = f"{site.name}/"
        edits = [e for e in change.edits if e.target.startswith(root)]
        if site.switch:
            for e in edits:
                await _switch(ctx, site, e)
            return ""
        seen = await _look(ctx, site, build, p.outgoing)
        wanted = any(e.what == seen.adding for e in change.effects)
        if not edits and not wanted:
            return ""
        added = await _add(ctx, seen) if wanted else 0
        ranks = {key: rank for rank, key in enumerate(_fronts(seen.known))}
        ordered = sorted(edits, key=lambda e: (e.after is None, ranks.get(e.target.removeprefix(root), -1)))
        for e in (e for e in ordered if e.target == f"{root}{ALL}"):
            await _all(ctx, seen, e)
        singles = [(e.target.removeprefix(root), e) for e in ordered if e.target != f"{root}{ALL}"]
        now = await _now(ctx, seen, [key for key, _ in singles])
        assets = [(key, e) for key, e in singles if key not in ranks]
        await asyncio.gather(*(_bring(ctx, seen, key, now[key], e) for key, e in assets))
        for key, e in singles:
            if key in ranks:
                await _bring(ctx, seen, key, now[key], e)
        return f"{site.name}: {added} files added, {len(edits)} replaced" if added else ""


# -- what there is ---------------------------------------------------------------------------------------------------


async def _survey(
    ctx: ReadCtx, p: FrontendPublishParams, build: Build
) -> tuple[list[SiteSeen], list[tuple[Site, str, str]]]:
    """Every site that files are copied to; and those that are switched, with where they read and shall read."""
    lost: dict[str, str] = {}
    seen: list[SiteSeen] = []
    switched: list[tuple[Site, str, str]] = []
    for site in ctx.ports.sites.sites:
        try:
            if site.switch:
                switched.append(await _switched(ctx, site, build, p.outgoing))
            else:
                seen.append(await _look(ctx, site, build, p.outgoing))
        except Unreachable as error:
            lost[site.name] = str(error)
        except (Missing, StoreRefused) as error:
            raise Fatal(f"{site.name}: {error}", "correct the catalogue, or give the bot the right to read") from error
    if lost:
        raise Unreachable.of(lost)
    return seen, switched


async def _look(ctx: ReadCtx, site: Site, build: Build, outgoing: Sequence[Outgoing]) -> SiteSeen:
    found = await known(ctx.ports.sites, site.name, build, outgoing)
    return SiteSeen(site, found, await ctx.ports.sites.differing(site.name, found.builds.target))


async def _switched(ctx: ReadCtx, site: Site, build: Build, outgoing: Sequence[Outgoing]) -> tuple[Site, str, str]:
    """Where it reads and shall read. Fatal where the build there is not whole."""
    found = await known(ctx.ports.sites, site.name, build, outgoing)
    lacking = await ctx.ports.sites.incomplete(site.name, build, found.builds.target)
    if lacking:
        faults = [f"{key}: {why}" for key, why in lacking.items()]
        hint = "put the build back as it was, or choose another release"
        raise Fatal(f"{site.name}: {build.short} is not whole: {_listed(faults)}", hint)
    _, _, prefix = site.builds.removeprefix("s3://").partition("/")
    now = await ctx.ports.edges.origin(site.switch)
    return site, now.path, "/" + "/".join(filter(None, (prefix, build.prefix)))


async def _asset_edits(ctx: ReadCtx, s: SiteSeen) -> list[Edit]:
    if not s.replaced:
        return []
    if s.together:
        before = await _snapshot(ctx, s.replaced)
        return [Edit(f"{s.site.name}/{ALL}", before, str(s.known.build), bound=False)]
    files = s.known.builds.target.files
    return [Edit(f"{s.site.name}/{key}", there.value, held(files[key]).value) for key, there in s.replaced.items()]


async def _snapshot(ctx: ReadCtx, there: Mapping[str, StoredObject]) -> Blob:
    text = canonical({key: h.value for key, h in sorted(there.items())})
    return await ctx.ports.blobs.put(text.encode(), "application/json")


def _value(there: StoredObject | None) -> str | None:
    return there.value if there is not None else None


def _fronts(k: KnownBuilds) -> list[str]:
    """What names other files in any of the builds, in the order in which it is written."""
    last = k.builds.target.fronts
    others = dict.fromkeys(key for m in k.builds.gone for key in m.fronts if key not in last)
    return [*others, *last]


def _facts(seen: Sequence[SiteSeen]) -> list[Fact]:
    found = []
    for s in seen:
        files = s.known.builds.target.files
        size = sum(files[key].size for key in s.differing)
        found += [
            Fact(f"{s.site.name}: objects to copy", len(s.differing), f"of {len(files)}"),
            Fact(f"{s.site.name}: size", round(size / 1e6, 1), "MB"),
        ]
    return found


def _warnings(seen: Sequence[SiteSeen], switched: Sequence[tuple[Site, str, str]]) -> list[str]:
    found = [f"{s.site.name}: {why}; what it alone changed is not known" for s in seen for why in s.known.unread]
    for s in seen:
        files = s.known.builds.target.files
        kept = [key for key in s.replaced if files[key].immutable]
        if kept:
            found.append(
                f"{s.site.name}: {_listed(kept)} had another content under the same name and may be kept for a year: "
                "browsers that have loaded it go on using it"
            )
        if len(s.replaced) > len(kept):
            count = len(s.replaced) - len(kept)
            found.append(f"{s.site.name}: {count} files are replaced under their names: pages may mix for some seconds")
    for site, now, then in switched:
        if now != then:
            found.append(
                f"{site.name}: tabs that are open no longer find files of the build that goes which they have not "
                "loaded yet"
            )
    return found


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


# -- what is done ----------------------------------------------------------------------------------------------------


async def _add(ctx: Ctx, s: SiteSeen) -> int:
    """Files that the site lacks; how many."""
    files = [s.known.builds.target.files[key] for key in s.lacking]

    async def told(done: int) -> None:
        await ctx.report(f"{s.site.name}: files", done, len(files))

    if files:
        await ctx.ports.sites.add(s.site.name, s.known.build, files, told)
    return len(files)


async def _bring(ctx: Ctx, s: SiteSeen, key: str, now: StoredObject | None, e: Edit) -> None:
    """One object to where the edit ends."""
    there = _value(now)
    if there == e.after:
        return
    if there != e.before:
        raise Fatal(f"{e.target} was changed by somebody else: {there or 'it is gone'}", "ask who, then try again")
    if e.after is None:
        if now is not None:
            await ctx.ports.sites.remove(s.site.name, key, now)
        return
    await ctx.ports.sites.replace(s.site.name, key, now, StoredObject.read(str(e.after)), s.known.every)


async def _now(ctx: Ctx, s: SiteSeen, keys: Sequence[str]) -> Mapping[str, StoredObject | None]:
    """What the site holds there: what was seen of it a moment ago, and for files of no build another look."""
    files = s.known.builds.target.files
    asked = await ctx.ports.sites.look(s.site.name, [key for key in keys if key not in files])
    seen = {key: s.differing[key] if key in s.differing else held(files[key]) for key in keys if key in files}
    return {**asked, **seen}


async def _all(ctx: Ctx, s: SiteSeen, e: Edit) -> None:
    """All replaced assets: to the build, or back to what was there."""
    files = s.known.builds.target.files
    if isinstance(e.after, Blob):
        said = json.loads(await ctx.ports.blobs.get(e.after))
        wanted = {key: StoredObject.read(value) for key, value in said.items()}
    else:
        wanted = {key: held(files[key]) for key in s.replaced}
    now = await _now(ctx, s, list(wanted))
    left = [key for key, then in wanted.items() if now[key] != then]
    for first in range(0, len(left), MOST):
        part = left[first : first + MOST]
        await asyncio.gather(
            *(ctx.ports.sites.replace(s.site.name, key, now[key], wanted[key], s.known.every) for key in part)
        )
        await ctx.report(f"{s.site.name}: replaced", first + len(part), len(left))


async def _switch(ctx: Ctx, site: Site, e: Edit) -> None:
    """The origin's path, and NotYet until every edge has it."""
    now = await ctx.ports.edges.origin(site.switch)
    if now.path not in (e.before, e.after):
        raise Fatal(f"{e.target} is {now.path or '(none)'}: somebody changed it", "ask who, then try again or undo")
    if now.path != e.after:
        try:
            await ctx.ports.edges.point(site.switch, str(e.after), now)
        except ValueError as error:
            raise Retryable(str(error), after=1) from error
        now = await ctx.ports.edges.origin(site.switch)
    if not now.deployed:
        raise NotYet(f"{site.name}: not every edge reads {e.after} yet", after=SETTLE)
