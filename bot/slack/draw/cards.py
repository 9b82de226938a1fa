"""Everything else that needs people: halts, proposals, debts, command; and the calls that mention them. Pure.

A card stays after it was answered, without buttons and with what became of it. A call (`*.call`, reminders, pages,
broken glass) is posted once: it exists because an edit notifies nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from bot.policy import APPROVER, COMMANDER, Gate
from bot.policy.approval import missing
from bot.run.afterwards import Leftover, leftovers
from bot.run.decide import working_days
from bot.run.possible import why_not
from bot.run.rules import moved
from bot.run.state import Asked, BrokenGlass, Debt, PastHalt, PastProposal, Proposal, Run, Step, Succession
from bot.slack.draw.blocks import (
    Mrkdwn,
    Piece,
    actions,
    button,
    cut,
    escape,
    fit,
    fit_lines,
    joined,
    mark,
    menu,
    message,
    person,
    section,
    when,
)
from bot.slack.draw.phrases import (
    Scene,
    barred,
    because,
    debts,
    listed,
    needed,
    proposal,
    resolved,
    sentence,
    stopped,
    who,
)
from bot.slack.draw.post import Message
from bot.slack.truth import stays, true_now
from bot.telling import remains, times, view

DEBTS = 12
"""Debts that one card takes; the rest follows when these are settled."""


# -- halts -------------------------------------------------------------------------------------------------------------


def halts(run: Run) -> Iterator[tuple[str, PastHalt]]:
    """Every halt so far that people were asked about, with the name of its slot."""
    seen: dict[str, int] = {}
    for h in run.halts:
        seen[h.step] = seen.get(h.step, 0) + 1
        if h.called:
            yield f"halt.{h.step}.{seen[h.step]}", h


def halt(scene: Scene, h: PastHalt, slot: str) -> Message:
    """What happened, what is true now, what to do next."""
    run, s = scene.run, scene.run.steps[h.step]
    head = mark("*{}* {}", s.spec.title, _happened(h))
    if h.over is not None or not run.open:
        return message(section(joined([fit(head, 900), resolved(h)])))
    seen = true_now(run, s, h.halt.observed)
    told = mark("What is true now: {}.", fit(seen, 800)) if seen else Mrkdwn("")
    hint = mark("Next: {}", sentence(cut(h.halt.hint, 400))) if h.halt.hint else Mrkdwn("")
    held = Mrkdwn("Nothing else starts meanwhile.") if s.spec.on_fail == "halt" else Mrkdwn("")
    return message(
        section(joined([fit(head, 900), told, fit(debts(scene), 600), hint, fit(_otherwise(run, s), 200), held])),
        *actions(slot, run.id, *_ways_out(scene, s)),
    )


def _otherwise(run: Run, s: Step) -> Mrkdwn:
    """What is left where the release that was brought is not well either."""
    if s.spec.phase != "verify" or run.aborted or run.purpose != "rollback" or run.created is None or not moved(run):
        return Mrkdwn("")
    newer = run.created.removed.version
    return mark("If {} is not well either: another release (menu); or abort, then roll forward again to {}.",
                run.target.version if run.target is not None else "it", newer)  # fmt: skip


def halt_call(scene: Scene, h: PastHalt, slot: str) -> Message:
    """Mentions who can say how to go on."""
    run = scene.run
    called = joined([who(run.commander), scene.call(_deciders(run, run.steps[h.step]))], " ")
    text = mark("{}: {}, *{}* {}", called, view.title(run), scene.title(h.step), _happened(h))
    return message(section(joined([fit(text, 1_200), mark("It waits for a decision: {}.", scene.link(slot))])))


def _happened(h: PastHalt) -> Mrkdwn:
    if h.halt.cause == "undone":
        return mark("was undone at {}: {}", when(h.halt.since), stopped(cut(h.halt.error, 600)))
    return mark("stopped at {}: {}", when(h.halt.since), stopped(cut(h.halt.error, 600)))


def _deciders(run: Run, s: Step) -> list[str]:
    asked = run.decision_of(s)
    gate = asked.spec.gate if asked is not None else None
    return sorted(gate.roles - {COMMANDER}) if gate is not None else [APPROVER]


def _ways_out(scene: Scene, s: Step) -> Iterator[Piece | None]:
    run, id = scene.run, s.spec.id
    yield button("Try again", scene.press("retry", id), "primary")
    if run.aborted:
        return
    away = sorted(s.halt.parts) if s.halt is not None else []
    yield from (button(f"Go on without {p}", scene.press("without", p)) for p in away[:1])
    skip, accept = ("Skip", scene.press("skip", id)), ("Accept", scene.press("accept", id))
    first, *more = [entry for entry in (accept, skip) if entry[1] is not None] or [skip]
    yield button(*first)
    if not s.undoing:
        more.append(("Undo this step", scene.press("undo", id)))
    more.append(("It was done by hand", scene.press("adopt", id)))
    more.append(("Another release", scene.press("retarget")))
    more.append(("Abort", scene.press("abort")))
    yield menu(more)


# -- calls about decisions ---------------------------------------------------------------------------------------------


def wanted(scene: Scene, asked: Sequence[Asked], title: str, slot: str, everybody: bool) -> Message:
    """Mentions the roles that a decision waits for: who is on call; everybody, when it still waits."""
    run = scene.run
    left = [r for a in asked if a.spec.gate is not None for r in missing(a.spec.gate, a.ballots)]
    called = [who(run.commander)] if any(r.role == COMMANDER for r in left) else []
    called.append(scene.call(dict.fromkeys(r.role for r in left if r.role != COMMANDER), everybody))
    gate = asked[0].spec.gate
    needs = needed(gate, asked[0]) if gate is not None and len(asked) == 1 else "a decision"
    still = "still waits" if everybody else "waits"
    since = when(min(a.opened or run.at for a in asked))
    text = mark("{} {} {} for {} since {}: *{}*.", joined(called, " "), view.title(run), still, needs, since, title)
    return message(section(joined([fit(text, 1_500), mark("To decide: {}.", scene.link(slot))])))


def glass(scene: Scene, a: Asked, title: str) -> Message:
    """Everybody hears that a gate was opened by one person."""
    run, at = scene.run, a.decided or scene.run.at
    name = f"{title} ({a.spec.option})" if a.spec.option else title
    by = mark("{}{}", who(a.glass), times.newcomer(a.glass_young))
    head = mark("*Break-glass* in {}: {} opened *{}* alone at {}.", view.title(run), by, name, when(at))
    why = mark("Reason: {}", sentence(cut(a.taken, 600)))
    review = mark("To be reviewed by {} at the latest.", _working_days(at, 2))
    roles = a.spec.gate.roles if a.spec.gate is not None else frozenset({APPROVER})
    return message(section(joined([fit(head, 900), why, joined([review, scene.call(sorted(roles), True)], " ")])))


def _working_days(at: float, days: int) -> str:
    return datetime.fromtimestamp(working_days(at, days), UTC).strftime("%a %d %b %Y")


# -- proposals ---------------------------------------------------------------------------------------------------------


def proposed(scene: Scene, p: Proposal) -> Message:
    """Something that more than one person must want."""
    given = mark(" Agreed so far: {}.", _agreed(p)) if p.votes else Mrkdwn("")
    needs = Gate(missing(p.gate, p.ballots)).words or "nobody else"
    text = mark("*Proposed: {}* by {} at {}{}", proposal(scene, p), who(p.by), when(p.at), because(cut(p.reason, 600)))
    others = "" if p.gate.self_approval else f", not {barred(scene.run)}"
    if p.step and not scene.run.steps[p.step].open:
        return message(section(joined([fit(text, 1_500), Mrkdwn("No longer possible: the step has ended.")])))
    press = scene.press("agree", p.id)
    no = why_not(scene.run, "agree", p.id)
    wait = mark(" Not possible now: {}.", no.text) if no is not None else Mrkdwn("")
    return message(
        section(joined([fit(text, 1_500), mark("Asked: {}{}.{}{}", needs, others, given, wait)])),
        *actions(f"proposal.{p.id}", scene.run.id, button("Agree", press, "primary")),
    )


def _agreed(p: Proposal) -> Mrkdwn:
    """Who has said yes, each with the seat that it fills."""
    return listed([mark("{} ({})", who(a), p.seats[a.id]) if a.id in p.seats else who(a) for a in p.votes])


def at_once(past: PastProposal) -> bool:
    """Whether the one who proposed it was enough: nobody was ever asked."""
    p = past.proposal
    return past.done and [a.id for a in p.votes] == [p.by.id]


def settled(scene: Scene, past: PastProposal) -> Message:
    """A proposal that is over."""
    p, over = past.proposal, past.over
    if past.done:
        agreed = _agreed(p) if p.votes else who(p.by)
        how = mark("agreed by {} at {}", agreed, when(over.at))
    else:
        how = mark("no longer open since {}", when(over.at))
    text = mark("*Proposed: {}* by {}{} · {}", proposal(scene, p), who(p.by), because(cut(p.reason, 600)), how)
    return message(section(fit(text, 1_500)))


# -- debts -------------------------------------------------------------------------------------------------------------


def owed(scene: Scene) -> Message:
    """After an abort: everything that is still in place, each to be restored or handed over."""
    run = scene.run
    by = mark("{}{}", who(run.aborted), because(cut(run.abort_reason, 500)))
    left = leftovers(run)
    if not run.debts:
        rest = "Nothing is left in place." if not left else "Nothing is paused or held any more."
        done = mark("*Aborted* by {}. {}", by, rest)
        return message(section(fit(done, 1_500)), *_left(scene, left))
    todo = "No new step starts. Restore each of these, or hand it over:" if run.open else "What was left in place:"
    blocks = [section(mark("*Aborted* by {}. {}", by, todo))]
    every = list(run.debts.values())
    for d in every[:DEBTS]:
        blocks += [section(fit(_debt(scene, d), 600)), *_settle(scene, d)]
    if len(every) > DEBTS:
        blocks.append(section(mark("and {} more; they follow when these are settled", len(every) - DEBTS)))
    return message(*blocks, *_left(scene, left))


def _left(scene: Scene, left: Sequence[Leftover]) -> Iterator[Piece]:
    """What stays changed, each with its undo."""
    run = scene.run
    for x in left[:DEBTS]:
        yield section(fit(mark("*Stays changed:* {}.", stays(run, x)), 1_200))
        if x.reversible and not run.steps[x.step].undoing:
            yield from actions(f"left.{x.step}", run.id, button("Undo", scene.press("undo", x.step)))
    if len(left) > DEBTS:
        yield section(mark("and {} more: `rollback-bot show {}`", len(left) - DEBTS, run.id))


def overdue(scene: Scene, d: Debt) -> Message:
    """Reminds whoever has promised to give something back."""
    run = scene.run
    until = when(d.until, day=True) if d.until is not None else Mrkdwn("now")
    text = mark("{}: *{}* of {} was to be given back by {}.", person(d.owner), scene.title(d.step), run.service, until)
    press = button("Restore", scene.press("restore", d.step), "primary")
    later = button("Hand over", scene.press("hand-over", d.step))
    return message(section(joined([text, mark("In place since {}.", when(d.since, day=True))], " ")),
                   *actions(f"overdue.{d.step}", run.id, press, later))  # fmt: skip


def lifted(scene: Scene, d: Debt) -> Message:
    """Tells that somebody else has lifted what holds new releases back."""
    called = scene.call([COMMANDER], True)
    rows = [mark("• {}: {}", target.partition("/")[0], words) for target, words in d.missing.items()]
    head = mark("*{}* was lifted by somebody else.", scene.title(d.step))
    next_ = mark("Find out who deploys there. The commands that put it back: `rollback-bot show {}`.", scene.run.id)
    return message(section(fit(joined([called, head], " "), 600)), section(fit_lines(rows, 1_500)), section(next_))


def came_back(scene: Scene) -> Message:
    """Tells that something of the removed release stands again."""
    run = scene.run
    removed = run.created.removed.version if run.created is not None else "the removed release"
    called = scene.call([COMMANDER], True)
    rows = [mark("• {} {}", target, words) for target, words in [*run.back.items()][:DEBTS]]
    more = [mark("and {} more", len(run.back) - DEBTS)] if len(run.back) > DEBTS else []
    head = mark("*What {} has removed is back* in {} ({}).", run.id, run.service, removed)
    next_ = mark("Find out who deploys there; a new rollback puts it back. Details: `rollback-bot show {}`.", run.id)
    return message(section(fit(joined([called, head], " "), 600)), section(fit_lines([*rows, *more], 2_000)),
                   section(next_))  # fmt: skip


def doubted(scene: Scene) -> Message:
    """Tells that the log holds what no bot has written, or what this one cannot believe."""
    called = scene.call([COMMANDER], True)
    head = mark("*I do nothing more in {}: its record is not believed.* {}", scene.run.id, sentence(scene.run.doubt))
    next_ = mark(
        "Either somebody has written to the bot's database, or this bot lacks the key of the one that wrote. Who runs "
        "the bot: `rollback-bot audit verify`, then docs/audit.md, “What is not believed”. If it cannot wait, go on by "
        "hand: the by-hand file in this thread says how."
    )
    return message(section(fit(joined([called, head], " "), 900)), section(next_))


def to_review(scene: Scene, r: BrokenGlass) -> Message:
    """Reminds those who review broken glass."""
    called = scene.call([APPROVER, COMMANDER], True)
    press = button("Reviewed", scene.press("review", r.decision), "primary")
    text = joined([called, escape(stopped(remains.review(scene.run, r)))], ": ")
    return message(section(fit(text, 1_500)), *actions(f"review.{r.decision}", scene.run.id, press))


def _debt(scene: Scene, d: Debt) -> Mrkdwn:
    s = scene.run.steps[d.step]
    what = s.made.summary if s.made is not None else "in place"
    line = mark("*{}* since {}: {}", s.spec.title, when(d.since), stopped(cut(what, 300)))
    if d.missing:
        return joined([line, mark("*Lifted by somebody else*: {}", "; ".join(d.missing.values()))])
    if d.owner:
        until = when(d.until, day=True) if d.until is not None else Mrkdwn("an open end")
        return joined([line, mark("Handed over: {} sees to it until {}.", person(d.owner), until)])
    if s.undoing and s.halt is not None:
        return joined([line, mark("Restoring it stopped: {}", stopped(cut(s.halt.error, 200)))])
    return joined([line, Mrkdwn("Being restored.") if s.undoing and s.open else Mrkdwn("")])


def _settle(scene: Scene, d: Debt) -> list[Piece]:
    if d.owner and scene.run.open:
        return []
    restore = button("Restore", scene.press("restore", d.step), "primary")
    hand_over = button("Hand over", scene.press("hand-over", d.step))
    return actions(f"debts.{d.step}", scene.run.id, restore, hand_over)


# -- command -----------------------------------------------------------------------------------------------------------


def succession(scene: Scene, s: Succession, slot: str) -> Message:
    """Command that is offered, or was taken."""
    run = scene.run
    if s.taken is not None:
        silent = s.taken.how == "after silence"
        how = mark("after {} was silent", who(s.by)) if silent else mark("from {}", who(s.by))
        return message(section(mark("*{} commands* since {}, {}.", who(s.taken.by), when(s.taken_at or 0.0), how)))
    offered = mark("*{} offers command* to {} at {}.", who(s.by), person(s.to), when(s.at))
    if not run.open or run.offered != s.to or s is not run.successions[-1]:
        return message(section(joined([offered, Mrkdwn("No longer offered.")], " ")))
    take = button("Take command", scene.press("take"), "primary")
    still = mark("Until then {} commands.", who(run.commander))
    return message(section(joined([offered, still], " ")), *actions(slot, run.id, take))
