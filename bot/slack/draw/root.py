"""The root card: one look says where the rollback stands and what is waited for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bot.run.decide import RELEASING
from bot.run.rules import begun
from bot.run.state import Run, Step
from bot.slack.draw.blocks import (
    Mrkdwn,
    Piece,
    TaskState,
    actions,
    button,
    context,
    cut,
    fit,
    joined,
    mark,
    menu,
    message,
    plan,
    section,
    task,
    when,
)
from bot.slack.draw.phrases import Scene, because, debts, listed, needed, sentence, standing_of, unrestored, who
from bot.slack.draw.post import Message
from bot.slack.draw.press import Press
from bot.telling import remains, times, view

TRACKS = 5
"""Task cards of the plan block."""

_SIGNS: dict[str, TaskState] = {
    "to do": "pending", "to be decided": "pending", "approved": "pending", "not done": "pending",
    "refused": "pending",
    "looking": "in_progress", "at work": "in_progress", "in effect soon": "in_progress",
    "stopped": "error", "failed, went on": "error",
}  # fmt: skip


def root(scene: Scene) -> Message:
    """The card that everything else of the run hangs under."""
    run = scene.run
    short = remains.partial(run)
    head = mark("*{}* · {}{}", view.title(run), f"{short}; " if short else "", standing(scene))
    owed = () if run.aborted else run.owed_parts
    lines = [head, *(mark("Owed: {}.", remains.owed_part(run, p)) for p in owed), *_facts(scene)]
    steps = _plan(scene)
    return message(
        section(joined(fit(line, 700) for line in lines)),
        *actions("root", run.id, *_buttons(scene)),
        *([steps] if steps else []),
        context(mark("Run {} · since {} · plan {}", run.id, when(run.created_at, day=True), run.plan.name)),
    )


def standing(scene: Scene) -> Mrkdwn:
    """Where it stands and who is waited for."""
    run = scene.run
    if run.doubt:
        return mark("*its record is not believed, and nothing is done in it*: {}", cut(run.doubt, 300))
    if run.closed is not None:
        by = mark(" by {}", who(run.closed.by)) if run.closed.by else Mrkdwn("")
        took = times.duration((run.closed_at or run.at) - run.created_at)
        return mark("{}{} after {}{}", run.closed.outcome, by, took, because(run.closed.note))
    if run.aborted:
        left = len(run.owing)
        todo = f"{left} to be restored or handed over" if left else "nothing left in place"
        return mark("being aborted by {}{}; {}", who(run.aborted), because(run.abort_reason), todo)
    if run.stopped:
        return mark("stopped by {}: nothing new starts", who(run.stopped))
    if run.halted:
        more = f" (and {len(run.halted) - 1} more)" if len(run.halted) > 1 else ""
        return mark("waiting for {}: {} stopped{}", who(run.commander), run.halted[0].spec.title, more)
    busy = [s.spec.title for s in run.steps.values() if _busy(s)]
    parts = [mark("at work: {}", ", ".join(busy[:3]) + ("…" if len(busy) > 3 else ""))] if busy else []
    parts += list(_waiting(scene))[:2]
    if run.restored is not None:
        parts = [mark("{} again since {}", _runs(run), when(run.restored)), *(parts or [Mrkdwn("watching")])]
    if not parts and all(not s.open for s in run.steps.values()):
        if run.owing:
            stays = ", ".join(scene.title(d.step) for d in run.owing)
            return mark("every step has ended; still in place: {}, to be restored or handed over", stays)
        return mark("every step has ended; waiting for {} to close it", who(run.commander))
    return joined(parts, "; ") or Mrkdwn("going on")


def _busy(s: Step) -> bool:
    """Whether it is at work: between two looks, or while its effect is awaited, as well; a watch is told of as one."""
    if s.attempt is not None:
        return s.attempt.doing != "plan"
    looks = s.spec.kind == "check" and s.verdict is not None
    return s.open and s.halt is None and (s.applying or looks)


def _waiting(scene: Scene) -> Iterator[Mrkdwn]:
    run, seen = scene.run, set()
    for a in run.asked.values():
        if a.opened is None or a.spec.gate is None or (a.spec.choice or a.spec.name) in seen:
            continue
        seen.add(a.spec.choice or a.spec.name)
        if scene.start is not None and a.spec.name == scene.start.spec.name and run.purpose in RELEASING:
            commander = a.spec.gate.roles == {"commander"}
            yield mark("waiting for {} to start", who(run.commander) if commander else needed(a.spec.gate, a))
            continue
        since = when(a.opened)
        yield mark("waiting for {} since {}: {}", needed(a.spec.gate, a), since, scene.named(a))


def _runs(run: Run) -> str:
    return f"runs {run.target.version}" if run.target is not None else "runs"


def _facts(scene: Scene) -> Iterator[Mrkdwn]:
    run, created = scene.run, scene.run.created
    if created is None:
        return
    if run.impact:
        works = f" {sentence(cut(run.workaround, 300))}" if run.workaround else ""
        yield mark("Customers: {}{}", sentence(cut(run.impact, 300)), works)
    yield mark("Reason: {} · Commander {}", cut(created.reason, 500), who(run.commander))
    if run.tried:
        yield mark("Tried before and given up: {}.", ", ".join(f"{r.version} ({why})" for r, why in run.tried))
    if created.evidence and not run.tried:
        yield joined((sentence(e) for e in created.evidence), " ")
    if run.admitted:
        yield mark("Let through the freeze: {}.", ", ".join(r.version for r in run.admitted))
    yield _time(scene)
    yield _preflight(run)
    if scene.start is not None and scene.start.decided is None and run.open and not run.aborted:
        yield unrestored(run)
    if run.impossible and run.open:
        names = {n: scene.named(run.asked[n]) if n in run.asked else n for n in run.impossible}
        stuck = "; ".join(f"{names[n]}: {why}" for n, why in run.impossible.items())
        yield mark("Nobody can pass at the moment: {}. Break-glass is possible.", stuck)
    if not run.aborted or run.closed:
        yield debts(scene) if run.closed or run.stopped else Mrkdwn("")


def _time(scene: Scene) -> Mrkdwn:
    run, eta = scene.run, scene.eta
    if not run.open or run.aborted or run.restored is not None:
        return Mrkdwn("")
    expected = Mrkdwn("")
    if eta is not None and eta.between is not None and eta.samples:
        expected = mark("Expected between {} and {}.", when(eta.between[0]), when(eta.between[1] + 59))
    elif eta is not None:
        expected = mark("{}", sentence(eta.text))
    return joined([expected, _on_call(scene)], " ")


def _on_call(scene: Scene) -> Mrkdwn:
    """Who is on call for what is still to be decided."""
    start = scene.start.spec.name if scene.start else ""
    open = [a.spec for a in scene.run.asked.values() if a.decided is None and a.spec.gate and a.spec.name != start]
    roles = dict.fromkeys(r.role for d in open if d.gate for r in d.gate.by)
    found = [mark("{} ({})", called, role) for role in roles if (called := scene.call([role]))]
    return mark("People on call: {}.", joined(found, ", ")) if found else Mrkdwn("")


def _preflight(run: Run) -> Mrkdwn:
    looks = [
        s for s in run.steps.values()
        if s.spec.phase == "preflight" and s.spec.kind == "check" and s.end != "not needed"
    ]  # fmt: skip
    if not looks:
        return Mrkdwn("")
    over = [s for s in looks if not s.open or s.halt is not None]
    fine = [s for s in over if s.end == "done" and s.verdict is not None and s.verdict.status == "pass"]
    others = [f"{s.spec.title}: {_seen(s)}" for s in over if s not in fine]
    if len(over) < len(looks):
        head = f"Preflight: {len(fine)} of {len(over)} so far fine, {len(looks) - len(over)} still looked at."
    else:
        head = f"Preflight: {len(fine)} of {len(looks)} fine."
    return mark("{}{}", head, f" Look at: {'; '.join(others)}." if others else "")


def _seen(s: Step) -> str:
    """What a look found, and what it should have found, where both are short enough to be read."""
    v = s.verdict
    if v is None:
        return cut(s.note, 120)
    return cut(v.observed, 200) if len(v.observed) > 120 else f"{v.observed}, expected {cut(v.expected, 80)}"


# -- steps -------------------------------------------------------------------------------------------------------------


def _plan(scene: Scene) -> Piece | None:
    """How far each track is, in at most five task cards: a card is tall, and what stands below it is not read."""
    steps = [s for s in scene.run.steps.values() if s.spec.phase != "preflight" and s.end != "not needed"]
    tracks: dict[str, list[Step]] = {}
    for s in steps:
        tracks.setdefault(s.spec.track, []).append(s)
    if not tracks:
        return None
    over = sum(not s.open for s in steps)
    cards = [_task(scene, name, found) for name, found in _folded(tracks).items()]
    return plan(f"{over} of {len(steps)} steps have ended", cards)


def _folded(tracks: Mapping[str, Sequence[Step]]) -> Mapping[str, Sequence[Step]]:
    """At most five: of more, those before and behind where it is now stand in one."""
    if len(tracks) <= TRACKS:
        return tracks
    names = list(tracks)
    now = next((i for i, n in enumerate(names) if any(s.open for s in tracks[n])), len(names) - 1)
    first = max(0, min(now - 1, len(names) - (TRACKS - 2)))
    shown = names[first : first + TRACKS - 2]
    before, behind = names[:first], names[first + TRACKS - 2 :]
    found: dict[str, Sequence[Step]] = {}
    if before:
        found["before"] = [s for n in before for s in tracks[n]]
    found |= {n: tracks[n] for n in shown}
    if behind:
        found["then"] = [s for n in behind for s in tracks[n]]
    return found


def _task(scene: Scene, name: str, steps: Sequence[Step]) -> Piece:
    """ "Backend: 3 of 9, Deploy, 4 of 6 pods"."""
    over = sum(not s.open for s in steps)
    states = {_SIGNS.get(standing_of(scene, s), "complete") for s in steps}
    sign: TaskState = "complete"
    if "error" in states:
        sign = "error"
    elif over < len(steps):
        under_way = "in_progress" in states or (over and scene.run.open)
        sign = "in_progress" if under_way else "pending"
    now = _now(scene, steps)
    title = f"{name.capitalize()}: {over} of {len(steps)}{f', {now}' if now else ''}"
    return task(name, cut(title, 120), sign)


def _now(scene: Scene, steps: Sequence[Step]) -> str:
    """What the track does now, or waits for."""
    if stuck := next((s for s in steps if s in scene.run.halted), None):
        return f"{stuck.spec.title} stopped"
    busy = [s for s in steps if standing_of(scene, s) in ("at work", "in effect soon")]
    if busy:
        far = _far(scene, busy[0])
        more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
        return f"{busy[0].spec.title}{f', {far}' if far else ''}{more}"
    for s in steps:
        asked = scene.run.decision_of(s)
        if s.open and asked is not None and asked.opened is not None and asked.spec.gate is not None:
            return f"waits for {needed(asked.spec.gate, asked)}"
    failed = [s.spec.title for s in steps if s.end == "failed"]
    return f"{listed(failed)} failed" if failed else ""


def _far(scene: Scene, s: Step) -> str:
    """ "9 of 12 pods ready": the last progress while it is at work, where it was counted."""
    row = scene.progress.get(s.spec.id)
    if s.attempt is not None and row is not None and row.at >= s.attempt.since:
        done, total, text = row.done, row.total, row.text
    else:
        done, total, text = s.done, s.total, s.note
    return cut(view.counted(text, done, total), 60) if done is not None and total is not None else ""


# -- buttons -----------------------------------------------------------------------------------------------------------


_Entry = tuple[str, Press | None]
"""A label, and what it is for: None where that would be refused now."""


def _more(scene: Scene) -> list[_Entry]:
    """What else can be asked of the run, but its end; at most four. Before anything has begun, Stop is one of them."""
    run = scene.run
    other, stop = ("Another release", scene.press("retarget")), ("Stop", scene.press("stop"))
    preview, steps = ("Preview every change", Press("preview", run.id)), ("All steps", Press("steps", run.id))
    offer = ("Hand command over", scene.press("offer"))
    if run.purpose not in RELEASING:
        return [steps, offer] if begun(run) else [preview, stop, offer]
    if not begun(run):
        return [preview, other, ("Smaller plan", scene.press("replan")), stop]
    return [steps, other, ("Let a fix through", scene.press("admit")), offer]


def _buttons(scene: Scene) -> Iterator[Piece | None]:
    run = scene.run
    if run.doubt or (run.aborted and run.open):
        return
    if run.closed is not None:
        yield menu(
            [("Roll forward again" if run.purpose == "rollback" else "Take it back again", scene.press("forward"))]
        )
        return
    more = [entry for entry in _more(scene) if entry[1] is not None]
    if run.stopped:
        yield button("Resume", scene.press("resume"), "primary")
        yield button("Abort", scene.press("abort"), "danger")
        yield menu(more)
        return
    ended = all(not s.open for s in run.steps.values())
    start = scene.start
    if ended:
        yield from _endings(scene)
    elif start is not None and start.opened is not None:
        yield button(start.spec.title, scene.press("approve", start.spec.name), "primary")
        if start.spec.name in run.impossible:
            glass = ("Break glass", scene.press("break-glass", start.spec.name))
            more = [glass, *more[:3]] if more[3:] else [*more, glass]
    if ended or begun(run):
        yield button("Stop", scene.press("stop"))
    yield menu([*more, ("Abort", scene.press("abort"))])


def _endings(scene: Scene) -> Iterator[Piece | None]:
    """Closes it; where something is still in place, gives that back or hands it over first."""
    yield button("Close", scene.press("close"), "primary")
    for d in scene.run.owing[:1]:
        yield button(f"Restore {scene.title(d.step)}", scene.press("restore", d.step), "primary")
        yield button("Hand over", scene.press("hand-over", d.step))
