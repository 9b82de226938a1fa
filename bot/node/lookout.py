"""Keeps an eye on what runs have frozen, paused and removed: a guard that somebody takes away, or bends, what follows
Git again, and a removed release of which something is back, its settings too, are noticed and said.

Every node looks, about twice a minute; what is found stands in the run that it is about, so the thread, the by-hand
file and the list of debts show it, and people are called. Looking is reading: nothing is put back without people.

Invariants:
- a cluster that does not answer says nothing: what was known of it stays;
- what the run itself is giving back is not missed; the record refuses what a thaw has overtaken meanwhile;
- what was removed is looked for after the last rollback of a service, while its ban holds and no other run is at work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from bot.contract import Edit, Retryable, canonical
from bot.ports import Blob, Unreachable, gitops
from bot.ports.kubernetes import Denied, Kubernetes, Place, Thing, standing, value_at
from bot.run import events as ev
from bot.run.decide import RELEASING
from bot.run.state import Debt, Run
from bot.store.log import Store
from bot.store.rows import Head

log = logging.getLogger(__name__)

EVERY = 25.0
"""Seconds between two looks."""


class Lookout:
    """clusters: gives service -> its clusters, as the catalogue is now; banned: whether a release (service,
    version) may not be deployed; submit: appends to a run, and says why not."""

    def __init__(
        self,
        clusters: Callable[[], Mapping[str, Kubernetes]],
        store: Store,
        banned: Callable[[str, str], Awaitable[bool]],
        submit: Callable[[str, ev.Event], Awaitable[str | None]],
        *,
        every: float = EVERY,
    ) -> None:
        self._clusters, self._store, self._every = clusters, store, every
        self._banned, self._submit = banned, submit

    async def run(self) -> None:
        """Look, for ever. What goes wrong is logged, and tried again at the next look."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("could not look after what is held; trying again")
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Look once at every freeze and pause that stands by the record, and for what the last rollbacks removed."""
        for service in [*self._clusters()]:
            await self._removed(service)
        heads: list[Head] = [*await self._store.heads(open=True, limit=None), *await self._store.owing()]
        for run_id in dict.fromkeys(head.run for head in heads):
            run = await self._store.load(run_id)
            for debt in [*run.debts.values()]:
                if "hold" in run.steps[debt.step].spec.duties and not run.being_given_back(debt.step):
                    await self._held(run, debt)

    async def _held(self, run: Run, debt: Debt) -> None:
        made, kube = run.steps[debt.step].made, self._clusters().get(run.service)
        if made is None or kube is None:
            return
        missing: dict[str, str] = {}
        for e in made.edits:
            try:
                thing = await kube.get(Place.of(e.target))
            except (Unreachable, Denied, Retryable, LookupError):
                missing |= {e.target: debt.missing[e.target]} if e.target in debt.missing else {}
                continue
            if words := _gone(thing, e):
                missing[e.target] = words
        if missing == debt.missing:
            return
        if await self._submit(run.id, ev.Lifted(debt.step, missing)) is None:
            told = "; ".join(f"{Place.of(t).cluster}: {words}" for t, words in missing.items()) or "stands again"
            log.warning("run %s of %s: its %s: %s", run.id, run.service, debt.step, told)

    async def _removed(self, service: str) -> None:
        heads = await self._store.heads(service=service, limit=20)
        last = next((h for h in heads if h.kind in RELEASING), None)
        if last is None or last.closed is None or last.kind != "rollback":
            return
        run, kube = await self._store.load(last.run), self._clusters()[service]
        if run.created is None or not await self._banned(service, run.created.removed.version):
            return
        back: dict[str, str] = {}
        for place, edits in _removals(run).items():
            try:
                thing = await kube.get(place)
            except (Unreachable, Denied, Retryable, LookupError):
                back |= {e.target: run.back[e.target] for e in edits if e.target in run.back}
                continue
            back |= {e.target: f"is {_short(e.before)} again" for e in edits if value_at(thing, e.target) == e.before}
        if back != run.back and await self._submit(run.id, ev.CameBack(back)) is None:
            told = "; ".join(f"{target} {words}" for target, words in back.items()) or "nothing of it any more"
            log.warning("run %s of %s has removed, and is back: %s", run.id, service, told)


def _removals(run: Run) -> dict[Place, list[Edit]]:
    """What the run has taken out: values of the removed release, by object. Large ones, kept elsewhere, are not among
    them."""
    found: dict[Place, list[Edit]] = {}
    for s in run.steps.values():
        if "return" not in s.spec.duties or s.made is None:
            continue
        for e in s.made.edits:
            if e.before is None or e.before == e.after or isinstance(e.before, Blob):
                continue
            found.setdefault(Place.of(e.target), []).append(e)
    return found


def _short(value: object) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 120 else f"{text[:119]}…"


def _gone(thing: Thing | None, e: Edit) -> str:
    """What has become of something that is held; empty where it is held still."""
    if Place.of(e.target).kind == "guard":
        return "" if e.after is None or standing(thing, None) == e.after else _words(thing)
    if thing is None or not gitops.follows(thing):
        return ""
    by = thing.by.get(gitops.switch(thing.place.kind))
    return f"{gitops.name(thing.place)} follows Git again{f' (set by {by.manager})' if by is not None else ''}"


def _words(thing: Thing | None) -> str:
    if thing is None:
        return "the guard is gone: new releases are taken"
    altered = thing.facts.get("altered")
    if altered == ["binding"]:
        return "the guard's binding is gone: new releases are taken"
    what = ", ".join(map(str, altered)) if isinstance(altered, list) else "its rules"
    return f"the guard was changed by somebody ({what})"
