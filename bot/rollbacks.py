"""Opening a rollback: everything the run will work from, found, checked and pinned.

Which release (with the evidence), which plan (compiled, with its digest), who could decide each gate (proven), and
nothing that a later edit of a file could change. A refusal says what to do instead and leaves nothing behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from bot.catalogue import Catalogue, Release, Service
from bot.engine.preview import Forecast, preview
from bot.engine.reconciler import Engine, impossible
from bot.people import Directory
from bot.plan.compile import compile_plan
from bot.plan.model import Plan
from bot.policy import COMMANDER, Actor, Person, Refusal, Why, stranger
from bot.registry import Registry
from bot.releases import Releases
from bot.run import events as ev
from bot.run.state import Run
from bot.store import AlreadyOpen, Duplicate, Store

MIN_REASON = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for. to: version, None for the best candidate; plan: None for the service's own;
    despite: open it although some decision can be passed only by breaking the glass."""

    service: str
    reason: str
    to: str | None = None
    plan: str | None = None
    channel: str = ""
    despite: bool = False


class Plans:
    """The built-in plans, and a folder of the operator's own in front of them."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Every plan's name."""
        built_in = [p.name for p in resources.files("bot").joinpath("plans").iterdir()]
        own = [p.name for p in self.folder.glob("*.yaml")] if self.folder else []
        return sorted({n.removesuffix(".yaml") for n in [*built_in, *own] if n.endswith(".yaml")})

    def text(self, name: str) -> tuple[str, str]:
        """(text, where it is from). LookupError for a plan that does not exist."""
        if name not in self.names():
            raise LookupError(f"there is no plan {name!r}; there are {', '.join(self.names())}")
        own = self.folder / f"{name}.yaml" if self.folder else None
        if own is not None and own.exists():
            return own.read_text(encoding="utf-8"), str(own)
        return resources.files("bot").joinpath("plans", f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"


class Rollbacks:
    """Opens runs and finds them again."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        catalogue: Catalogue,
        plans: Plans,
        registry: Registry,
        releases: Releases,
        people: Directory,
        digests: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self.engine, self.store, self.catalogue, self.plans = engine, store, catalogue, plans
        self.registry, self.releases, self.people = registry, releases, people
        self.digests, self.clock = digests, clock

    async def open(self, wanted: Wanted, person: Person, via: str, *, key: str | None = None) -> Run | Refusal:
        """Opens the rollback that is wanted, or says why not."""
        if no := self._may_ask(person, await self.people.everyone(), wanted.reason):
            return no
        created = await self.prepare(wanted, Actor.of(person, via))
        if isinstance(created, Refusal):
            return created
        if created.impossible and not wanted.despite:
            return _impossible(created.impossible)
        return await self._create(created, key)

    async def forward(
        self, run_id: str, reason: str, person: Person, via: str, *, key: str | None = None
    ) -> Run | Refusal:
        """Opens the run that takes an ended run back: the same plan, from and to swapped, its own gates."""
        if no := self._may_ask(person, await self.people.everyone(), reason):
            return no
        run = await self.store.load(run_id)
        if run.created is None or run.target is None:
            return Refusal(Why.UNKNOWN, f"There is no run {run_id}. `history` lists the runs.")
        if run.open:
            return Refusal(Why.NOT_NOW, f"{run_id} is still open: abort it, or let it end, then roll forward.")
        actor = Actor.of(person, via)
        faults = impossible(run.plan, await self.people.everyone(), frozenset({person.id}))
        created = replace(
            run.created, removed=run.target, target=run.created.removed, by=actor, reason=reason, follows=run.id,
            impossible=faults, evidence=(f"takes back {run.id}",), digests=self.digests,
        )  # fmt: skip
        return _impossible(faults) if faults else await self._create(created, key)

    async def preview(self, wanted: Wanted, person: Person) -> tuple[Forecast, ...] | Refusal:
        """What the plan would do now, step by step; nothing is opened or written."""
        created = await self.prepare(wanted, Actor.of(person, "preview"))
        if isinstance(created, Refusal):
            return created
        return await preview(created, self.registry, self.engine.ports_of, self.clock)

    async def prepare(self, wanted: Wanted, by: Actor) -> ev.Created | Refusal:
        """Everything a run would work from. PlanFaults (all mistakes at once) if the plan does not compile."""
        service = self.catalogue.services.get(wanted.service)
        if service is None:
            known = ", ".join(sorted(self.catalogue.services))
            return Refusal(Why.UNKNOWN, f"There is no service {wanted.service!r} in the catalogue; there are {known}.")
        removed = await self.releases.current(service.name)
        if removed is None:
            hint = f"`rollback-bot release record {service.name} ...` and `release serving` tell it."
            return Refusal(Why.UNKNOWN, f"I do not know which release of {service.name} serves now. {hint}")
        picked = await self._pick(service, removed, wanted.to)
        if isinstance(picked, Refusal):
            return picked
        target, evidence = picked
        try:
            text, source = self.plans.text(wanted.plan or service.plan)
        except LookupError as e:
            return Refusal(Why.UNKNOWN, f"{e}.")
        plan = self.compile(text, source, service)
        faults = impossible(plan, await self.people.everyone(), frozenset({by.id}))
        return ev.Created(
            service.name, plan, plan.digest, removed, target, wanted.reason, by, channel=wanted.channel,
            limits=dict(service.limits), impossible=faults, digests=self.digests, evidence=evidence,
        )  # fmt: skip

    def compile(self, text: str, source: str, service: Service | None) -> Plan:
        """The plan for a service; all its mistakes at once."""
        roles = frozenset(self.catalogue.roles)
        return compile_plan(text, source=source, registry=self.registry, service=service, roles=roles)

    async def find(self, word: str | None) -> str | Refusal:
        """The run that a word means: its id, a service's open run, or the only open one."""
        if word and (await self.store.load(word)).created is not None:
            return word
        heads = await self.store.heads(service=word, open=True)
        if len(heads) == 1:
            return heads[0].run
        if not heads:
            what = f"no run {word!r} and no open run of it" if word else "no open run"
            return Refusal(Why.UNKNOWN, f"There is {what}. `history` lists the runs.")
        return Refusal(Why.BAD_INPUT, f"Which one? Open are {', '.join(h.run for h in heads)}.")

    async def _pick(
        self, service: Service, removed: Release, to: str | None
    ) -> tuple[Release, tuple[str, ...]] | Refusal:
        found = await self.releases.candidates(
            service.name, removed=removed.version, floor=service.floor, now=self.clock()
        )
        good = [c for c in found if not c.passed_over]
        others = [c for c in found if c.passed_over and c.release.version != removed.version]
        passed = [f"Passed over: {c.release.version} ({c.passed_over})." for c in others]
        if to is None:
            if not good:
                return Refusal(Why.UNKNOWN, " ".join([f"No release of {service.name} to go back to.", *passed]))
            return good[0].release, (*good[0].why, *passed)
        named = next((c for c in found if c.release.version == to), None)
        if named is None:
            known = ", ".join(c.release.version for c in good) or "none"
            return Refusal(
                Why.UNKNOWN, f"I know no release {to!r} of {service.name} to go back to. Candidates: {known}."
            )
        if named.passed_over:
            return Refusal(Why.NOT_NOW, f"Not {to}: {named.passed_over}.")
        return named.release, named.why

    async def _create(self, created: ev.Created, key: str | None) -> Run | Refusal:
        run_id = f"{created.service}-{secrets.token_hex(3)}"
        try:
            return await self.engine.create(run_id, created, key=key)
        except AlreadyOpen as e:
            return Refusal(Why.NOT_NOW, f"{e.service} has an open run already: {e.run}. `show {e.run}` shows it.")
        except Duplicate:
            return Refusal(Why.ALREADY, "This was received already; nothing was opened twice.")

    def _may_ask(self, person: Person, people: Sequence[Person], reason: str) -> Refusal | None:
        if no := stranger(person):
            return no
        if COMMANDER not in person.roles:
            able = [p for p in people if COMMANDER in p.roles]
            who = ", ".join("@" + p.name for p in able) or "nobody at the moment"
            text = f"Not yours to open: this needs a commander. Who can: {who}. Nothing was changed."
            return Refusal(Why.NOT_YOURS, text, tuple(p.id for p in able))
        if len(reason.strip()) < MIN_REASON:
            return Refusal(Why.BAD_INPUT, "A rollback needs a reason: `because <what is wrong>`.")
        return None


def _impossible(faults: Mapping[str, str]) -> Refusal:
    lines = "; ".join(f"{name}: {why}" for name, why in faults.items())
    hint = "Give somebody the role, or open it with --despite: those decisions then need broken glass."
    return Refusal(Why.NOT_NOW, f"Nobody can pass {len(faults)} of the plan's decisions: {lines}. {hint}")
