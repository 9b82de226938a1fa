"""Keeps an eye on what runs have frozen: a guard that somebody takes away, or bends, is noticed and said.

Every node looks, about twice a minute; what is found stands in the run that has put the guard there, so the thread, the
by-hand file and the list of debts show it. Looking is reading: nothing is put back without people.

Invariants:
- a cluster that does not answer says nothing: what was known of it stays;
- a guard that the run itself is lifting is not missed; the record refuses what a thaw has overtaken meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from bot.contract import Retryable
from bot.freezes import FREEZE
from bot.ports import Unreachable
from bot.ports.kubernetes import Denied, Kubernetes, Place, Thing, standing
from bot.run import events as ev
from bot.run.state import Debt, Run
from bot.store import Store
from bot.store.rows import Head

log = logging.getLogger(__name__)

EVERY = 25.0
"""Seconds between two looks."""


class Lookout:
    """clusters: gives service -> its clusters, as the catalogue is now; submit: appends to a run, and says why not."""

    def __init__(
        self,
        clusters: Callable[[], Mapping[str, Kubernetes]],
        store: Store,
        submit: Callable[[str, ev.Event], Awaitable[str | None]],
        *,
        every: float = EVERY,
    ) -> None:
        self._clusters, self._store, self._submit, self._every = clusters, store, submit, every

    async def run(self) -> None:
        """Look, for ever. What goes wrong is logged, and tried again at the next look."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("could not look after what is frozen; trying again")
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Look once at every freeze that stands by the record."""
        heads: list[Head] = [*await self._store.heads(open=True, limit=None), *await self._store.owing()]
        for run_id in dict.fromkeys(head.run for head in heads):
            run = await self._store.load(run_id)
            for debt in [*run.debts.values()]:
                if run.steps[debt.step].spec.uses == FREEZE and not run.being_given_back(debt.step):
                    await self._freeze(run, debt)

    async def _freeze(self, run: Run, debt: Debt) -> None:
        made, kube = run.steps[debt.step].made, self._clusters().get(run.service)
        if made is None or kube is None:
            return
        missing: dict[str, str] = {}
        for e in made.edits:
            if e.after is None:
                continue
            try:
                thing = await kube.get(Place.of(e.target))
            except (Unreachable, Denied, Retryable, LookupError):
                missing |= {e.target: debt.missing[e.target]} if e.target in debt.missing else {}
                continue
            if standing(thing, None) != e.after:
                missing[e.target] = _words(thing)
        if missing == debt.missing:
            return
        if await self._submit(run.id, ev.Lifted(debt.step, missing)) is None:
            told = "; ".join(f"{Place.of(t).cluster}: {words}" for t, words in missing.items()) or "stands again"
            log.warning("run %s of %s: its freeze: %s", run.id, run.service, told)


def _words(thing: Thing | None) -> str:
    if thing is None:
        return "the guard is gone: new releases are taken"
    altered = thing.facts.get("altered")
    if altered == ["binding"]:
        return "the guard's binding is gone: new releases are taken"
    what = ", ".join(map(str, altered)) if isinstance(altered, list) else "its rules"
    return f"the guard was changed by somebody ({what})"
