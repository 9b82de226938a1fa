"""What people call a step, a decision or a proposal: its id, its title, or enough of the beginning of either. Pure.

A name that fits nothing, or several, is answered with those that it could be: whoever types at night copies one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.run.asked import Proposal
from bot.run.state import Run
from bot.words import listed, meant


def found(run: Run, field: str, word: str, may: Callable[[str], bool]) -> tuple[str, str]:
    """(the id that a word means, "") or ("", why none: what it could be). field: what it names; may: whether the same
    can be asked of a step now."""
    known, able = NAMED[field](run, may)
    ids = meant(word, known, run.service)
    if len(ids) == 1:
        return ids[0], ""
    if ids:
        return "", f"{word!r} may be {listed(ids, known)}: say which."
    open_ = "" if field == "step" else "open "
    there = listed([i for i in known if able(i)], known)
    return "", f"There is no {open_}{field} {word!r}. Possible now: {there}."


Known = tuple[Mapping[str, str], Callable[[str], bool]]
"""Id -> title of everything of a kind, and whether one of them is worth naming."""


def _steps(run: Run, may: Callable[[str], bool]) -> Known:
    return {s.spec.id: s.spec.title for s in run.steps.values()}, may


def _decisions(run: Run, may: Callable[[str], bool]) -> Known:
    return {n: a.spec.title for n, a in run.asked.items()}, lambda name: run.asked[name].opened is not None


def _proposals(run: Run, may: Callable[[str], bool]) -> Known:
    return {p.id: about(run, p) for p in run.proposals.values()}, lambda id: True


NAMED: Mapping[str, Callable[[Run, Callable[[str], bool]], Known]] = {
    "step": _steps, "decision": _decisions, "proposal": _proposals,
}  # fmt: skip
"""What of a run has names, by the field that says it."""


def about(run: Run, p: Proposal) -> str:
    """What a proposal wants, in words."""
    if p.release is not None:
        way = "change" if run.purpose == "forward" else "go back"
        return f"{f'{way} to' if p.what == 'retarget' else 'admit'} {p.release.version}"
    return f"go on without {p.part}" if p.what == "without" else f"{p.what} {title(run, p.step)}"


def title(run: Run, step: str) -> str:
    """What people call a step; any other word as it is."""
    return run.steps[step].spec.title if step in run.steps else step
