"""For those who only want to know how it stands: plain words, no steps, no names of ours. Pure.

- What customers notice, and what works all the same, in the words of who asked; the reason is for the incident channel.
- No return time while people have still to decide anything; afterwards a range.
- A promised next update is kept: at each promised moment there is a new post, whatever happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from bot.run.afterwards import leftovers
from bot.run.state import Run
from bot.slack.draw.blocks import Mrkdwn, cut, joined, mark, message, section, when
from bot.slack.draw.phrases import Scene, sentence
from bot.slack.draw.post import Message, Post
from bot.telling.eta import Eta

QUARTER, HOUR, DAY = 900.0, 3600.0, 86400.0


def posts(scene: Scene, channels: tuple[str, ...], now: float) -> tuple[list[Post], float | None]:
    """The card and the news for each channel, and when the next promised post is due."""
    run = scene.run
    start = started(scene)
    if run.created is None or start is None or run.purpose not in ("rollback", "forward"):
        return [], None
    passed, upcoming = promise(start, now)
    due = upcoming if _promises(run) else None
    found = []
    for i, channel in enumerate(channels):
        at = f".at{i}" if i else ""
        found.append(Post(f"stakeholders{at}", channel, _message(scene, due)))
        for name, text in _news(scene, start, passed, due):
            found.append(Post(f"stakeholders.{name}{at}", channel, text, urgency="news", fixed=True))
    return found, due


def started(scene: Scene) -> float | None:
    """Since when there is something to tell: the commander has started it, or nobody had to."""
    if scene.start is None:
        return scene.run.created_at
    return scene.start.decided


def promise(start: float, now: float) -> tuple[int, float]:
    """How many promised moments have passed, and when the next one is: each quarter of an hour at first, after an
    hour each hour, after a day each day."""
    passed = 0
    offset = 0.0
    while True:
        offset += QUARTER if offset < HOUR else HOUR if offset < DAY else DAY
        if start + offset > now:
            return passed, start + offset
        passed += 1


def _promises(run: Run) -> bool:
    return run.open and (run.restored is None or bool(run.halted))


def _news(scene: Scene, start: float, passed: int, due: float | None) -> Iterator[tuple[str, Message]]:
    """What is told anew, as edits notify nobody. Of the promised ones, and of what the commander
    has said, only the last: the rest is moot."""
    run = scene.run
    if passed and due is not None:
        yield str(passed), _message(scene, due)
    if run.told and run.told[-1] > start and run.open:
        yield f"told.{len(run.told)}", _message(scene, due)
    if run.restored is not None and run.open:
        yield "restored", _message(scene, due)
    if run.aborted and run.open:
        yield "aborted", _message(scene, due)
    if run.closed is not None:
        yield "end", _message(scene, None)


def _message(scene: Scene, due: float | None) -> Message:
    update = mark("Next update by {}.", when(due)) if due is not None else Mrkdwn("")
    return message(section(joined([mark("*{}*", scene.run.service.capitalize()), joined(_said(scene), " "), update])))


def _said(scene: Scene) -> Iterator[Mrkdwn]:
    run, created = scene.run, scene.run.created
    if created is None:
        return
    version = run.target.version if run.target is not None else ""
    back, name = run.purpose == "rollback", run.service.capitalize()
    there = f"is back on the previous version, {version}," if back else f"is on the newer version, {version},"
    problem = f"There is a problem with {run.service}." if back else ""
    now = " ".join(sentence(cut(x, 300)) for x in (run.impact, run.workaround) if x) or problem
    was = mark("The problem was: {}", sentence(cut(run.impact, 300))) if run.impact and back else Mrkdwn("")
    if short := _short(run):
        yield mark("{} {}", short, was)
    elif run.closed is not None and run.closed.outcome == "verified":
        yield mark("Resolved: {} {}. We have watched it, and it works. {}", name, there.rstrip(","), was)
    elif run.closed is not None and run.restored is not None:
        yield mark("{} {}. The work on it has ended. {}", name, there.rstrip(","), was)
    elif run.closed is not None or run.aborted:
        yield mark("{}The change to version {} was called off.", f"{now} " if now else "", version)
        yield Mrkdwn("What was prepared for it is being put back." if run.open else _not_over(run))
    elif run.restored is not None:
        yield mark("{} {} since {}. We are watching it. {}", name, there, when(run.restored), was)
    else:
        yield mark("{}{} {}.", f"{now} " if now else "", "We are going back to the previous version," if back else
                   "We are going forward again to the newer version,", version)  # fmt: skip
        yield _return(scene.eta, "back" if back else "done", waits=bool(run.halted) or run.stopped is not None)


def _short(run: Run) -> str:
    """In plain words, where a part of the service is not known to be well: never "resolved"."""
    if run.restored is None or run.aborted is not None or not run.owed_parts or run.target is None:
        return ""
    owed = ", ".join(p.name for p in run.owed_parts)
    more = "we do not know yet whether it works there" if run.open else "it is not known whether it works there"
    return (
        f"{run.service.capitalize()} is on version {run.target.version} again, but for one part that cannot be reached "
        f"({owed}): {more}."
    )


def _not_over(run: Run) -> str:
    """A change that was called off says nothing of the problem: nobody reads that it is solved, or that this is all."""
    partly = "A part of the change stays in place for now. " if leftovers(run) else ""
    return f"{partly}The problem is not solved by this; those who work on it tell you here how it goes on."


def _return(eta: Eta | None, state: str, waits: bool) -> Mrkdwn:
    if eta is None or eta.between is None or not eta.samples or waits:
        return mark("We cannot say yet when it will be {}.", state)
    return mark("Expected {} between {} and {}.", state, when(eta.between[0]), when(eta.between[1] + 59))
