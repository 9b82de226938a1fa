"""What a run owes, has left changed, and does not bring back: in words, a sentence each. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bot.run.afterwards import Leftover, leftovers
from bot.run.decide import RELEASING, working_days
from bot.run.state import BrokenGlass, Debt, Part, Run, Step
from bot.telling import times
from bot.telling.diff import show


def debt(run: Run, d: Debt) -> str:
    """Something temporary that is in place, whose it is and until when, in a sentence."""
    s = run.steps[d.step]
    what = s.made.summary if s.made else s.spec.title
    owner = f"; @{d.owner} sees to it until {times.dated(d.until)}" if d.owner and d.until is not None else ""
    heir = f", taken over from run {d.run}" if d.run else ""
    gone = "; ".join(f"{target.partition('/')[0]}: {words}" for target, words in d.missing.items())
    missed = f"; LIFTED BY SOMEBODY, noticed {times.clock(d.missed)}: {gone}" if gone and d.missed is not None else ""
    return f"{s.spec.title} is in place since {times.clock(d.since)}{heir}: {what}{owner}{missed}"


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


def made_up(run: Run) -> tuple[Part, ...]:
    """Parts that people had the run go on without, and that have got everything since."""
    owed = {p.name for p in run.owed_parts}
    return tuple(p for p in run.parts.values() if p.by is not None and p.back is not None and p.name not in owed)


def made_up_part(p: Part) -> str:
    """Since when one was left out and why, and that it has got everything by now, in a sentence."""
    back = f", answered again {times.clock(p.back)}" if p.back is not None else ""
    return f"{p.name} was left out {times.clock(p.since)} ({p.reason}){back}, and has got everything since"


def owed_part(run: Run, p: Part) -> str:
    """What a part is owed, since when and whose decision that was."""
    steps = [s.spec.title for s in run.steps.values() if p.name in s.without and s.spec.changes]
    who = (
        f"@{p.by.name} had the run go on without it at {times.clock(p.since)}: {p.reason}"
        if p.by
        else f"away since {times.clock(p.since)}"
    )
    back = f"; it answers again since {times.clock(p.back)}" if p.back is not None and p.by else ""
    what = f"; not done there: {', '.join(steps)}" if steps else ""
    owner = f"; @{p.owner} sees to it until {times.dated(p.until)}" if p.owner and p.until is not None else ""
    return f"{p.name} ({p.why}): {who}{back}{what}{owner}"


def unrestored(run: Run) -> Iterator[str]:
    """What a rollback does not bring back: known beforehand, and what was left alone or is owed."""
    if run.purpose not in RELEASING:
        return
    yield from ("data written meanwhile", "secrets", "what other companies' systems have received")
    yield "what open pages and apps have loaded"
    if not any(s.change is not None and "return" in s.spec.duties for s in run.steps.values()):
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


def review(run: Run, r: BrokenGlass) -> str:
    """A broken glass that is to be reviewed, in a sentence."""
    title = run.asked[r.decision].spec.title if r.decision in run.asked else r.decision
    return (f"@{r.by.name} opened {title} alone at {times.dated(r.at)}: {r.why}; to be reviewed by somebody "
            f"else by {times.dated(working_days(r.at, 2))}")  # fmt: skip


def came_back(run: Run) -> tuple[str, ...]:
    """What of the removed release stands again, a sentence for each."""
    at = f"noticed {times.clock(run.back_at)}" if run.back_at is not None else "noticed"
    return tuple(f"is back, {at}: {target} {words}" for target, words in run.back.items())
