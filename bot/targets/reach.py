"""Which adapters a run is worked on with: those that lead where it was approved for.

Invariants:
- a run that has pinned its places is worked on there or nowhere: adapters that lead elsewhere are not handed out, and
  of a catalogue that was edited since neither are those of which nobody can tell (a context that does not exist);
- what no open run needs any more is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from bot.adapters.http import HttpClient
from bot.engine.ground import Ground
from bot.node.reloading import InForce
from bot.ports import Unreachable, Where, unbound
from bot.ports.backups import Memory
from bot.ports.kubernetes import Kubernetes
from bot.ports.sites import Sites
from bot.redaction.redactor import Redactor
from bot.run.state import Run
from bot.run.where import otherwise, untold
from bot.settings import Settings
from bot.store.lease import Lease
from bot.store.log import Store
from bot.targets.adapters import Adapters
from bot.targets.factory import adapters_of
from bot.targets.nodes import Nodes


def _opened_with(run: Run) -> str:
    """The digest of the catalogue that the run was opened with; empty where nothing says."""
    return run.created.digests.get("catalogue", "") if run.created is not None else ""


class Reach:
    """The adapters of every service, by the catalogue in force; and, while runs that have changed something through
    them are under way, by an earlier one."""

    def __init__(self, settings: Settings, store: Store, held: InForce, redactor: Redactor) -> None:
        self._settings, self._store, self._held = settings, store, held
        self._redactor = redactor
        self.now = adapters_of(settings, held, redactor)
        self._earlier: dict[str, Mapping[str, Adapters]] = {}
        self._known: dict[Adapters, Mapping[str, Where]] = {}
        self._digest = held.digest
        self._nodes = Nodes(store)

    async def join(self, lease: Lease) -> None:
        """From here on the other nodes hear of this one's places, and it of theirs."""
        self._nodes.lease = lease
        await self.tell()

    def http(self, service: str) -> HttpClient | None:
        """Its HTTP targets, by the catalogue in force; None where it has none in it."""
        found = self.now.get(service)
        return found.http if found is not None else None

    @property
    def clusters(self) -> Mapping[str, Kubernetes]:
        """Service -> its clusters."""
        return {name: adapters.kubernetes for name, adapters in self.now.items()}

    def sites(self, memory: Memory) -> Mapping[str, Sites]:
        """Service -> its sites, of those that have any; to be read only. memory: where what is seen is kept."""
        return {name: a.sites.bind(unbound, memory) for name, a in self.now.items() if a.sites.sites}

    def of(self, run: Run) -> Adapters:
        """Those that lead where the run is to be worked on, as far as this process knows them. Unreachable where there
        are none."""
        if not run.places:  # of an older version, which pinned nothing
            there = self._earlier.get(_opened_with(run), self.now).get(run.service)
            if there is None:
                raise Unreachable(f"the catalogue has no service {run.service!r} any more; put it back to go on")
            return there
        found = self._fitting(run)
        if found is None:
            here = self.now.get(run.service)
            why = "; ".join(untold(run.places, self._said(here))) if here is not None else ""
            leads = f"this node's catalogue does not lead where {run.id} was approved for"
            raise Unreachable(f"{leads}{f': {why}; correct the catalogue or the kubeconfig' if why else ''}")
        found.kubernetes.hold(run.places)
        found.databases.hold(run.places)
        return found

    def _fitting(self, run: Run) -> Adapters | None:
        """The adapters that lead where the run is pinned: those in force, or some of before. Where none is known to,
        those of the catalogue that the run was opened with: they are held to its places once somebody can."""
        opened = _opened_with(run)
        catalogues = ((self._digest, self.now), *reversed(self._earlier.items()))
        mine = [(digest, a) for digest, c in catalogues if (a := c.get(run.service)) and not self._otherwise(run, a)]
        known = (a for _, a in mine if not untold(run.places, self._said(a)))
        return next(chain(known, (a for digest, a in mine if digest == opened)), None)

    def _otherwise(self, run: Run, adapters: Adapters) -> tuple[str, ...]:
        return otherwise(run.places, self._said(adapters))

    def _said(self, adapters: Adapters) -> Mapping[str, Where]:
        """Target -> which place it is, as it was found last."""
        return self._known.get(adapters) or adapters.named

    async def places(self, service: str) -> Mapping[str, Where]:
        """Target -> which place it is, by the catalogue in force. LookupError for a service that it has not."""
        adapters = self.now[service]
        if adapters.kubernetes.led_elsewhere:
            await self._anew(service)
            adapters = self.now[service]
        found = await adapters.where()
        self._known[adapters] = found
        return found

    async def pins(self, service: str) -> tuple[Mapping[str, Where], tuple[str, ...]]:
        """What a new run of the service pins; and what other nodes' catalogues say otherwise, a line each."""
        here = await self.places(service)
        said = await self._nodes.others()
        known = {node: theirs[service] for node, theirs in said.items() if theirs is not None and service in theirs}
        told = ((node, otherwise(here, theirs)) for node, theirs in known.items())
        lines = (f"node {node} has another catalogue and takes no part: {'; '.join(how)}" for node, how in told if how)
        return here, tuple(lines)

    async def ground(self, run: Run) -> Ground:
        """How this node's catalogue, and the others', stand to where the run is pinned."""
        if not run.places:
            return Ground()
        others = await self._nodes.others()
        said = [(theirs or {}).get(run.service) for theirs in others.values()]
        stands = any(theirs is not None and not otherwise(run.places, theirs) for theirs in said)
        alone = not stands and None not in others.values()
        if run.service not in self.now:
            why: tuple[str, ...] = (f"the catalogue has no service {run.service}",)
            return Ground(why, self._fitting(run) is not None, alone)
        here = await self.places(run.service)
        if why := otherwise(run.places, here):
            return Ground(why, self._fitting(run) is not None, alone, here)
        if (why := untold(run.places, here)) and self._fitting(run) is None:
            return Ground(why, alone=alone)
        return Ground()

    async def tell(self) -> None:
        """Tells the other nodes what this one's catalogue says."""
        found = {service: await self.places(service) for service in self.now}
        await self._nodes.tell(found)

    async def renew(self) -> None:
        """Another catalogue is in force. What no open run needs any more is closed; what was kept of the same one is
        taken up again, as passes under way still have it in hand."""
        before, self._digest = self._digest, self._held.digest
        await self._close(self._earlier.pop(before, {}))
        self._earlier[before] = self.now
        again = self._earlier.pop(self._digest, {}) if self._digest != before else {}
        self.now = {**again} or adapters_of(self._settings, self._held, self._redactor)
        runs = [await self._store.load(h.run) for h in await self._store.heads(open=True, limit=None)]
        opened = {_opened_with(r) for r in runs}
        pinned = [r for r in runs if r.places]
        for digest, there in [*self._earlier.items()]:
            fits = any((a := there.get(r.service)) and not self._otherwise(r, a) for r in pinned)
            if digest not in opened and not fits:
                await self._close(self._earlier.pop(digest))
        await self.tell()

    async def _anew(self, service: str) -> None:
        """Reads the kubeconfig from the beginning: it leads elsewhere by now."""
        before = self.now[service]
        fresh = adapters_of(self._settings, self._held, self._redactor)
        self.now = {**self.now, service: fresh.pop(service)}
        await self._close({**fresh, service: before})

    async def close(self) -> None:
        """End every connection."""
        for each in (self.now, *self._earlier.values()):
            await self._close(each)

    async def _close(self, adapters: Mapping[str, Adapters]) -> None:
        for each in adapters.values():
            self._known.pop(each, None)
            await each.close()
