"""Who may ask what of a run, as `commands.py` declares it. Pure: people come in as the directory knows them now.

Invariant: a refusal says who can. Whether it can be asked at all is `possible`'s part, and the rules'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bot import policy
from bot.policy import COMMANDER, Actor, Person, Refusal, Why, approval
from bot.run.commands import TABLE
from bot.run.declared import Who
from bot.run.proposals import proposal_gate
from bot.run.state import Run


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, when, and everybody the directory knows. `ref`: a short unique word for what is created; `glass`:
    the roles that may break the glass, empty where each may."""

    person: Person
    via: str
    people: Sequence[Person]
    now: float
    ref: str
    glass: frozenset[str] = frozenset()

    @property
    def actor(self) -> Actor:
        """The person as recorded."""
        return Actor.of(self.person, self.via)


def unentitled(run: Run, do: str, subject: str, asking: Asking) -> Refusal | None:
    """Why this person may not ask this of the run; None where they may."""
    return policy.stranger(asking.person) or _LOOKS[TABLE[do].who](run, do, subject, asking)


def may_open(person: Person, people: Sequence[Person]) -> Refusal | None:
    """Why a person may not open a run, and who can."""
    if no := policy.stranger(person):
        return no
    if COMMANDER in person.roles:
        return None
    able = [p for p in people if COMMANDER in p.roles]
    who = ", ".join("@" + p.name for p in able) or "nobody at the moment"
    text = f"Not yours to open: this needs a commander. Who can: {who}. Nothing was changed."
    return Refusal(Why.NOT_YOURS, text, tuple(p.id for p in able))


def commander(run: Run) -> str:
    """ "@ana"; "nobody"."""
    return f"@{run.commander.name}" if run.commander else "nobody"


def names(people: Sequence[Person]) -> str:
    """ "@ana, @kim"; at most four."""
    return ", ".join("@" + p.name for p in people[:4]) or "nobody at the moment"


def commands(run: Run, person: Person) -> bool:
    """Whether this person commands the run."""
    return run.commander is not None and run.commander.id == person.id


# -- by what the table says --------------------------------------------------------------------------------------------


def _anybody(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    return None


def _asked(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    """A seat of the gate is free for them."""
    if do == "agree":
        p = run.proposals.get(subject)
        gate, votes = (p.gate, p.ballots) if p is not None else (None, [])
    else:
        asked = run.asked.get(subject)
        open_ = asked is not None and asked.opened is not None and asked.decided is None
        gate, votes = (asked.spec.gate, asked.ballots) if asked is not None and open_ else (None, [])
    if gate is None:  # nothing is asked here: the rules say so
        return None
    seat = approval.may_vote(gate, a.person, votes, a.people, run.barred)
    return seat if isinstance(seat, Refusal) else None


def _asked_or_commanders(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    gate = run.asked[subject].spec.gate if subject in run.asked else None
    if gate is None or a.person.roles & (gate.roles | {COMMANDER}):
        return None
    return _not_yours(f"this is decided by {gate.words}", approval.eligible(gate, a.people, run.barred))


def _glass(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    return approval.may_break_glass(a.person, a.people, a.glass)


def _commander(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    if commands(run, a.person):
        return None
    who = (run.commander.id,) if run.commander else ()
    text = f"Not yours to decide: {commander(run)} commands this run. Nothing was changed."
    if COMMANDER in a.person.roles:
        text += " `take` takes command after five minutes of silence."
    return Refusal(Why.NOT_YOURS, text, who)


def _commanders(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    if not TABLE[do].of_run:
        return may_open(a.person, a.people)
    if COMMANDER in a.person.roles:
        return None
    return _not_yours("only a commander can take command", [p for p in a.people if COMMANDER in p.roles])


def _crew(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    roles = {COMMANDER, policy.APPROVER}.union(*(d.gate.roles for d in run.plan.decisions if d.gate is not None))
    if a.person.roles & roles or commands(run, a.person):
        return None
    return _not_yours("this is for the commander and approvers", [p for p in a.people if p.roles & roles])


def _proposer(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    if commands(run, a.person):
        return None
    seat = approval.may_vote(proposal_gate(run, do, subject), a.person, (), a.people, run.barred)
    return seat if isinstance(seat, Refusal) else None


def _restorer(run: Run, do: str, subject: str, a: Asking) -> Refusal | None:
    if run.closed is None:
        return _commander(run, do, subject, a)
    owns = do != "undo" and subject in run.debts and run.debts[subject].owner == a.person.id
    if COMMANDER in a.person.roles or owns:
        return None
    return _not_yours("this is for a commander and whose debt it is", [p for p in a.people if COMMANDER in p.roles])


def _not_yours(why: str, people: Sequence[Person]) -> Refusal:
    who = [p for p in people if p.kind == "member"]
    text = f"Not yours to decide: {why}. Who can: {names(who)}. Nothing was changed."
    return Refusal(Why.NOT_YOURS, text, tuple(p.id for p in who))


_Look = Callable[[Run, str, str, Asking], Refusal | None]
_LOOKS: Mapping[Who, _Look] = {
    Who.ANYBODY: _anybody, Who.ASKED: _asked, Who.ASKED_OR_COMMANDERS: _asked_or_commanders, Who.GLASS: _glass,
    Who.COMMANDER: _commander, Who.COMMANDERS: _commanders, Who.CREW: _crew, Who.PROPOSER: _proposer,
    Who.PROPOSING_COMMANDER: _commander, Who.RESTORER: _restorer,
}  # fmt: skip
