"""Decision cards: what would happen, who is asked, and afterwards who, when and what came of it. Pure.

A card carries what it showed (`Run.card`), so a click on one that is out of date is refused. The ways of a choice
stand on one card. At most two buttons; whatever asks something first ends with an ellipsis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.run.state import Asked, Dropped
from bot.slack.draw.blocks import (
    Mrkdwn,
    Piece,
    actions,
    button,
    code,
    context,
    cut,
    fit,
    fit_lines,
    joined,
    mark,
    menu,
    message,
    section,
    when,
)
from bot.slack.draw.phrases import Scene, barred, because, listed, needed, outcome, sentence, who
from bot.slack.draw.post import Message
from bot.slack.draw.press import ASKS, OF_A_DECISION, Press
from bot.telling import times, view

CHANGES_TEXT = 7_500
"""Characters of all changes on a card; what is cut can be had by a preview."""
EACH = 6
"""Lines of a step's diff on its card; the summary says what the rest is about."""
MORE_EDITS = "    and {} more; Show commands below has all of them"


@dataclass(frozen=True, slots=True)
class DecisionCard:
    """One card: a decision, or all ways of a choice. name: what its slot is called after."""

    name: str
    title: str
    ways: tuple[Asked, ...]

    @property
    def decided(self) -> Asked | None:
        """The way that was taken."""
        return next((a for a in self.ways if a.decided is not None), None)

    @property
    def open(self) -> list[Asked]:
        """What can be decided now."""
        return [a for a in self.ways if a.opened is not None]


def every(scene: Scene) -> Iterator[DecisionCard]:
    """Every decision of people, in the order of the plan; the ways of a choice as one."""
    ways: dict[str, list[Asked]] = {}
    for a in scene.run.asked.values():
        ways.setdefault(a.spec.choice or a.spec.name, []).append(a)
    for name, found in ways.items():
        if any(a.spec.gate is not None for a in found):
            yield DecisionCard(name, scene.named(found[0]), tuple(found))


def cards(scene: Scene) -> Iterator[DecisionCard]:
    """Those that were ever open; not the one on the root card."""
    start = scene.start.spec.name if scene.start else ""
    shown = (c for c in every(scene) if c.name != start)
    return (c for c in shown if any(a.spec.gate and (a.shown or a.decided is not None) for a in c.ways))


def card(scene: Scene, c: DecisionCard) -> Message:
    """The card as it is now."""
    taken = c.decided
    if taken is not None:
        return _decided(scene, c, taken)
    if not c.open or not scene.run.open:
        return _closed(scene, c)
    return _open(scene, c)


# -- open --------------------------------------------------------------------------------------------------------------


def _open(scene: Scene, c: DecisionCard) -> Message:
    run = scene.run
    blocks = [section(mark("*{}: {}*", _number(scene, c), c.title))]
    blocks += [section(t) for a in c.ways if a.dropped is not None and (t := _dropped(scene, a.dropped))]
    share = CHANGES_TEXT // max(1, len(c.open))
    for a in c.open:
        blocks += [section(t) for t in _changes(scene, a, share, alone=len(c.ways) == 1)]
    blocks += [section(t) for a in c.ways if (t := _refused(scene, a))]
    blocks += [section(joined([_said(c), *_asked(scene, c)]))]
    if advice := _advice(scene, c):
        blocks.append(context(advice))
    return message(*blocks, *actions(f"decision.{c.name}", run.id, *_buttons(scene, c)))


def _number(scene: Scene, c: DecisionCard) -> str:
    places = view.places(scene.run)
    return f"Decision {places.index(c.name) + 1} of {len(places)}" if c.name in places else "Decision"


def _dropped(scene: Scene, d: Dropped) -> Mrkdwn:
    """What differs from what was approved, first of all."""
    gone = [who(v.by) for v in d.votes] + ([who(d.glass)] if d.glass else [])
    void = mark("No longer valid: the approval of {}. ", listed(gone)) if gone else Mrkdwn("")
    if not d.differences:
        return mark("*To be decided again*: {}. {}", d.why or "what it would do was planned anew", void)
    lines = [mark("• {}", cut(x, 300)) for x in d.differences]
    return joined([mark("*Changed since it was looked at.* {}What differs:", void), fit_lines(lines, 1500)])


def _changes(scene: Scene, a: Asked, room: int, alone: bool) -> list[Mrkdwn]:
    """What one decision would do: a paragraph a step, numbered."""
    changes = scene.changes.get(a.spec.name, ())
    texts = []
    most = min(2_900, room // max(1, len(changes)))
    way = "" if alone else (a.spec.option or a.spec.title).capitalize()
    for i, c in enumerate(changes[:20], 1):
        name = c.title if alone or len(changes) > 1 else ""
        number = f"{i}. " if len(changes) > 1 else ""
        head = joined(
            [mark("*{}*", way) if way and i == 1 else "", mark("{}*{}*", number, name) if name else ""], " · "
        )
        lines = [mark("{}: {}", head, cut(c.summary, 400)), *_details(c)]
        texts.append(fit_lines(lines, most, MORE_EDITS))
    if len(changes) > 20:
        texts.append(mark("and {} more steps", len(changes) - 20))
    if not changes:
        texts.append(mark("*{}*{}", way or a.spec.title, ": nothing is changed" if way else ""))
    final = [c.title for c in changes if not c.reversible]
    does = any(c.edits or c.effects for c in changes)
    end = mark("*Cannot be undone*: {}.", ", ".join(final)) if final else Mrkdwn("Reversible." if does else "")
    return [*texts[:-1], joined([texts[-1], end])] if end else texts


def _refused(scene: Scene, a: Asked) -> Mrkdwn:
    """A way that cannot be gone, in a line."""
    why = view.refused(scene.run, a)
    way = (a.spec.option or "").capitalize()
    return mark("*{}* · refused: {}.", way, cut(why, 600).removesuffix(".")) if why else Mrkdwn("")


def _details(c: view.ChangeView) -> Iterator[Mrkdwn]:
    """Warnings first: what is cut is never a warning."""
    yield from (mark("    *Careful*: {}", cut(w, 300)) for w in c.warnings)
    if c.facts:
        yield mark("    {}", " · ".join(cut(f, 160) for f in c.facts))
    for line in c.edits[:EACH]:
        yield mark("    {} {}", code(cut(line.target, 200)), cut(line.change, 200))
    if len(c.edits) > EACH:
        yield mark(MORE_EDITS, sum(line.count for line in c.edits[EACH:]))
    yield from (mark("    also: {}", cut(e, 200)) for e in c.effects)


def _said(c: DecisionCard) -> Mrkdwn:
    """Who has said yes or not now so far."""
    lines = []
    for a in c.open:
        way = f" to {a.spec.option}" if a.spec.choice else ""
        lines += [
            mark("Yes{} from {} ({}) at {}.", way, who(v.by), times.seat(v.role, v.young), when(v.at)) for v in a.votes
        ]
        lines += [mark("{} said not now at {}{}", who(by), when(at), because(why)) for by, why, at in a.declined[-3:]]
    return joined(lines)


def _asked(scene: Scene, c: DecisionCard) -> Iterator[Mrkdwn]:
    """Whose yes is wanted, for each way; and what nobody can pass."""
    gates = [a.spec.gate for a in c.open if a.spec.gate is not None]
    for a in c.open:
        way = f" for {a.spec.option}" if a.spec.choice else ""
        if a.spec.gate is None:
            yield mark("Nobody has to be asked{}.", way)
            continue
        typed = f', and the phrase "{scene.run.phrase(a.spec.name)}" typed' if a.spec.gate.typed_phrase else ""
        last = len(c.open) == 1 and not a.spec.gate.self_approval
        but = f", not {barred(scene.run)}" if last else ""
        yield mark("{}{}: {}{}{}.", "Still asked" if a.votes else "Asked", way, needed(a.spec.gate, a), but, typed)
    if len(c.open) > 1 and not all(g.self_approval for g in gates):
        yield mark("Not {}: whoever asked for it or commanded it does not approve it.", barred(scene.run))
    for a in c.open:
        if a.spec.name in scene.run.impossible:
            why = scene.run.impossible[a.spec.name]
            yield mark("Nobody can pass this at the moment: {}. Break-glass is possible.", why)


def _advice(scene: Scene, c: DecisionCard) -> Mrkdwn:
    choice = next((x for x in scene.run.plan.choices if x.id == c.name), None)
    s = scene.run.steps.get(choice.advise) if choice is not None and choice.advise else None
    return mark("{}", sentence(cut(s.verdict.observed, 600))) if s is not None and s.verdict is not None else Mrkdwn("")


# -- buttons -----------------------------------------------------------------------------------------------------------


def _buttons(scene: Scene, c: DecisionCard) -> Iterator[Piece | None]:
    yes = [(a, _label(a), scene.press("approve", a.spec.name)) for a in c.open if a.spec.gate is not None]
    yes = [x for x in yes if x[2] is not None]
    for a, label, press in yes[:2]:
        drastic = not all(x.reversible for x in scene.changes[a.spec.name])
        yield button(label, press, "danger" if drastic else "primary" if len(yes) == 1 else None)
    rest = [(label, press) for _, label, press in yes[2:]]
    not_now = scene.press("decline", yes[0][0].spec.name) if yes else None
    if len(yes) == 1:
        yield button("Not now", not_now)
    else:
        rest.append(("Not now", not_now))
    glass = [
        (f"Break glass{f': {a.spec.option}' if a.spec.choice else ''}", scene.press("break-glass", a.spec.name))
        for a, _, _ in yes
    ]
    commands = ("Show commands", Press("commands", scene.run.id, yes[0][0].spec.name if len(yes) == 1 else c.name))
    yield menu([*rest, *([commands] if len(yes) < 3 else []), _skip(scene, c), *glass,
                ("Abort", scene.press("abort"))])  # fmt: skip


def _label(a: Asked) -> str:
    return ((a.spec.option or "").capitalize() if a.spec.choice else a.spec.title)[:70].removesuffix("…")


def _skip(scene: Scene, c: DecisionCard) -> tuple[str, Press | None]:
    if len(c.ways) > 1 or c.name not in scene.run.asked:
        return "Skip", None
    steps = [s.spec.id for s in scene.run.members(c.name) if s.spec.kind != "gate"]
    if len(steps) == 1:
        return "Skip", scene.press("skip", steps[0])
    could = any(scene.press("skip", i) for i in steps)
    return "Skip one of them", Press(f"{ASKS}{OF_A_DECISION}", scene.run.id, c.name) if could else None


# -- decided, or not to be decided now ---------------------------------------------------------------------------------


def _decided(scene: Scene, c: DecisionCard, a: Asked) -> Message:
    way = f": {a.spec.option}" if a.spec.choice else ""
    head = mark("*{}{}* · {}", c.title, way, _how(a))
    lines = [mark("• {}", fit(outcome(scene, m), 300)) for m in a.spec.members if _worth(scene, m)]
    return message(section(joined([head, fit_lines(lines, 2_200) if lines else ""])))


def _worth(scene: Scene, step: str) -> bool:
    s = scene.run.steps[step]
    return s.spec.kind != "gate" and s.end != "not needed"


def _how(a: Asked) -> Mrkdwn:
    at = when(a.decided or 0.0)
    after = f" after {times.duration(a.waited)}" if a.waited is not None and a.waited >= 1 else ""
    if a.glass is not None:
        by = mark("{}{}", who(a.glass), times.newcomer(a.glass_young))
        return mark("opened alone by {} at {}{} (break-glass){}", by, at, after, because(a.taken))
    if a.votes:
        voters = listed([mark("{} ({})", who(v.by), times.seat(v.role, v.young)) for v in a.votes])
        return mark("approved by {} at {}{}", voters, at, after)
    return mark("nobody had to be asked at {}{}", at, because(a.taken))


def _closed(scene: Scene, c: DecisionCard) -> Message:
    """Shown before, and not to be decided now: why."""
    run = scene.run
    members = [run.steps[m] for a in c.ways for m in a.spec.members]
    halted = [s.spec.title for s in members if s.open and s.halt is not None]
    if run.closed or run.aborted:
        why = mark("not decided: the run {}", "is being aborted" if run.open else f"ended ({_end(scene)})")
    elif all(not s.open for s in members):
        why = mark("no longer to be decided: {}", _ends(scene, [s.spec.id for s in members]))
    elif halted:
        why = mark("not to be decided yet: first {} needs a decision", ", ".join(halted))
    else:
        why = Mrkdwn("looked at again; to be decided when it is known what it would do")
    blocks = [section(mark("*{}: {}* · {}", _number(scene, c), c.title, why))]
    blocks += [section(t) for a in c.ways if a.dropped is not None and run.open and (t := _dropped(scene, a.dropped))]
    return message(*blocks)


def _end(scene: Scene) -> str:
    return scene.run.closed.outcome if scene.run.closed else ""


def _ends(scene: Scene, steps: Iterable[str]) -> Mrkdwn:
    found: Sequence[Mrkdwn] = [outcome(scene, i) for i in steps]
    return fit_lines([fit(x, 300) for x in found], 1_500)
