"""How to go on without the bot: a text that somebody who never saw it can follow. Pure.

Invariants:
- commands are whole and in the order in which they are to be run; nothing is cut;
- steps are called by their titles, and nothing has to be looked up in the bot;
- what is left and what takes it back are both there, whatever the bot had done of it when it went away: every command
  may be run again, so an older text is still right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from bot.contract import Change, Edit, canonical
from bot.plan.model import resolve
from bot.policy import Gate
from bot.run.afterwards import leftovers
from bot.run.state import Run, Step
from bot.telling import remains, times, view
from bot.telling.diff import edit as told

Typist = Callable[[str, Sequence[Edit]], Sequence[str]]
"""(name of a handler, edits) -> the command lines that make them so; comments begin with #."""
Changes = Mapping[str, Change]
"""By step."""
_NOTHING: Changes = MappingProxyType({})
_NO_WORDS: Mapping[str, str] = MappingProxyType({})

_HOW = (
    "Run the commands in their order, each when the one before it has ended well. Each may be run again: what is done "
    "already stays as it is. Keep to one of the two ways, with the bot stopped; when it is back it looks at everything "
    "again before it goes on, and asks about what it finds done."
)

STILL = 5
"""Seconds within which a guard that was taken away refuses no more; up to 1.7 s were measured."""


def by_hand(
    run: Run, now: float, typed: Typist, foreseen: Changes = _NOTHING, about: Mapping[str, str] = _NO_WORDS
) -> str:
    """The text, in Markdown. now: seconds since the epoch; foreseen: what steps would do of which the log does not say
    it yet; about: name of a handler -> what it does, in a sentence."""
    c = run.created
    if c is None:
        raise LookupError(f"run {run.id} has not been created")
    lines = [f"# By hand: {view.title(run)}", "", f"Written {times.dated(now)}. {_aim(run)} Reason: {c.reason}", "",
             _HOW, "", "## Where it stands", "", *_standing(run), ""]  # fmt: skip
    if run.open and run.aborted is None:
        lines += ["## To finish it", "", *_left(run, typed, foreseen, about)]
        lines += [
            "## To take it back instead",
            "",
            "The last first; what was never done stays as it is.",
        ]
        known = ((s, _known(s) or foreseen.get(s.spec.id)) for s in _ordered(run))
        lines += ["", *_back([(s, c) for s, c in known if c is not None], typed)]
    else:
        changed = {d: made for d in run.debts if (made := run.steps[d].made) is not None}
        changed |= {x.step: x.change for x in leftovers(run)}
        still = [(s, changed[s.spec.id]) for s in _ordered(run) if s.spec.id in changed]
        lines += ["## To put back what is still changed", "", *_back(still, typed)]
    lines += ["## What was run so far", "", *_fenced([x for s in run.steps.values() for x in s.commands], "Nothing.")]
    return "\n".join(lines).rstrip() + "\n"


def _aim(run: Run) -> str:
    c = run.created
    if c is None or run.target is None or c.purpose not in ("rollback", "forward"):
        return ""
    return f"{run.service} is to run {run.target.version} instead of {c.removed.version}."


def _standing(run: Run) -> Iterator[str]:
    if run.closed is not None:
        yield f"- The run has ended: {run.closed.outcome}. Nothing of it is left to do but what stands below."
    elif run.aborted is not None:
        yield "- The run was aborted: put back what stands below, and do nothing else."
    yield from (f"- Owed: {remains.owed_part(run, p)}." for p in run.owed_parts if run.aborted is None)
    yield from (f"- {remains.stays(run, x)}." for x in leftovers(run))
    for s in run.steps.values():
        if s.spec.kind in ("gate", "check", "watch"):
            continue
        if s.end in ("done", "adopted"):
            yield f"- Done: {s.spec.title}. {s.receipt.detail if s.receipt else ''}".rstrip()
        elif s.applying:
            yield f"- Begun, perhaps half done: {s.spec.title}."
        elif s.halt is not None:
            yield f"- Stopped: {s.spec.title}: {s.halt.error}"


# -- forwards ----------------------------------------------------------------------------------------------------------


def _ordered(run: Run) -> list[Step]:
    """The steps, each behind those that it waits for."""
    waiting, found = dict(run.steps), dict[str, Step]()
    while waiting:
        ready = (i for i, s in waiting.items() if not any(a in waiting for a in s.spec.after))
        i = next(ready, next(iter(waiting)))
        found[i] = waiting.pop(i)
    return list(found.values())


def _left(run: Run, typed: Typist, foreseen: Changes, about: Mapping[str, str]) -> Iterator[str]:
    n, ways = 0, set[str]()
    barring = _barring(run, foreseen)
    for s in barring:
        if s.made is None:
            continue
        yield "### First: let yourself pass"
        yield ""
        yield "The clusters refuse new releases to all but the bot and their break-glass group, which may skip this."
        yield "From here on nothing refuses them: tell whoever deploys, people and machines, to wait until the end."
        yield ""
        lifted = typed(s.spec.uses, s.made.inverted().edits)
        yield from _fenced([*lifted, f"sleep {STILL}  # for a moment clusters go on refusing"], "")
    for s in _ordered(run):
        if not s.open or s.spec.kind == "gate" or s.spec.phase == "preflight":
            continue
        n += 1
        if s in barring:
            yield f"### {n}. {s.spec.title}"
            yield ""
            yield "Leave it out: it would refuse you too. Tell whoever deploys to wait until the end."
            yield ""
            continue
        asked = run.decision_of(s)
        choice = asked.spec.choice if asked is not None else None
        if choice and run.chosen(choice) is None and choice not in ways:
            ways.add(choice)
            ways_of = [w.spec.title for w in run.steps.values() if _way(run, w, choice)]
            yield f"One of these ways only: {', '.join(ways_of)}."
            yield ""
        yield f"### {n}. {s.spec.title}{_who(run, s)}"
        yield ""
        yield from _step(run, s, typed, foreseen, about)


def _barring(run: Run, foreseen: Changes) -> list[Step]:
    """The steps whose guards stand only while the plan is at work, and refuse whoever goes on by hand meanwhile."""
    lifted = {s.spec.undo for s in run.steps.values() if s.spec.undo is not None and s.open}
    known = ((s, s.made or _towards(run, s, foreseen)) for s in _ordered(run) if s.spec.id in lifted)
    return [s for s, change in known if change is not None and _guards(change)]


def _way(run: Run, s: Step, choice: str) -> bool:
    asked = run.decision_of(s)
    return asked is not None and asked.spec.choice == choice


def _who(run: Run, s: Step) -> str:
    """Whose yes it still wants, whoever runs the commands."""
    asked = run.decision_of(s)
    gate = asked.spec.gate if asked is not None and asked.decided is None else None
    return f" (only with the yes of {Gate(gate.by).words})" if gate is not None else ""


def _step(run: Run, s: Step, typed: Typist, foreseen: Changes, about: Mapping[str, str]) -> Iterator[str]:
    if not s.spec.changes:
        yield f"Look whether it is so; go on only then.{f' {about[s.spec.uses]}' if s.spec.uses in about else ''}"
        yield from _params(run, s, short=True)
        yield ""
        return
    change = _towards(run, s, foreseen)
    if change is None or (change.is_noop and s.change is None and s.spec.undo is None):
        yield from _in_words(run, s, about)
        yield ""
        return
    yield f"It does this: {change.summary}"
    yield from (f"Careful: {w}" for w in change.warnings)
    yield from (f"Also: {e.what}" for e in change.effects)
    yield ""
    none = "No command is known for it: do what stands above." if change.effects else "Nothing is to be changed."
    yield from _fenced(typed(s.spec.uses, change.edits) if change.edits else (), none)


def _in_words(run: Run, s: Step, about: Mapping[str, str]) -> Iterator[str]:
    """What a step is for, where what it changes shows only once what stands before it is done."""
    source = run.steps.get(s.spec.undo) if s.spec.undo is not None else None
    if source is not None:
        yield f"It takes back what {source.spec.title} will have done: nothing of that stands yet."
        return
    yield f"It does this: {about.get(s.spec.uses) or s.spec.title}"
    yield from _params(run, s)
    yield "Which commands that takes shows only once what stands before it is done: look then."


def _params(run: Run, s: Step, *, short: bool = False) -> Iterator[str]:
    """A line for each parameter whose value is known; short: of plain words only."""
    for name, value in (s.spec.params or {}).items():
        with contextlib.suppress(LookupError):
            found = resolve({name: value}, run.value)[name]
            if isinstance(found, str) or not short:
                yield f"- {name}: {found if isinstance(found, str) else canonical(found)}"


def _known(s: Step) -> Change | None:
    """What a step did, or would do; None for one that only undoes another."""
    if s.spec.kind == "undo" or not s.spec.changes:
        return None
    return s.made or s.released or (s.change if s.open else None)


def _towards(run: Run, s: Step, foreseen: Changes) -> Change | None:
    """What is still to be made so by a step."""
    if s.spec.undo is not None:
        source = run.steps.get(s.spec.undo)
        done = (_known(source) or foreseen.get(source.spec.id)) if source is not None else None
        return replace(done.inverted(), warnings=()) if done is not None else None
    return s.released or s.change or foreseen.get(s.spec.id)


# -- backwards ---------------------------------------------------------------------------------------------------------


def _back(changed: Sequence[tuple[Step, Change]], typed: Typist) -> Iterator[str]:
    """The commands that undo these, the last first; what refuses releases before all, or it refuses the rest."""
    n = 0
    for s, done in sorted(reversed(changed), key=lambda c: not _guards(c[1])):
        if not done.edits:
            continue
        n += 1
        yield f"### {n}. {s.spec.title}"
        yield ""
        if not done.reversible:
            yield f"Cannot be taken back: {done.summary}"
            yield ""
            continue
        yield f"Takes back: {done.summary}"
        yield ""
        yield from _fenced(typed(s.spec.uses, done.inverted().edits), "")
    if not n:
        yield "Nothing is changed."
        yield ""


def _guards(change: Change) -> bool:
    """Whether it makes a cluster refuse releases."""
    return any("/guard/" in e.target for e in change.edits)


def _fenced(commands: Sequence[str], none: str) -> list[str]:
    return ["```sh", *commands, "```", ""] if commands else [none, ""]


def in_words(uses: str, edits: Sequence[Edit]) -> list[str]:
    """Where nobody knows a command: what is to be set to what."""
    return [f"# set {told(e)}" for e in edits]
