"""Runs played out purely: a small world, the engine's part, and people, on a clock of its own.

Nothing is faked: events go through `refused`, `encode`, `decode` and `evolve` as they do in the product, commands
through `answer`, and what is to be done is what `decide` says. The engine's part follows bot/engine/attempt.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bot.catalogue import Release
from bot.contract import Change, Edit, Effect, Fact, Json, Receipt, Scope, Status, Value, Verdict, within
from bot.plan.model import Choice, Decision, Plan, StepSpec, resolve
from bot.policy import Actor, Gate, Person, Refusal, Requirement
from bot.ports import Blob, Unreachable, Where
from bot.run import events as ev
from bot.run.answering import Answer, Asking, answer
from bot.run.commands import Approve, Command
from bot.run.deadlines import why_stop
from bot.run.decide import Next as Next
from bot.run.decide import decide
from bot.run.fold import evolve
from bot.run.rules import refused
from bot.run.state import Halt, Run, Step, new_run, underneath

T0 = 1_000_000.0
ROUNDS = 40
"""Rounds of records and starts after which decide() counts as restless."""

ANA = Person("ana", "ana", frozenset({"commander"}))
KIM = Person("kim", "kim", frozenset({"commander", "approver"}))
BEN = Person("ben", "ben", frozenset({"dba"}))
CHO = Person("cho", "cho", frozenset({"approver"}))
DAN = Person("dan", "dan", frozenset({"approver", "dba"}))
GUS = Person("gus", "gus", frozenset({"approver", "dba", "commander"}), kind="guest")
ZED = Person("zed", "zed", kind="stranger")
PEOPLE = (ANA, KIM, BEN, CHO, DAN, GUS, ZED)
NAMED = {p.id: p for p in PEOPLE}

COMMANDER = Gate((Requirement("commander"),), self_approval=True)
APPROVER = Gate((Requirement("approver"),))
TWO = Gate((Requirement("approver", 2),))
BOTH = Gate((Requirement("dba"), Requirement("approver")))
TYPED = Gate((Requirement("dba"),), typed_phrase=True)

Outcome = Literal[
    "well", "begin", "write", "record", "wait", "note", "flaky", "broken", "odd", "lost", "cancelled", "hang", "bad",
    "warn", "unclear",
]  # fmt: skip


# -- plans by hand -----------------------------------------------------------------------------------------------------


def act(id: str, sets: Mapping[str, Json] | None = None, after: Sequence[str] = (), **spec: Any) -> StepSpec:
    """A step that sets targets (its own id to "new" where none is named). limit: ceiling of the fact "rows";
    effect: something done that has no before; loose: what the targets hold before is not bound; final: for good;
    within: seconds that the change needs by itself."""
    own = ("limit", "effect", "loose", "final", "gives", "within")
    extra: dict[str, Json] = {k: spec.pop(k) for k in own if k in spec}
    wanted: dict[str, Json] = {id: "new"} if sets is None else dict(sets)
    params: dict[str, Json] = {"sets": wanted, **extra}
    return StepSpec(id, id.capitalize(), "main", "action", "doc.set", params, tuple(after), **spec)


def check(id: str, after: Sequence[str] = (), data: Mapping[str, Json] | None = None, **spec: Any) -> StepSpec:
    """A step that looks; `data`: what its verdict hands on."""
    return StepSpec(id, id.capitalize(), "main", "check", "doc.is", {"data": dict(data or {})}, tuple(after), **spec)


def undo(id: str, of: StepSpec, after: Sequence[str] = (), **spec: Any) -> StepSpec:
    """A step that undoes another."""
    ids = tuple(dict.fromkeys((of.id, *after)))
    return StepSpec(id, id.capitalize(), "main", "undo", of.uses, of.params, ids, undo=of.id, **spec)


def ask(id: str, after: Sequence[str] = ()) -> StepSpec:
    """A step that only asks people, by the decision of its name."""
    return StepSpec(id, id.capitalize(), "main", "gate", after=tuple(after), decision=id)


def watch(id: str, checks: Sequence[str], lasting: float, after: Sequence[str] = (), **spec: Any) -> StepSpec:
    """A step that repeats checks."""
    ids = tuple(dict.fromkeys((*checks, *after)))
    return StepSpec(
        id, id.capitalize(), "main", "watch", after=ids, phase="verify", repeat=tuple(checks), lasting=lasting, **spec
    )


def gate(name: str, *members: str, by: Gate | None = APPROVER, **spec: Any) -> Decision:
    """A decision about these steps (the one of its name, where none is given)."""
    return Decision(name, name.capitalize(), members or (name,), by, **spec)


def plan(*steps: StepSpec, decisions: Sequence[Decision] = (), choices: Sequence[Choice] = ()) -> Plan:
    """A plan of these steps."""
    return Plan("test", steps, tuple(decisions), tuple(choices))


# -- playing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """One accepted event, with the run before and after it."""

    before: Run
    event: ev.Event
    after: Run


@dataclass
class Play:
    """A run and everything around it. log: events as stored; said: commands, and whether they were accepted."""

    plan: Plan
    now: float = T0
    world: dict[str, Json] = field(default_factory=dict)
    run: Run = field(default_factory=lambda: new_run("r1"))
    log: list[tuple[str, str, float]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    said: list[tuple[Command, bool]] = field(default_factory=list)
    inherits: tuple[ev.Inherited, ...] = ()
    places: Mapping[str, Where] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    """Parts that do not answer: "eu", where targets are called "eu/shop"."""

    def __post_init__(self) -> None:
        created = ev.Created(
            "shop", self.plan, self.plan.digest, Release("2.4.1"), Release("2.4.0"), "checkout fails",
            Actor.of(ANA, "test"), limits={"rows": 5}, places=self.places,
        )  # fmt: skip
        assert self.write(created, *self.inherits) is None

    # -- the log ---------------------------------------------------------------------------------------------------

    def write(self, *events: ev.Event) -> str | None:
        """Appends all of them and what follows from them, or none: then why."""
        run, moments = self.run, []
        for e in events:
            if no := refused(run, e):
                return no.text
            stored = encode_decode(e)
            after = evolve(run, stored, self.now)
            moments.append(Moment(run, stored, after))
            run = after
        self.log += [(*ev.encode(m.event), self.now) for m in moments]
        self.moments += moments
        self.run = run
        self.settle()
        return None

    def settle(self) -> None:
        """Writes what follows and starts what may start; every bit of it must be lawful."""
        for _ in range(ROUNDS):
            decision = decide(self.run, self.now)
            if not decision.record and not decision.start:
                return
            for e in decision.record:
                self._must(e)
            for s in decision.start:
                self._must(ev.Started(s.step, s.n, s.application, s.doing, "n1"))
        raise AssertionError(f"decide() does not come to rest: {decide(self.run, self.now)}")

    def _must(self, e: ev.Event) -> None:
        why = refused(self.run, e)
        assert why is None, f"decide() wants {e}, which is refused: {why}"
        after = evolve(self.run, encode_decode(e), self.now)
        self.log.append((*ev.encode(e), self.now))
        self.moments.append(Moment(self.run, e, after))
        self.run = after

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.settle()

    @property
    def decision(self) -> Next:
        """What is to be done now."""
        return decide(self.run, self.now)

    @property
    def due(self) -> float | None:
        """When to look again."""
        return self.decision.due

    @property
    def proposal(self) -> str:
        """The one open proposal."""
        (found,) = self.run.proposals
        return found

    # -- people ----------------------------------------------------------------------------------------------------

    def say(self, person: Person, command: Command) -> Answer | Refusal:
        """One person's command, carried out."""
        found = answer(self.run, command, Asking(person, "test", PEOPLE, self.now, f"p{len(self.said)}"))
        self.said.append((command, isinstance(found, Answer)))
        if isinstance(found, Answer):
            why = self.write(*found.events)
            assert why is None, f"{command} was answered {found.text!r} and then refused: {why}"
        return found

    def do(self, person: Person, command: Command) -> str:
        """The same, where it must be accepted; the answer's text."""
        found = self.say(person, command)
        assert isinstance(found, Answer), found.text
        return found.text

    def refusal(self, person: Person, command: Command) -> str:
        """The same, where it must be refused; the refusal's text."""
        found = self.say(person, command)
        assert isinstance(found, Refusal), found.text
        return found.text

    def approve(self, name: str, *people: Person) -> None:
        """They click on the card as it is, and type the phrase."""
        for p in people:
            self.do(p, Approve(name, self.run.card(name), self.run.phrase(name)))
            self.look()

    # -- the engine's part -----------------------------------------------------------------------------------------

    def step(self, id: str) -> Step:
        """A step as it stands."""
        return self.run.steps[id]

    def halt(self, id: str) -> Halt:
        """Why a step waits for people."""
        found = self.run.steps[id].halt
        assert found is not None, f"{id} does not wait for people"
        return found

    def look(self) -> None:
        """Lets every attempt that only plans come to its end."""
        for _ in range(ROUNDS):
            plans = [s.spec.id for s in self.run.in_flight if s.attempt and s.attempt.doing == "plan"]
            if not plans:
                return
            for i in plans:
                self.go(i)
        raise AssertionError("planning does not end")

    def go_all(self) -> None:
        """Lets everything that is at work, and what follows without time passing, come to its end."""
        for _ in range(ROUNDS):
            if not self.run.in_flight:
                return
            for s in self.run.in_flight:
                self.go(s.spec.id)
        raise AssertionError("work does not end")

    def go(self, id: str, outcome: Outcome = "well") -> None:
        """The attempt of a step goes on, or ends, like this. Whatever does not fit what it is doing goes well."""
        s = self.run.steps[id]
        if s.attempt is None or outcome == "hang":
            return
        why = why_stop(s, self.now)
        if why and outcome in ("cancelled", "well"):
            assert self.write(ev.Cancelled(id, s.n, why)) is None
        elif outcome == "lost":
            assert self.write(ev.Lost(id, s.n, "lease ran out")) is None
        elif outcome == "flaky":
            assert self.write(ev.Failed(id, s.n, "retryable", "no answer", retry_at=self.now + 5)) is None
        elif outcome in ("broken", "odd"):
            assert self.write(ev.Failed(id, s.n, "fatal" if outcome == "broken" else "unknown", "it broke")) is None
        elif s.attempt.doing == "check":
            self._checked(s, outcome)
        else:
            try:
                self._act(s, outcome) if s.attempt.doing != "plan" else self._look(s)
            except Unreachable as e:
                lost = ev.Failed(id, s.n, "fatal", str(e), "try again when it is back", parts=e.parts)
                assert self.write(lost) is None
            except LookupError as e:
                assert self.write(ev.Failed(id, s.n, "fatal", f"needs a value that is not there: {e}")) is None

    def _checked(self, s: Step, outcome: Outcome) -> None:
        found = {"bad": Status.FAIL, "unclear": Status.UNKNOWN, "warn": Status.WARN}.get(outcome, Status.PASS)
        data = (s.spec.params or {}).get("data", {})
        assert isinstance(data, dict)
        verdict = Verdict(found, f"seen {found}", "pass", data)
        assert self.write(ev.Checked(s.spec.id, s.n, verdict)) is None

    def _look(self, s: Step) -> None:
        if s.unseen:
            made = self.scope(s).of(s.made) if s.made is not None else None
            there = [t for t in (made.targets if made else ()) if not any(within(t, p) for p in self.away)]
            assert self.write(ev.Seen(s.spec.id, s.n, {t: self.world.get(t) for t in there})) is None
            return
        change, left = self.fresh(s)
        if not s.adopting:
            change = change.on_top_of(underneath(self.run, s))
            assert self.write(ev.Planned(s.spec.id, s.n, change, self.fingerprint(s, change), left)) is None
        elif change.edits or left:
            assert self.write(ev.Failed(s.spec.id, s.n, "fatal", "not done yet", "finish it by hand")) is None
        else:
            assert self.write(ev.Adopted(s.spec.id, s.n, {}, "done by hand", _gives(s))) is None

    def _act(self, s: Step, outcome: Outcome) -> None:
        """A pass may be in its middle: what it has begun it does not begin again."""
        if not s.applying or s.replan or s.change is None:
            over = self._begin(s)
            if over or outcome == "begin":
                return
        s = self.run.steps[s.spec.id]
        assert s.change is not None
        todo = [e for e in s.change.edits if self.world.get(e.target) != e.after]
        if outcome == "wait":
            assert self.write(ev.Waiting(s.spec.id, s.n, "taking effect", self.now + 30, 1, 2)) is None
            return
        if outcome == "note":
            self._or_cancelled(s, ev.Noted(s.spec.id, s.n, "ticket", s.n))
            return
        for e in todo[:1] if outcome in ("write", "record") else todo:
            if not self._or_cancelled(s, ev.Recorded(s.spec.id, s.n, f"set {e.target}")):
                return
            if any(within(e.target, p) for p in self.away):
                raise Unreachable.of({p: "no answer" for p in self.away if within(e.target, p)})
            if outcome != "record":
                assert not isinstance(e.after, Blob)
                self.world[e.target] = e.after
        if outcome in ("write", "record") and todo:
            return
        if self.run.undoes(s) is not None:
            seen: dict[str, Value] = {e.target: self.world.get(e.target) for e in s.change.edits}
            assert self.write(ev.Undone(s.spec.id, s.n, Receipt("put back"), seen)) is None
        else:
            assert self.write(ev.Applied(s.spec.id, s.n, Receipt("done", output=_gives(s)))) is None

    def _begin(self, s: Step) -> bool:
        """What comes before the first effect; whether that was all."""
        change, left = self.fresh(s)
        print_ = self.fingerprint(s, change)
        planned = ev.Planned(s.spec.id, s.n, change, print_, left)
        if left:
            assert self.write(planned) is None
            return True
        base = s.released or (s.change if s.replan else None)
        beyond = change.beyond(s.released) if s.released is not None else ()
        there: tuple[str, ...] = ()
        if base is not None:
            base = self.scope(s).of(base)
            base = replace(base, edits=tuple(e for e in base.edits if e.target not in s.leave))
            beyond = (*beyond, *base.strayed(change, {e.target: self.seen(e.target) for e in base.edits}))
            there = tuple(e.target for e in base.missing_from(change))
        whole = base.whole(change) if base is not None else change
        if beyond:
            assert self.write(ev.Drifted(s.spec.id, s.n, change, print_, beyond)) is None
        elif whole.is_noop:
            done = Receipt(change.summary, output=_gives(s))
            undoing = self.run.undoes(s) is not None
            over = ev.Undone(s.spec.id, s.n, done, {}) if undoing else ev.Applied(s.spec.id, s.n, done)
            assert self.write(planned, over) is None
        else:
            return not self._or_cancelled(s, ev.ApplyStarted(s.spec.id, s.n, whole, print_, there))
        return True

    def _or_cancelled(self, s: Step, e: ev.Event) -> bool:
        """Whether it may go on; otherwise the attempt ends as people wanted."""
        refusal = self.write(e)
        if refusal is None:
            return True
        why = why_stop(self.run.steps[s.spec.id], self.now)
        assert why, f"{e} is refused, but nobody wants it to stop: {refusal}"
        assert self.write(ev.Cancelled(s.spec.id, s.n, why)) is None
        return False

    def fresh(self, s: Step) -> tuple[Change, dict[str, Value]]:
        """What the step would change as the world is, and what others changed meanwhile (undo only)."""
        source = self.run.undoes(s)
        if source is not None:
            made = self.scope(s).of(source.made) if source.made is not None else None
            if made is None or not (made.edits or made.effects):
                return Change("nothing is left to undo"), {}
            return made.undo_from({t: self.seen(t) for t in made.targets}, s.leave)
        p = resolve(s.spec.params or {}, self.run.value)
        assert isinstance(p["sets"], Mapping)
        bound = "loose" not in p
        wanted = {t: v for t, v in p["sets"].items() if self.scope(s).holds(t)}
        if lost := {p: "no answer" for p in self.away if any(within(t, p) for t in wanted)}:
            raise Unreachable.of(lost)
        edits = tuple(Edit(t, self.world.get(t), v, bound) for t, v in wanted.items() if self.world.get(t) != v)
        limit = p.get("limit")
        facts = (Fact("rows", self.world.get("rows", 0), "rows", limit),) if isinstance(limit, int | float) else ()
        effects = (Effect(str(p["effect"]), "repeat"),) if "effect" in p else ()
        lasts, what = p.get("within"), "sets " + ", ".join(e.target for e in edits)
        needs = float(lasts) if isinstance(lasts, int | float) else 0.0
        return Change(what, edits, effects, facts, (), "final" not in p, needs), {}

    def fingerprint(self, s: Step, change: Change) -> str:
        """What an approval of it binds."""
        return change.fingerprint(s.spec.uses, self.run.where(s.spec))

    def scope(self, s: Step) -> Scope:
        """What the step's attempt sees."""
        return Scope(s.attempt.without if s.attempt is not None else self.run.left_out, s.only)

    def seen(self, target: str) -> Json:
        """What a target holds. Unreachable where its place is away."""
        if lost := {p: "no answer" for p in self.away if within(target, p)}:
            raise Unreachable.of(lost)
        return self.world.get(target)

    # -- looking ---------------------------------------------------------------------------------------------------

    def kinds(self) -> list[str]:
        """The kinds of all events, in order."""
        return [kind for kind, _, _ in self.log]

    def events_of(self, kind: str) -> int:
        """How many events of a kind there are."""
        return self.kinds().count(kind)

    def events(self, kind: type[ev.Event]) -> Iterator[Any]:
        """The events of one kind."""
        return (m.event for m in self.moments if isinstance(m.event, kind))


def _gives(s: Step) -> Mapping[str, Json]:
    """What the step's action hands on, whether or not there was something to do."""
    gives = (s.spec.params or {}).get("gives", {})
    assert isinstance(gives, dict)
    return gives


def encode_decode(e: ev.Event) -> ev.Event:
    """The event as it comes back from the log; it must be the same."""
    again = ev.decode(*ev.encode(e))
    assert again == e
    return again
