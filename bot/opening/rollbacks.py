"""Opening a rollback: everything the run will work from, found, checked and pinned.

Which release (with the evidence), which plan (compiled, with its digest), who could decide each gate (proven), and
nothing that a later edit of a file could change. A refusal says what to do instead and leaves nothing behind. What
people say to a run afterwards comes this way too, so that a release they name is always the one in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from bot.catalogue import Catalogue, Release, Service
from bot.catalogued.kubernetes import KubernetesTarget
from bot.contract import Change
from bot.engine.preview import Forecast, preview
from bot.engine.reconciler import Engine
from bot.handlers.narrow import PORT_NAMES
from bot.handlers.registry import Registry
from bot.located import Faults
from bot.opening.debts import Debts
from bot.opening.following import Following
from bot.opening.orphans import Orphans, left, left_freeze
from bot.opening.postmortems import Postmortems
from bot.people import Directory
from bot.plan.compile import compile_file
from bot.plan.lint import lint
from bot.plan.model import Plan, to_json
from bot.plan.named import Plans
from bot.policy import Actor, Person, Refusal, Why
from bot.ports import Where
from bot.ports.kubernetes import Kubernetes
from bot.redaction.redactor import Redactor
from bot.releases.freeze_answer import Freeze, ban_is_over
from bot.releases.frozen import Frozen
from bot.releases.ledger import Registered
from bot.releases.register import Candidate, ReleaseRegister
from bot.run import events as ev
from bot.run.answering import Answer, Asking, may
from bot.run.authority import may_open
from bot.run.commands import Admit, Approve, Command, Retarget, Without
from bot.run.decide import RELEASING
from bot.run.declared import MIN_REASON, PLAIN, TEXTS
from bot.run.possible import why_not
from bot.run.rules import doubted
from bot.run.state import Run
from bot.store.log import AlreadyOpen, Duplicate, Store

BESIDE = frozenset({"freeze", "thaw", "unban", "disown", "postmortem"})
"""Plans that bring no release back: what the bot and people do beside rollbacks."""
OTHER_WAY = {"rollback": "forward", "forward": "rollback"}
"""Purpose of a run -> of the one that takes it back."""
PATIENCE = 3.0
"""Seconds that opening a run waits for what clusters say of a lost database."""
ENDS = 20.0
"""Seconds that a run which only looked has for its end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for. to: version, None for the best candidate; plan: None for the service's own;
    despite: open it although some decision can be passed only by breaking the glass; impact, workaround: in plain
    words, for stakeholders."""

    service: str
    reason: str
    to: str | None = None
    plan: str | None = None
    channel: str = ""
    despite: bool = False
    impact: str = ""
    workaround: str = ""


class Rollbacks:
    """Opens runs and finds them again."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        catalogue: Catalogue,
        plans: Plans,
        registry: Registry,
        releases: ReleaseRegister,
        people: Directory,
        digests: Mapping[str, str],
        clock: Callable[[], float],
        to_remove: Callable[[str], Awaitable[str | None]] | None = None,
        clusters: Callable[[], Mapping[str, Kubernetes]] = dict,
        pins: Callable[[str], Awaitable[tuple[Mapping[str, Where], tuple[str, ...]]]] | None = None,
    ) -> None:
        """to_remove: service -> version that really runs and has to go, None where only the ledger can tell; clusters:
        gives service -> its clusters, for what a lost database has left there; pins: service -> where its targets are,
        and what other nodes say otherwise."""
        self.to_remove, self.clusters, self.pins = to_remove, clusters, pins
        self.engine, self.store, self.catalogue, self.plans = engine, store, catalogue, plans
        self.registry, self.releases, self.people = registry, releases, people
        self._digests, self.clock = digests, clock
        self.careful: Callable[[], str] = str
        """What is wrong with this node itself, in words; empty where nothing is."""
        self.debts, self.frozen = Debts(store, engine), Frozen(store, releases)
        self.following = Following(store, self.beside)
        self.postmortems = Postmortems(store, self.beside, self.may_open, lambda: self.catalogue, clock)

    @property
    def digests(self) -> Mapping[str, str]:
        """What a run is opened with: versions of what is given, and of the catalogue in force."""
        return {**self._digests, "catalogue": self.catalogue.digest}

    async def open(self, wanted: Wanted, person: Person, via: str, *, key: str | None = None) -> Run | Refusal:
        """Opens the rollback that is wanted, or says why not."""
        if no := self._may_ask(person, await self.people.everyone(), wanted.reason):
            return no
        if no := self._secret_in(impact=wanted.impact, workaround=wanted.workaround):
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
        """Opens the run that takes an ended run back, a roll forward where that went back: the same plan as it was
        recorded, from and to swapped and pinned by the record, preflight and gates of its own."""
        if no := self._may_ask(person, await self.people.everyone(), reason):
            return no
        run = await self.store.load(run_id)
        if run.created is None or run.target is None:
            return Refusal(Why.UNKNOWN, f"There is no run {run_id}. `history` lists the runs.")
        if objection := why_not(run, "forward"):
            return Refusal(objection.why, f"{objection.text}. Nothing was opened.")
        if no := await self._overtaken(run):
            return no
        actor, was = Actor.of(person, via), run.created
        faults = run.plan.impossible(await self.people.everyone(), frozenset({person.id}))
        plan = run.plan.turned
        created = replace(
            was, plan=plan, plan_digest=plan.digest, purpose=OTHER_WAY[run.purpose], removed=run.target,
            target=was.removed, given_up=tuple(r for r, _ in run.tried if r.version != was.removed.version),
            by=actor, reason=reason, follows=run.id, instead_of="", impossible=faults, digests=self.digests,
            evidence=(f"takes back {run.id}, which removed {was.removed.version}: {was.reason}",),
        )  # fmt: skip
        if no := _secret(created, self.engine.redactor):
            return no
        return _impossible(faults) if faults else await self._create(created, key)

    async def _overtaken(self, run: Run) -> Refusal | None:
        """Why a run is not taken back: a release runs that it knows nothing of."""
        serves = await self._removed(run.service)
        known = {r.version for r in (*run.outgoing, run.target) if r is not None}
        if serves is None or serves.version in known or run.created is None:
            return None
        to = run.created.removed.version
        text = f"{run.service} runs {serves.version} by now, of which {run.id} knows nothing. Nothing was opened."
        return Refusal(Why.NOT_NOW, f"{text} Next: deploy {to}, or ask for a rollback to it.")

    async def replan(
        self, run_id: str, plan: str, reason: str, person: Person, via: str, *, key: str | None = None
    ) -> Run | Refusal:
        """Opens the same rollback by another plan, and gives up the run that it takes the place of: only before that
        has begun. Should the process die between the two, that run is aborted, and says in favour of which plan."""
        run = await self.store.load(run_id)
        if no := self._may_ask(person, await self.people.everyone(), reason):
            return no
        if no := await self.may(run, "replan", person, via):
            return no
        if run.created is None or run.target is None or plan == run.plan.name:
            return Refusal(Why.NOT_NOW, f"{run_id} follows plan {plan} already. Nothing was changed.")
        by, was = Actor.of(person, via), run.created
        wanted = Wanted(run.service, was.reason, run.target.version, plan, was.channel)
        created = await (self._same(was, plan, by) if was.follows else self.prepare(wanted, by))
        if isinstance(created, Refusal):
            return created
        faults = created.plan.impossible(await self.people.everyone(), run.barred | {by.id})
        if faults and not run.impossible:
            return _impossible(faults)
        told = f"instead of {run.id}, which followed plan {run.plan.name}: {reason}"
        created = replace(
            created, instead_of=run.id, barred=run.barred_people, impossible=faults, evidence=(*created.evidence, told)
        )
        if why := await self.engine.submit(run_id, ev.Aborted(by, f"plan {plan} instead: {reason}", plan)):
            return Refusal(Why.NOT_NOW, f"{why}. Nothing was changed.")
        if not await self._ends(run_id):
            text = f"{run_id} was given up for plan {plan}, and has not ended yet. Ask for the rollback anew."
            return Refusal(Why.NOT_NOW, text)
        return await self._create(created, key)

    async def _same(self, was: ev.Created, plan: str, by: Actor) -> ev.Created | Refusal:
        """What takes another run back, by another plan: its releases stay those that the record pins."""
        service = self.catalogue.services.get(was.service)
        if service is None:
            return Refusal(Why.UNKNOWN, f"{was.service} is not in the catalogue any more. Nothing was changed.")
        try:
            found = self.compile(*self.plans.text(plan), service)
        except LookupError as e:
            return Refusal(Why.UNKNOWN, f"{e}.")
        found = found.turned if was.purpose == "forward" else found
        faults = found.impossible(await self.people.everyone(), frozenset({by.id}))
        created = replace(
            was, plan=found, plan_digest=found.digest, by=by, impossible=faults, digests=self.digests,
            limits=dict(service.limits), kinds=service.kinds,
        )  # fmt: skip
        return _secret(created, self.engine.redactor) or created

    async def may(
        self, run: Run, do: str, person: Person, via: str, subject: str = "", card: str = ""
    ) -> Refusal | None:
        """Why this person cannot ask this of the run now, whatever else they would say."""
        asking = Asking(person, via, await self.people.everyone(), self.clock(), "", self.catalogue.glass)
        return may(run, do, subject, asking, card)

    async def may_open(self, person: Person) -> Refusal | None:
        """Why this person cannot open a rollback."""
        return may_open(person, await self.people.everyone())

    def fitting(self, service: Service) -> list[str]:
        """Names of the plans by which this service can be rolled back, its own first."""
        names = [n for n in self.plans.names() if n not in BESIDE]
        return sorted((n for n in names if self._fits(n, service)), key=lambda n: (n != service.plan, n))

    def _fits(self, plan: str, service: Service) -> bool:
        try:
            self.compile(*self.plans.text(plan), service)
        except (Faults, LookupError):
            return False
        return True

    async def _ends(self, run_id: str) -> bool:
        """Whether a run that is being aborted has ended, waiting for what only looks to come to its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDS):
                while (await self.store.load(run_id)).open:  # noqa: ASYNC110 - another node may be the one that ends it
                    await asyncio.sleep(0.05)
                return True
        return False

    async def command(
        self, run_id: str, command: Command, person: Person, via: str, *, key: str | None = None
    ) -> Answer | Refusal:
        """Carries out what a person asks of a run. A command names a release by its version only; key: the click's
        identity, so that a delivery that comes twice is answered once."""
        typed = (f.name for f in fields(command) if f.name in (*TEXTS, *PLAIN))
        if no := self._secret_in(**{name: str(getattr(command, name)) for name in typed}):
            return no
        if isinstance(command, Retarget | Admit):
            release = await self._of_ledger(run_id, command)
            if isinstance(release, Refusal):
                return release
            command = replace(command, release=release)
        if isinstance(command, Without) and (no := await self._no_place(run_id, command)):
            return no
        return await self.engine.command(run_id, command, person, via, secrets.token_hex(3), key=key)

    async def _no_place(self, run_id: str, command: Without) -> Refusal | None:
        """Why there is no such part in the catalogue."""
        service = self.catalogue.services.get((await self.store.load(run_id)).service)
        known = [n for n, t in service.targets.items() if isinstance(t, KubernetesTarget)] if service else []
        if service is None or command.part.split("/")[0] in known:
            return None
        text = f"{command.part[:60]!r} is in no cluster of {service.name}; there are {', '.join(known) or 'none'}."
        return Refusal(Why.UNKNOWN, f"{text} Nothing was changed.")

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
        removed = await self._removed(service.name)
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
        faults = plan.impossible(await self.people.everyone(), frozenset({by.id}))
        created = ev.Created(
            service.name, plan, plan.digest, removed, target, wanted.reason, by, channel=wanted.channel,
            limits=dict(service.limits), kinds=service.kinds, impossible=faults, digests=self.digests,
            evidence=(*evidence, *([f"Careful: {careful}"] if (careful := self.careful()) else [])),
            channels=service.channels, impact=wanted.impact, workaround=wanted.workaround,
        )  # fmt: skip
        return _secret(created, self.engine.redactor) or created

    def unfit(self) -> Mapping[str, Faults]:
        """Service -> what is wrong with its plan, of those that could not be rolled back now."""
        found: dict[str, Faults] = {}
        for name, service in self.catalogue.services.items():
            try:
                self.compile(*self.plans.text(service.plan), service)
            except Faults as faults:
                found[name] = faults
        return found

    def compile(self, text: str | bytes, source: str, service: Service | None) -> Plan:
        """The plan for a service. Faults: all its mistakes at once, those too that only lint sees, because a decision
        that cannot be made, or a debt that nothing pays, shows too late in the middle of an incident."""
        roles = frozenset(self.catalogue.roles)
        found = compile_file(
            text, source=source, registry=self.registry, service=service, roles=roles, services=self.catalogue.services
        )
        if wrong := lint(found, ports=PORT_NAMES, people=None):
            raise Faults(wrong)
        return found.plan

    async def find(self, word: str | None) -> str | Refusal:
        """The run that a word means: its id, a service's open run, or the only open one."""
        if word and (found := await self._known(word)) is not None:
            return found
        heads = await self.store.heads(service=word, open=True)
        main = [h for h in heads if h.kind in RELEASING]
        heads = main if len(main) == 1 else heads  # what the bot does beside it is asked for by its id
        if len(heads) == 1:
            return await self._known(heads[0].run) or heads[0].run
        if not heads:
            what = f"no run {word!r} and no open run of it" if word else "no open run"
            return Refusal(Why.UNKNOWN, f"There is {what}. `history` lists the runs.")
        return Refusal(Why.BAD_INPUT, f"Which one? Open are {', '.join(h.run for h in heads)}.")

    async def _known(self, run_id: str) -> str | Refusal | None:
        """The run, if there is one; why nothing can be said of it, where not even its beginning is believed."""
        run = await self.store.load(run_id)
        if run.created is None and run.doubt:
            text = doubted(run)
            return Refusal(Why.NOT_NOW, f"{text[0].upper()}{text[1:]}.")
        return run_id if run.created is not None else None

    async def freeze(self, service: str) -> Freeze:
        """Whether the service takes new releases now."""
        return await self.frozen.of(service)

    async def is_banned(self, service: str, version: str) -> bool:
        """Whether CI is told that this release may not be deployed."""
        return any(b.version == version for b in await self.frozen.bans(service))

    async def hold(
        self, service: str, reason: str, person: Person, via: str, *, key: str | None = None, channel: str = ""
    ) -> Run | Refusal:
        """Opens the run that freezes a service without a rollback. channel: where it is shown, if asked for there."""
        if no := self._may_ask(person, await self.people.everyone(), reason):
            return no
        if (now := await self.freeze(service)).locked:
            return Refusal(Why.NOT_NOW, f"{service} is frozen already, by {now.run} (@{now.who}): {now.why}")
        return await self.beside(service, "freeze", reason, Actor.of(person, via), key, channel)

    async def thaw(
        self, service: str, reason: str, person: Person, via: str, *, key: str | None = None, channel: str = ""
    ) -> str | Refusal:
        """Lifts a freeze: that of a run which was opened to freeze (the person's yes is recorded there, without the
        reason), or what an ended run has left, by a run of its own. That run's id. A rollback lifts its own."""
        if no := self._may_ask(person, await self.people.everyone(), reason):
            return no
        now = await self.freeze(service)
        if not now.locked and not await self._orphan(service):
            return Refusal(Why.NOT_NOW, f"{service} is not frozen. Nothing was changed.")
        run = await self.store.load(now.run)
        if not run.open:
            opened = await self.beside(service, "thaw", reason, Actor.of(person, via), key, channel)
            return opened.id if isinstance(opened, Run) else opened
        if run.purpose != "freeze":
            text = f"{run.id} is open and lifts its freeze itself. To end it sooner: abort it, then restore the freeze."
            return Refusal(Why.NOT_NOW, text)
        found = await self.engine.command(
            run.id, Approve("thaw", run.card("thaw")), person, via, secrets.token_hex(3), key=key
        )
        return found if isinstance(found, Refusal) else run.id

    async def beside(
        self, service: str, purpose: str, reason: str, by: Actor, key: str | None, channel: str = "", follows: str = "",
        meeting: str = "",
    ) -> Run | Refusal:  # fmt: skip
        """Opens a run that brings no release back; its plan is named like its purpose. follows: what it is about;
        meeting: when people meet."""
        known = self.catalogue.services.get(service)
        if known is None:
            return Refusal(Why.UNKNOWN, f"There is no service {service!r} in the catalogue.")
        plan = self.compile(*self.plans.text(purpose), known)
        runs = await self.releases.current(service) or Release("unknown")
        created = ev.Created(
            service, plan, plan.digest, runs, runs, reason, by, purpose=purpose, digests=self.digests, channel=channel,
            channels=known.channels, kinds=known.kinds, follows=follows, meeting=meeting,
        )  # fmt: skip
        return _secret(created, self.engine.redactor) or await self._create(created, key)

    async def end_bans(self, service: str, by: Actor) -> list[Run]:
        """Opens a run for each release that clusters refuse although its ban is over. Again is harmless."""
        opened = []
        for r in await self.releases.all(service):
            banned_by = await self._banned_by(r, service) if ban_is_over(r) else ""
            run = await self._unban(service, r, by, f"unban:{r.version}:{banned_by}") if banned_by else None
            opened += [run] if isinstance(run, Run) else []
        return opened

    async def _banned_by(self, r: Registered, service: str) -> str:
        """The last run that has had the clusters refuse it, "left" where a lost database has; empty where none has."""
        said = [e.run for e in reversed(r.history) if e.what == "banned" and e.run]
        for run in said:
            steps = (await self.store.load(run)).steps.values()
            if any("ban" in s.spec.duties and s.made is not None for s in steps):
                return run
        if not said:
            return "left" if await self._guarded(service, r.version) else ""
        return ""

    async def _guarded(self, service: str, version: str) -> bool:
        """Whether any cluster has a ban on it."""
        kube = self.clusters().get(service)
        found = await asyncio.gather(*(kube.list(c.name, "guard") for c in kube.clusters)) if kube is not None else []
        rules = (thing.fields.get("rules") for things in found for thing in things)
        return any(isinstance(r, dict) and (r.get("service"), r.get("version")) == (service, version) for r in rules)

    async def _unban(self, service: str, banned: Registered, by: Actor, key: str) -> Run | Refusal:
        known = self.catalogue.services.get(service)
        if known is None:
            return Refusal(Why.UNKNOWN, f"There is no service {service!r} in the catalogue.")
        plan = self.compile(*self.plans.text("unban"), known)
        newer = banned.last("newer registered", "lifted")
        after = await self.releases.get(service, newer.why) if newer is not None else None
        why = f"{newer.why} is registered" if after is not None and newer is not None else "the ban was lifted"
        created = ev.Created(
            service, plan, plan.digest, banned.release, after.release if after else banned.release, why, by,
            purpose="unban", digests=self.digests,
        )  # fmt: skip
        return await self._create(created, key)

    async def _removed(self, service: str) -> Release | None:
        """What has to go: what runs, or is being rolled out; where nobody can look, what the ledger says serves."""
        version = await self.to_remove(service) if self.to_remove is not None else None
        found = await self.releases.get(service, version) if version is not None else None
        return found.release if found is not None else await self.releases.current(service)

    async def _pick(
        self, service: Service, removed: Release, to: str | None
    ) -> tuple[Release, tuple[str, ...]] | Refusal:
        found = await self._candidates(service, removed)
        good = [c for c in found if c.over is None]
        others = [c for c in found if c.over is not None and c.release.version != removed.version]
        passed = [f"Passed over: {c.release.version} ({c.passed_over})." for c in others]
        if to is None:
            if not good:
                return Refusal(Why.UNKNOWN, " ".join([f"No release of {service.name} to go back to.", *passed]))
            return good[0].release, (*_sentences(good[0]), *passed)
        named = next((c for c in found if c.release.version == to), None)
        if named is None:
            known = ", ".join(c.release.version for c in good) or "none"
            return Refusal(
                Why.UNKNOWN, f"I know no release {to!r} of {service.name} to go back to. Candidates: {known}."
            )
        if named.over is not None:
            return Refusal(Why.NOT_NOW, f"Not {to}: {named.passed_over}.")
        return named.release, _sentences(named)

    async def _of_ledger(self, run_id: str, command: Retarget | Admit) -> Release | Refusal:
        """The release that a command means, as registered: nobody brings a content of their own."""
        version = command.release.version
        if command.release != Release(version):
            text = "release: give its version only; what it holds is read from the ledger."
            return Refusal(Why.BAD_INPUT, text)
        run = await self.store.load(run_id)
        service = self.catalogue.services.get(run.service)
        if service is None or run.created is None:
            text = f"{run.service or run.id} is not in the catalogue. Nothing was changed."
            return Refusal(Why.UNKNOWN, text)
        found = await self._candidates(service, run.created.removed)
        known = next((c for c in found if c.release.version == version), None)
        if known is None:
            names = ", ".join(c.release.version for c in found if c.over is None) or "none"
            text = f"{service.name} has no release {version!r}. Possible: {names}. Nothing was changed."
            return Refusal(Why.UNKNOWN, text, field="release")
        if known.over is not None and (command.do == "retarget" or known.over == "marked"):
            return Refusal(Why.NOT_NOW, f"Not {version}: {known.passed_over}. Nothing was changed.", field="release")
        return known.release

    async def _candidates(self, service: Service, removed: Release) -> list[Candidate]:
        return await self.releases.candidates(
            service.name, removed=removed.version, floor=service.floor, now=self.clock(),
            stable_after=service.stable_after,
        )  # fmt: skip

    async def _create(self, created: ev.Created, key: str | None) -> Run | Refusal:
        run_id = f"{created.service}-{secrets.token_hex(3)}"
        releasing = created.purpose in RELEASING
        if self.pins is not None:
            places, otherwise = await self.pins(created.service)
            created = replace(created, places=places, evidence=(*created.evidence, *otherwise))
        inherited = await self.debts.inherits(created.service, created.plan, created.places) if releasing else []
        inherited += await self._orphaned(created, {i.step for i in inherited})
        try:
            return await self.engine.create(run_id, created, *inherited, key=key)
        except AlreadyOpen as e:
            return Refusal(Why.NOT_NOW, f"{e.service} has an open run already: {e.run}. `show {e.run}` shows it.")
        except Duplicate:
            return Refusal(Why.ALREADY, "This was received already; nothing was opened twice.")

    async def left(self, service: str) -> Orphans:
        """What stands in the clusters by the bot's name, and nothing in this database accounts for."""
        kube = self.clusters().get(service)
        if kube is None:
            return Orphans()
        runs = [await self.store.load(h.run) for h in await self.store.heads(service=service, limit=None)]
        return await left(kube, service, runs, {r.version: r for r in await self.releases.all(service)})

    async def _orphan(self, service: str) -> Change | None:
        """The freeze that a lost database has left of a service."""
        kube = self.clusters().get(service)
        return await left_freeze(kube, service, await self.frozen.runs(service)) if kube is not None else None

    async def _orphaned(self, created: ev.Created, taken: Collection[str]) -> list[ev.Inherited]:
        """The freeze that a lost database has left, as this run's debt where it has a step for it."""
        steps = [s.id for s in created.plan.steps if "freeze" in s.duties and s.undo is None and s.id not in taken]
        if not steps or taken:
            return []
        try:
            async with asyncio.timeout(PATIENCE):
                change = await self._orphan(created.service)
        except TimeoutError:  # a cluster is away: nobody waits for it, and `doctor` tells of what is left there
            return []
        return [ev.Inherited(steps[0], "", "", change, self.clock())] if change is not None else []

    def _may_ask(self, person: Person, people: Sequence[Person], reason: str) -> Refusal | None:
        if no := may_open(person, people):
            return no
        if len(reason.strip()) < MIN_REASON:
            return Refusal(Why.BAD_INPUT, "This needs a reason: `because <what is wrong>`.", field="reason")
        return self._secret_in(reason=reason)

    def _secret_in(self, **typed: str) -> Refusal | None:
        """Why what somebody has typed may not be recorded; field -> text."""
        for field, text in typed.items():
            if no := self.engine.redactor.objection(text):
                return Refusal(Why.BAD_INPUT, no, field=field)
        return None


def _impossible(faults: Mapping[str, str]) -> Refusal:
    lines = "; ".join(f"{name}: {why}" for name, why in faults.items())
    hint = "Give somebody the role first; or open it all the same, and those decisions need broken glass."
    return Refusal(Why.IMPOSSIBLE, f"Nobody can pass {len(faults)} of the plan's decisions: {lines}. {hint}")


def _secret(created: ev.Created, redactor: Redactor) -> Refusal | None:
    """Why this may not be recorded, which is for ever: it holds a secret. Where, and never the value."""
    plan = f"plan {created.plan.name}"
    named = [(f"{plan}, step {s.id}, {k}", v, k) for s in created.plan.steps for k, v in (s.params or {}).items()]
    named += [(f"the catalogue, limit {k} of {created.service}", v, k) for k, v in created.limits.items()]
    for where, value, name in (*named, (f"{plan}, in a text", to_json(created.plan), "")):
        if kind := redactor.alters(value, name):
            text = f"The run would record a secret for ever ({kind}): {where}. Name a reference to it instead"
            return Refusal(Why.BAD_INPUT, f"{text} (a Secret's name and version). Nothing was opened.")
    return None


def _sentences(c: Candidate) -> tuple[str, ...]:
    """What speaks for a release; the first says which."""
    first, *more = c.why
    return (f"{c.release.version} {first}", *more)
