"""What people can ask of a run, by whichever way in. A command is data; `answer` turns it into events, or a "no".

Slack and the command line send these to the engine, which carries them out against the run as it is then: pure,
decided by policy (who) and rules (whether), so that the same click means the same thing everywhere. Every command
has an answer: what was done in one line, or a refusal that says who can or what to do instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter

from bot import policy
from bot.catalogue import Release
from bot.policy import COMMANDER, Actor, Person, Refusal, Why
from bot.run import events as ev
from bot.run import naming
from bot.run.afterwards import leftovers
from bot.run.decide import lapsed
from bot.run.fold import evolve
from bot.run.proposals import proposal_gate
from bot.run.rules import doubted, refused
from bot.run.state import Proposal, Run

PART = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z]+/[a-zA-Z0-9][a-zA-Z0-9._-]*)?")
"""A place of the catalogue, or an object in one."""
MIN_REASON = 4
"""Characters below which a reason is none."""


@dataclass(frozen=True, slots=True)
class Approve:
    """Yes to a decision. card: what was looked at (`Run.card`); phrase: where one is to be typed."""

    decision: str
    card: str
    phrase: str = ""
    do: Literal["approve"] = "approve"


@dataclass(frozen=True, slots=True)
class Decline:
    """Not now: who and why are kept, the decision stays open."""

    decision: str
    reason: str = ""
    do: Literal["decline"] = "decline"


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Open a decision alone. Announced, paged, reviewed within two working days."""

    decision: str
    card: str
    reason: str
    do: Literal["break-glass"] = "break-glass"


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing new starts; what is at work is asked to end."""

    reason: str = ""
    do: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a stop."""

    do: Literal["resume"] = "resume"


@dataclass(frozen=True, slots=True)
class Abort:
    """End the run; each debt is then restored or handed over."""

    reason: str
    do: Literal["abort"] = "abort"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try a halted step again."""

    step: str
    do: Literal["retry"] = "retry"


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave a step out."""

    step: str
    reason: str
    do: Literal["skip"] = "skip"


@dataclass(frozen=True, slots=True)
class Accept:
    """Accept a failing check, or what others changed meanwhile."""

    step: str
    reason: str
    do: Literal["accept"] = "accept"


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back what a step did."""

    step: str
    reason: str = ""
    do: Literal["undo"] = "undo"


@dataclass(frozen=True, slots=True)
class Restore:
    """Undo a debt now, outside its turn."""

    step: str
    reason: str
    do: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True)
class HandOver:
    """A debt becomes a person's, until a time (seconds since the epoch)."""

    step: str
    to: str
    until: float
    reason: str
    do: Literal["hand-over"] = "hand-over"


@dataclass(frozen=True, slots=True)
class Adopt:
    """The step was done by hand: look, and record it."""

    step: str
    reason: str
    do: Literal["adopt"] = "adopt"


@dataclass(frozen=True, slots=True)
class Retarget:
    """Restore another release from here on."""

    release: Release
    reason: str
    do: Literal["retarget"] = "retarget"


@dataclass(frozen=True, slots=True)
class Admit:
    """Let one release, the fix, through the freeze."""

    release: Release
    reason: str
    do: Literal["admit"] = "admit"


@dataclass(frozen=True, slots=True)
class Agree:
    """Yes to somebody's proposal."""

    proposal: str
    do: Literal["agree"] = "agree"


@dataclass(frozen=True, slots=True)
class Offer:
    """Hand the command to another commander, who then takes it."""

    to: str
    do: Literal["offer"] = "offer"


@dataclass(frozen=True, slots=True)
class Take:
    """Take command: offered, or after five minutes of silence."""

    do: Literal["take"] = "take"


@dataclass(frozen=True, slots=True)
class Close:
    """End a run that does not close itself."""

    note: str = ""
    do: Literal["close"] = "close"


@dataclass(frozen=True, slots=True)
class Review:
    """Broken glass was looked at afterwards, by somebody else."""

    decision: str
    reason: str
    do: Literal["review"] = "review"


@dataclass(frozen=True, slots=True)
class Without:
    """Go on without a part that is away: "us-1", or "us-1/deployment/shop-api"."""

    part: str
    reason: str
    do: Literal["without"] = "without"


@dataclass(frozen=True, slots=True)
class Back:
    """A part that was left out is back: what it is owed is done now."""

    part: str
    do: Literal["back"] = "back"


Command = Annotated[
    Approve | Decline | BreakGlass | Stop | Resume | Abort | Retry | Skip | Accept | Undo | Restore | HandOver
    | Adopt | Retarget | Admit | Agree | Offer | Take | Close | Review
    | Without | Back,
    Field(discriminator="do"),
]  # fmt: skip
COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)


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


@dataclass(frozen=True, slots=True)
class Answer:
    """Events to append, and what to tell the person once they are."""

    events: tuple[ev.Event, ...]
    text: str


def answer(run: Run, command: Command, asking: Asking) -> Answer | Refusal:
    """What becomes of a command now. Policy first, then the rules of the run; nothing is written here."""
    if no := policy.stranger(asking.person):
        return no
    if run.doubt:
        return Refusal(Why.NOT_NOW, _sentence(run, doubted(run)))
    if run.created is None:
        return Refusal(Why.UNKNOWN, f"There is no run {run.id}. `history` lists the runs.")
    said = getattr(command, "reason", None)
    if said is not None and command.do not in ("stop", "decline", "undo") and len(said.strip()) < MIN_REASON:
        return Refusal(Why.BAD_INPUT, f"{command.do} needs a reason that others can understand later.")
    meant = _meant(run, command, asking)
    return meant if isinstance(meant, Refusal) else _answered(run, meant, asking)


def _answered(run: Run, command: Command, asking: Asking) -> Answer | Refusal:
    found = _ANSWERS[type(command)](run, command, asking)
    return found if isinstance(found, Refusal) else _lawful(run, found, asking.now)


def _meant(run: Run, command: Any, asking: Asking) -> Command | Refusal:
    """The command with the id of what was called by its title, or by the beginning of either."""

    def may(step: str) -> bool:
        return isinstance(_answered(run, replace(command, step=step), asking), Answer)

    for field in ("decision", "step", "proposal"):
        word = getattr(command, field, "")
        if word and not (isinstance(command, HandOver) and word in run.parts):
            id, why = naming.found(run, field, word, may)
            if why:
                return Refusal(Why.UNKNOWN, f"{why} Nothing was changed.")
            command = replace(command, **{field: id})
    return cast(Command, command)


def _lawful(run: Run, found: Answer, now: float) -> Answer | Refusal:
    for e in found.events:
        if why := refused(run, e):
            stale = isinstance(e, ev.Approved | ev.BrokeGlass) and "look again" in why
            return Refusal(Why.STALE if stale else Why.NOT_NOW, _sentence(run, why))
        run = evolve(run, e, now)
    return found


# -- decisions -------------------------------------------------------------------------------------------------------


def _approve(run: Run, c: Approve, a: Asking) -> Answer | Refusal:
    """A yes; the first of a new round where those before hold no longer, though nobody has written that down yet."""
    gone = lapsed(run, run.asked[c.decision], a.now)
    if gone is None:
        return _yes(run, c, a)
    found = _yes(evolve(run, gone, a.now), c, a)
    if isinstance(found, Refusal):
        return found
    return Answer((gone, *found.events), f"It was {gone.why}, so it is asked anew. {found.text}")


def _yes(run: Run, c: Approve, a: Asking) -> Answer | Refusal:
    asked = run.asked[c.decision]
    if asked.spec.gate is None or asked.opened is None or asked.decided is not None:
        role, moved = "", dict[str, str]()
    else:
        seat = policy.may_vote(asked.spec.gate, a.person, asked.ballots, a.people, run.barred)
        if isinstance(seat, Refusal):
            return seat
        now = policy.seated(asked.spec.gate, a.person, asked.ballots, a.people, run.barred)
        role, moved = seat, _moved(asked.ballots, now)
        wanted = run.phrase(c.decision)
        if asked.spec.gate.typed_phrase and c.phrase.strip().lower() != wanted.lower():
            return Refusal(Why.BAD_INPUT, f'Type "{wanted}" to approve this. Nothing was changed.')
    if asked.opened is not None and c.card != run.card(c.decision):
        return Refusal(
            Why.STALE,
            "What it would do has changed since you looked: look again, then decide. Nothing was changed.",
        )
    e = ev.Approved(c.decision, run.fingerprints(c.decision), a.actor, role, bool(c.phrase), moved, a.person.young)
    text = f"Approved: {asked.spec.title}."
    before = [replace(v, seat=moved.get(v.person, v.seat)) for v in asked.ballots]
    votes = [*before, policy.Vote(a.person.id, a.person.roles, role)]
    left = _still(asked.spec.gate, votes) if asked.spec.gate is not None else ""
    return Answer((e,), f"{text} Still needed: {left}." if left else text)


def _decline(run: Run, c: Decline, a: Asking) -> Answer | Refusal:
    gate = run.asked[c.decision].spec.gate
    if gate is not None and not (a.person.roles & (gate.roles | {COMMANDER})):
        return _not_yours(f"this is decided by {gate.words}", policy.eligible(gate, a.people, run.barred))
    return Answer((ev.Declined(c.decision, a.actor, c.reason),), "Noted: not now. The decision stays open.")


def _break_glass(run: Run, c: BreakGlass, a: Asking) -> Answer | Refusal:
    if no := policy.may_break_glass(a.person, a.people, a.glass):
        return no
    asked = run.asked[c.decision]
    if asked.opened is not None and c.card != run.card(c.decision):
        return Refusal(
            Why.STALE,
            "What it would do has changed since you looked: look again, then decide. Nothing was changed.",
        )
    e = ev.BrokeGlass(c.decision, run.fingerprints(c.decision), a.actor, c.reason, a.person.young)
    return Answer((e,), "Glass broken: it goes on. Everyone is told, and it is reviewed within two working days.")


# -- the run ---------------------------------------------------------------------------------------------------------


def _stop(run: Run, c: Stop, a: Asking) -> Answer | Refusal:
    return _may_steer(run, a) or Answer(
        (ev.Stopped(a.actor, c.reason),), "Stopped: nothing new starts. `resume` goes on, `abort` ends it."
    )


def _resume(run: Run, c: Resume, a: Asking) -> Answer | Refusal:
    return _may_steer(run, a) or Answer((ev.Resumed(a.actor),), "Going on.")


def _abort(run: Run, c: Abort, a: Asking) -> Answer | Refusal:
    aborted = ev.Aborted(a.actor, c.reason)
    debts = (
        f" Still in place: {', '.join(naming.title(run, d) for d in run.debts)}. Restore each, or hand it over."
        if run.debts
        else ""
    )
    left = [naming.title(run, x.step) for x in leftovers(evolve(run, aborted, a.now))]
    stays = f" Stays changed: {', '.join(left)}. `undo` takes one of them back." if left else ""
    return _is_commander(run, a) or Answer((aborted,), f"Aborting.{debts}{stays}")


def _close(run: Run, c: Close, a: Asking) -> Answer | Refusal:
    outcome: ev.Outcome = "closed"
    return _is_commander(run, a) or Answer((ev.Closed(outcome, a.actor, c.note),), "Closed.")


def _offer(run: Run, c: Offer, a: Asking) -> Answer | Refusal:
    if no := _is_commander(run, a):
        return no
    able = [p for p in a.people if COMMANDER in p.roles and p.kind == "member" and p.id != a.person.id]
    name = next((p.name for p in able if p.id == c.to), "")
    if not name:
        return Refusal(Why.BAD_INPUT, f"{c.to!r} cannot command. Who can: {_names(able)}.", tuple(p.id for p in able))
    return Answer((ev.CommandOffered(c.to, a.actor),), f"Offered. @{name} takes command with `take`.")


def _take(run: Run, c: Take, a: Asking) -> Answer | Refusal:
    if COMMANDER not in a.person.roles:
        return _not_yours("only a commander can take command", [p for p in a.people if COMMANDER in p.roles])
    if run.commander is not None and run.commander.id == a.person.id:
        return Refusal(Why.ALREADY, "You are in command already.")
    quiet = a.now - run.commander_seen
    if run.offered == a.person.id:
        return Answer((ev.CommandTaken(a.actor, "handed over"),), "You are in command.")
    if quiet < policy.SILENCE:
        left = policy.SILENCE - quiet
        return Refusal(
            Why.NOT_NOW,
            f"{_commander(run)} was active {quiet:.0f} s ago. Ask for a hand-over, or wait {left:.0f} s.",
        )
    return Answer((ev.CommandTaken(a.actor, "after silence"),), "You are in command.")


# -- steps -----------------------------------------------------------------------------------------------------------


def _retry(run: Run, c: Retry, a: Asking) -> Answer | Refusal:
    return _may_steer(run, a) or Answer((ev.Retried(c.step, a.actor),), f"Trying {naming.title(run, c.step)} again.")


def _undo(run: Run, c: Undo, a: Asking) -> Answer | Refusal:
    asked = run.decision_of(run.steps[c.step])
    after = f" It waits for {asked.spec.gate.words}." if asked is not None and asked.spec.gate is not None else ""
    return _gives_back(run, a) or Answer(
        (ev.UndoAsked(c.step, a.actor, c.reason),), f"Undoing {naming.title(run, c.step)}.{after}"
    )


def _restore(run: Run, c: Restore, a: Asking) -> Answer | Refusal:
    return _gives_back(run, a, c.step) or Answer(
        (ev.UndoAsked(c.step, a.actor, c.reason, debt=True),),
        f"Restoring {naming.title(run, c.step)}: it is looked at first.",
    )


def _hand_over(run: Run, c: HandOver, a: Asking) -> Answer | Refusal:
    if no := _gives_back(run, a, c.step):
        return no
    name = next((f"@{p.name}" for p in a.people if p.id == c.to and p.kind == "member"), "")
    if not name:
        return Refusal(Why.BAD_INPUT, f"I do not know {c.to!r}. Name a person of the workspace.")
    if not a.now < c.until < a.now + 366 * 86400:
        return Refusal(Why.BAD_INPUT, "The time must lie in the future, and within a year.")
    if c.step in run.parts:
        said = ev.PartHandedOver(c.step, c.to, c.until, a.actor, c.reason)
        return Answer((said,), f"What {c.step} is owed is {name}'s now.")
    return Answer(
        (ev.HandedOver(c.step, c.to, c.until, a.actor, c.reason),), f"{naming.title(run, c.step)} is {name}'s now."
    )


def _review(run: Run, c: Review, a: Asking) -> Answer | Refusal:
    return _may_steer(run, a) or Answer((ev.Reviewed(c.decision, a.actor, c.reason),), "Reviewed, and recorded so.")


def _adopt(run: Run, c: Adopt, a: Asking) -> Answer | Refusal:
    return _gives_back(run, a, c.step) or Answer(
        (ev.AdoptAsked(c.step, a.actor, c.reason),), f"Looking whether {naming.title(run, c.step)} is done."
    )


# -- what more than one person must want -----------------------------------------------------------------------------


def _skip(run: Run, c: Skip, a: Asking) -> Answer | Refusal:
    return _propose(run, ev.Proposed(a.ref, "skip", a.actor, c.reason, c.step), a)


def _accept(run: Run, c: Accept, a: Asking) -> Answer | Refusal:
    return _propose(run, ev.Proposed(a.ref, "accept", a.actor, c.reason, c.step), a)


def _retarget(run: Run, c: Retarget, a: Asking) -> Answer | Refusal:
    return _is_commander(run, a) or _propose(
        run, ev.Proposed(a.ref, "retarget", a.actor, c.reason, release=c.release), a
    )


def _admit(run: Run, c: Admit, a: Asking) -> Answer | Refusal:
    return _is_commander(run, a) or _propose(run, ev.Proposed(a.ref, "admit", a.actor, c.reason, release=c.release), a)


def _leave_out(run: Run, c: Without, a: Asking) -> Answer | Refusal:
    if not PART.fullmatch(c.part):
        return Refusal(Why.BAD_INPUT, f"{c.part[:60]!r} is no place; write us-1, or us-1/deployment/shop-api.")
    why = next((s.halt.parts[c.part] for s in run.halted if s.halt and c.part in s.halt.parts), "left out by decision")
    if no := _is_commander(run, a):
        return no
    return _propose(run, ev.PartProposed(a.ref, c.part, why, a.actor, c.reason), a)


def _back(run: Run, c: Back, a: Asking) -> Answer | Refusal:
    return _may_steer(run, a) or Answer((ev.PartBack(c.part, a.actor),), f"{c.part} gets now what it is owed.")


def _propose(run: Run, e: ev.Proposed | ev.PartProposed, a: Asking) -> Answer | Refusal:
    if isinstance(e, ev.PartProposed):
        gate = proposal_gate(run, "without")
        proposal = Proposal(e.id, "without", e.by, e.reason, gate, (), a.now, part=e.part, why=e.why)
    else:
        gate = proposal_gate(run, e.what, e.step)
        proposal = Proposal(e.id, e.what, e.by, e.reason, gate, (), a.now, e.step, e.release)
    mine = _is_commander(run, a) is None
    may = policy.may_vote(gate, a.person, (), a.people, run.barred)
    if isinstance(may, Refusal) and not mine:
        return may
    e = replace(e, role="" if isinstance(may, Refusal) else may)
    becomes = _becomes(proposal)
    if why := refused(run, becomes):
        return Refusal(Why.NOT_NOW, _sentence(run, why))
    after = evolve(run, e, a.now).proposals[e.id]
    if policy.satisfied(gate, after.ballots):
        return Answer((e, becomes), f"Done: {naming.about(run, after)}.")
    return Answer(
        (e,),
        f"Proposed: {naming.about(run, after)}. Still needed: {_still(gate, after.ballots)} (`agree {e.id}`).",
    )


def _agree(run: Run, c: Agree, a: Asking) -> Answer | Refusal:
    p = run.proposals[c.proposal]
    may = policy.may_vote(p.gate, a.person, p.ballots, a.people, run.barred)
    if isinstance(may, Refusal):
        return may
    now = policy.seated(p.gate, a.person, p.ballots, a.people, run.barred)
    agreed = ev.Agreed(p.id, a.actor, may, _moved(p.ballots, now))
    after = evolve(run, agreed, a.now).proposals[p.id]
    if policy.satisfied(p.gate, after.ballots):
        return Answer((agreed, _becomes(p)), f"Done: {naming.about(run, p)}.")
    return Answer((agreed,), f"Agreed. Still needed: {_still(p.gate, after.ballots)}.")


def _becomes(p: Proposal) -> ev.Event:
    if p.what == "skip":
        return ev.Skipped(p.step, p.by, p.reason)
    if p.what == "accept":
        return ev.Accepted(p.step, p.by, p.reason)
    if p.what == "without":
        return ev.WentWithout(p.part, p.why, p.by, p.reason)
    if p.release is None:
        raise ValueError(f"a proposal to {p.what} names no release")
    if p.what == "retarget":
        return ev.Retargeted(p.release, p.reason, p.by)
    return ev.FixAdmitted(p.release, p.reason, p.by)


def _moved(votes: Sequence[policy.Vote], now: Mapping[str, str]) -> dict[str, str]:
    """Who has a vote already -> the other seat that they fill now."""
    return {v.person: now[v.person] for v in votes if now.get(v.person, v.seat) != v.seat}


def _still(gate: policy.Gate, votes: Sequence[policy.Vote]) -> str:
    return policy.Gate(policy.missing(gate, votes)).words


# -- shared ----------------------------------------------------------------------------------------------------------


def _is_commander(run: Run, a: Asking) -> Refusal | None:
    if run.commander is not None and run.commander.id == a.person.id:
        return None
    who = (run.commander.id,) if run.commander else ()
    text = f"Not yours to decide: {_commander(run)} commands this run. Nothing was changed."
    if COMMANDER in a.person.roles:
        text += " `take` takes command after five minutes of silence."
    return Refusal(Why.NOT_YOURS, text, who)


def _gives_back(run: Run, a: Asking, step: str = "") -> Refusal | None:
    """The commander; once the run is over any commander, and whose debt it is."""
    if run.closed is None or COMMANDER in a.person.roles:
        return _is_commander(run, a) if run.closed is None else None
    if step in run.debts and run.debts[step].owner == a.person.id:
        return None
    return _not_yours("this is for a commander and whose debt it is", [p for p in a.people if COMMANDER in p.roles])


def _may_steer(run: Run, a: Asking) -> Refusal | None:
    """The commander, any commander, and everyone who has a part in one of the plan's decisions."""
    roles = {COMMANDER, policy.APPROVER}.union(*(d.gate.roles for d in run.plan.decisions if d.gate is not None))
    if a.person.roles & roles or _is_commander(run, a) is None:
        return None
    return _not_yours("this is for the commander and approvers", [p for p in a.people if p.roles & roles])


def _not_yours(why: str, people: Sequence[Person]) -> Refusal:
    who = [p for p in people if p.kind == "member"]
    return Refusal(
        Why.NOT_YOURS,
        f"Not yours to decide: {why}. Who can: {_names(who)}. Nothing was changed.",
        tuple(p.id for p in who),
    )


def _sentence(run: Run, why: str) -> str:
    """A reason of the rules as a sentence; a step's id stays as it is typed."""
    named = why.split(maxsplit=1)[0].rstrip(",:") in run.steps
    text = why if named else why[0].upper() + why[1:]
    return f"{text.rstrip('.')}. Nothing was changed."


def _commander(run: Run) -> str:
    return f"@{run.commander.name}" if run.commander else "nobody"


def _names(people: Sequence[Person]) -> str:
    return ", ".join("@" + p.name for p in people[:4]) or "nobody at the moment"


_Answering = Callable[[Run, Any, Asking], Answer | Refusal]
_ANSWERS: dict[type, _Answering] = cast(dict[type, _Answering], {
    Approve: _approve, Decline: _decline, BreakGlass: _break_glass, Stop: _stop, Resume: _resume, Abort: _abort,
    Retry: _retry, Skip: _skip, Accept: _accept, Undo: _undo, Restore: _restore, HandOver: _hand_over,
    Adopt: _adopt, Retarget: _retarget, Admit: _admit, Agree: _agree, Offer: _offer, Take: _take, Close: _close,
    Review: _review, Without: _leave_out, Back: _back,
})  # fmt: skip
