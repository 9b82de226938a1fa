"""Random plans, random but lawful orders of events, and a crew that brings any run home.

A story is a plan and a list of numbers; each number stands for one move (of the world, of people, of time), so that
a failing story shrinks to few moves. Plans avoid what would make them impossible whatever the engine does: anything
that only later work can tell (a gate, a condition, a reference) between two steps of one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from hypothesis import strategies as st

from bot.catalogue import Release
from bot.contract import Change, Edit, Json
from bot.plan.model import REF, Choice, Condition, Decision, OnFail, Plan, StepSpec
from bot.policy import Actor, Gate, Person, Refusal
from bot.policy.approval import Vote, may_vote
from bot.ports import Blob, Where
from bot.run import answering
from bot.run import commands as c
from bot.run import events as ev
from bot.run.decide import finished
from bot.run.state import Asked, Debt, Run, Step
from tests.run import played as h
from tests.run.played import NAMED, PEOPLE, Outcome, Play

TARGETS = ("a", "b", "c", "d")
RELEASES = tuple(Release(v) for v in ("2.3.9", "2.3.8", "2.3.7"))
HASTY = replace(h.TWO, lifetime=60.0)
"""Two approvers, whose yes lapses soon."""
FIX = Release("2.4.2", images={"api": f"registry.example/api@sha256:{'2' * 64}"})


@dataclass(frozen=True)
class Story:
    """A plan, by its seed, and what happens to it."""

    seed: int
    numbers: tuple[int, ...]

    @property
    def plan(self) -> Plan:
        """The plan."""
        return random_plan(self.seed)

    def played(self) -> Play:
        """All of it, at once."""
        play = Play(self.plan, inherits=inherited(self.seed))
        for _ in moves(play, self.numbers):
            pass
        return play


# -- plans -------------------------------------------------------------------------------------------------------------


@dataclass
class _Maker:
    """One plan from one source of chance."""

    r: Random
    steps: list[StepSpec] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    temporary: list[StepSpec] = field(default_factory=list)
    destructive: bool = False

    def plan(self) -> Plan:
        r = self.r
        self.add(
            h.check("pre", data={"out": "x", "proven": r.random() < 0.5}, phase="preflight", on_fail=self.on_fail())
        )
        if r.random() < 0.6:
            self.add(h.ask("start", ("pre",) if r.random() < 0.5 else ()))
            self.decisions.append(h.gate("start", by=h.COMMANDER))
        first = self.steps[-1].id if r.random() < 0.9 else None
        ends = [end for t in range(r.choice((1, 2, 2, 3))) for end in self.track(t, first)]
        last = tuple(dict.fromkeys(ends))
        if r.random() < 0.7:
            self.add(
                h.check("verify", last, phase="verify", within=60.0, passes=r.choice((1, 2)), on_fail=self.on_fail())
            )
            if r.random() < 0.5:
                self.add(h.watch("watch", ["verify"], 60.0, passes=2))
            last = (self.steps[-1].id,)
        for t in self.temporary:
            if r.random() < 0.9:
                self.add(h.undo(f"un-{t.id}", t, last, **self.loose()))
        return h.plan(*self.steps, decisions=self.decisions, choices=self.choices)

    def track(self, t: int, first: str | None) -> list[str]:
        """One track; its last steps."""
        r, ends = self.r, [first] if first else []
        for k in range(r.randint(1, 4)):
            kind = r.choice(("single", "single", "group", "check", "check", "choose", "gate", "undo"))
            name, after = f"t{t}{k}", tuple(ends)
            if kind == "group":
                ends = [self.group(name, after)]
            elif kind == "choose" and not self.choices:
                ends = self.choose(name, after)
            elif kind == "gate":
                self.add(h.ask(name, after))
                self.decisions.append(h.gate(name, by=r.choice((h.APPROVER, h.COMMANDER))))
                ends = [name]
            elif kind == "check":
                data: dict[str, Json] = {"out": r.choice("xy"), "proven": r.random() < 0.5}
                within, every = r.choice((0.0, 30.0)), 5.0
                self.add(
                    h.check(
                        name,
                        after,
                        data,
                        within=within,
                        every=every,
                        passes=r.choice((1, 1, 2)),
                        on_fail=self.on_fail(),
                    )
                )
                ends = [name]
            elif kind == "undo" and self.temporary and r.random() < 0.5:
                self.add(h.undo(name, self.temporary.pop(), after, **self.loose()))
                ends = [name]
            else:
                decision = name if r.random() < 0.5 else None
                s = self.action(name, after, decision=decision, **self.loose())
                if decision:
                    unless = self.unless(s, 0.3)
                    self.decisions.append(h.gate(name, by=self.gate(), unless=None if s.destructive else unless))
                ends = [name]
        return ends

    def group(self, name: str, after: tuple[str, ...]) -> str:
        """Steps with one decision, now and then with others between."""
        r, members, ends = self.r, [], after
        for k in range(r.randint(2, 3)):
            s = self.action(f"{name}{k}", ends, decision=name, refs=False)
            members.append(s.id)
            ends = (s.id,)
            if r.random() < 0.3:
                between = h.check(f"{name}{k}c", ends) if r.random() < 0.5 else None
                ends = (self.add(between).id if between else self.action(f"{name}{k}b", ends, refs=False).id,)
        self.decisions.append(h.gate(name, *members, by=self.gate()))
        return ends[0]

    def choose(self, name: str, after: tuple[str, ...]) -> list[str]:
        """One of several ways."""
        ends, options = [], ("keep", "down")
        loose = self.loose()
        for option in options:
            before, members = after, []
            for k in range(1 if option == "keep" else 2):
                s = self.action(f"{name}.{option}.{k}", before, decision=f"{name}.{option}", refs=False, **loose)
                members.append(s.id)
                before = (s.id,)
            unless = self.unless(self.steps[-1], 0.5) if option == "keep" else None
            d = h.gate(f"{name}.{option}", *members, by=self.gate(), unless=unless, choice=name, option=option)
            self.decisions.append(d)
            ends.append(before[0])
        self.choices.append(Choice(name, name, options))
        return ends

    def action(self, id: str, after: Sequence[str], refs: bool = True, **spec: Any) -> StepSpec:
        """Something that changes a target or two."""
        r, extra = self.r, dict(spec)
        sets: dict[str, Json] = {t: r.choice(("new", "other")) for t in r.sample(TARGETS, r.choice((1, 1, 2)))}
        step = h.act(id, sets, after)
        if r.random() < 0.25:
            sets[r.choice(TARGETS)] = {REF: "target.version"}
        elif refs and (known := self.known(step)) and r.random() < 0.3:
            sets[r.choice(TARGETS)] = {REF: f"steps.{known}.out"}
        elif refs and r.random() < 0.15:
            sets[r.choice(TARGETS)] = {REF: "run.admitted"}
        for name, value, chance in (
            ("limit", 5, 0.2),
            ("effect", "post", 0.2),
            ("loose", True, 0.1),
            ("final", True, 0.1),
        ):
            if r.random() < chance:
                extra[name] = value
        temporary = r.random() < 0.3
        destructive = not self.destructive and "decision" in spec and spec["decision"] is not None and r.random() < 0.2
        self.destructive |= destructive
        s = self.add(
            h.act(
                id, sets, after, temporary=temporary, destructive=destructive, timeout=r.choice((100.0, 600.0)),
                failures=r.choice((0, 1, 3)), on_fail=self.on_fail(), **extra,
            )
        )  # fmt: skip
        if temporary:
            self.temporary.append(s)
        return s

    def loose(self) -> dict[str, Any]:
        """Now and then a condition on what is known first."""
        return {"when": Condition("steps.pre.out", self.r.random() < 0.7, "x")} if self.r.random() < 0.2 else {}

    def known(self, s: StepSpec) -> str | None:
        """A check that comes right before."""
        found = [x for x in self.steps if x.id in s.after and x.kind == "check" and x.id != "verify"]
        return found[0].id if found else None

    def unless(self, s: StepSpec, chance: float) -> str | None:
        """Now and then what makes a decision about the step needless."""
        known = self.known(s)
        return f"steps.{known}.proven" if known and self.r.random() < chance else None

    def gate(self) -> Gate:
        return self.r.choice((h.APPROVER, h.APPROVER, HASTY, h.BOTH, h.TYPED))

    def on_fail(self) -> OnFail:
        return self.r.choice(("ask", "ask", "ask", "halt", "continue"))

    def add(self, s: StepSpec) -> StepSpec:
        self.steps.append(s)
        return s


def random_plan(seed: int) -> Plan:
    """A plan of 2 to 25 steps; the same for the same seed."""
    return _Maker(Random(seed)).plan()


def inherited(seed: int) -> tuple[ev.Inherited, ...]:
    """Now and then something that an ended run has left to the first step that could have done it."""
    debts = [s for s in random_plan(seed).steps if s.temporary]
    if seed % 3 or not debts:
        return ()
    sets = (debts[0].params or {})["sets"]
    assert isinstance(sets, dict)
    edits = tuple(Edit(t, "before", v) for t, v in sets.items() if isinstance(v, str))
    return (ev.Inherited(debts[0].id, "r0", debts[0].id, Change("left by r0", edits), 0.0),)


def stories(most: int = 100) -> st.SearchStrategy[Story]:
    """Plans with up to `most` moves."""
    lengths = st.sampled_from((3, 15, 40, 70, most))
    drawn = lengths.flatmap(lambda n: st.binary(min_size=2 * n, max_size=2 * n))
    numbers = drawn.map(lambda b: tuple(hi << 8 | lo for hi, lo in zip(b[::2], b[1::2], strict=True)))
    return st.builds(Story, st.integers(0, 2**24), numbers)


# -- moves -------------------------------------------------------------------------------------------------------------

GOOD: tuple[Outcome, ...] = ("well", "well", "well", "well", "begin", "write", "wait", "note", "record")
BAD: tuple[Outcome, ...] = (
    "flaky",
    "flaky",
    "broken",
    "odd",
    "lost",
    "lost",
    "hang",
    "cancelled",
    "bad",
    "unclear",
    "warn",
)


def moves(play: Play, numbers: Sequence[int]) -> Iterator[str]:
    """Plays one move a number, and says what it was; ends early when the run has."""
    for n in numbers:
        if not play.run.open and not play.run.debts and not play.run.reviews:
            return
        yield move(play, Random(n))


def move(play: Play, r: Random) -> str:
    """One thing that happens."""
    chance = r.random()
    if not play.run.open and chance < 0.1:
        play.write(ev.CameBack({"us-1/deployment/shop-api": "2.4.1"} if r.random() < 0.5 else {}))
        return "what was removed is back, or gone again"
    if play.run.in_flight and chance < 0.45:
        step = r.choice(play.run.in_flight).spec.id
        outcome = r.choice(GOOD if r.random() < 0.75 else BAD)
        play.go(step, outcome)
        return f"{step} goes {outcome}"
    if chance < 0.65:
        return help_along(play) or "nobody needs help"
    if chance < 0.88:
        who, command = any_command(play.run, r, play.now)
        found = play.say(who, command)
        return f"{who.id} says {command}: {found.text}"
    if chance < 0.8825:
        at = r.choice(("https://a.example", "https://b.example"))
        play.write(ev.Relocated({"api": Where(at, at, "http")}, (f"api now at {at}",)))
        return f"every catalogue says {at} by now"
    if chance < 0.885:
        play.write(ev.PeopleChanged({"start": "nobody is left"} if r.random() < 0.5 else {}))
        return "people change"
    if chance < 0.89:
        play.write(ev.FreezeOverridden("2.4.3", "cannot wait", Actor("ci", "CI")))
        return "CI goes on all the same"
    if chance < 0.9 and play.run.debts:
        missing = {"eu-1/guard": "not there"} if r.random() < 0.5 else {}
        play.write(ev.Lifted(r.choice(list(play.run.debts)), missing))
        return "what is held for a time does not stand any more, or again"
    if chance < 0.92 and not play.run.open and play.run.debts:
        play.write(ev.TakenOver(r.choice(list(play.run.debts)), "r2"))
        return "another run takes a debt over"
    if chance < 0.95:
        play.wait(r.choice((0.5, 5.0, 31.0, 61.0, 301.0, 700.0, 0.5 if play.run.open else 90_000.0)))
        return "time passes"
    planned = [s for s in play.run.steps.values() if s.open and s.change is not None and s.change.edits]
    if planned and r.random() < 0.3:
        by_hand = r.choice(planned)
        assert by_hand.change is not None
        play.world |= {e.target: e.after for e in by_hand.change.edits if not isinstance(e.after, Blob)}
        play.say(commander(play.run), c.Adopt(by_hand.spec.id, "did it by hand"))
        return f"somebody does {by_hand.spec.id} by hand"
    target = r.choice((*TARGETS, "rows"))
    play.world[target] = r.choice((3, 5, 9)) if target == "rows" else r.choice(("new", "other", "theirs", None))
    return f"somebody writes {target}"


def any_command(run: Run, r: Random, now: float) -> tuple[Person, c.Command]:
    """Something that somebody might say, clever or not; more often than not by somebody who may."""
    found = list(commands(run, r, now))
    if r.random() < 0.6:
        found = [x for x in found if not isinstance(x, c.Abort | c.Skip | c.Close)]
    command, people = r.choice(found), r.sample(PEOPLE, len(PEOPLE))
    if r.random() < 0.7:
        asking = ((p, answering.Asking(p, "test", PEOPLE, now, "p")) for p in people)
        able = [p for p, a in asking if isinstance(answering.answer(run, command, a), answering.Answer)]
        return next(iter(able), people[0]), command
    return people[0], command


def commands(run: Run, r: Random, now: float) -> Iterator[c.Command]:
    """One command of every kind, about something that there is."""
    decision = r.choice([n for n, a in run.asked.items() if a.opened is not None] or list(run.asked) or ["none"])
    card = run.card(decision) if decision in run.asked and r.random() < 0.9 else "000000000000"
    phrase = run.phrase(decision) if decision in run.asked and r.random() < 0.9 else ""
    step = r.choice([s.spec.id for s in run.halted if r.random() < 0.7] or list(run.steps))
    yield c.Approve(decision, card, phrase)
    yield c.Decline(decision, "not yet")
    yield c.BreakGlass(decision, card, "no time")
    yield from (c.Stop("wait"), c.Resume(), c.Abort("give up"), c.Close("that is it"))
    yield from [c.Take()] * (4 if run.offered or now - run.commander_seen > 300 else 1)
    yield c.Offer(r.choice(("kim", "ana", "gus")))
    yield c.Tell("it fails", r.choice(("", "the rest works")))
    yield from (c.Retry(step), c.Skip(step, "not now"), c.Accept(step, "good enough"), c.Adopt(step, "by hand"))
    yield c.Undo(r.choice(list(run.steps)), "go back")
    debt = r.choice(list(run.debts) or [step])
    yield from (c.Restore(debt, "at once"), c.HandOver(debt, r.choice(("kim", "zed")), now + 3600, "later"))
    yield from (c.Retarget(r.choice(RELEASES), "bad too"), c.Admit(FIX, "the fix"))
    yield c.Without(r.choice(TARGETS), "it is away")
    yield c.Back(r.choice(list(run.parts) or ["a"]))
    if run.parts:
        yield c.HandOver(r.choice(list(run.parts)), r.choice(("kim", "zed")), now + 3600, "later")
    yield c.Review(r.choice(list(run.reviews) or [decision]), "nobody else was there")
    yield from [c.Agree(r.choice(list(run.proposals) or ["p0"]))] * (1 + 3 * len(run.proposals))


# -- people who bring a run home ---------------------------------------------------------------------------------------


def commander(run: Run) -> Person:
    """Who commands."""
    assert run.commander is not None
    return NAMED[run.commander.id]


def help_along(play: Play) -> str:
    """The one thing that somebody should say now, said; empty where nobody is needed."""
    run = play.run
    if run.stopped:
        return play.do(commander(run), c.Resume())
    for p in run.proposals.values():
        if p.what in ("skip", "accept", "without") and (by := next(voters(p.gate, p.ballots, run), None)):
            found = play.say(by, c.Agree(p.id))
            if not isinstance(found, Refusal):
                return found.text
    if run.aborted:
        return _settle_debt(play, list(run.owing))
    for name, a in run.asked.items():
        if a.opened is not None:
            return _approve(play, name, a)
    if not run.open:
        return ""
    for part in run.owed_parts:
        if part.back is None or any(s.end == "failed" and part.name in s.without for s in run.steps.values()):
            return play.do(commander(run), c.Back(part.name))
    for s in run.halted:
        if text := _go_on(play, s):
            return text
    if finished(run):
        if text := _settle_debt(play, list(run.owing)):
            return text
        short = [p for p in run.owed_parts if not p.owner]
        if short:
            return play.do(commander(run), c.HandOver(short[0].name, "cho", play.now + 3600, "it was left out"))
        return play.do(commander(run), c.Close("done"))
    return ""


def _approve(play: Play, name: str, a: Asked) -> str:
    assert a.spec.gate is not None, "this is decided without anybody"
    card, phrase = play.run.card(name), play.run.phrase(name)
    by = next(voters(a.spec.gate, a.ballots, play.run), None)
    return play.do(by, c.Approve(name, card, phrase)) if by else play.do(h.BEN, c.BreakGlass(name, card, "alone"))


def voters(gate: Gate, ballots: Sequence[Vote], run: Run) -> Iterator[Person]:
    """Those whose yes would count."""
    return (p for p in PEOPLE if isinstance(may_vote(gate, p, ballots, PEOPLE, run.barred), str))


def _go_on(play: Play, s: Step) -> str:
    """Try again what failed; the second time leave it out, or take it as it is; in the end give up."""
    id, run = s.spec.id, play.run
    assert s.halt is not None
    tried = sum(e.step == id for e in play.events(ev.Retried))
    if s.halt.cause != "left" and tried < 6 and not s.halt.error.startswith("needs "):
        return play.do(commander(run), c.Retry(id))
    ways: list[c.Command] = [c.Accept(id, "taken as it is"), c.Skip(id, "left out")]
    for way in ways:
        found = play.say(commander(run), way)
        if not isinstance(found, Refusal):
            return found.text
    return play.do(commander(run), c.Abort("no other way"))


def _settle_debt(play: Play, debts: Sequence[Debt]) -> str:
    """Put it back, if that was not tried too often; otherwise it is somebody's."""
    for d in debts:
        s = play.run.steps[d.step]
        tried = sum(e.step == d.step and e.debt for e in play.events(ev.UndoAsked))
        if s.attempt is None and tried < 2 and not (s.undoing and s.halt is None and s.open):
            found = play.say(commander(play.run), c.Restore(d.step, "put it back"))
            if not isinstance(found, Refusal):
                return found.text
        if s.attempt is None and not (s.wake > play.now and s.halt is None):
            return play.do(commander(play.run), c.HandOver(d.step, "cho", play.now + 3600, "cannot be put back"))
    return ""


def bring_home(play: Play, most: int = 400) -> None:
    """The world behaves, people do what is needed: the run must end, within so many moves."""
    for _ in range(most):
        if not play.run.open:
            return
        if play.run.in_flight:
            for s in play.run.in_flight:
                play.go(s.spec.id)
        elif help_along(play):
            pass
        else:
            due = play.due
            assert due is not None, "nothing is due, and nobody knows what to do"
            play.wait(max(due - play.now, 0.0))
    raise AssertionError(f"not home after {most} moves")
