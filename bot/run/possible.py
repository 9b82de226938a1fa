"""What can be asked of a run now, and why the rest cannot. Pure: of the run alone, whoever asks.

Cards, menus, forms and the terminal offer what stands in `possible(run)`; an answer is refused for what `why_not` says.
Both ask `rules.refused` of the very events that the command would append, so nothing can be offered that is refused.
Who may ask is `authority`'s part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bot.catalogue import Release
from bot.policy import Actor
from bot.run import events as ev
from bot.run.decide import RELEASING
from bot.run.rules import Objection, begun, moved, refused
from bot.run.state import Proposal, Run

NOBODY = Actor("", "")
_ANY = Release("")
"""Stands for a release that is still to be named."""


@dataclass(frozen=True, slots=True)
class Possible:
    """A command that the run would take now. subject: what of the run it is about, empty for all of it."""

    do: str
    subject: str = ""


def possible(run: Run) -> frozenset[Possible]:
    """Everything that can be asked now, by whoever may. What names no part of the run (a release, a plan, a person) is
    there once, as long as any could be named."""
    if run.created is None or run.doubt:
        return frozenset()
    found = (Possible(do, subject) for do, subjects in _SUBJECTS.items() for subject in subjects(run))
    return frozenset(p for p in found if why_not(run, p.do, p.subject) is None)


def why_not(run: Run, do: str, subject: str = "", by: Actor = NOBODY) -> Objection | None:
    """Why the run would not take this command now; None if it would. subject: of the run, where the command has one;
    by: who asks, as some things are for each person once."""
    if do in _OPENS:
        return _OPENS[do](run)
    for event in _EVENTS[do](run, subject, by):
        if no := refused(run, event):
            return no
    return None


def becomes(p: Proposal) -> ev.Event:
    """What a proposal turns into once all have agreed."""
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


def away(run: Run) -> tuple[str, ...]:
    """Parts that a halted step could not reach, and that the run does not go on without yet."""
    found = {part for s in run.halted if s.halt is not None for part in s.halt.parts}
    return tuple(sorted(found - run.left_out))


# -- what each would append --------------------------------------------------------------------------------------------


def _approve(run: Run, decision: str, by: Actor) -> Iterable[ev.Event]:
    yield ev.Approved(decision, run.fingerprints(decision), by, "", True, {}, {})


def _break_glass(run: Run, decision: str, by: Actor) -> Iterable[ev.Event]:
    yield ev.BrokeGlass(decision, run.fingerprints(decision), by, "", {})


def _skip(run: Run, step: str, by: Actor) -> Iterable[ev.Event]:
    yield from (ev.Proposed("", "skip", by, "", step), ev.Skipped(step, by, ""))


def _accept(run: Run, step: str, by: Actor) -> Iterable[ev.Event]:
    yield from (ev.Proposed("", "accept", by, "", step), ev.Accepted(step, by, ""))


def _retarget(run: Run, _: str, by: Actor) -> Iterable[ev.Event]:
    yield from (ev.Proposed("", "retarget", by, "", release=_ANY), ev.Retargeted(_ANY, "", by))


def _admit(run: Run, _: str, by: Actor) -> Iterable[ev.Event]:
    yield from (ev.Proposed("", "admit", by, "", release=_ANY), ev.FixAdmitted(_ANY, "", by))


def _without(run: Run, part: str, by: Actor) -> Iterable[ev.Event]:
    yield from (ev.PartProposed("", part, "", by, ""), ev.WentWithout(part, "", by, ""))


def _hand_over(run: Run, subject: str, by: Actor) -> Iterable[ev.Event]:
    if subject in run.parts:
        yield ev.PartHandedOver(subject, "", 0.0, by, "")
    else:
        yield ev.HandedOver(subject, "", 0.0, by, "")


def _agree(run: Run, proposal: str, by: Actor) -> Iterable[ev.Event]:
    yield ev.Agreed(proposal, by)
    if proposal in run.proposals:
        yield becomes(run.proposals[proposal])


_Events = Callable[[Run, str, Actor], Iterable[ev.Event]]
_EVENTS: Mapping[str, _Events] = {
    "approve": _approve,
    "decline": lambda run, decision, by: [ev.Declined(decision, by, "")],
    "break-glass": _break_glass,
    "stop": lambda run, _, by: [ev.Stopped(by)],
    "resume": lambda run, _, by: [ev.Resumed(by)],
    "abort": lambda run, _, by: [ev.Aborted(by, "")],
    "retarget": _retarget,
    "admit": _admit,
    "retry": lambda run, step, by: [ev.Retried(step, by)],
    "skip": _skip,
    "accept": _accept,
    "undo": lambda run, step, by: [ev.UndoAsked(step, by)],
    "restore": lambda run, step, by: [ev.UndoAsked(step, by, debt=True)],
    "hand-over": _hand_over,
    "adopt": lambda run, step, by: [ev.AdoptAsked(step, by, "")],
    "agree": _agree,
    "offer": lambda run, _, by: [ev.CommandOffered("", by)],
    "take": lambda run, _, by: [ev.CommandTaken(by, "handed over")],
    "tell": lambda run, _, by: [ev.Told("", "", by)],
    "close": lambda run, _, by: [ev.Closed("closed", by)],
    "review": lambda run, decision, by: [ev.Reviewed(decision, by, "")],
    "without": _without,
    "back": lambda run, part, by: [ev.PartBack(part, by)],
}  # fmt: skip


# -- what opens another run --------------------------------------------------------------------------------------------


def _forward(run: Run) -> Objection | None:
    if run.open:
        return Objection(f"{run.id} is still open: abort it, or let it end, then roll forward")
    return None if moved(run) else Objection(
        f"{run.id} changed nothing of which release runs, so there is nothing to take back"
    )  # fmt: skip


def _replan(run: Run) -> Objection | None:
    if run.purpose not in RELEASING:
        return Objection("it brings no release back, and follows the only plan for what it does")
    if no := refused(run, ev.Aborted(NOBODY, "")):
        return no
    at_work = begun(run)
    what = f"Too late for another plan: {at_work} has begun. Skip what is not needed, or abort."
    return Objection(what) if at_work else None


def _postmortem(run: Run) -> Objection | None:
    if run.purpose not in RELEASING:
        return Objection("it brings no release back, so there is nothing to learn from it")
    if run.open:
        return Objection(f"{run.id} is still open; its postmortem is scheduled when it ends")
    return (
        None
        if any(s.acted for s in run.steps.values())
        else Objection(f"{run.id} changed nothing, so there is nothing to learn from it")
    )


_OPENS: Mapping[str, Callable[[Run], Objection | None]] = {
    "forward": _forward, "replan": _replan, "postmortem": _postmortem,
}  # fmt: skip


# -- what each could be about ------------------------------------------------------------------------------------------


def _open_decisions(run: Run) -> list[str]:
    return [n for n, a in run.asked.items() if a.opened is not None and a.spec.gate is not None]


def _steps(run: Run) -> list[str]:
    return [s.spec.id for s in run.steps.values() if s.open]


def _halted(run: Run) -> list[str]:
    return [s.spec.id for s in run.steps.values() if s.open and s.halt is not None]


def _all(run: Run) -> list[str]:
    return [""]


_SUBJECTS: Mapping[str, Callable[[Run], Iterable[str]]] = {
    "approve": _open_decisions, "decline": _open_decisions, "break-glass": _open_decisions,
    "stop": _all, "resume": _all, "abort": _all, "retarget": _all, "admit": _all,
    "retry": _halted, "skip": _steps, "accept": _halted,
    "undo": lambda run: [s.spec.id for s in run.steps.values() if s.made is not None],
    "restore": lambda run: run.debts,
    "hand-over": lambda run: [*run.debts, *(p.name for p in run.owed_parts)],
    "adopt": _steps, "agree": lambda run: run.proposals, "offer": _all,
    "take": lambda run: _all(run) if run.offered else [],
    "close": _all, "tell": _all, "forward": _all, "replan": _all, "postmortem": _all,
    "without": away, "back": lambda run: [p.name for p in run.owed_parts],
    "review": lambda run: [r.decision for r in run.reviews.values()],
}  # fmt: skip
