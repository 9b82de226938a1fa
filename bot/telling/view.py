"""A run as a person should see it: pure, shared by the command line, Slack and the by-hand file.

`view` works out what is worth saying (state in words, decisions with what they would do, debts, what to do next);
`text` writes it down. Nothing here knows a clock, a database or Slack.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from bot import policy
from bot.contract import Change
from bot.run.afterwards import Leftover, left_by, leftovers
from bot.run.asked import Dropped
from bot.run.decide import RELEASING, working_days
from bot.run.state import Asked, Debt, Part, Proposal, Review, Run, Step
from bot.telling.diff import Line, diff, fact, show


@dataclass(frozen=True, slots=True)
class StepView:
    """One step in a line. state: one of the words of `STATES`; detail: what it says about itself."""

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
    edits: tuple[Line, ...]
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


RESTORING = ("release.deploy", "settings.restore")
"""Whose change says what is not restored, once it is known; before that a check has."""
STATES = ("to do", "looking", "to be decided", "approved", "at work", "in effect soon", "stopped", "done", "warning",
          "skipped", "accepted", "not needed", "done by hand", "failed, went on", "undone", "given up",
          "not done")  # fmt: skip


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
        tuple(debt(run, d) for d in run.debts.values()),
        tuple(_proposed(p) for p in run.proposals.values()),
        tuple(_next(run)),
        tuple(x for s in run.steps.values() for x in s.commands),
        (*(stays(run, x) for x in leftovers(run)), *(came_back(run) if run.back else ())),
        tuple(review(run, r) for r in run.reviews.values() if r.reviewed is None),
        partial(run),
        tuple(owed_part(run, p) for p in run.owed_parts) if run.aborted is None else (),
        tuple(unrestored(run)),
    )  # fmt: skip


def came_back(run: Run) -> tuple[str, ...]:
    """What of the removed release stands again, a sentence for each."""
    at = f"noticed {clock(run.back_at)}" if run.back_at is not None else "noticed"
    return tuple(f"is back, {at}: {target} {words}" for target, words in run.back.items())


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
    short = partial(run)
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
        watched = f", then watched for {duration(end - run.restored)}" if end - run.restored >= 1 else ""
        over = f"{run.closed.outcome} after {duration(end - run.created_at)}"
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
        since = duration(now - (waiting[0].opened or now))
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
    parts = [f"{duration(b - a)} {w}" for (a, b), w in zip(pairwise(marks), words, strict=True) if b > a]
    return f"{duration(marks[-1])} ({', '.join(parts)})" if len(parts) > 1 else duration(marks[-1])


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
        return "stopped", s.halt.error
    if s.applying:
        return "in effect soon", _counted(s)
    if s.verdict is not None:
        return (
            "at work",
            f"{s.verdict.status}: {s.verdict.observed}; looked at again in {duration(max(0, s.wake - now))}",
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
        left = policy.missing(a.spec.gate, a.ballots) or a.spec.gate.by
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
        )


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
        yield f"@{a.glass.name}{newcomer(a.glass_young)} broke the glass at {clock(a.decided or 0)}: {a.taken}"
    elif a.taken:
        yield a.taken
    for v in a.votes:
        yield f"@{v.by.name} as {seat(v.role, v.young)} at {clock(v.at)}"


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


def debt(run: Run, d: Debt) -> str:
    """Something temporary that is in place, whose it is and until when, in a sentence."""
    s = run.steps[d.step]
    what = s.made.summary if s.made else s.spec.title
    owner = f"; @{d.owner} sees to it until {moment(d.until)}" if d.owner and d.until is not None else ""
    heir = f", taken over from run {d.run}" if d.run else ""
    gone = "; ".join(f"{target.partition('/')[0]}: {words}" for target, words in d.missing.items())
    missed = f"; LIFTED BY SOMEBODY, noticed {clock(d.missed)}: {gone}" if gone and d.missed is not None else ""
    return f"{s.spec.title} is in place since {clock(d.since)}{heir}: {what}{owner}{missed}"


def _next(run: Run) -> Iterator[str]:
    """The commands that would move the run now, or give back what it has left."""
    if run.doubt:
        yield f"rollback-bot audit {run.id} verify"
        return
    for d in _decisions(run):
        if d.state == "open":
            typed = f" --phrase {shlex.quote(d.phrase)}" if d.phrase else ""
            yield f"rollback-bot approve {run.id} {d.name} --card {d.card}{typed}    # {d.needs}"
    for s in run.halted:
        if not run.goes_on(s):
            continue
        cause = s.halt.cause if s.halt else ""
        for part in s.halt.parts if s.halt and run.open else ():
            yield f"rollback-bot without {run.id} {part} --reason '...'    # go on without it; one approver agrees"
        yield f"rollback-bot retry {run.id} {s.spec.id}"
        word = "accept" if cause in ("check", "left") else "skip"
        yield f"rollback-bot {word} {run.id} {s.spec.id} --reason '...'"
    for p in run.proposals.values():
        yield f"rollback-bot agree {run.id} {p.id}"
    if run.aborted is None:
        for owed in run.owed_parts:
            yield from [f"rollback-bot back {run.id} {owed.name}    # when it is back"] if run.open else []
            yield f"rollback-bot hand-over {run.id} {owed.name} --to NAME --until TIME --reason '...'"
    if run.over:
        for held in run.debts:
            yield f"rollback-bot restore {run.id} {held} --reason '...'"
            yield f"rollback-bot hand-over {run.id} {held} --to NAME --until TIME --reason '...'"
    for x in leftovers(run):
        if x.reversible and not run.steps[x.step].undoing:
            yield f"rollback-bot undo {run.id} {x.step} --reason '...'    # puts it back"
    for r in run.reviews.values():
        if r.reviewed is None and run.over:
            yield f"rollback-bot review {run.id} {r.decision} --reason '...'"
    if run.over:
        return
    if run.stopped:
        yield f"rollback-bot resume {run.id}"
    elif all(not s.open for s in run.steps.values()):
        yield f"rollback-bot close {run.id}"


# -- parts ------------------------------------------------------------------------------------------------------------


def partial(run: Run) -> str:
    """What is restored and what is not known, by part; empty where nothing is owed."""
    owed = [p.name for p in run.owed_parts]
    if not owed or run.aborted is not None:
        return ""
    made = [s.made for s in run.steps.values() if s.made is not None and not s.spec.temporary]
    seen = dict.fromkeys(e.target.split("/")[0] for c in made for e in c.edits if "/" in e.target)
    well = [p for p in seen if p not in owed] if run.restored is not None else []
    restored = f"{', '.join(well)} restored, " if well else ""
    return f"{restored}{', '.join(owed)} unknown"


def owed_part(run: Run, p: Part) -> str:
    """What a part is owed, since when and whose decision that was."""
    steps = [s.spec.title for s in run.steps.values() if p.name in s.without and s.spec.changes]
    who = (
        f"@{p.by.name} had the run go on without it at {clock(p.since)}: {p.reason}"
        if p.by
        else f"away since {clock(p.since)}"
    )
    back = f"; it answers again since {clock(p.back)}" if p.back is not None and p.by else ""
    what = f"; not done there: {', '.join(steps)}" if steps else ""
    owner = f"; @{p.owner} sees to it until {moment(p.until)}" if p.owner and p.until is not None else ""
    return f"{p.name} ({p.why}): {who}{back}{what}{owner}"


def unrestored(run: Run) -> Iterator[str]:
    """What a rollback does not bring back: known beforehand, and what was left alone or is owed."""
    if run.purpose not in RELEASING:
        return
    yield from ("data written meanwhile", "secrets", "what other companies' systems have received")
    yield "what open pages and apps have loaded"
    if not any(s.change is not None and s.spec.uses in RESTORING for s in run.steps.values()):
        yield from _found_beforehand(run)
    for s in run.steps.values():
        if s.change is not None and s.end not in ("skipped", "not needed", "undone"):
            yield from (w for w in s.change.warnings if w.startswith("left alone"))
            yield from (f"left alone: {f.name.removeprefix('left alone: ')}, {f.value}" for f in s.change.facts
                        if f.name.startswith("left alone"))  # fmt: skip
    yield from (stays(run, x) for x in leftovers(run))
    if run.aborted is None:
        yield from (owed_part(run, p) for p in run.owed_parts)


def _found_beforehand(run: Run) -> Iterator[str]:
    """What the checks before everything have found that is not brought back."""
    for s in run.steps.values():
        found = s.verdict.data.get("by_hand") if s.verdict is not None and s.spec.phase == "preflight" else None
        yield from map(str, found if isinstance(found, list) else ())


# -- what is left ----------------------------------------------------------------------------------------------------


def stays(run: Run, x: Leftover) -> str:
    """What a step that was given up has changed, and where that stands, in a sentence."""
    s = run.steps[x.step]
    return f"{s.spec.title} {left_how(s)}: {'; '.join(stands(x))}{for_good(x)}"


def left_how(s: Step) -> str:
    """How a step came to leave something changed."""
    return "was done and stays so" if s.end in ("done", "adopted") else "was given up half-way"


def for_good(x: Leftover) -> str:
    """A remark where it cannot be undone."""
    return "" if x.change.reversible else "; it cannot be undone"


def stands(x: Leftover) -> Iterator[str]:
    """Where each value stands that was left changed."""
    look = f"nobody could look ({x.unseeable}): " if x.unseeable else ""
    for e in x.change.edits:
        was = f"was {show(e.before)}"
        if e.target not in x.seen:
            yield f"{look}{e.target} was to become {show(e.after)}, {was}"
        elif e in x.moved:
            yield f"{e.target} is {show(x.seen[e.target])}, neither {show(e.before)} nor {show(e.after)}"
        else:
            yield f"{e.target} is {show(x.seen[e.target])}, {was}"


def review(run: Run, r: Review) -> str:
    """A broken glass that is to be reviewed, in a sentence."""
    title = run.asked[r.decision].spec.title if r.decision in run.asked else r.decision
    return (f"@{r.by.name} opened {title} alone at {moment(r.at)}: {r.why}; to be reviewed by somebody "
            f"else by {moment(working_days(r.at, 2))}")  # fmt: skip


# -- writing it down -------------------------------------------------------------------------------------------------


def text(v: RunView) -> str:
    """The run as plain text for a terminal."""
    lines = [f"{v.title}   [{v.id}]", f"{v.status}", f"Reason: {v.reason} · Commander {v.commander}"]
    lines += [f"  Owed: {p}" for p in v.parts]
    lines += [f"  {e}" for e in v.evidence]
    for track, steps in _by_track(v.steps):
        lines += ["", track.capitalize()]
        lines += [
            f"  {_SIGN.get(s.state, ' ')} {s.title:<28} {s.state}{': ' + s.detail if s.detail else ''}" for s in steps
        ]
    for d in v.decisions:
        if d.state == "open":
            lines += ["", *decision_lines(d)]
    told = (("Stopped", v.halts), ("Still in place", v.debts), ("Stays changed", v.left), ("Proposed", v.proposals),
            ("To be reviewed", v.reviews))  # fmt: skip
    for heading, items in told:
        if items:
            lines += ["", heading, *(f"  {line}" for i in items for line in i.splitlines())]
    if v.next:
        lines += ["", "Next", *(f"  {n}" for n in v.next)]
    return "\n".join(lines)


def decision_lines(d: DecisionView) -> list[str]:
    """A decision's card as lines of text."""
    option = f" ({d.option})" if d.option else ""
    lines = [f"Decision {d.number} of {d.of}: {d.title}{option}", *(f"  {x}" for x in d.lapsed)]
    for i, c in enumerate(d.changes, 1):
        lines.append(f"  {i}. {c.title}: {c.summary}")
        lines += [f"     {x}" for x in (*c.edits, *c.effects, *c.facts)]
        lines += [f"     Careful: {w}" for w in c.warnings]
    if d.option and not d.changes and d.state == "open":
        lines.append("  Nothing is changed.")
    if d.changes:
        final = [c.title for c in d.changes if not c.reversible]
        lines.append(f"  Cannot be undone: {', '.join(final)}." if final else "  Reversible.")
    lines += [f"  {g}" for g in (*d.given, *d.declined)]
    lines.append(f"  Asked: {d.needs}.")
    if d.phrase:
        lines.append(f'  Type "{d.phrase}" to approve.')
    if d.impossible:
        lines.append(f"  Nobody can pass this at the moment: {d.impossible}. Break-glass is possible.")
    return lines


def _by_track(steps: Iterable[StepView]) -> Iterator[tuple[str, list[StepView]]]:
    found: dict[str, list[StepView]] = {}
    for s in steps:
        found.setdefault(s.track, []).append(s)
    yield from found.items()


_SIGN: Mapping[str, str] = {
    "done": "✓", "done by hand": "✓", "accepted": "✓", "skipped": "-", "not needed": "-", "stopped": "!",
    "warning": "!", "failed, went on": "!", "to be decided": "?", "at work": "…", "in effect soon": "…", "looking": "…",
}  # fmt: skip


def duration(seconds: float) -> str:
    """ "45 s", "5 min 15 s", "2 h 5 min", "6 d 4 h"."""
    s = round(max(0.0, seconds))
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if s >= size:
            rest = s % size // next_size
            return f"{s // size} {unit} {rest} {next_unit}" if rest else f"{s // size} {unit}"
    return f"{s} s"


def seat(role: str, young: Mapping[str, int]) -> str:
    """A role; where somebody has come to hold it lately, since when: "approver, first seen as one 4 min before"."""
    return f"{role}, first seen as one {duration(young[role])} before" if role in young else role


def newcomer(young: Mapping[str, int]) -> str:
    """ " (commander, first seen as one 5 s before)"; empty where nothing is new."""
    return f" ({'; '.join(seat(role, young) for role in sorted(young))})" if young else ""


def clock(at: float) -> str:
    """ "14:05:07 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def moment(at: float) -> str:
    """ "2026-11-23 14:05 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
