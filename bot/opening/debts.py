"""What ended runs have left, over all services: found again, taken over by the next run, and settled when it is gone.

A run that was aborted may hand its debts over, and is then over; its record still goes on with them (`bot/run`): they
are given back there, or by the service's next run, which has them as its own from its beginning.

Invariant: which run gives a debt back stands in both records; the heir's is written first, so a crash between the two
only means that the other is written at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.reconciler import Engine
from bot.plan.model import Plan
from bot.run import events as ev
from bot.run.decide import RELEASING
from bot.run.state import Run
from bot.run.where import RunPlaces, changed, stands_at
from bot.store.log import Store
from bot.telling.owing import Owed, owed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Debts:
    """The debts of all runs."""

    store: Store
    engine: Engine

    async def owed(self, service: str | None = None) -> list[Owed]:
        """What open runs and ended ones owe now, and what the last rollback of each service has left changed."""
        heads = [*await self.store.heads(service=service, open=True, limit=None), *await self.store.owing()]
        last: set[str] = set()
        for h in await self.store.heads(service=service, open=False, limit=200):
            if h.kind in RELEASING and h.service not in last:
                last.add(h.service)
                heads.append(h)
        ids = dict.fromkeys(h.run for h in heads if service in (None, h.service))
        return owed([await self.store.load(i) for i in ids])

    async def inherits(self, service: str, plan: Plan, places: RunPlaces) -> list[ev.Inherited]:
        """Debts of ended runs that a run of this plan would give back: it has a step that does the same for a time, and
        is worked on where they stand."""
        found: dict[str, ev.Inherited] = {}
        for h in await self.store.owing():
            run = await self.store.load(h.run) if h.service == service else None
            for d in run.debts.values() if run is not None and not run.at_work else ():
                old = run.steps[d.step] if run is not None else None
                if run is None or old is None or old.made is None:
                    continue
                if run.places and stands_at(run, changed(run.places, places)):
                    continue  # taken back where it was done, or nowhere
                same = [s.id for s in plan.steps if s.temporary and s.kind == "action" and s.uses == old.spec.uses]
                heir = d.step if d.step in same else next((i for i in same if i not in found), None)
                if heir is not None and heir not in found:
                    found[heir] = ev.Inherited(heir, run.id, d.step, old.made, d.since)
        return list(found.values())

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """A run has begun or ended: what it took over is no longer another's. A watcher of the engine."""
        for e in events:
            if isinstance(e, ev.Overdue):
                log.warning("run %s of %s: %s", run.id, run.service, _reminder(run, e))
        if any(
            isinstance(e, ev.Created | ev.Inherited) or (isinstance(e, ev.Closed) and run.purpose == "thaw")
            for e in events
        ):
            await self._settled_by(run)

    async def catch_up(self) -> None:
        """The same for what was missed while nobody was there."""
        for h in await self.store.owing():
            for newer in await self.store.heads(service=h.service, limit=None):
                if newer.created >= h.created and newer.run != h.run:
                    await self._settled_by(await self.store.load(newer.run))

    async def _settled_by(self, heir: Run) -> None:
        for old, step in (of for of in heir.inherited.values() if of[0]):  # not what a lost database has left
            await self._taken_over(old, step, heir.id)
        for h in await self.store.owing() if heir.purpose in RELEASING else ():
            run = await self.store.load(h.run) if h.service == heir.service and h.created < heir.created_at else None
            for part in run.owed_parts if run is not None and run.closed is not None else ():
                await self.engine.submit(h.run, ev.TakenOver("", heir.id, part.name))  # it sees every place anew
        if heir.purpose == "thaw" and any("thaw" in s.spec.duties and s.end == "done" for s in heir.steps.values()):
            for h in await self.store.owing():
                if h.service == heir.service and h.closed is not None and h.closed < heir.created_at:
                    run = await self.store.load(h.run)
                    for step in [d.step for d in run.debts.values() if "freeze" in run.steps[d.step].spec.duties]:
                        await self._taken_over(run.id, step, heir.id)

    async def _taken_over(self, run: str, step: str, heir: str) -> None:
        if step in (await self.store.load(run)).debts:
            await self.engine.submit(run, ev.TakenOver(step, heir))


def _reminder(run: Run, e: ev.Overdue) -> str:
    if e.step:
        d = run.debts[e.step]
        what = f"{run.steps[e.step].spec.title} ({e.step})"
        return f"{what} was to be given back by {d.owner} by now; `rollback-bot debts` lists it"
    if e.part:
        return f"what {e.part} is owed was promised by {run.parts[e.part].owner} for now"
    return f"the broken glass for {e.decision} was to be reviewed by now; `rollback-bot debts` lists it"
