"""Switch Argo CD's auto-sync off, so that Git does not bring the removed release back while people repair Git.

A step of its own, beside the freeze: a thaw never waits for Git. The whole `automated` object is saved and given back
as it was. It is given back only once Git renders what is meant to run (what was restored, or what was to be removed and
stays because the run was called off): the application, refreshed, differs in no workload
and no setting of the service while the removed images are gone. Until then the undo waits and calls the commander,
naming what is missing in the repository that Argo CD reads, or is handed over.

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
    Retryable,
    Value,
    first_seen,
    first_time,
)
from bot.ports import Unreachable, gitops
from bot.ports.kubernetes import OURS, Changed, Cluster, Denied, Kind, Place, Thing, digest

AUTOMATED = "spec.syncPolicy.automated"
LOST = "clusters not reached"
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
    """Switches Argo CD's auto-sync off until it is undone, which waits until Git renders the restored release."""

    name = "gitops.pause"
    needs = frozenset({"kubernetes", "notices"})
    temporary = True
    Params = GitopsPauseParams

    async def plan(self, ctx: ReadCtx, p: GitopsPauseParams) -> Change:
        apps, lost = await _survey(ctx)
        beside = tuple(await _beside(ctx))
        on = [a for a in apps if _automated(a)]
        if lost and not on:
            raise Unreachable(f"{'; '.join(lost.values())}; nothing else is left to pause")
        if not on:
            said = (
                "auto-sync is off already, which is not ours to switch on" if apps else "no application is catalogued"
            )
            return Change(said, warnings=beside)
        edits = tuple(Edit(a.place.target(AUTOMATED), a.fields.get(AUTOMATED), None) for a in on)
        return Change(
            f"auto-sync off: {', '.join(_name(a.place) for a in on)}",
            edits,
            facts=tuple(_facts(on, lost)),
            warnings=(*_warnings(on, lost), *beside),
        )

    async def observe(self, ctx: ReadCtx, p: GitopsPauseParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await asyncio.gather(*(ctx.ports.kubernetes.get(Place.of(t)) for t in targets))
        return {t: app.fields.get(AUTOMATED) if app else None for t, app in zip(targets, found, strict=True)}

    async def apply(self, ctx: Ctx, p: GitopsPauseParams, change: Change) -> Receipt:
        try:
            for e in change.edits:
                if e.after is not None:
                    await _rendered(ctx, p, e)
                await _set(ctx, e)
            await _at_rest(ctx, [Place.of(e.target) for e in change.edits if e.after is None])
            await _stays(ctx, [e for e in change.edits if e.after is None])
        except (Unreachable, Changed) as error:
            raise Retryable(str(error)) from error
        except Denied as error:
            raise Fatal(str(error), "give the bot the right (docs/operators.md), then try again") from error
        if lost := [str(v) for f in change.facts if f.name == LOST and isinstance(f.value, list) for v in f.value]:
            raise Fatal(
                f"{', '.join(lost)} could not be reached: auto-sync may be on there", "try again when it is back"
            )
        if all(e.after is not None for e in change.edits):
            return Receipt(f"auto-sync on again: {', '.join(sorted(_name(Place.of(e.target)) for e in change.edits))}")
        return Receipt(change.summary)


async def _survey(ctx: ReadCtx) -> tuple[Sequence[Thing], Mapping[str, str]]:
    """The catalogued applications of the clusters that answer; cluster -> why it does not."""
    found: list[Thing] = []
    lost: dict[str, str] = {}
    for cluster in ctx.ports.kubernetes.clusters:
        if cluster.applications:
            try:
                found += await ctx.ports.kubernetes.list(cluster.name, "application")
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
            for what in gitops.appliers(thing):
                found.setdefault(f"{cluster.name}: {what}", []).append(thing.place.name)
    return [f"{what} ({', '.join(names)}); this step does not cover it" for what, names in found.items()]


def _automated(app: Thing) -> bool:
    """Whether it syncs by itself. `{}` does; `{"enabled": false}` and nothing do not."""
    value = app.fields.get(AUTOMATED)
    return isinstance(value, dict) and value.get("enabled") is not False


async def _set(ctx: Ctx, e: Edit) -> None:
    app = await _there(ctx, Place.of(e.target))
    now = app.fields.get(AUTOMATED)
    if now == e.after:
        return
    if now != e.before:
        raise Fatal(f"{e.target} was changed by somebody{_who(app)}", "ask who; then try again, or undo")
    by = app.by.get(AUTOMATED)
    theirs = e.after is None and (by is None or by.manager != OURS)
    if theirs and not await _odd(ctx, f"paused {e.target}"):
        owner = str(app.facts.get("owner") or "")
        who = f"its owner, the {owner}" if owner else f"somebody{_who(app)}"
        hint = _REMEDY if owner.startswith("applicationset") else "end what writes it, then try again"
        raise Fatal(f"{_name(app.place)}: {who} has switched auto-sync on again", hint)
    await ctx.ports.kubernetes.write(app, {AUTOMATED: _json(e.after)})


async def _odd(ctx: Ctx, what: str) -> bool:
    """Whether this happens for the first time, the third, and so on: in between people were asked."""
    n = 1
    while not await first_time(ctx, f"{what} {n}"):
        n += 1
    return n % 2 == 1


async def _stays(ctx: Ctx, edits: Sequence[Edit]) -> None:
    """Read back: an owner puts it on again within a moment, and a server that does not know a field drops it."""
    apps = await asyncio.gather(*(_there(ctx, Place.of(e.target)) for e in edits))
    if on := [_name(a.place) for a in apps if _automated(a)]:
        raise NotYet(f"auto-sync of {', '.join(on)} is on again", after=1)
    owned = [_name(a.place) for a in apps if any(gitops.others(a))]
    if owned and await first_time(ctx, "read back"):
        raise NotYet(f"looking whether auto-sync of {', '.join(owned)} stays off", after=2)


async def _at_rest(ctx: Ctx, places: Sequence[Place]) -> None:
    """NotYet while one of them is in the middle of a sync that began before; Fatal after a minute, and what goes on
    although people were asked is ended."""
    apps = await asyncio.gather(*(_there(ctx, p) for p in places))
    busy = [a for a in apps if a.facts.get("operation") in ("Running", "Terminating")]
    if not busy:
        return
    said = ", ".join(f"{_name(a.place)} is in the middle of a sync{_waits(a)}" for a in busy)
    if ctx.now - await first_seen(ctx, "a sync is running") >= timedelta(seconds=PATIENCE):
        if await first_time(ctx, "asked about the sync"):
            raise Fatal(f"{said} for over {PATIENCE:g} s", "try again to end that sync, or accept that it goes on")
        for a in busy:
            await ctx.ports.kubernetes.terminate(a.place)
    raise NotYet(said, after=2, done=len(apps) - len(busy), total=len(apps))


def _waits(app: Thing) -> str:
    message = str(app.facts.get("message") or "")
    return f" ({message})" if message else ""


async def _rendered(ctx: Ctx, p: GitopsPauseParams, e: Edit) -> None:
    """NotYet until Git renders what was restored: in sync, freshly compared, and nothing banned runs."""
    place = Place.of(e.target)
    if (await _there(ctx, place)).fields.get(AUTOMATED) == e.after:
        return
    app = await ctx.ports.kubernetes.refreshed(place)
    if app is None:
        raise NotYet(f"{_name(place)} is comparing with Git", after=1)
    images = app.facts.get("images")
    run = {digest(str(i)) for i in images} if isinstance(images, list) else set()
    at = str(app.facts.get("revision") or "")[:7] or "an unknown commit"
    todo = gitops.wanted(app, p.revert, known=not p.called_off)
    if run & p.bad:
        said = f"{_name(place)} still runs what is removed, so Git at {at} must not be followed yet; {todo}"
    elif left := gitops.drifted(app, _cluster(ctx, place)):
        what = f"Git at {at} differs from what runs ({_name(place)}: {', '.join(left)})"
        stays = "nothing is removed by this run (any more), what runs stays"
        said = f"{what}; {stays if p.called_off else f'if it still has what {p.version} replaced'}: {todo}"
    else:
        return
    await _call(ctx, place, said)
    raise NotYet(said, after=LOOK_AGAIN)


async def _call(ctx: Ctx, place: Place, said: str) -> None:
    """Tell the commander by name, at once and then again and again, each time once."""
    since = await first_seen(ctx, f"{place} waits for Git")
    times = (ctx.now - since) // REMIND
    topic = ctx.ports.notices.topic
    if not topic.channel or not await first_time(ctx, f"{place} called {times}"):
        return
    begin = f"{topic.commander}: " if not times else f"{topic.commander}, a reminder: "
    until = f"Auto-sync of {_name(place)} stays off until that is done, since {since:%H:%M} UTC."
    await ctx.ports.notices.post(topic.channel, f"git.{place}.{ctx.key}.{times}", f"{begin}{said}. {until}")


def _cluster(ctx: ReadCtx, place: Place) -> Cluster:
    return next(c for c in ctx.ports.kubernetes.clusters if c.name == place.cluster)


async def _there(ctx: ReadCtx, place: Place) -> Thing:
    app = await ctx.ports.kubernetes.get(place)
    if app is None:
        raise Fatal(f"{place} is gone", "find out who deleted it; accept leaves it so")
    return app


def _facts(on: Sequence[Thing], lost: Mapping[str, str]) -> list[Fact]:
    ends = [Fact("saved", _saved(a), _name(a.place)) for a in on]
    ends += [Fact("reads", source, _name(a.place)) for a in on if len(gitops.sources(a)) > 1 for source in _reads(a)]
    return [*ends, *([Fact(LOST, [*lost])] if lost else [])]


def _saved(app: Thing) -> str:
    value = app.fields.get(AUTOMATED)
    words = [k if v is True else f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else []
    return ", ".join(words) or "automated"


def _warnings(on: Sequence[Thing], lost: Mapping[str, str]) -> list[str]:
    found = [f"not reached, so not paused: {'; '.join(lost.values())}"] if lost else []
    found += [f"{_name(a.place)} {what}" for a in on for what in gitops.others(a)]
    found += [
        f"{_name(a.place)} is in the middle of a sync{_waits(a)}: it is waited for, and asked about after a minute"
        for a in on
        if a.facts.get("operation") == "Running"
    ]
    return found


def _reads(app: Thing) -> list[str]:
    """Each of its sources, as "https://git.example/shop main"."""
    return [f"{s.get('repoURL')} {s.get('chart') or s.get('path') or s.get('ref')} {s.get('targetRevision')}"
            for s in gitops.sources(app)]  # fmt: skip


def _name(place: Place) -> str:
    return f"{place.cluster} {place.name}"


def _who(app: Thing) -> str:
    by = app.by.get(AUTOMATED)
    return f" ({by.manager} at {by.at:%H:%M} UTC)" if by is not None else ""


def _json(value: Value) -> Json:
    if value is None or isinstance(value, dict):
        return value
    raise Fatal(f"{value!r} is no sync policy", "look at the record; this is a fault of the bot")
