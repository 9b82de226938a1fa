"""What is true in the world after a step stopped, in words: who runs which release, what is paused, which settings are
those of which. Pure.

Paths and digests are folded away: an image is named by the release that it belongs to, settings are counted, objects
that stand alike share a sentence. What is none of these is told as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bot.contract import Change, Value
from bot.ports.kubernetes import Place, digest
from bot.run.afterwards import Leftover
from bot.run.state import Run, Step
from bot.slack.draw.blocks import Mrkdwn, code, cut, joined, mark
from bot.slack.draw.phrases import listed
from bot.telling import remains
from bot.telling.diff import show

OTHERS = 6
"""Values told as they are; the rest is counted."""


def true_now(run: Run, step: Step, seen: Mapping[str, Value]) -> Mrkdwn:
    """What was seen when the step stopped; empty where nothing was."""
    planned = step.released or step.change or Change("")
    wanted = {e.target: e.after for e in planned.edits}
    sentences: dict[str, list[str]] = {}
    settings: dict[bool, int] = {}
    others: list[Mrkdwn] = []
    for target, value in seen.items():
        place, field = _parts(target)
        if place is not None and field.startswith(("data/", "env/")):
            arrived = target in wanted and value == wanted[target]
            settings[arrived] = settings.get(arrived, 0) + 1
        elif place is not None and (said := _said(run, field, value)):
            names = sentences.setdefault(said, [])
            names += [n for n in [f"{place.name} in {place.cluster}"] if n not in names]
        else:
            others.append(mark("{} is {}", code(cut(target, 160)), cut(show(value), 120)))
    found = [mark("{}: {}", said, listed([mark("{}", n) for n in names])) for said, names in sentences.items()]
    found += [mark("{}", x) for x in _settings(settings)]
    left = len(others) - OTHERS
    return joined([*found, *others[:OTHERS], *([mark("and {} more values", left)] if left > 0 else [])], "; ")


def stays(run: Run, x: Leftover) -> Mrkdwn:
    """What a step that was given up has changed, and where that stands: in words as far as there are any."""
    step, told = run.steps[x.step], {t: v for t, v in x.seen.items() if _has_words(run, t, v)}
    ours = tuple(e for e in x.change.edits if e.target in told and e not in x.moved)
    rest = replace(x, change=replace(x.change, edits=tuple(e for e in x.change.edits if e not in ours)))
    if not ours:
        return mark("{}", remains.stays(run, x))
    made = replace(step, released=replace(x.change, edits=ours))
    words = [true_now(run, made, {e.target: told[e.target] for e in ours})]
    words += [mark("{}", w) for w in remains.stands(rest)]
    return mark("{} {}: {}{}", step.spec.title, remains.left_how(step), joined(words, "; "), remains.for_good(x))


def _has_words(run: Run, target: str, value: Value) -> bool:
    place, field = _parts(target)
    return place is not None and (field.startswith(("data/", "env/")) or bool(_said(run, field, value)))


def _parts(target: str) -> tuple[Place | None, str]:
    try:
        place = Place.of(target)
    except ValueError:
        return None, target
    return place, target.removeprefix(place.target(""))


def _said(run: Run, field: str, value: Value) -> str:
    """How an object stands by a field, empty where there are no words for it."""
    head = field.partition("/")[0]
    if head == "image" and isinstance(value, str):
        version = _versions(run).get(digest(value))
        return f"on {version}" if version else ""
    words: Mapping[str, Callable[[], str]] = {
        "replicas": lambda: f"{value} replica{'' if value == 1 else 's'}",
        "suspend": lambda: "suspended" if value else "not suspended",
        "paused": lambda: "rollout paused" if value else "rollout not paused",
        "rules": lambda: "refusing releases" if value is not None else "refusing nothing",
        "spec.syncPolicy.automated": lambda: "following Git" if value is not None else "not following Git",
    }
    return words[head]() if head in words else ""


def _versions(run: Run) -> Mapping[str, str]:
    """Digest -> version, of every release that this run is about."""
    known = [*run.outgoing, *([run.target] if run.target is not None else [])]
    return {d: r.version for r in known for image in r.images.values() if (d := digest(image))}


def _settings(counted: Mapping[bool, int]) -> Iterator[str]:
    there, total = counted.get(True, 0), sum(counted.values())
    if total:
        yield f"settings as approved: {there} of {total}"
