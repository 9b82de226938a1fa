"""What stands in the thread as a record (checklist, evidence, by hand), and the posts at the end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.contract import Json, Status
from bot.run.afterwards import leftovers
from bot.run.rules import moved
from bot.run.state import Debt, Run, Step
from bot.slack.draw.blocks import (
    ROWS,
    Mrkdwn,
    Piece,
    actions,
    cut,
    fit,
    fit_lines,
    joined,
    mark,
    menu,
    message,
    person,
    section,
    table,
    when,
)
from bot.slack.draw.phrases import Scene, because, listed, recorded, sentence, step_state, unrestored, who, worked
from bot.slack.draw.post import Message, Upload
from bot.slack.truth import stays
from bot.telling import remains, times, view

ALT = 1000
"""Characters of what a picture shows, at most."""
BY_HAND = "by-hand.md"
"""What the by-hand text is called, and the content of its upload."""


# -- checklist ---------------------------------------------------------------------------------------------------------


def checks(run: Run) -> list[Step]:
    """What verifies the result, without what this service has no need of."""
    looks = [s for s in run.steps.values() if s.spec.phase == "verify" and s.end != "not needed"]
    return [s for s in looks if not s.spec.changes and s.spec.kind != "gate"]


def checklist(scene: Scene) -> Message:
    """One table, filled as results come: check, now, expected, evidence."""
    found = checks(scene.run)
    count = [s for s in found if s.spec.kind == "check"] or found
    good = [s for s in count if s.end == "done" and not _warned(s)]
    bad = [s.spec.title for s in found if s.halt is not None or s.end == "failed"]
    over = [s for s in count if not s.open or s.halt is not None]
    far = f"{len(good)} of {len(count)} pass" if len(over) == len(count) else f"{len(good)} of {len(count)} so far"
    warned = [s.spec.title for s in count if s.end == "done" and _warned(s)]
    tails = (f" Look at: {listed(bad)}." if bad else "", f" With a warning: {listed(warned)}." if warned else "")
    head = mark("*Verification: {}.*{}{}", far, *tails)
    rows = [_row(scene, s) for s in found]
    if len(rows) > ROWS - 1:
        rows = [*rows[: ROWS - 2], (f"and {len(rows) - ROWS + 2} more", "/rollback status", "", "")]
    return message(section(fit(head, 900)), table(("check", "now", "expected", "evidence"), rows))


def _warned(s: Step) -> bool:
    return s.verdict is not None and s.verdict.status is Status.WARN


def _row(scene: Scene, s: Step) -> tuple[str, str, str, str]:
    v = s.verdict
    if v is None:
        return s.spec.title, step_state(scene, s), "", s.why
    ended = f"{s.end}: " if s.end in ("accepted", "skipped", "failed") else ""
    samples = f"{s.samples} samples" if s.spec.kind == "watch" else ""
    evidence = "; ".join(
        x for x in (samples, _data(v.data), f"{s.why}" if s.end in ("accepted", "skipped") else "") if x
    )
    return s.spec.title, f"{ended}{v.status}: {cut(v.observed, 300)}", cut(v.expected, 200), cut(evidence, 200)


def _data(data: Mapping[str, Json]) -> str:
    return ", ".join(
        f"{k} {v}" for k, v in data.items() if isinstance(v, str | int | float) and not isinstance(v, bool)
    )


# -- evidence ----------------------------------------------------------------------------------------------------------


def kept(run: Run) -> Iterator[tuple[Step, tuple[Upload, ...]]]:
    """Steps that kept evidence, with those of its files that are to be seen by all: what is named by its digest alone
    stays where it is."""
    for s in run.steps.values():
        if s.receipt is None or s.end not in ("done", "adopted"):
            continue
        files = tuple(
            Upload(name, f"{s.spec.title}: {name}", str(v["digest"]), str(v.get("alt", ""))[:ALT])
            for name, v in s.receipt.evidence.items()
            if isinstance(v, dict) and str(v.get("digest", "")).startswith("sha256:")
        )
        if s.receipt.evidence:
            yield s, files


def evidence(scene: Scene, s: Step, files: tuple[Upload, ...]) -> Message:
    """What was kept, in one line, with links."""
    said = s.receipt.detail if s.receipt is not None else ""
    links = "; ".join(f"{text}: {url}" for text, url in s.receipt.links) if s.receipt is not None else ""
    text = mark("*{}*: done{}. {}", s.spec.title, worked(s), sentence(cut(said, 800)))
    names = mark("Files: {}.", ", ".join(f.name for f in files)) if files else mark("")
    return message(section(joined([text, fit(names, 600), cut(links, 600)])))


# -- by hand -----------------------------------------------------------------------------------------------------------


def by_hand() -> Message:
    """The line above the file."""
    return message(section(mark("*By hand*: if the bot is away, this is how to finish it, or to take it back.")))


def by_hand_file() -> tuple[Upload, ...]:
    """The text itself, as it is when it is posted: a later one says what was done since, this one stays right."""
    return (Upload(BY_HAND, "By hand", BY_HAND),)


# -- the end -----------------------------------------------------------------------------------------------------------


def runs(run: Run) -> str:
    """ "shop runs 2.4.0"."""
    return f"{run.service} runs {run.target.version}" if run.target is not None else run.service


def watched_until(run: Run) -> float | None:
    """When the watch will be over, where one is going on."""
    ends = [
        s.began + s.spec.lasting
        for s in run.steps.values()
        if s.spec.kind == "watch" and s.open and s.halt is None and s.began is not None
    ]
    return max(ends, default=None)


def restored(scene: Scene) -> Message:
    """It runs again: the first good news."""
    run = scene.run
    until = watched_until(run)
    then = "" if run.owed_parts else "; then it counts as verified"
    watch = mark(" Watching until {}{}.", when(until), then) if until is not None else Mrkdwn("")
    took = mark("{} after {}.", view.arrived(run).capitalize(), view.took(run, run.restored or run.at))
    short = mark("*{}*", sentence(remains.partial(run))) if run.owed_parts else Mrkdwn("")
    return message(section(joined([short, mark("*{} again.*{}", runs(run), watch), took])))


def everywhere(scene: Scene) -> Message:
    """What was left out has got its share as well."""
    names = listed([p.name for p in remains.made_up(scene.run)])
    until = watched_until(scene.run)
    watch = mark(" Watching until {}.", when(until)) if until is not None else Mrkdwn("")
    return message(section(mark("*{} everywhere: {} got its share too.*{}", runs(scene.run), names, watch)))


def end(scene: Scene) -> Message:
    """How it ended, what is left, and where the record is."""
    run = scene.run
    closed, at = run.closed, run.closed_at or run.at
    outcome = closed.outcome if closed is not None else "closed"
    verified = outcome == "verified"
    head = mark("*{} and is verified.*", runs(run)) if verified else mark("*{}: {}.*", view.title(run), outcome)
    took = view.took(run, at)
    spent = f"{view.arrived(run).capitalize()} after {took}" if run.restored is not None else f"It took {took}"
    if run.restored is not None and at - run.restored >= 1:
        spent += f", then watched for {times.duration(at - run.restored)}"
    by = mark("Closed by {}{}", who(closed.by), because(closed.note)) if closed and closed.by else Mrkdwn("")
    kept = recorded(scene, run.closed_at) or f"Record: {run.seq} entries, head {run.head[:12] or 'none'}"
    record = mark("{}. `rollback-bot audit {} verify` checks it.", kept, run.id)
    left = [fit(_left(scene), 1_200), *_kept_out(run)]
    beyond = unrestored(run) if moved(run) else Mrkdwn("")
    lines = [head, mark("{}.", spent), fit(_unusual(scene), 1_500), *left, beyond, fit(by, 600), record]
    return message(section(joined(lines)), *actions("end", run.id, _after(scene)))


def elsewhere(scene: Scene) -> Message:
    """The same for those who were only told that it began."""
    run = scene.run
    outcome = run.closed.outcome if run.closed is not None else "closed"
    text = mark("*{}* has ended: {}.", view.title(run), outcome)
    where = mark(" More: {}.", scene.link("end")) if (scene.links or {}).get("end") else Mrkdwn("")
    return message(section(joined([fit(text, 900), where], "")))


def files() -> tuple[Upload, ...]:
    """The record, to read without the bot."""
    return Upload("audit.md", "Record", "audit.md"), Upload("timeline.html", "Timeline", "timeline.html")


def _unusual(scene: Scene) -> Mrkdwn:
    """Steps that did not simply end well: nothing is left out silently."""
    odd = {
        "skipped": "Skipped",
        "accepted": "Accepted as it is",
        "failed": "Failed, went on",
        "adopted": "Done by hand",
    }
    lines = [f"{remains.made_up_part(p)}." for p in remains.made_up(scene.run)]
    for how, word in odd.items():
        found = [f"{s.spec.title}{f' ({s.why})' if s.why else ''}" for s in scene.run.steps.values() if s.end == how]
        if found:
            lines.append(f"{word}: {listed(found)}.")
    opened = [scene.named(a) for a in scene.run.asked.values() if a.glass is not None]
    if opened:
        lines.append(f"Break-glass, to be reviewed: {listed(opened)}.")
    return joined(lines)


def _left(scene: Scene) -> Mrkdwn:
    run = scene.run
    left = [mark("Stays changed: {}.", stays(run, x)) for x in leftovers(run)]
    if not run.debts:
        return fit_lines([Mrkdwn("Nothing is paused or held any more."), *left], 1_200)
    return fit_lines([*(mark("Still in place: {}", owner(scene, d)) for d in run.debts.values()), *left], 1_200)


def _kept_out(run: Run) -> Iterator[Mrkdwn]:
    """Which releases may not come back, who refuses them, and until when. What the ledger is told at the end
    (`bot.releases.ledger.learned`) CI refuses; what was rolled forward again it may take."""
    verified = run.closed is not None and run.closed.outcome == "verified"
    gone = [r.version for r in run.outgoing]
    tried = {r.version for r, _ in run.tried}
    ci = [v for v in gone if v in tried or (verified and run.purpose == "rollback")]
    step = any("ban" in s.spec.duties and s.end in ("done", "adopted") for s in run.steps.values())
    clusters = [v for v in gone if step and run.kept_out[v]]
    for who_, versions in (
        ("CI and the clusters refuse", [v for v in ci if v in clusters]),
        ("CI refuses", [v for v in ci if v not in clusters]),
        ("The clusters refuse", [v for v in clusters if v not in ci]),
    ):
        if versions:
            yield mark("{} {} until a newer release is registered.", who_, listed(versions))
    if bare := [v for v in ci if not run.kept_out[v]]:
        yield mark(
            "No image is only in {}: CI's question by digest cannot find that, by version it does.", listed(bare)
        )


def owner(scene: Scene, d: Debt) -> Mrkdwn:
    """What is left in place, and whose it is now."""
    until = when(d.until, day=True) if d.until is not None else Mrkdwn("an open end")
    whose = mark("; {} sees to it until {}", person(d.owner), until) if d.owner else Mrkdwn("")
    return mark("{} since {}{}.", scene.title(d.step), when(d.since), whose)


def _after(scene: Scene) -> Piece | None:
    """What can still be asked once it is over."""
    label = "Roll forward again" if scene.run.purpose == "rollback" else "Take it back again"
    later = ("Postmortem at another time", scene.press("postmortem"))
    planned = any("learn" in s.spec.duties for s in scene.run.steps.values())
    return menu([(label, scene.press("forward")), *([later] if planned else [])])
