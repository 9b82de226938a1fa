"""Switch Argo CD's auto-sync off, so that Git does not bring the removed release back while people repair Git.

A step of its own, beside the freeze: a thaw never waits for Git. The whole `automated` object is saved and given back
as it was. It is given back only once Git renders what was restored: the application, refreshed, is in sync while the
removed images are gone. Until then the undo waits, naming the `git revert` that is missing, or is handed over.

Invariants:
- what somebody else had switched off before is no debt of ours;
- nothing is called paused while a sync is still running;
- auto-sync that somebody switched on again, or set otherwise, is seen at the undo and left to people.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
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
)
from bot.ports import Unreachable
from bot.ports.kubernetes import Changed, Denied, Place, Thing, digest

AUTOMATED = "spec.syncPolicy.automated"
OWNER = "label/argocd.argoproj.io/instance"
LOST = "clusters not reached"
LOOK_AGAIN = 30.0
"""Seconds between two questions to Git."""


class GitopsPauseParams(Params):
    """Between which releases Git stands."""

    version: str = Field(description="The release that is restored.")
    banned: dict[str, list[str]] = Field({}, description="Version -> digests that must not run when Git is followed.")
    commit: str = Field("", description="Commit of the release that is restored.")
    removed_commit: str = Field("", description="Commit of the removed release.")
    purpose: str = Field("rollback", description="Which way the run goes: rollback, or forward.")

    @property
    def revert(self) -> str:
        """What a person types to take the removed release out of Git; forward: to have the newer one in it again."""
        if self.purpose == "forward":
            return f"Git must have {self.version} again{f' ({self.commit[:12]})' if self.commit else ''}"
        if self.commit and self.removed_commit and self.commit != self.removed_commit:
            return f"git revert --no-edit {self.commit}..{self.removed_commit}"
        return f"revert what came after {self.version}"

    @property
    def bad(self) -> frozenset[str]:
        """Digests that must not run."""
        return frozenset(chain.from_iterable(self.banned.values()))


class GitopsPause(Action[GitopsPauseParams]):
    """Switches Argo CD's auto-sync off until it is undone, which waits until Git renders the restored release."""

    name = "gitops.pause"
    needs = frozenset({"kubernetes"})
    temporary = True
    Params = GitopsPauseParams

    async def plan(self, ctx: ReadCtx, p: GitopsPauseParams) -> Change:
        apps, lost = await _survey(ctx)
        on = [a for a in apps if _automated(a)]
        if lost and not on:
            raise Unreachable(f"{'; '.join(lost.values())}; nothing else is left to pause")
        if not on:
            said = (
                "auto-sync is off already, which is not ours to switch on" if apps else "no application is catalogued"
            )
            return Change(said)
        edits = tuple(Edit(a.place.target(AUTOMATED), a.fields.get(AUTOMATED), None) for a in on)
        return Change(
            f"auto-sync off: {', '.join(_name(a.place) for a in on)}",
            edits,
            facts=tuple(_facts(on, lost)),
            warnings=tuple(_warnings(on, lost)),
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
    await ctx.ports.kubernetes.write(app, {AUTOMATED: _json(e.after)})


async def _at_rest(ctx: Ctx, places: Sequence[Place]) -> None:
    """NotYet while one of them is in the middle of a sync that began before."""
    apps = await asyncio.gather(*(_there(ctx, p) for p in places))
    if busy := [_name(a.place) for a in apps if a.facts.get("operation") == "Running"]:
        raise NotYet(
            f"{', '.join(busy)} is in the middle of a sync", after=2, done=len(apps) - len(busy), total=len(apps)
        )


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
    if run & p.bad:
        raise NotYet(
            f"{_name(place)} still runs what is removed, so Git at {at} must not be followed yet; {p.revert}",
            after=LOOK_AGAIN,
        )
    if app.facts.get("sync") != "Synced":
        what = f"Git at {at} differs from what runs ({_name(place)})"
        raise NotYet(f"{what}; if it still has what {p.version} replaced: {p.revert}", after=LOOK_AGAIN)


async def _there(ctx: ReadCtx, place: Place) -> Thing:
    app = await ctx.ports.kubernetes.get(place)
    if app is None:
        raise Fatal(f"{place} is gone", "find out who deleted it; accept leaves it so")
    return app


def _facts(on: Sequence[Thing], lost: Mapping[str, str]) -> list[Fact]:
    ends = [Fact("saved", _saved(a), _name(a.place)) for a in on]
    return [*ends, *([Fact(LOST, [*lost])] if lost else [])]


def _saved(app: Thing) -> str:
    value = app.fields.get(AUTOMATED)
    words = [k if v is True else f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else []
    return ", ".join(words) or "automated"


def _warnings(on: Sequence[Thing], lost: Mapping[str, str]) -> list[str]:
    found = [f"not reached, so not paused: {'; '.join(lost.values())}"] if lost else []
    found += [
        f"{_name(a.place)} is managed by the application {owner} itself, which may switch auto-sync on again"
        for a in on
        if (owner := a.fields.get(OWNER))
    ]
    return found


def _name(place: Place) -> str:
    return f"{place.cluster} {place.name}"


def _who(app: Thing) -> str:
    by = app.by.get(AUTOMATED)
    return f" ({by.manager} at {by.at:%H:%M} UTC)" if by is not None else ""


def _json(value: Value) -> Json:
    if value is None or isinstance(value, dict):
        return value
    raise Fatal(f"{value!r} is no sync policy", "look at the record; this is a fault of the bot")
