"""The app's home tab: what a commander wants to see on opening Slack, before anything is asked. Pure.

What is open, what is refused to CI, what is owed by whom and until when, the last runs with their times. It is drawn
anew each time that somebody opens it; nothing is decided on it but that a form is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.slack.draw.blocks import Mrkdwn, actions, button, code, context, escape, fit_lines, joined, mark, section, when
from bot.slack.draw.press import Press
from bot.telling.owing import Owed

OPEN = Press("ask-open")
"""Opens the form for a rollback."""
MOST = 2900
"""Characters of one part: a section holds 3,000."""
LAST = 5
"""Ended runs that are shown."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in a line. link: to its card, "" where there is none; at: when it was asked for."""

    run: str
    title: str
    status: str
    at: float
    link: str = ""


@dataclass(frozen=True, slots=True)
class Shut:
    """What CI is refused of a service. frozen: why, "" where it is not; banned: version -> why."""

    service: str
    frozen: str
    banned: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Home:
    """Everything on it. at: when it was looked up (seconds since the epoch)."""

    at: float
    open: Sequence[RunLine] = ()
    shut: Sequence[Shut] = ()
    owed: Sequence[Owed] = ()
    last: Sequence[RunLine] = ()


def home(seen: Home) -> dict[str, Any]:
    """The view, as `views.publish` takes it."""
    now = [_run(line) for line in seen.open] or [escape("No rollback is open.")]
    shut = [line for s in seen.shut for line in _shut(s)] or [escape("Nothing is frozen or banned.")]
    owed = [_owed(x, seen.at) for x in seen.owed] or [escape("Nothing is owed.")]
    last = [_run(line) for line in seen.last] or [
        escape("None has ended yet." if seen.open else "There are no runs yet.")
    ]
    blocks = [
        *actions("home", "", button("Roll a service back…", OPEN)),
        *_part("Open now", now, "`/rollback status`"),
        *_part("Frozen and banned", shut, "`rollback-bot release list`"),
        *_part("Owed", owed, "`/rollback debts`"),
        *_part("Last runs", last, "`/rollback history`"),
        context(mark("As of {}. Opening this tab again looks anew. `/rollback help` says what can be typed.",
                     when(seen.at))),
    ]  # fmt: skip
    return {"type": "home", "blocks": [dict(b) for b in blocks]}


def denied(text: str) -> dict[str, Any]:
    """What is seen by those who may see nothing."""
    return {"type": "home", "blocks": [dict(section(escape(text)))]}


def _part(title: str, lines: Sequence[Mrkdwn], rest: str) -> list[Any]:
    return [section(joined([mark("*{}*", title), fit_lines(lines, MOST, f"and {{}} more: {rest}")]))]


def _run(line: RunLine) -> Mrkdwn:
    title = Mrkdwn(f"<{line.link}|{escape(line.title)}>") if line.link else mark("{}", line.title)
    return mark("• {} · {} · {} · {}", when(line.at, day=True), title, line.status, code(line.run))


def _shut(s: Shut) -> list[Mrkdwn]:
    frozen = [mark("• {} is frozen {}", s.service, s.frozen)] if s.frozen else []
    return frozen + [mark("• {} {} is banned: {}", s.service, version, why) for version, why in s.banned.items()]


def _owed(x: Owed, now: float) -> Mrkdwn:
    late = Mrkdwn("*Overdue* · ") if x.overdue(now) else ""
    until = mark(", until {}", when(x.due, day=True)) if x.due is not None else ""
    return mark("• {}{}: {}{} · {}", late, x.service, x.text, until, code(x.run))
