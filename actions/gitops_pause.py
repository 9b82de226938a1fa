"""Pause what follows Git, Argo CD's auto-sync and Flux, so that it does not bring the removed release back while people
repair Git.

A step of its own, beside the freeze: a thaw never waits for Git. The whole `automated` object is saved and given back
as it was. It is given back only once Git renders what is meant to run (what was restored, or what was to be removed and
stays because the run was called off): the application, refreshed, differs in no workload
and no setting of the service while the removed images are gone. Until then the undo waits and calls the commander,
naming what is missing in the repository that Argo CD reads, or is handed over.

Flux says not what it would apply. While Git stands where it did, that is the removed release: it is waited for, as
above. Once it has moved people are asked whether it has the right one, and "try again" resumes; what Flux then brings
back of the removed release makes it be suspended again.

Invariants:
- what somebody else had switched off before is no debt of ours;
- nothing is called paused while a sync is still running; one that does not end is asked about after a minute, and ended
  where people try again;
- nothing is called paused before it was read back: whoever switches it on again is named, and not fought;
- auto-sync that somebody switched on again, or set otherwise, is seen at the undo and left to people.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from itertools import chain

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fact,
    Fatal,
    Json,
    NotYet,
    Params,
    ReadCtx,
    Receipt,
    Value,
    first_seen,
    first_time,
)
from bot.ports import Unreachable, gitops
from bot.ports.kubernetes import (
    FLUX,
    OURS,
    WORKLOADS,
    Cluster,
    Denied,
    Kind,
    Place,
    Thing,
    digest,
    value_at,
)
from bot.workloads.reaching import left_out, not_reached, writing

LOOK_AGAIN = 30.0
"""Seconds between two questions to Git."""
PATIENCE = 60.0
"""Seconds that a sync may go on before people are asked."""
REMIND = timedelta(minutes=30)
"""How often people are called while Git has what was removed."""
_REMEDY = (
    "its ignoreApplicationDifferences need jsonPointers /spec/syncPolicy for this application; then try again, or skip "
    "this step: the freeze refuses what Argo CD writes all the same"
)


class GitopsPauseParams(Params):
    """Between which releases Git stands."""

    version: str = Field(description="The release that is restored.")
    banned: dict[str, list[str]] = Field({}, description="Version -> digests that must not run when Git is followed.")
    commit: str = Field("", description="Commit of the release that is restored.")
    removed_commit: str = Field("", description="Commit of the removed release.")
    purpose: str = Field("rollback", description="Which way the run goes: rollback, or forward.")

    @property
    def revert(self) -> str:
        """What a person types to take the removed release out of Git; forward: to have the newer one in it again; of a
        run that was called off: to have what stays."""
        if self.called_off:
            return "Git must have what runs"
        if self.purpose == "forward":
            return f"Git must have {self.version} again{f' ({self.commit[:12]})' if self.commit else ''}"
        if self.commit and self.removed_commit and self.commit != self.removed_commit:
            return f"git revert --no-edit {self.commit}..{self.removed_commit}"
        return f"revert what came after {self.version}"

    @property
    def called_off(self) -> bool:
        """Whether nothing has to go (any more): a false alarm, or the way to the target was undone before the abort."""
        return not self.banned

    @property
    def bad(self) -> frozenset[str]:
        """Digests that must not run."""
        return frozenset(chain.from_iterable(self.banned.values()))


class GitopsPause(Action[GitopsPauseParams]):
    """Pauses Argo CD's auto-sync and Flux until it is undone, which waits until Git has the restored release."""

    name = "gitops.pause"
    needs = frozenset({"kubernetes", "notices"})
    duties = frozenset({"hold"})
    temporary = True
    Params = GitopsPauseParams

    async def plan(self, ctx: ReadCtx, p: GitopsPauseParams) -> Change:
        apps, lost = await _survey(ctx)
        beside = tuple(await _beside(ctx))
        on = [a for a in apps if gitops.follows(a)]
        if lost and not on:
            raise Unreachable(f"{'; '.join(lost.values())}; nothing else is left to pause")
        if not on:
            said = "is off already, which is not ours to switch on" if apps else ""
            what = "auto-sync" if any(a.place.kind == "application" for a in apps) else "Flux"
            return Change(f"{what} {said}" if said else "no application is catalogued", warnings=beside)
        fields = [(a, gitops.switch(a.place.kind)) for a in on]
        edits = tuple(Edit(a.place.target(f), a.fields.get(f), gitops.paused(a.place.kind)) for a, f in fields)
        return Change(
            _told([a.place for a in on], "auto-sync off", "suspended"),
            edits,
            facts=tuple(_facts(on, lost)),
            warnings=(*_warnings(on, lost), *beside),
        )

    async def observe(self, ctx: ReadCtx, p: GitopsPauseParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await asyncio.gather(*(ctx.ports.kubernetes.get(Place.of(t)) for t in targets))
        return {t: value_at(app, t) for t, app in zip(targets, found, strict=True)}

    async def apply(self, ctx: Ctx, p: GitopsPauseParams, change: Change) -> Receipt:
        with writing("give the bot the right (docs/operators.md), then try again"):
            for e in sorted((e for e in change.edits if not _pauses(e)), key=_turn):
                await (_reviewed if Place.of(e.target).kind in FLUX else _rendered)(ctx, p, e)
                await _set(ctx, e)
                await _resumed(ctx, p, e)
            pauses = [e for e in change.edits if _pauses(e)]
            for e in pauses:
                await _set(ctx, e)
            await _at_rest(ctx, [Place.of(e.target) for e in pauses])
            await _stays(ctx, pauses)
        if lost := left_out(change):
            raise Fatal(
                f"{', '.join(lost)} could not be reached: auto-sync may be on there", "try again when it is back"
            )
        if not pauses:
            places = [Place.of(e.target) for e in change.edits]
            return Receipt(_told(sorted(places, key=str), "auto-sync on again", "resumed"))
        return Receipt(change.summary)


async def _survey(ctx: ReadCtx) -> tuple[Sequence[Thing], Mapping[str, str]]:
    """The catalogued applications of the clusters that answer; cluster -> why it does not."""
    found: list[Thing] = []
    lost: dict[str, str] = {}
    for cluster in ctx.ports.kubernetes.clusters:
        kinds: tuple[Kind, ...] = ("application", *FLUX)
        try:
            for kind in (k for k in kinds if cluster.deployers(k)):
                found += await ctx.ports.kubernetes.list(cluster.name, kind)
        except Unreachable as error:
            lost[cluster.name] = str(error)
    return found, lost


async def _beside(ctx: ReadCtx) -> list[str]:
    """Who else applies the service's workloads, as far as they say so."""
    found: dict[str, list[str]] = {}
    for cluster in ctx.ports.kubernetes.clusters:
        try:
            kinds: tuple[Kind, ...] = ("deployment", "statefulset")
            lists = await asyncio.gather(*(ctx.ports.kubernetes.list(cluster.name, kind) for kind in kinds))
        except (Unreachable, Denied):
            continue  # told by the steps that need it
        for thing in chain.from_iterable(lists):
            for what in gitops.appliers(thing, cluster):
                found.setdefault(f"{cluster.name}: {what}", []).append(thing.place.name)
    return [f"{what} ({', '.join(names)}); this step does not cover it" for what, names in found.items()]


def _pauses(e: Edit) -> bool:
    return e.after == gitops.paused(Place.of(e.target).kind)


def _turn(e: Edit) -> int:
    """What applies others comes back before them, what writes to Git last."""
    return ("application", "kustomization", "helmrelease", "imageupdateautomation").index(Place.of(e.target).kind)


def _told(places: Sequence[Place], argo: str, flux: str) -> str:
    words = ((argo, [p for p in places if p.kind not in FLUX]), (flux, [p for p in places if p.kind in FLUX]))
    return "; ".join(f"{word}: {', '.join(map(gitops.name, some))}" for word, some in words if some)


async def _set(ctx: Ctx, e: Edit) -> None:
    app = await _there(ctx, Place.of(e.target))
    field = gitops.switch(app.place.kind)
    now = app.fields.get(field)
    if now == e.after:
        return
    if now != e.before:
        raise Fatal(f"{e.target} was changed by somebody{_who(app)}", "ask who; then try again, or undo")
    by = app.by.get(field)
    wrote = False

    async def write() -> Json:
        nonlocal wrote
        await ctx.ports.kubernetes.write(app, {field: _json(e.after)})
        return (wrote := True)

    theirs = _pauses(e) and (by is None or by.manager != OURS)
    if theirs:
        await ctx.once(f"paused {e.target}", write)
    if theirs and not wrote and await _odd(ctx, f"asked about {e.target}"):
        owner = str(app.facts.get("owner") or "")
        who = f"its owner, the {owner}" if owner else f"somebody{_who(app)}"
        what = "resumed it" if app.place.kind in FLUX else "switched auto-sync on again"
        hint = _REMEDY if owner.startswith("applicationset") else "end what writes it, then try again"
        raise Fatal(f"{gitops.name(app.place)}: {who} has {what}", hint)
    if not wrote:
        await write()


async def _odd(ctx: Ctx, what: str) -> bool:
    """Whether this happens for the first time, the third, and so on: in between people were asked."""
    n = 1
    while not await first_time(ctx, f"{what} {n}"):
        n += 1
    return n % 2 == 1


async def _stays(ctx: Ctx, edits: Sequence[Edit]) -> None:
    """Read back: an owner puts it on again within a moment, and a server that does not know a field drops it."""
    apps = await asyncio.gather(*(_there(ctx, Place.of(e.target)) for e in edits))
    if on := [gitops.name(a.place) for a in apps if gitops.follows(a)]:
        raise NotYet(f"{', '.join(on)} follows Git again", after=1)
    owned = [gitops.name(a.place) for a in apps if any(gitops.others(a))]
    if owned and await first_time(ctx, "read back"):
        raise NotYet(f"looking whether {', '.join(owned)} stays paused", after=2)


async def _at_rest(ctx: Ctx, places: Sequence[Place]) -> None:
    """NotYet while one of them is in the middle of a sync that began before; Fatal after a minute, and what goes on
    although people were asked is ended."""
    apps = await asyncio.gather(*(_there(ctx, p) for p in places))
    busy = [a for a in apps if _busy(a)]
    if not busy:
        return
    said = ", ".join(f"{gitops.name(a.place)} is in the middle of a sync{_waits(a)}" for a in busy)
    if ctx.now - await first_seen(ctx, "a sync is running") >= timedelta(seconds=PATIENCE):
        if await first_time(ctx, "asked about the sync"):
            raise Fatal(f"{said} for over {PATIENCE:g} s", "try again to end that sync, or accept that it goes on")
        ends = [a.place for a in busy if a.place.kind not in FLUX]
        if not ends:  # nothing ends what Flux is at, and it says no more of itself while it is suspended
            return
        for place in ends:
            await ctx.ports.kubernetes.terminate(place)
    raise NotYet(said, after=2, done=len(apps) - len(busy), total=len(apps))


def _busy(app: Thing) -> bool:
    return app.facts.get("operation") in ("Running", "Terminating") or app.facts.get("ready") == "Unknown"


def _waits(app: Thing) -> str:
    message = str(app.facts.get("message") or "")
    return f" ({message})" if message else ""


async def _rendered(ctx: Ctx, p: GitopsPauseParams, e: Edit) -> None:
    """NotYet until Git renders what was restored: in sync, freshly compared, and nothing banned runs."""
    place = Place.of(e.target)
    if value_at(await _there(ctx, place), e.target) == e.after:
        return
    app = await ctx.ports.kubernetes.refreshed(place)
    if app is None:
        raise NotYet(f"{gitops.name(place)} is comparing with Git", after=1)
    images = app.facts.get("images")
    run = {digest(str(i)) for i in images} if isinstance(images, list) else set()
    at = str(app.facts.get("revision") or "")[:7] or "an unknown commit"
    todo = gitops.wanted(app, p.revert, known=not p.called_off)
    if run & p.bad:
        said = f"{gitops.name(place)} still runs what is removed, so Git at {at} must not be followed yet; {todo}"
    elif left := gitops.drifted(app, _cluster(ctx, place)):
        what = f"Git at {at} differs from what runs ({gitops.name(place)}: {', '.join(left)})"
        stays = "nothing is removed by this run (any more), what runs stays"
        said = f"{what}; {stays if p.called_off else f'if it still has what {p.version} replaced'}: {todo}"
    else:
        return
    await _call(ctx, place, said)
    raise NotYet(said, after=LOOK_AGAIN)


async def _reviewed(ctx: Ctx, p: GitopsPauseParams, e: Edit) -> None:
    """NotYet while Git is where it was when Flux was suspended, Fatal once for each place to which it has moved since;
    a run that was called off has nothing to wait for where it has not."""
    place = Place.of(e.target)
    if value_at(await _there(ctx, place), e.target) == e.after:
        return
    found = await ctx.ports.kubernetes.refreshed(place)
    was, at = (str(found.facts.get(key) or "") if found is not None else "" for key in ("applied", "source"))
    moved = bool(at) and at != was
    if p.called_off and not moved:
        return
    name = gitops.name(place)
    if at and not moved:
        said = f"Git is at {at[-12:]} still, which is what {name} applied last: {p.revert}"
        await _call(ctx, place, said)
        raise NotYet(said, after=LOOK_AGAIN)
    if place.kind == "imageupdateautomation":
        said = f"{name} would write the newest image into Git, mostly the removed one"
        hint = "see that its ImagePolicy chooses the right one, then try again to resume it"
    else:
        said = f"Flux does not say what {name} would apply{f', Git is at {at[-12:]} now' if at else ''}"
        hint = f"look whether Git has the release ({p.revert}), then try again to resume it"
    if await _odd(ctx, f"asked about {place} {at}"):
        raise Fatal(said, hint)


async def _resumed(ctx: Ctx, p: GitopsPauseParams, e: Edit) -> None:
    """NotYet until Flux has applied what it reads. Fatal where it cannot, or has brought back what is removed: then it
    is suspended again."""
    place = Place.of(e.target)
    if place.kind not in FLUX or place.kind == "imageupdateautomation":
        return
    made, name = await _there(ctx, place), gitops.name(place)
    if not made.facts.get("seen") or made.facts.get("ready") in (None, "Unknown"):
        raise NotYet(f"{name} is resumed, it applies what Git holds", after=2)
    if made.facts.get("ready") == "False":
        what = f"{name} cannot apply what Git holds: {made.facts.get('message')}"
        raise Fatal(what, f"it tries again by itself; {p.revert}, then try again")
    if back := await _runs(ctx, place.cluster, p.bad):
        await ctx.ports.kubernetes.write(made, {gitops.SUSPEND: True})
        raise Fatal(f"{name} has brought {', '.join(back)} back, and is suspended again", f"{p.revert}, then try again")


async def _runs(ctx: Ctx, cluster: str, bad: Collection[str]) -> list[str]:
    """The workloads of a cluster that are to run one of these digests."""
    lists = await asyncio.gather(*(ctx.ports.kubernetes.list(cluster, kind) for kind in WORKLOADS)) if bad else ()
    return [
        f"{thing.place.kind}/{thing.place.name}"
        for thing in chain.from_iterable(lists)
        if any(digest(image) in bad for image in thing.images.values())
    ]


async def _call(ctx: Ctx, place: Place, said: str) -> None:
    """Tell the commander by name, at once and then again and again, each time once."""
    since = await first_seen(ctx, f"{place} waits for Git")
    times = (ctx.now - since) // REMIND
    topic = ctx.ports.notices.topic
    if not topic.channel or not await first_time(ctx, f"{place} called {times}"):
        return
    begin = f"{topic.commander}: " if not times else f"{topic.commander}, a reminder: "
    what = (
        f"{gitops.name(place)} stays suspended"
        if place.kind in FLUX
        else f"Auto-sync of {gitops.name(place)} stays off"
    )
    until = f"{what} until that is done, since {since:%H:%M} UTC."
    await ctx.ports.notices.post(topic.channel, f"git.{place}.{ctx.key}.{times}", f"{begin}{said}. {until}")


def _cluster(ctx: ReadCtx, place: Place) -> Cluster:
    return next(c for c in ctx.ports.kubernetes.clusters if c.name == place.cluster)


async def _there(ctx: ReadCtx, place: Place) -> Thing:
    app = await ctx.ports.kubernetes.get(place)
    if app is None:
        raise Fatal(f"{place} is gone", "find out who deleted it; accept leaves it so")
    return app


def _facts(on: Sequence[Thing], lost: Mapping[str, str]) -> list[Fact]:
    ends = [Fact("saved", _saved(a), gitops.name(a.place)) for a in on if a.place.kind == "application"]
    ends += [
        Fact("reads", source, gitops.name(a.place)) for a in on if len(gitops.sources(a)) > 1 for source in _reads(a)
    ]
    return [*ends, *not_reached(lost)]


def _saved(app: Thing) -> str:
    value = app.fields.get(gitops.AUTOMATED)
    words = [k if v is True else f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else []
    return ", ".join(words) or "automated"


def _warnings(on: Sequence[Thing], lost: Mapping[str, str]) -> list[str]:
    found = [f"not reached, so not paused: {'; '.join(lost.values())}"] if lost else []
    found += [f"{gitops.name(a.place)} {what}" for a in on for what in gitops.others(a)]
    found += [
        f"{gitops.name(a.place)} is in the middle of a sync{_waits(a)}: waited for, and asked about after a minute"
        for a in on
        if _busy(a)
    ]
    return found


def _reads(app: Thing) -> list[str]:
    """Each of its sources, as "https://git.example/shop main"."""
    return [f"{s.get('repoURL')} {s.get('chart') or s.get('path') or s.get('ref')} {s.get('targetRevision')}"
            for s in gitops.sources(app)]  # fmt: skip


def _who(app: Thing) -> str:
    by = app.by.get(gitops.switch(app.place.kind))
    return f" ({by.manager} at {by.at:%H:%M} UTC)" if by is not None else ""


def _json(value: Value) -> Json:
    if value is None or isinstance(value, dict | bool):
        return value
    raise Fatal(f"{value!r} is no way to follow Git", "look at the record; this is a fault of the bot")
