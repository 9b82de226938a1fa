"""A run as a person should see it: pure, shared by the command line, Slack and the by-hand file.

`view` works out what is worth saying: state in words, decisions with what they would do, what to do next. What a run
leaves is said in `remains`; `plain` writes all of it down. Nothing here knows a clock, a database or Slack.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from bot import policy
from bot.contract import Change
from bot.policy import approval
from bot.run.afterwards import left_by, leftovers
from bot.run.asked import Dropped
from bot.run.possible import Possible, possible
from bot.run.state import Asked, Proposal, Run, Step
from bot.telling import remains, times
from bot.telling.diff import DiffLine, diff, fact, show


@dataclass(frozen=True, slots=True)
class StepView:
    """One step in a line. state: "to do", "looking", "to be decided", "approved", "at work", "in effect soon",
    "stopped", "done", "warning", "skipped", "accepted", "not needed", "done by hand", "failed, went on", "undone",
    "given up" or "not done"; detail: what it says about itself."""

    id: str
    title: str
    track: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChangeView:
    """What one step would do: its summary, its diff, facts, warnings."""

    step: str
    title: str
    summary: str
    edits: tuple[DiffLine, ...]
    effects: tuple[str, ...]
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    reversible: bool


@dataclass(frozen=True, slots=True)
class DecisionView:
    """One decision. state: "open", "decided", "later". number, of: its place among all decisions of the plan;
    card: what a click must carry; phrase: what must be typed, empty where nothing; lapsed: whose yes no longer counts,
    and why, in lines."""

    name: str
    title: str
    number: int
    of: int
    state: str
    card: str
    needs: str
    changes: tuple[ChangeView, ...]
    given: tuple[str, ...]
    declined: tuple[str, ...]
    phrase: str = ""
    option: str = ""
    impossible: str = ""
    lapsed: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything worth saying about a run."""

    id: str
    title: str
    status: str
    reason: str
    commander: str
    evidence: tuple[str, ...]
    steps: tuple[StepView, ...]
    decisions: tuple[DecisionView, ...]
    halts: tuple[str, ...]
    debts: tuple[str, ...]
    proposals: tuple[str, ...]
    next: tuple[str, ...]
    commands: tuple[str, ...]
    left: tuple[str, ...] = ()
    """What stays changed although it was given up, a sentence each."""
    reviews: tuple[str, ...] = ()
    """Broken glass that nobody has reviewed yet."""
    partial: str = ""
    """ "eu-1 restored, us-1 unknown": empty where every part has got everything."""
    parts: tuple[str, ...] = ()
    """What is owed, a sentence a part."""
    unrestored: tuple[str, ...] = ()
    """What this does not restore, whatever comes of it."""


def view(run: Run, now: float) -> RunView:
    """What to show of a run at a moment (seconds since the epoch)."""
    c = run.created
    if c is None:
        raise LookupError(f"run {run.id} has not been created")
    return RunView(
        run.id,
        title(run),
        status(run, now),
        c.reason,
        f"@{run.commander.name}" if run.commander else "nobody",
        c.evidence,
        steps(run, now),
        tuple(_decisions(run)),
        tuple(_halts(run)),
        tuple(remains.debt(run, d) for d in run.debts.values()),
        tuple(_proposed(p) for p in run.proposals.values()),
        tuple(_next(run)),
        tuple(x for s in run.steps.values() for x in s.commands),
        (*(remains.stays(run, x) for x in leftovers(run)), *(remains.came_back(run) if run.back else ())),
        tuple(remains.review(run, r) for r in run.reviews.values() if r.reviewed is None),
        remains.partial(run),
        tuple(remains.owed_part(run, p) for p in run.owed_parts) if run.aborted is None else (),
        tuple(remains.unrestored(run)),
    )  # fmt: skip


def _proposed(p: Proposal) -> str:
    what = f"{p.what} {p.part or p.step or (p.release.version if p.release else '')}"
    return f"{p.id}: {what} ({p.reason}), proposed by @{p.by.name}; `agree {p.id}`"


def title(run: Run) -> str:
    """ "Rollback of shop: 2.4.1 -> 2.4.0"."""
    c = run.created
    if c is None or run.target is None:
        return run.id
    if c.purpose == "unban":
        return f"End of the ban on {c.service} {c.removed.version}"
    if c.purpose == "disown":
        return f"Fields of {c.service} given back"
    if c.purpose == "postmortem":
        return f"Postmortem of {c.service}, after {c.follows}"
    if c.purpose in ("freeze", "thaw"):
        return f"{c.purpose.capitalize()} of {c.service}"
    word = {"rollback": "Rollback", "forward": "Roll forward"}.get(c.purpose, c.purpose.capitalize())
    return f"{word} of {c.service}: {c.removed.version} → {run.target.version}"


def status(run: Run, now: float) -> str:
    """Where it stands, in one line: first what is owed to a part of the service."""
    short = remains.partial(run)
    return f"{short}; {_status(run, now)}" if short else _status(run, now)


def _status(run: Run, now: float) -> str:
    if run.doubt:
        return f"its record is not believed, and nothing is done in it: {run.doubt}"
    left = [run.steps[x.step].spec.title for x in leftovers(run)]
    stays_so = f"; stays changed: {', '.join(left)}" if left else ""
    if run.closed is not None:
        if run.restored is None:
            return f"{run.closed.outcome} after {took(run, now)}{stays_so}"
        end = run.closed_at if run.closed_at is not None else now
        watched = f", then watched for {times.duration(end - run.restored)}" if end - run.restored >= 1 else ""
        over = f"{run.closed.outcome} after {times.duration(end - run.created_at)}"
        return f"{over}: {arrived(run)} after {took(run, now)}{watched}{stays_so}"
    if run.aborted:
        todo = f"{len(run.owing)} still to be restored or handed over{stays_so}"
        return f"being aborted by @{run.aborted.name}: {todo}"
    if run.stopped:
        return f"stopped by @{run.stopped.name}: nothing new starts"
    if run.halted:
        return f"{run.halted[0].spec.title} stopped and needs a decision"
    waiting = [a for a in run.asked.values() if a.opened is not None]
    busy = [s.spec.title for s in run.steps.values() if s.attempt is not None and s.attempt.doing != "plan"]
    parts = [f"at work: {', '.join(busy)}"] if busy else []
    if waiting and waiting[0].spec.gate is not None:
        since = times.duration(now - (waiting[0].opened or now))
        parts.append(f"waiting for {waiting[0].spec.gate.words} since {since}: {waiting[0].spec.title}")
    if not parts and all(not s.open for s in run.steps.values()):
        parts = ["every step has ended; the commander closes it"]
    if run.restored is not None:
        parts = [f"{arrived(run)} after {took(run, now)}", *(parts or ["watching"])]
    return "; ".join(parts) or "going on"


def arrived(run: Run) -> str:
    """ "back", or "forward": where the service is once the run has done what it is for."""
    return "forward" if run.purpose == "forward" else "back"


def took(run: Run, now: float) -> str:
    """ "11 min 20 s (6 min 5 s work, 5 min 15 s waiting for decisions)": until the service was back; where it is not,
    until the run's end, or now. The parts add up."""
    end = next(t for t in (run.restored, run.closed_at, now) if t is not None)
    spent = run.spent_until(end)
    marks = [0, round(spent.work), round(spent.work + spent.waiting), round(max(0.0, end - run.created_at))]
    words = ("work", "waiting for decisions", "stopped")
    parts = [f"{times.duration(b - a)} {w}" for (a, b), w in zip(pairwise(marks), words, strict=True) if b > a]
    return f"{times.duration(marks[-1])} ({', '.join(parts)})" if len(parts) > 1 else times.duration(marks[-1])


# -- steps -----------------------------------------------------------------------------------------------------------


def steps(run: Run, now: float) -> tuple[StepView, ...]:
    """Every step in a line."""
    return tuple(_step(run, s, now) for s in run.steps.values())


def _step(run: Run, s: Step, now: float) -> StepView:
    state, detail = _state(run, s, now)
    return StepView(s.spec.id, s.spec.title, s.spec.track, state, detail)


def _state(run: Run, s: Step, now: float) -> tuple[str, str]:
    if s.end is not None:
        if s.end == "done" and s.verdict is not None and s.verdict.status == "warn":
            return "warning", f"{s.verdict.observed}; expected {s.verdict.expected}"
        word = {"adopted": "done by hand", "failed": "failed, went on"}.get(s.end, s.end)
        by = f" by @{s.by.name}" if s.by is not None and s.end != "done" else ""
        detail = s.why or s.note or (s.change.summary if s.change else "")
        return word, f"{detail}{by}"
    if s.attempt is not None:
        return ("looking", "") if s.attempt.doing == "plan" else ("at work", _counted(s))
    if not run.goes_on(s):
        left = left_by(s)
        written = "was written" if s.commands else "was begun"
        if left is None:
            return "not done", ""
        n = len(left.change.edits)
        return "given up", f"{written}; {n} value{' stays' if n == 1 else 's stay'} changed"
    if s.halt is not None:
        return "refused" if run.refused(s, s.halt) else "stopped", s.halt.error
    if s.applying:
        return "in effect soon", _counted(s)
    if s.verdict is not None:
        return (
            "at work",
            f"{s.verdict.status}: {s.verdict.observed}; looked at again in {times.duration(max(0, s.wake - now))}",
        )
    asked = run.decision_of(s)
    if asked is not None and asked.opened is not None:
        return "to be decided", s.change.summary if s.change else ""
    if s.released is not None:
        return "approved", s.released.summary
    return "to do", s.note


def counted(text: str, done: int | None, total: int | None) -> str:
    """A progress line with its count, which a text may hold already: "9 of 12 pods ready"."""
    if done is None or total is None or f"{done} of {total}" in text:
        return text
    return f"{done} of {total}{' ' if len(text.split()) <= 2 else ', '}{text}".rstrip(", ")


def _counted(s: Step) -> str:
    return counted(s.note, s.done, s.total)


def _halts(run: Run) -> Iterator[str]:
    for s in run.halted:
        if s.halt is None:
            continue
        lines = [f"{s.spec.title} stopped: {s.halt.error}"]
        if s.halt.observed:
            lines.append(
                "What is true now: " + "; ".join(f"{t} is {show(v)}" for t, v in s.halt.observed.items()) + "."
            )
        if s.halt.hint:
            lines.append(f"Next: {s.halt.hint}.")
        yield "\n".join(lines)


# -- decisions -------------------------------------------------------------------------------------------------------


def places(run: Run) -> tuple[str, ...]:
    """What people decide, in the order of the plan; the ways of a choice are one place."""
    gated = (a.spec for a in run.asked.values() if a.spec.gate is not None)
    return tuple(dict.fromkeys(d.choice or d.name for d in gated))


def changes(run: Run, a: Asked) -> tuple[ChangeView, ...]:
    """What a decision would do, or has let pass, step by step; of an open one, what has not ended."""
    shown = (run.steps[m] for m in a.spec.members)
    waits = a.opened is not None and a.decided is None
    return tuple(change_view(s) for s in shown if s.change is not None and (s.open or not waits))


def _decisions(run: Run) -> Iterator[DecisionView]:
    numbered = places(run)
    for a in run.asked.values():
        if a.spec.gate is None:
            continue
        state = "decided" if a.decided is not None else "open" if a.opened is not None else "later"
        left = approval.missing(a.spec.gate, a.ballots) or a.spec.gate.by
        barred = "" if a.spec.gate.self_approval else ", not " + _names(run)
        yield DecisionView(
            a.spec.name,
            a.spec.title,
            numbered.index(a.spec.choice or a.spec.name) + 1,
            len(numbered),
            state,
            run.card(a.spec.name),
            policy.Gate(tuple(left)).words + barred,
            changes(run, a),
            tuple(_given(a)),
            tuple(f"@{who.name} said not now{': ' + why if why else ''}" for who, why, _ in a.declined),
            run.phrase(a.spec.name) if a.spec.gate.typed_phrase else "",
            a.spec.option or "",
            run.impossible.get(a.spec.name, ""),
            tuple(_lapsed(a.dropped)) if a.dropped is not None and run.open else (),
            refused(run, a),
        )


def refused(run: Run, a: Asked) -> str:
    """Why this way of a choice cannot be gone, and what to do about it; empty where it can, or it is decided."""
    waits = run.open and run.chosen(a.spec.choice or "") is None
    steps = [run.steps[i] for i in a.spec.members if waits]
    halts = (s.halt for s in steps if s.halt is not None and run.refused(s, s.halt))
    return ". ".join(part for h in halts for part in (h.error, f"Next: {h.hint}" if h.hint else "") if part)


def _lapsed(d: Dropped) -> Iterator[str]:
    gone = ", ".join(f"@{v.name}" for v in (*(g.by for g in d.votes), *([d.glass] if d.glass is not None else [])))
    void = f" No longer valid: the approval of {gone}." if gone else ""
    if not d.differences:
        yield f"To be decided again: {d.why or 'what it would do was planned anew'}.{void}"
        return
    yield f"Changed since it was looked at.{void} What differs:"
    yield from (f"- {x}" for x in d.differences)


def _given(a: Asked) -> Iterator[str]:
    if a.glass is not None:
        who = f"@{a.glass.name}{times.newcomer(a.glass_young)}"
        yield f"{who} broke the glass at {times.clock(a.decided or 0)}: {a.taken}"
    elif a.taken:
        yield a.taken
    for v in a.votes:
        yield f"@{v.by.name} as {times.seat(v.role, v.young)} at {times.clock(v.at)}"


def _names(run: Run) -> str:
    known = {a.id: a.name for a in run.barred_people}
    return " or ".join("@" + known.get(i, i) for i in sorted(run.barred))


def change_view(s: Step) -> ChangeView:
    """What a step would do, in words."""
    change = s.change or Change("not known yet")
    return ChangeView(
        s.spec.id,
        s.spec.title,
        change.summary,
        diff(change.edits),
        tuple(e.what for e in change.effects),
        tuple(fact(f) for f in change.facts),
        change.warnings,
        change.reversible,
    )


# -- debts and what to do next ---------------------------------------------------------------------------------------


def _next(run: Run) -> Iterator[str]:
    """The commands that would move the run now, or give back what it has left: of what can be asked, what helps."""
    if run.doubt:
        yield f"rollback-bot audit {run.id} verify"
        return
    could = possible(run)

    def typed(do: str, subject: str = "", more: str = "", remark: str = "") -> Iterator[str]:
        if Possible(do, subject) in could:
            words = " ".join(w for w in (do, run.id, subject, more) if w)
            yield f"rollback-bot {words}{f'    # {remark}' if remark else ''}"

    reason, handing = "--reason '...'", "--to NAME --until TIME --reason '...'"
    for d in _decisions(run):
        phrase = f" --phrase {shlex.quote(d.phrase)}" if d.phrase else ""
        yield from typed("approve", d.name, f"--card {d.card}{phrase}", d.needs)
    for s in run.halted:
        for part in s.halt.parts if s.halt else ():
            yield from typed("without", part, reason, "go on without it; one approver agrees")
        yield from typed("retry", s.spec.id)
        accept = [*typed("accept", s.spec.id, reason)]
        yield from accept or typed("skip", s.spec.id, reason)
    for p in run.proposals:
        yield from typed("agree", p)
    if run.aborted is None:
        for owed in run.owed_parts:
            yield from typed("back", owed.name, "", "when it is back")
            yield from typed("hand-over", owed.name, handing)
    if run.over or (run.owing and all(not s.open for s in run.steps.values())):
        for held in run.debts:
            yield from typed("restore", held, reason)
            yield from typed("hand-over", held, handing)
    for x in leftovers(run):
        if not run.steps[x.step].undoing:
            yield from typed("undo", x.step, reason, "puts it back")
    if run.over:
        for r in run.reviews.values():
            yield from typed("review", r.decision, reason)
        return
    if run.stopped:
        yield from typed("resume")
    elif all(not s.open for s in run.steps.values()):
        yield from typed("close")
