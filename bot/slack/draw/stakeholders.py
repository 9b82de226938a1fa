"""For those who only want to know how it stands: plain words, no steps, no names of ours. Pure.

There are two voices: stakeholders read how it stands; those who talk to customers (`support`) read what these notice,
what may be said to them, and what may not be promised.

- What customers notice, and what works all the same, in the words of who asked; the reason is for the incident channel.
- No return time while people have still to decide anything; afterwards a range.
- A promised next update is kept: at each promised moment there is a new post, whatever happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bot.run.afterwards import leftovers
from bot.run.state import Run
from bot.slack.draw.blocks import Mrkdwn, cut, escape, joined, mark, message, section, when
from bot.slack.draw.phrases import Scene, sentence
from bot.slack.draw.post import Message, Post
from bot.telling.remains import made_up

QUARTER, HOUR, DAY = 900.0, 3600.0, 86400.0
Voice = Callable[[Scene, float | None], Message]
"""How it is said to some readers. The moment is that of the next promised post."""


def posts(
    scene: Scene, channels: tuple[str, ...], now: float, support: tuple[str, ...] = ()
) -> tuple[list[Post], float | None]:
    """The card and the news for each channel, and when the next promised post is due. support: channels of those who
    talk to customers."""
    run = scene.run
    start = started(scene)
    if run.created is None or start is None or run.purpose not in ("rollback", "forward"):
        return [], None
    passed, upcoming = promise(start, now)
    due = upcoming if _promises(run) else None
    found = []
    voices: tuple[tuple[str, tuple[str, ...], Voice], ...] = (
        ("stakeholders", channels, _message), ("support", support, _briefing)
    )  # fmt: skip
    for slot, read_in, say in voices:
        for i, channel in enumerate(read_in):
            at = f".at{i}" if i else ""
            found.append(Post(f"{slot}{at}", channel, say(scene, due)))
            for name, text in _news(scene, start, passed, due, say):
                found.append(Post(f"{slot}.{name}{at}", channel, text, urgency="news", fixed=True))
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


def _news(scene: Scene, start: float, passed: int, due: float | None, say: Voice) -> Iterator[tuple[str, Message]]:
    """What is told anew, as edits notify nobody. Of the promised ones, and of what the commander
    has said, only the last: the rest is moot."""
    run = scene.run
    if passed and due is not None:
        yield str(passed), say(scene, due)
    if run.told and run.told[-1] > start and run.open:
        yield f"told.{len(run.told)}", say(scene, due)
    if run.restored is not None and run.open:
        yield "restored", say(scene, due)
        if late := [p.back for p in made_up(run) if p.back is not None and p.back > run.restored]:
            yield f"everywhere.{max(late):.0f}", say(scene, due)
    if run.aborted and run.open:
        yield "aborted", say(scene, due)
    if run.closed is not None:
        yield "end", say(scene, None)


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
    problem = f"There is a problem with {name}." if back else ""
    now = " ".join(sentence(cut(x, 300)) for x in (run.impact, run.workaround) if x) or problem
    was = mark("The problem was: {}", sentence(cut(run.impact, 300))) if run.impact and back else Mrkdwn("")
    if short := _short(run):
        yield joined([mark("{}", short), was], " ")
    elif run.closed is not None and run.closed.outcome == "verified":
        yield mark("Resolved: {} {}. We have watched it, and it works. {}", name, there.rstrip(","), was)
    elif run.closed is not None and run.restored is not None:
        yield mark("{} {}. The work on it has ended. {}", name, there.rstrip(","), was)
    elif run.closed is not None or run.aborted:
        way = "going back to the previous version" if back else "going forward again to the newer version"
        yield mark("{}We have called off {}, {}.", f"{now} " if now else "", way, version)
        yield Mrkdwn("What we had prepared for it is being put back." if run.open else _not_over(run))
    elif run.restored is not None:
        since = mark("{} everywhere now", there) if made_up(run) else mark("{} since {}", there, when(run.restored))
        yield mark("{} {}. We are watching it. {}", name, since, was)
    else:
        yield mark("{}{} {}.", f"{now} " if now else "", "We are going back to the previous version," if back else
                   "We are going forward again to the newer version,", version)  # fmt: skip
        state = "work again" if back else "be done"
        yield _expected(scene, state, f"We cannot say yet when it will {state}.")


def _short(run: Run) -> str:
    """In plain words, where a part of the service is not known to be well: never "resolved"."""
    if run.restored is None or run.aborted is not None or not run.owed_parts or run.target is None:
        return ""
    names, many = ", ".join(p.name for p in run.owed_parts), len(run.owed_parts) > 1
    version = f"{'previous' if run.purpose == 'rollback' else 'newer'} version, {run.target.version}"
    where = f"{len(run.owed_parts)} of the places that serve it" if many else "one of the places that serve it"
    then = "We go on there as soon as we can." if run.open else "Those who work on it tell you here how it goes on."
    return (
        f"{run.service.capitalize()} is on the {version}, but not everywhere: {where} cannot be reached ({names}). "
        f"Whoever is served from there may still have the problem. {then}"
    )


def _not_over(run: Run) -> str:
    """A change that was called off says nothing of the problem: nobody reads that it is solved, or that this is all."""
    partly = "Part of what we had changed for it stays as it is for now. " if leftovers(run) else ""
    return f"{partly}The problem is not solved by this; those who work on it tell you here how it goes on."


def _expected(scene: Scene, state: str, unknown: str) -> Mrkdwn:
    """Between when it will be so; unknown: what is said while nobody can tell."""
    run, eta = scene.run, scene.eta
    if eta is None or eta.between is None or not eta.samples or run.halted or run.stopped is not None:
        return Mrkdwn(unknown)
    return mark("We expect it to {} between {} and {}.", state, when(eta.between[0]), when(eta.between[1] + 59))


# -- for those who talk to customers -----------------------------------------------------------------------------------


def _briefing(scene: Scene, due: float | None) -> Message:
    update = mark("Next update by {}.", when(due)) if due is not None else Mrkdwn("")
    head = mark("*{}, for those who talk to customers*", scene.run.service.capitalize())
    return message(section(joined([head, *_to_customers(scene), update])))


def _to_customers(scene: Scene) -> Iterator[Mrkdwn]:
    run = scene.run
    works = run.restored is not None and run.aborted is None and not run.owed_parts
    notice = sentence(cut(run.impact, 300)) if run.impact else "We do not know yet what they notice."
    yield mark("{}: {}", "What customers noticed" if works else "What customers notice", notice)
    if works:
        since = mark(" since {}", when(run.restored)) if run.restored is not None else Mrkdwn("")
        seen = "" if run.closed is not None else " We are still watching it."
        yield mark("What you may say: it works again{}.{}", since, seen)
        yield mark("Who still sees it: ask when it was and what they did, and tell {}.", _whom(run))
        return
    helps = sentence(cut(run.workaround, 300)) if run.workaround else "Nothing that we know of."
    yield mark("What helps them meanwhile: {}", helps)
    if run.closed is not None or run.aborted is not None:
        yield Mrkdwn("What you may say: it is not solved yet, and we go on working on it. Promise no time.")
    elif run.restored is not None:
        yield Mrkdwn("What you may say: it works again for most; for a part of it we do not know yet.")
    else:
        promised = _expected(scene, "work again", "No time is known yet: promise none.")
        yield mark("What you may say: we know of it and are working on it. {}", promised)
    yield mark("Questions: {}.", _whom(run))


def _whom(run: Run) -> Mrkdwn:
    """By name alone: a mention at each update would call them away from their work."""
    return escape(f"@{run.commander.name}" if run.commander is not None else "whoever handles the incident")
