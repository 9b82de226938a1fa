"""A run as it stands: the values that its events fold to (`fold.py` folds them). Pure: no clock, no I/O.

Invariants:
- a step has at most one attempt in flight, and `n` of its last attempt is the fencing token;
- `released` is set only by votes that bind the change at hand, and is lost when the change goes beyond it;
- undo data (`made`) is known from before the first effect, and kept over attempts: first before, last after;
- what is temporary is a debt from its first effect until it is seen undone, or handed to a named person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bot.catalogue import Release
from bot.contract import Change, Edit, Json, Outgoing, Scope, canonical
from bot.plan.model import Plan, StepSpec
from bot.policy import Actor
from bot.policy.approval import satisfied
from bot.ports import Where
from bot.run.asked import Asked as Asked
from bot.run.asked import Dropped as Dropped
from bot.run.asked import Given as Given
from bot.run.asked import Proposal as Proposal
from bot.run.debt import BrokenGlass as BrokenGlass
from bot.run.debt import Debt as Debt
from bot.run.debt import Part as Part
from bot.run.events import Closed, CommandTaken, Created
from bot.run.replacing import replace
from bot.run.step import Attempt as Attempt
from bot.run.step import EndKind as EndKind
from bot.run.step import Halt as Halt
from bot.run.step import Step as Step


@dataclass(frozen=True, slots=True)
class Jump:
    """A clock went ahead: when that was told, by how much (seconds), and the node that told it."""

    at: float
    by: float
    node: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How something that waited for people ended. kind: of the event that ended it; words: the reason given."""

    at: float
    kind: str
    by: Actor | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class PastHalt:
    """A halt of a step, and how it was resolved. over None: it still waits. called: people were asked how to go on;
    not for a way that was only ever refused beside another one."""

    step: str
    halt: Halt
    over: Outcome | None = None
    called: bool = False


@dataclass(frozen=True, slots=True)
class PastProposal:
    """A proposal that is no longer open. done: what it asked for was done."""

    proposal: Proposal
    over: Outcome
    done: bool


@dataclass(frozen=True, slots=True)
class Succession:
    """Command that was offered to `to`, or taken. taken None: not (yet)."""

    to: str
    by: Actor | None
    at: float
    taken: CommandTaken | None = None
    taken_at: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds until the service was back: in which something was at work or its effect awaited, and in which nothing
    was and people could decide. The rest it stood still: stopped, or halted."""

    work: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True)
class Run:
    """Everything there is to know about a run, after `seq` events. Times in seconds since the epoch."""

    id: str
    #: Events so far, the hash of the last one, and when that was.
    seq: int = 0
    head: str = ""
    at: float = 0.0
    created: Created | None = None
    created_at: float = 0.0
    #: The release that it brings now, and where it is worked on, and nowhere else.
    target: Release | None = None
    places: Mapping[str, Where] = field(default_factory=dict)
    #: Targets that were given up, each with the reason; releases let through the freeze.
    tried: tuple[tuple[Release, str], ...] = ()
    admitted: tuple[Release, ...] = ()
    #: Who commands, who ever did, when the commander was last seen, and to whom command is offered.
    commander: Actor | None = None
    commanded: frozenset[str] = frozenset()
    commander_seen: float = 0.0
    offered: str = ""
    #: What stakeholders read: what customers notice, what works all the same; when it was told anew.
    impact: str = ""
    workaround: str = ""
    told: tuple[float, ...] = ()
    #: By id: steps, decisions, debts (by step), broken glass (by decision).
    steps: Mapping[str, Step] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)
    debts: Mapping[str, Debt] = field(default_factory=dict)
    reviews: Mapping[str, BrokenGlass] = field(default_factory=dict)
    #: Step -> (ended run, its step) whose debt it has taken over, given back by now or not.
    inherited: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: Parts that were away, by name; open proposals, by id.
    parts: Mapping[str, Part] = field(default_factory=dict)
    proposals: Mapping[str, Proposal] = field(default_factory=dict)
    #: Decision -> why nobody who exists now can pass it.
    impossible: Mapping[str, str] = field(default_factory=dict)
    #: What waited for people and how it ended, in the order in which it began.
    halts: tuple[PastHalt, ...] = ()
    past: tuple[PastProposal, ...] = ()
    successions: tuple[Succession, ...] = ()
    stopped: Actor | None = None
    aborted: Actor | None = None
    abort_reason: str = ""
    #: Since when the service is verified and watched; how the time until then was spent.
    restored: float | None = None
    spent: Spent = Spent()
    closed: Closed | None = None
    closed_at: float | None = None
    #: Target -> what stands there again of what was removed, noticed at `back_at`.
    back: Mapping[str, str] = field(default_factory=dict)
    back_at: float | None = None
    #: The last jump ahead that was told, since a clock went back.
    jumped: Jump | None = None
    #: Why what the log holds behind `seq` is not believed (`bot/store/signing.py`): nothing of the run is acted upon.
    #: Empty where all of it is.
    doubt: str = ""

    @property
    def plan(self) -> Plan:
        """The plan it was created with."""
        if self.created is None:
            raise LookupError(f"run {self.id} has not been created")
        return self.created.plan

    @property
    def service(self) -> str:
        """Name of the catalogued service."""
        return self.created.service if self.created else ""

    @property
    def purpose(self) -> str:
        """rollback, forward, ..."""
        return self.created.purpose if self.created else ""

    @property
    def open(self) -> bool:
        """Created and not closed."""
        return self.created is not None and self.closed is None

    @property
    def over(self) -> bool:
        """Given up or closed: nothing goes forward any more."""
        return self.aborted is not None or self.closed is not None

    @property
    def at_work(self) -> bool:
        """Whether it may still change something by itself: every open run, and an ended one in which something is
        being given back. No two runs of a service may."""
        return self.open or (self.closed is not None and any(self._giving_back(s) for s in self.steps.values()))

    def _giving_back(self, s: Step) -> bool:
        under_way = s.attempt is not None and s.attempt.doing == "undo"
        waits = s.open and s.halt is None and self.goes_on(s) and self.free(s)
        return under_way or (s.undoing and waits)

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Parts that the run goes on without now: no step sees them."""
        return frozenset(p.name for p in self.parts.values() if p.back is None)

    @cached_property
    def owed_parts(self) -> tuple[Part, ...]:
        """Parts that have not got everything that the others have: nothing is verified while there is one."""
        short = frozenset[str]().union(self.left_out, *(s.without for s in self.steps.values()))
        return tuple(p for p in self.parts.values() if p.name in short)

    def scope(self, s: Step) -> Scope:
        """What the step sees."""
        return Scope(self.left_out, s.only)

    def goes_on(self, s: Step) -> bool:
        """Whether the step may still be worked on: in a run that was given up or is over only what is given back."""
        return not self.over or (s.undoing and (s.spec.id in self.debts or s.afterwards))

    @property
    def barred(self) -> frozenset[str]:
        """Requester and everyone who ever commanded it: they do not approve."""
        asked = (self.created.by, *self.created.barred) if self.created else ()
        return self.commanded | {a.id for a in asked}

    @property
    def barred_people(self) -> tuple[Actor, ...]:
        """The same, as recorded, each once."""
        asked = (self.created.by, *self.created.barred) if self.created else ()
        taken = (s.taken.by for s in self.successions if s.taken is not None)
        return tuple({a.id: a for a in (*asked, *taken)}.values())

    @cached_property
    def in_flight(self) -> tuple[Step, ...]:
        """Steps with an attempt under way."""
        return tuple(s for s in self.steps.values() if s.attempt is not None)

    @cached_property
    def halted(self) -> tuple[Step, ...]:
        """Steps that wait for people to say how to go on; not those of a way that is refused beside others."""
        return tuple(s for s in self.steps.values() if s.open and s.halt is not None and not self.refused(s, s.halt))

    def refused(self, step: Step, halt: Halt) -> bool:
        """Whether this only says that one way of a choice cannot be gone, while another can, or was taken."""
        asked = self.decision_of(step)
        if asked is None or asked.spec.choice is None or halt.cause != "fatal" or halt.parts:
            return False
        if asked.decided is not None:
            return halt.since < asked.decided
        others = [a for a in self.asked.values() if a.spec.choice == asked.spec.choice and a is not asked]
        return any(
            a.decided is not None or all(s.open and s.halt is None for s in (self.steps[i] for i in a.spec.members))
            for a in others
        )

    @cached_property
    def held(self) -> bool:
        """Whether a halted step holds up the whole run."""
        return any(s.spec.on_fail == "halt" for s in self.halted)

    def spent_until(self, at: float) -> Spent:
        """How the time was spent if nothing more happens before `at`."""
        passed = max(0.0, at - self.at)
        if not self.open or self.restored is not None:
            return self.spent
        if self.in_flight or any(self._awaited(s) for s in self.steps.values()):
            return replace(self.spent, work=self.spent.work + passed)
        if any(a.opened is not None and a.spec.gate is not None for a in self.asked.values()):
            return replace(self.spent, waiting=self.spent.waiting + passed)
        return self.spent

    def _awaited(self, s: Step) -> bool:
        """Whether the step has begun, and goes on by itself when its time has come."""
        held = self.stopped is not None or not self.goes_on(s)
        return s.began is not None and s.open and s.halt is None and not held

    @cached_property
    def superseded(self) -> bool:
        """Whether something is still at work for a target that was given up."""
        return any(s.reset for s in self.in_flight)

    @cached_property
    def owing(self) -> tuple[Debt, ...]:
        """Debts that nobody has taken over."""
        return tuple(d for d in self.debts.values() if not d.owner)

    def started(self, step: Step) -> bool:
        """Whether the step has begun to act, or has ended: no click changes it any more. One that drifted when it
        was tried again has to be asked about once more, whatever it has done so far."""
        doing = step.attempt is not None and step.attempt.doing in ("apply", "undo")
        return not step.open or doing or (step.applying and self.free(step))

    def free(self, step: Step) -> bool:
        """Whether people have let this application of the step pass, or nobody is asked."""
        return step.released is not None or self.decision_of(step) is None

    def members(self, name: str) -> Iterator[Step]:
        """The steps that a decision would free now: those that have neither begun nor ended. (While a step is
        being undone it belongs to the decision about that.)"""
        steps = (self.steps[i] for i in self.asked[name].spec.members)
        return (s for s in steps if s.open and _decision(s) == name and not self.started(s))

    def fingerprints(self, name: str) -> dict[str, str]:
        """What a vote for the decision binds now: step -> fingerprint."""
        return {s.spec.id: s.fingerprint for s in self.members(name)}

    def where(self, spec: StepSpec) -> str:
        """What of the run's places an approval of this step binds: a digest, empty where it reaches none."""
        known = {n: w.digest for n, w in self.places.items() if not spec.needs or w.port in spec.needs}
        return hashlib.sha256(canonical(known).encode()).hexdigest()[:32] if known else ""

    def card(self, name: str) -> str:
        """Twelve hex digits that stand for exactly what a decision's card shows now; a click carries them."""
        return hashlib.sha256(canonical([name, self.fingerprints(name)]).encode()).hexdigest()[:12]

    def phrase(self, name: str) -> str:
        """What is typed where a decision asks for it, e.g. "restore shop"."""
        spec = self.asked[name].spec
        return f"{spec.option or spec.name} {self.service}"

    def awaited(self, step: Step) -> list[str]:
        """The steps that must end before this one acts; one that is not needed hands on what it would wait for."""
        found: list[str] = []
        for i in step.spec.after:
            earlier = self.steps[i]
            found += [i] if earlier.open else self.awaited(earlier) if earlier.end == "not needed" else []
        return found

    def decision_of(self, step: Step) -> Asked | None:
        """The decision that frees this application of the step; None where nobody is asked."""
        name = _decision(step)
        return self.asked.get(name) if name else None

    def chosen(self, choice: str) -> str | None:
        """The option taken at a choice, if one was."""
        return next((a.spec.option for a in self.asked.values() if a.spec.choice == choice and a.decided), None)

    def begun_otherwise(self, asked: Asked) -> list[str]:
        """Steps of another way of the same choice that have begun: they must end before this way can be taken."""
        others = (
            a for a in self.asked.values() if a.spec.choice == asked.spec.choice and a.spec.name != asked.spec.name
        )
        steps = (self.steps[i] for a in others for i in a.spec.members) if asked.spec.choice else ()
        return [s.spec.id for s in steps if s.open and (s.applying or self.started(s))]

    def undoes(self, step: Step) -> Step | None:
        """The step whose work this application takes back; None where it goes forward."""
        if step.spec.undo is not None:
            return self.steps[step.spec.undo]
        return step if step.undoing else None

    def being_given_back(self, debt: str) -> bool:
        """Whether something is taking back what this step holds, or has begun to and not ended."""
        own = self.steps[debt]
        undoing = (s for s in self.steps.values() if s.spec.undo == debt)
        return (
            own.attempt is not None
            or (own.undoing and own.open)
            or any(s.attempt is not None or (s.applying and s.open) for s in undoing)
        )

    @property
    def let_through(self) -> tuple[str, ...]:
        """Digests of the images that people have let through the freeze."""
        return tuple(sorted({d for r in self.admitted for d in r.digests}))

    @property
    def kept_out(self) -> Mapping[str, tuple[str, ...]]:
        """Version -> digests that may not come back, of the release that was removed and of those tried in vain; what
        the restored one has as well is not among them."""
        good = self.target.digests if self.target is not None else frozenset()
        return {r.version: tuple(sorted(r.digests - good)) for r in self.outgoing}

    @property
    def called_off(self) -> bool:
        """Given up, and nothing of the way to the target stands: what was to be removed is meant to stay."""
        lasting = ((s, s.made) for s in self.steps.values() if s.made is not None and s.spec.id not in self.debts)
        stands = (s.spec.id for s, m in lasting if any(s.seen.get(e.target, e.after) != e.before for e in m.edits))
        return self.aborted is not None and not any(i in self.plan.on_target for i in stands)

    @property
    def outgoing(self) -> tuple[Release, ...]:
        """The release that is removed, and the targets tried in vain, those of the run that this one takes back too."""
        if self.created is None or self.target is None:
            return ()
        removed = () if self.called_off else (*self.created.given_up, self.created.removed)
        found = (*removed, *(tried for tried, _ in self.tried))
        return tuple(r for r in found if r.version != self.target.version)

    def value(self, ref: str) -> Json:
        """The value of a reference ("target.version", "steps.x.y"). LookupError where there is none (yet)."""
        head, *rest = ref.split(".")
        if head == "steps":
            step = self.steps[".".join(rest[:-1])]
            if rest[-1] not in step.output:
                raise LookupError(f"{step.spec.id} has given no {rest[-1]}")
            return step.output[rest[-1]]
        if self.created is None:
            raise LookupError(ref)
        if head == "run":
            return self._decided(rest[0])
        if head in ("target", "removed"):
            release = self.target if head == "target" else self.created.removed
            found: Json = getattr(release, rest[0])
            return dict(found) if isinstance(found, Mapping) else found
        if rest[0] == "limits":
            return self.created.limits[rest[1]]
        if rest[0] == "has":
            return rest[1] in self.created.kinds
        if rest[0] == "channels":
            return list(getattr(self.created.channels, rest[1]))
        return self.created.service

    def _decided(self, what: str) -> Json:
        if what == "purpose":
            return self.purpose
        if what == "meeting":
            return self.created.meeting if self.created is not None else ""
        if what == "admitted":
            return [*self.let_through]
        if what == "banned":
            return {version: [*digests] for version, digests in self.kept_out.items()}
        known = (Outgoing(version=r.version, commit=r.commit, images=dict(r.images), settings=r.settings,
                          frontend=r.frontend) for r in self.outgoing)  # fmt: skip
        return [r.model_dump(mode="json") for r in known]


def new_run(id: str) -> Run:
    """A run of which nothing is known yet."""
    return Run(id)


def _decision(step: Step) -> str | None:
    return f"undo.{step.spec.id}" if step.undoing and step.spec.kind != "undo" else step.spec.decision


def underneath(run: Run, step: Step) -> list[Change]:
    """Changes that will be in place when this step acts, and wait for the same decision."""
    together = _together(run, step)
    earlier = (run.steps[s.id] for s in run.plan.steps if s.id in together)
    return [s.change for s in earlier if s.open and s.change is not None]


def overlapping(run: Run, step: Step) -> list[str]:
    """Unfinished earlier steps that do not wait for the same decision, and change what it would change."""
    if step.change is None or step.undoing:
        return []
    together = _together(run, step)
    found = []
    for i in run.plan.before[step.spec.id]:
        p = run.steps[i]
        if p.open and p.spec.changes and i not in together and touches(run, p) & step.change.targets:
            found.append(i)
    return found


def _together(run: Run, step: Step) -> frozenset[str]:
    """Earlier steps of the same decision, and those between: they come only after people have decided."""
    asked = run.decision_of(step)
    if asked is None or len(asked.spec.members) == 1:
        return frozenset()
    before = run.plan.before
    earlier = before[step.spec.id].intersection(asked.spec.members)
    waiting = earlier.intersection(s.spec.id for s in run.members(asked.spec.name))
    between = (i for i in before[step.spec.id] if not waiting.isdisjoint(before[i])) if waiting else ()
    return earlier.union(between)


def touches(run: Run, step: Step) -> frozenset[str]:
    """The targets that a step would change, as far as is known."""
    source = run.undoes(step)
    change = step.change or (source.made or source.change if source else None)
    return change.targets if change else frozenset()


def votes_suffice(asked: Asked) -> bool:
    """Whether the votes given so far fill the gate."""
    gate = asked.spec.gate
    return gate is None or satisfied(gate, asked.ballots)


def merge(made: Change | None, now: Change, edits: tuple[Edit, ...]) -> Change:
    """Undo data after another attempt of one application."""
    return replace(
        now,
        edits=edits,
        effects=tuple(dict.fromkeys([*(made.effects if made else ()), *now.effects])),
        reversible=now.reversible and (made is None or made.reversible),
    )
