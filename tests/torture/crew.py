"""The people of a tortured run: they approve, retry, accept, skip, stop, abort, undo, and sometimes get in the way.

They see the run as the product folds it and say things to some node; what they may do is decided there. While
`playful` they also do what is not needed (and what is not theirs to do); afterwards they only bring runs to an end.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from bot.catalogue import Release
from bot.contract import Json
from bot.policy import Person
from bot.policy.approval import may_vote
from bot.run import commands as c
from bot.run.decide import finished
from bot.run.state import Asked, Run, Step

ANA = Person("ana", "ana", frozenset({"commander"}))
BEN = Person("ben", "ben", frozenset({"approver", "dba"}))
CHO = Person("cho", "cho", frozenset({"approver"}))
DEE = Person("dee", "dee", frozenset({"commander", "dba"}))
GUS = Person("gus", "gus", frozenset({"approver", "dba"}))
EVE = Person("eve", "eve", kind="stranger")
PEOPLE = {p.id: p for p in (ANA, BEN, CHO, DEE, GUS, EVE)}
CREW = tuple(p for p in PEOPLE.values() if p.kind == "member")


class People:
    """Who there is, for the engine."""

    async def everyone(self) -> Sequence[Person]:
        """All of them."""
        return CREW

    async def person(self, id: str) -> Person:
        """One of them."""
        return PEOPLE[id]

    async def still(self, id: str) -> Person:
        """One of them."""
        return PEOPLE[id]


Say = Callable[[str, Person, c.Command], Awaitable[None]]
"""(run, person, command) -> carried out or refused, by whichever node answers."""
Wish = tuple[Person, c.Command]


@dataclass
class Crew:
    """One crew for all runs of a bout. write: somebody else writes a document; careless: closes without looking."""

    random: Random
    say: Say
    write: Callable[[str, Json], None]
    playful: bool = True
    careless: bool = False
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    since: dict[str, float] = field(default_factory=dict)

    async def look_after(self, run: Run) -> None:
        """One look at a run: at most a few things are said."""
        if not run.open or run.commander is None:
            return
        if self.playful and (wish := self._prank(run)) is not None:
            await self.say(run.id, *wish)
            return
        for person, command in self._wishes(run):
            await self.say(run.id, person, command)
            if isinstance(command, c.Approve) and self.playful and self.random.random() < 0.1:
                await self.say(run.id, person, command)  # a second click
            if self.random.random() < 0.7:
                return

    # -- what is needed ---------------------------------------------------------------------------------------------

    def _wishes(self, run: Run) -> Iterator[Wish]:
        boss = PEOPLE[run.commander.id] if run.commander else ANA
        if run.aborted:
            yield from self._debts(run, boss)
            return
        if run.stopped:
            if self._long_enough(f"{run.id} stopped", 0.5 if self.playful else 0.0):
                yield boss, c.Resume()
            return
        for p in run.proposals.values():
            voters = [v for v in CREW if isinstance(may_vote(p.gate, v, p.ballots, CREW, run.barred), str)]
            if voters:
                yield self.random.choice(voters), c.Agree(p.id)
        for s in run.halted:
            yield from self._halted(run, s, boss)
        for name, asked in run.asked.items():
            if asked.opened is not None and asked.spec.gate is not None:
                yield from self._decide(run, name, asked)
        if finished(run) and self._long_enough(f"{run.id} finished {run.seq}", 0.3):
            if not self.careless:
                yield from self._debts(run, boss)
            if self.careless or not run.owing:
                yield boss, c.Close("all is well")

    def _debts(self, run: Run, boss: Person) -> Iterator[Wish]:
        for debt in run.owing:
            s = run.steps[debt.step]
            if s.undoing and s.open and s.halt is None:
                continue
            if s.undoing and s.halt is not None and self.random.random() < 0.6:
                yield boss, c.Retry(debt.step)
            elif not s.undoing and self.random.random() < 0.7:
                yield boss, c.Restore(debt.step, "the run ends here")
            else:
                yield boss, c.HandOver(debt.step, "gus", time.time() + 3600, "after the incident")

    def _halted(self, run: Run, s: Step, boss: Person) -> Iterator[Wish]:
        r, i = self.random, s.spec.id
        assert s.halt is not None
        self.done[run.id, f"halted {i}"] += 1
        many = self.done[run.id, f"halted {i}"] > 6
        if s.halt.cause == "left" or (s.halt.cause == "check" and (many or r.random() < 0.4)):
            yield boss, c.Accept(i, "good enough as it is")
        elif self.playful and r.random() < 0.15 and s.spec.changes and s.change is not None:
            for e in s.change.edits:
                if isinstance(e.after, str | None) and r.random() < 0.8:
                    self.write(e.target, e.after)
            yield boss, c.Adopt(i, "did it by hand")
        elif self.done[run.id, f"halted {i}"] > 18:  # neither helps
            yield boss, c.Abort("this cannot be gone on with")
        elif many or (self.playful and r.random() < 0.15):
            yield boss, c.Skip(i, "not needed today")
            yield boss, c.Retry(i)  # where what follows forbids to skip
        else:
            yield r.choice((boss, BEN)), c.Retry(i)

    def _decide(self, run: Run, name: str, asked: Asked) -> Iterator[Wish]:
        gate = asked.spec.gate
        assert gate is not None
        if asked.spec.choice and asked.spec.option == "keep" and self.random.random() < 0.5:
            return
        able = [p for p in CREW if isinstance(may_vote(gate, p, asked.ballots, CREW, run.barred), str)]
        if not able:
            return
        phrase = run.phrase(name) if gate.typed_phrase else ""
        yield self.random.choice(able), c.Approve(name, run.card(name), phrase)

    def _long_enough(self, what: str, seconds: float) -> bool:
        return time.monotonic() - self.since.setdefault(what, time.monotonic()) >= seconds

    # -- what is not ------------------------------------------------------------------------------------------------

    def _prank(self, run: Run) -> Wish | None:
        """Something that nobody needed; each kind a few times in a run at most."""
        r = self.random
        pranks: tuple[tuple[str, float, int, Callable[[Run], Wish | None]], ...] = (
            ("stop", 0.012, 2, self._stop), ("undo", 0.02, 3, self._undo), ("retarget", 0.008, 1, self._retarget),
            ("abort", 0.0025, 1, self._abort), ("foreign", 0.02, 3, self._foreign), ("offer", 0.006, 1, self._offer),
            ("wrong", 0.05, 20, self._wrong), ("glass", 0.004, 1, self._glass), ("decline", 0.01, 3, self._decline),
            ("skip", 0.008, 2, self._skip), ("take", 0.5, 1, self._take),
        )  # fmt: skip
        for name, chance, most, prank in pranks:
            if self.done[run.id, name] < most and r.random() < chance and (wish := prank(run)) is not None:
                self.done[run.id, name] += 1
                return wish
        return None

    def _boss(self, run: Run) -> Person:
        return PEOPLE[run.commander.id] if run.commander else ANA

    def _stop(self, run: Run) -> Wish | None:
        self.since.pop(f"{run.id} stopped", None)
        return None if run.stopped or run.aborted else (BEN, c.Stop("wait a moment"))

    def _undo(self, run: Run) -> Wish | None:
        made = [i for i, s in run.steps.items() if s.made is not None and s.attempt is None and not s.undoing]
        return (
            (self._boss(run), c.Undo(self.random.choice(made), "not the cause")) if made and not run.aborted else None
        )

    def _retarget(self, run: Run) -> Wish | None:
        return None if run.aborted else (self._boss(run), c.Retarget(Release("2.3.9"), "that one is bad as well"))

    def _abort(self, run: Run) -> Wish | None:
        return None if run.aborted else (self._boss(run), c.Abort("wrong service"))

    def _offer(self, run: Run) -> Wish | None:
        return None if run.commander is None or run.commander.id == "dee" else (self._boss(run), c.Offer("dee"))

    def _take(self, run: Run) -> Wish | None:
        return (DEE, c.Take()) if run.offered == "dee" else None

    def _foreign(self, run: Run) -> Wish | None:
        """Somebody writes where a step is about to, or has been."""
        steps = [s for s in run.steps.values() if s.change is not None and s.change.edits and s.attempt is None]
        targets = [e.target for s in steps for e in (s.change.edits if s.change else ())]
        if targets:
            self.write(self.random.choice(targets), "somebody else")
            self.done[run.id, "foreign"] += 1
        return None

    def _wrong(self, run: Run) -> Wish | None:
        """A yes from somebody who has no say, or to a card of yesterday."""
        opened = [n for n, a in run.asked.items() if a.opened is not None]
        if not opened:
            return None
        name = self.random.choice(opened)
        card = run.card(name) if self.random.random() < 0.7 else "0" * 12
        return self.random.choice((EVE, ANA, DEE, CHO)), c.Approve(name, card, run.phrase(name))

    def _glass(self, run: Run) -> Wish | None:
        opened = [n for n, a in run.asked.items() if a.opened is not None and a.spec.gate is not None]
        return (CHO, c.BreakGlass(opened[0], run.card(opened[0]), "no time to lose")) if opened else None

    def _decline(self, run: Run) -> Wish | None:
        opened = [n for n, a in run.asked.items() if a.opened is not None]
        return (ANA, c.Decline(self.random.choice(opened), "not now")) if opened else None

    def _skip(self, run: Run) -> Wish | None:
        waiting = [i for i, s in run.steps.items() if s.open and s.attempt is None and s.spec.kind != "gate"]
        return (self._boss(run), c.Skip(self.random.choice(waiting), "not needed today")) if waiting else None


__all__ = ["CREW", "PEOPLE", "Crew", "People", "Say", "replace"]
