"""What becomes of a command: events to append and what to tell, or a "no". Pure; nothing is written here.

Slack and the command line send the same commands to the engine, which has them answered against the run as it is then:
authority says who may, the rules of the run whether, so the same click means the same thing everywhere. Every command
has an answer: what was done in one line, or a refusal that says who can or what to do instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter

from bot import policy
from bot.catalogue import Release
from bot.policy import COMMANDER, Refusal, Why, approval
from bot.run import authority, naming
from bot.run import commands as cmd
from bot.run import events as ev
from bot.run.afterwards import leftovers
from bot.run.authority import Asking as Asking
from bot.run.commands import TABLE, Command
from bot.run.decide import lapsed
from bot.run.declared import MIN_REASON, PLAIN_MOST
from bot.run.fold import evolve
from bot.run.possible import becomes, why_not
from bot.run.proposals import proposal_gate
from bot.run.rules import Objection, doubted, refused
from bot.run.stale import STALE, stale_click
from bot.run.state import Asked, Proposal, Run

COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="do")])
"""Reads and writes commands as JSON."""
COMMANDS.rebuild(_types_namespace={"Release": Release})

PART = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z]+/[a-zA-Z0-9][a-zA-Z0-9._-]*)?")
"""A place of the catalogue, or an object in one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Events to append, and what to tell the person once they are."""

    events: tuple[ev.Event, ...]
    text: str


def answer(run: Run, command: Command, asking: Asking) -> Answer | Refusal:
    """What becomes of a command now. Policy first, then the rules of the run; nothing is written here."""
    if no := policy.stranger(asking.person) or _unknown(run) or _unreasoned(command):
        return no
    meant = _meant(run, command, asking)
    if isinstance(meant, Refusal):
        return meant
    if no := authority.unentitled(run, meant.do, _subject(meant), asking):
        return no
    found = _ANSWERS[type(meant)](run, meant, asking)
    return found if isinstance(found, Refusal) else _lawful(run, found, asking.now)


def may(run: Run, do: str, subject: str, asking: Asking, card: str = "") -> Refusal | None:
    """Why this person cannot ask this of the run now, whatever else they would say; None where they can. subject:
    empty where it is still to be chosen; card: what was looked at, where a decision is meant."""
    if no := policy.stranger(asking.person) or _unknown(run):
        return no
    field = TABLE[do].subject
    if field in ("decision", "step", "proposal", "part") and not subject:
        return None
    found = _named(run, do, subject, asking)
    if isinstance(found, Refusal):
        return found
    if card and found in run.asked and stale_click(run, found, card):
        return STALE
    return _may(run, do, found, asking)


def _may(run: Run, do: str, subject: str, asking: Asking) -> Refusal | None:
    if no := authority.unentitled(run, do, subject, asking):
        return no
    objection = why_not(run, do, subject, asking.actor)
    return _refusal(run, objection) if objection is not None else None


def _unknown(run: Run) -> Refusal | None:
    if run.doubt:
        return _refusal(run, Objection(doubted(run)))
    if run.created is None:
        return Refusal(Why.UNKNOWN, f"There is no run {run.id}. `history` lists the runs.")
    return None


def _unreasoned(command: Command) -> Refusal | None:
    text = TABLE[command.do].text
    if text is None or not text.needed or len(getattr(command, text.name).strip()) >= MIN_REASON:
        return None
    return Refusal(Why.BAD_INPUT, f"{command.do} needs a reason that others can understand later.", field=text.name)


def _subject(command: Command) -> str:
    field = TABLE[command.do].subject
    found = getattr(command, field) if field else ""
    return found if isinstance(found, str) else ""


def _meant(run: Run, command: Any, asking: Asking) -> Command | Refusal:
    """The command with the id of what was called by its title, or by the beginning of either."""
    field, word = TABLE[command.do].subject, _subject(command)
    found = _named(run, command.do, word, asking)
    if isinstance(found, Refusal):
        return found
    return cast(Command, command if found == word else replace(command, **{field: found}))


def _named(run: Run, do: str, word: str, asking: Asking) -> str | Refusal:
    """The id of what a word means."""
    field = TABLE[do].subject
    if field not in naming.NAMED or not word or (do == "hand-over" and word in run.parts):
        return word
    id, why = naming.found(run, field, word, lambda step: _may(run, do, step, asking) is None)
    return Refusal(Why.UNKNOWN, f"{why} Nothing was changed.", field=field) if why else id


def _lawful(run: Run, found: Answer, now: float) -> Answer | Refusal:
    for e in found.events:
        if no := refused(run, e):
            return _refusal(run, no)
        run = evolve(run, e, now)
    return found


def _refusal(run: Run, no: Objection) -> Refusal:
    """An objection of the rules as a sentence; a step's id stays as it is typed."""
    why = no.text
    named = why.split(maxsplit=1)[0].rstrip(",:") in run.steps
    text = why if named else why[0].upper() + why[1:]
    return Refusal(no.why, f"{text.rstrip('.')}. Nothing was changed.")


# -- decisions -------------------------------------------------------------------------------------------------------


def _approve(run: Run, c: cmd.Approve, a: Asking) -> Answer | Refusal:
    """A yes; the first of a new round where those before hold no longer, though nobody has written that down yet."""
    gone = lapsed(run, run.asked[c.decision], a.now)
    if gone is None:
        return _yes(run, c, a)
    found = _yes(evolve(run, gone, a.now), c, a)
    if isinstance(found, Refusal):
        return found
    return Answer((gone, *found.events), f"It was {gone.why}, so it is asked anew. {found.text}")


def _yes(run: Run, c: cmd.Approve, a: Asking) -> Answer | Refusal:
    asked = run.asked[c.decision]
    seated = _seated(run, asked, c, a)
    if isinstance(seated, Refusal):
        return seated
    role, moved = seated
    if stale_click(run, c.decision, c.card):
        return STALE
    e = ev.Approved(c.decision, run.fingerprints(c.decision), a.actor, role, bool(c.phrase), moved, a.person.young)
    text = f"Approved: {asked.spec.title}."
    before = [replace(v, seat=moved.get(v.person, v.seat)) for v in asked.ballots]
    votes = [*before, approval.Vote(a.person.id, a.person.roles, role)]
    left = _still(asked.spec.gate, votes) if asked.spec.gate is not None else ""
    return Answer((e,), f"{text} Still needed: {left}." if left else text)


def _seated(run: Run, asked: Asked, c: cmd.Approve, a: Asking) -> tuple[str, Mapping[str, str]] | Refusal:
    """(the role that this yes fills, who fills another seat by it); nothing where nobody is asked now."""
    gate = asked.spec.gate
    if gate is None or asked.opened is None or asked.decided is not None:
        return "", {}
    role = approval.may_vote(gate, a.person, asked.ballots, a.people, run.barred)
    if isinstance(role, Refusal):
        return role
    wanted = run.phrase(c.decision)
    if gate.typed_phrase and c.phrase.strip().lower() != wanted.lower():
        return Refusal(Why.BAD_INPUT, f'Type "{wanted}" to approve this. Nothing was changed.', field="phrase")
    return role, _moved(asked.ballots, approval.seated(gate, a.person, asked.ballots, a.people, run.barred))


def _decline(run: Run, c: cmd.Decline, a: Asking) -> Answer | Refusal:
    return Answer((ev.Declined(c.decision, a.actor, c.reason),), "Noted: not now. The decision stays open.")


def _break_glass(run: Run, c: cmd.BreakGlass, a: Asking) -> Answer | Refusal:
    if stale_click(run, c.decision, c.card):
        return STALE
    e = ev.BrokeGlass(c.decision, run.fingerprints(c.decision), a.actor, c.reason, a.person.young)
    return Answer((e,), "Glass broken: it goes on. Everyone is told, and it is reviewed within two working days.")


# -- the run ---------------------------------------------------------------------------------------------------------


def _stop(run: Run, c: cmd.Stop, a: Asking) -> Answer | Refusal:
    return Answer((ev.Stopped(a.actor, c.reason),), "Stopped: nothing new starts. `resume` goes on, `abort` ends it.")


def _resume(run: Run, c: cmd.Resume, a: Asking) -> Answer | Refusal:
    return Answer((ev.Resumed(a.actor),), "Going on.")


def _abort(run: Run, c: cmd.Abort, a: Asking) -> Answer | Refusal:
    aborted = ev.Aborted(a.actor, c.reason)
    debts = (
        f" Still in place: {', '.join(naming.title(run, d) for d in run.debts)}. Restore each, or hand it over."
        if run.debts
        else ""
    )
    left = [naming.title(run, x.step) for x in leftovers(evolve(run, aborted, a.now))]
    stays = f" Stays changed: {', '.join(left)}. `undo` takes one of them back." if left else ""
    return Answer((aborted,), f"Aborting.{debts}{stays}")


def _close(run: Run, c: cmd.Close, a: Asking) -> Answer | Refusal:
    return Answer((ev.Closed("closed", a.actor, c.note),), "Closed.")


def _offer(run: Run, c: cmd.Offer, a: Asking) -> Answer | Refusal:
    able = [p for p in a.people if COMMANDER in p.roles and p.kind == "member" and p.id != a.person.id]
    name = next((p.name for p in able if p.id == c.to), "")
    if not name:
        text = f"{c.to!r} cannot command. Who can: {authority.names(able)}."
        return Refusal(Why.BAD_INPUT, text, tuple(p.id for p in able), "to")
    return Answer((ev.CommandOffered(c.to, a.actor),), f"Offered. @{name} takes command with `take`.")


def _take(run: Run, c: cmd.Take, a: Asking) -> Answer | Refusal:
    if authority.commands(run, a.person):
        return Refusal(Why.ALREADY, "You are in command already.")
    if run.offered == a.person.id:
        return Answer((ev.CommandTaken(a.actor, "handed over", a.person.young),), "You are in command.")
    quiet = a.now - run.commander_seen
    if quiet < policy.SILENCE:
        text = f"{authority.commander(run)} was active {quiet:.0f} s ago. Ask for a hand-over, or wait"
        return Refusal(Why.NOT_NOW, f"{text} {policy.SILENCE - quiet:.0f} s.")
    return Answer((ev.CommandTaken(a.actor, "after silence", a.person.young),), "You are in command.")


def _tell(run: Run, c: cmd.Tell, a: Asking) -> Answer | Refusal:
    impact, workaround = (" ".join(text.split()) for text in (c.impact, c.workaround))
    if len(impact) < MIN_REASON:
        text = "tell needs what customers notice, in plain words. Nothing was changed."
        return Refusal(Why.BAD_INPUT, text, field="impact")
    for name, said in (("impact", impact), ("workaround", workaround)):
        if len(said) > PLAIN_MOST:
            text = f"That is {len(said)} characters; stakeholders read {PLAIN_MOST} at most. Nothing was changed."
            return Refusal(Why.BAD_INPUT, text, field=name)
    channels = run.created.channels.stakeholders if run.created is not None else ()
    where = f"Stakeholders read it in {', '.join(channels)}" if channels else "No channel of stakeholders is catalogued"
    return Answer((ev.Told(impact, workaround, a.actor),), f"{where}, and it stands on the card.")


# -- steps -----------------------------------------------------------------------------------------------------------


def _retry(run: Run, c: cmd.Retry, a: Asking) -> Answer | Refusal:
    return Answer((ev.Retried(c.step, a.actor),), f"Trying {naming.title(run, c.step)} again.")


def _undo(run: Run, c: cmd.Undo, a: Asking) -> Answer | Refusal:
    asked = run.decision_of(run.steps[c.step])
    after = f" It waits for {asked.spec.gate.words}." if asked is not None and asked.spec.gate is not None else ""
    return Answer((ev.UndoAsked(c.step, a.actor, c.reason),), f"Undoing {naming.title(run, c.step)}.{after}")


def _restore(run: Run, c: cmd.Restore, a: Asking) -> Answer | Refusal:
    said = ev.UndoAsked(c.step, a.actor, c.reason, debt=True)
    return Answer((said,), f"Restoring {naming.title(run, c.step)}: it is looked at first.")


def _hand_over(run: Run, c: cmd.HandOver, a: Asking) -> Answer | Refusal:
    name = next((f"@{p.name}" for p in a.people if p.id == c.to and p.kind == "member"), "")
    if not name:
        return Refusal(Why.BAD_INPUT, f"I do not know {c.to!r}. Name a person of the workspace.", field="to")
    if not a.now < c.until < a.now + 366 * 86400:
        return Refusal(Why.BAD_INPUT, "The time must lie in the future, and within a year.", field="until")
    if c.step in run.parts:
        part = ev.PartHandedOver(c.step, c.to, c.until, a.actor, c.reason)
        return Answer((part,), f"What {c.step} is owed is {name}'s now.")
    debt = ev.HandedOver(c.step, c.to, c.until, a.actor, c.reason)
    return Answer((debt,), f"{naming.title(run, c.step)} is {name}'s now.")


def _review(run: Run, c: cmd.Review, a: Asking) -> Answer | Refusal:
    return Answer((ev.Reviewed(c.decision, a.actor, c.reason),), "Reviewed, and recorded so.")


def _adopt(run: Run, c: cmd.Adopt, a: Asking) -> Answer | Refusal:
    said = ev.AdoptAsked(c.step, a.actor, c.reason)
    return Answer((said,), f"Looking whether {naming.title(run, c.step)} is done.")


# -- what more than one person must want -----------------------------------------------------------------------------


def _skip(run: Run, c: cmd.Skip, a: Asking) -> Answer | Refusal:
    return _propose(run, ev.Proposed(a.ref, "skip", a.actor, c.reason, c.step), a)


def _accept(run: Run, c: cmd.Accept, a: Asking) -> Answer | Refusal:
    return _propose(run, ev.Proposed(a.ref, "accept", a.actor, c.reason, c.step), a)


def _retarget(run: Run, c: cmd.Retarget, a: Asking) -> Answer | Refusal:
    return _propose(run, ev.Proposed(a.ref, "retarget", a.actor, c.reason, release=c.release), a)


def _admit(run: Run, c: cmd.Admit, a: Asking) -> Answer | Refusal:
    return _propose(run, ev.Proposed(a.ref, "admit", a.actor, c.reason, release=c.release), a)


def _leave_out(run: Run, c: cmd.Without, a: Asking) -> Answer | Refusal:
    if not PART.fullmatch(c.part):
        text = f"{c.part[:60]!r} is no place; write us-1, or us-1/deployment/shop-api."
        return Refusal(Why.BAD_INPUT, text, field="part")
    why = next((s.halt.parts[c.part] for s in run.halted if s.halt and c.part in s.halt.parts), "left out by decision")
    return _propose(run, ev.PartProposed(a.ref, c.part, why, a.actor, c.reason), a)


def _back(run: Run, c: cmd.Back, a: Asking) -> Answer | Refusal:
    return Answer((ev.PartBack(c.part, a.actor),), f"{c.part} gets now what it is owed.")


def _propose(run: Run, e: ev.Proposed | ev.PartProposed, a: Asking) -> Answer | Refusal:
    if isinstance(e, ev.PartProposed):
        gate = proposal_gate(run, "without")
        proposal = Proposal(e.id, "without", e.by, e.reason, gate, (), a.now, part=e.part, why=e.why)
    else:
        gate = proposal_gate(run, e.what, e.step)
        proposal = Proposal(e.id, e.what, e.by, e.reason, gate, (), a.now, e.step, e.release)
    seat = approval.may_vote(gate, a.person, (), a.people, run.barred)
    e = replace(e, role="" if isinstance(seat, Refusal) else seat)
    if no := refused(run, becomes(proposal)):
        return _refusal(run, no)
    after = evolve(run, e, a.now).proposals[e.id]
    if approval.satisfied(gate, after.ballots):
        return Answer((e, becomes(proposal)), f"Done: {naming.about(run, after)}.")
    text = f"Proposed: {naming.about(run, after)}. Still needed: {_still(gate, after.ballots)} (`agree {e.id}`)."
    return Answer((e,), text)


def _agree(run: Run, c: cmd.Agree, a: Asking) -> Answer | Refusal:
    p = run.proposals[c.proposal]
    seat = approval.may_vote(p.gate, a.person, p.ballots, a.people, run.barred)
    if isinstance(seat, Refusal):
        return seat
    now = approval.seated(p.gate, a.person, p.ballots, a.people, run.barred)
    agreed = ev.Agreed(p.id, a.actor, seat, _moved(p.ballots, now), a.person.young)
    after = evolve(run, agreed, a.now).proposals[p.id]
    if approval.satisfied(p.gate, after.ballots):
        return Answer((agreed, becomes(p)), f"Done: {naming.about(run, p)}.")
    return Answer((agreed,), f"Agreed. Still needed: {_still(p.gate, after.ballots)}.")


def _moved(votes: Sequence[approval.Vote], now: Mapping[str, str]) -> dict[str, str]:
    """Who has a vote already -> the other seat that they fill now."""
    return {v.person: now[v.person] for v in votes if now.get(v.person, v.seat) != v.seat}


def _still(gate: policy.Gate, votes: Sequence[approval.Vote]) -> str:
    return policy.Gate(approval.missing(gate, votes)).words


_Answering = Callable[[Run, Any, Asking], Answer | Refusal]
_ANSWERS: dict[type, _Answering] = cast(dict[type, _Answering], {
    cmd.Approve: _approve, cmd.Decline: _decline, cmd.BreakGlass: _break_glass, cmd.Stop: _stop, cmd.Resume: _resume,
    cmd.Abort: _abort, cmd.Retry: _retry, cmd.Skip: _skip, cmd.Accept: _accept, cmd.Undo: _undo,
    cmd.Restore: _restore, cmd.HandOver: _hand_over, cmd.Adopt: _adopt, cmd.Retarget: _retarget, cmd.Admit: _admit,
    cmd.Agree: _agree, cmd.Offer: _offer, cmd.Take: _take, cmd.Close: _close, cmd.Tell: _tell, cmd.Review: _review,
    cmd.Without: _leave_out, cmd.Back: _back,
})  # fmt: skip
