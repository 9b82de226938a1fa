"""The draft of a postmortem, as Markdown: what the record knows is filled in, what only people know is asked for. Pure.

Invariants: whatever a text holds, it stays in its line and starts no markup; nobody is blamed: it says what happened,
who decided and how long it took; times are in the team's zone, which is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from bot.ports.history import Arrangement, Due, Story
from bot.postmortem.dates import words

LINES = 400
"""Lines of the timeline that the draft holds; the record has all of them."""
WHYS = 5


def draft(s: Story, how: Arrangement, begins: datetime) -> str:
    """The whole text."""
    zone = ZoneInfo(how.zone)
    t = s.topic
    direction = "Rolled forward again" if t.forward else "Rollback"
    parts = [
        [f"# Postmortem: {md(s.title)} {md(t.removed)} → {md(t.target)}", ""],
        [f"{direction}, run `{t.run}`. A draft: the facts are from the record of the run, lines that begin with *…*"],
        ["are for people to fill in. It looks for causes, not for culprits.", ""],
        [f"**Meeting:** {words(begins, how.zone)}, {how.minutes} min{f', {md(how.place)}' if how.place else ''}.", ""],
        _summary(s),
        _times(s),
        _people(s),
        _timeline(s, zone),
        _decisions(s, zone),
        _steps(s),
        _evidence(s),
        _due(s.due, zone),
        _questions(s),
        _whys(),
        ["## Actions", "", "| What | Who | By when |", "|---|---|---|", "| *…* | | |", "| *…* | | |", ""],
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _summary(s: Story) -> Iterator[str]:
    yield from ("## What happened", "")
    yield f"- **Reason given:** {md(s.topic.reason) or '*… what was seen first*'}"
    yield f"- **What customers noticed:** {md(s.impact) or '*…*'}"
    yield f"- **What worked all the same:** {md(s.workaround) or '*…*'}"
    yield from ("- **Cause, as far as it is known:** *…*", "- **How it was noticed, and by whom:** *…*", "")


def _times(s: Story) -> Iterator[str]:
    yield from ("## How long it took", "", "| From | To | Time |", "|---|---|--:|")
    yield "| *… the fault began* | noticed | *…* |"
    if s.started is not None:
        yield f"| asked for | started | {span((s.started - s.asked).total_seconds())} |"
    if s.restored is None:
        yield "| asked for | served again | it does not (yet) |"
    else:
        yield f"| asked for | served again | {span((s.restored - s.asked).total_seconds())} |"
        yield f"| of this: at work, or waiting for an effect | | {span(s.work)} |"
        yield f"| of this: waiting for decisions | | {span(s.waiting)} |"
    yield ""


def _people(s: Story) -> Iterator[str]:
    if s.people:
        yield from ("## Who had a part in it", "")
        yield from (f"- {md(p.name)}: {md(', '.join(p.did)) or 'took part'}" for p in s.people)
        yield ""


def _timeline(s: Story, zone: ZoneInfo) -> Iterator[str]:
    yield from (f"## Timeline ({zone.key})", "", "| When | Who | What |", "|---|---|---|")
    yield "| *… before the run* | | *… what led to it* |"
    day = ""
    for line in s.lines[:LINES]:
        local = line.at.astimezone(zone)
        stamp = f"{local:%H:%M:%S}" if f"{local:%Y-%m-%d}" == day else f"{local:%Y-%m-%d %H:%M:%S}"
        day = f"{local:%Y-%m-%d}"
        yield f"| {stamp} | {md(line.who) or 'the bot'} | {md(line.what)} |"
    if len(s.lines) > LINES:
        yield f"| | | and {len(s.lines) - LINES} more, see the record |"
    yield ""


def _decisions(s: Story, zone: ZoneInfo) -> Iterator[str]:
    if not s.decisions:
        return
    yield from ("## Decisions", "", "| What | When | How | By | Waited | Reason |", "|---|---|---|---|--:|---|")
    for d in s.decisions:
        waited = "" if d.waited is None else span(d.waited)
        by = md(", ".join(d.by))
        yield f"| {md(d.title)} | {d.at.astimezone(zone):%H:%M:%S} | {md(d.how)} | {by} | {waited} | {md(d.reason)} |"
    yield from ("", "*… which of them would be taken otherwise today, and what was not known then*", "")


def _steps(s: Story) -> Iterator[str]:
    if s.steps:
        yield from ("## Steps", "", "| Step | Ended | Time | Result |", "|---|---|--:|---|")
        for d in s.steps:
            took = "" if d.seconds is None else span(d.seconds)
            yield f"| {md(d.title)} | {md(d.end)} | {took} | {md(d.said)} |"
        yield ""


def _evidence(s: Story) -> Iterator[str]:
    yield from (
        "## Evidence",
        "",
        "- The record of the run, with every command: `audit.md` and `timeline.html` in its thread",
    )
    yield from (f"- {md(k.step)}: {md(k.name)}, {k.size} bytes, `{k.digest}`" for k in s.kept)
    yield ""


def _due(due: Iterable[Due], zone: ZoneInfo) -> Iterator[str]:
    listed = [*due]
    if listed:
        yield from ("## To be seen to", "", "| What | Who | Until |", "|---|---|---|")
        for d in listed:
            until = f"{d.until.astimezone(zone):%Y-%m-%d %H:%M}" if d.until is not None else "*… no date*"
            yield f"| {md(d.what)} | {md(d.who) or '*… nobody yet*'} | {until} |"
        yield ""


def _questions(s: Story) -> Iterator[str]:
    yield from ("## Open questions", "")
    yield from (f"- {md(line)}: *… why, and what would have prevented it*" for line in s.odd)
    yield "- How did the fault get past tests, review and the rollout? *…*"
    yield "- What would have shown it earlier? *…*"
    if s.waiting > s.work and s.restored is not None:
        yield f"- People were waited for longer ({span(s.waiting)}) than was worked ({span(s.work)}). *… why*"
    yield from ("- What went well, and where was it luck? *…*", "")


def _whys() -> Iterator[str]:
    yield from ("## Five whys", "")
    for n in range(1, WHYS + 1):
        yield from (f"### {n}. Why{'?' if n == 1 else ' was that so?'}", "", "*…*", "")


def span(seconds: float) -> str:
    """ "6 min 05 s", "2 h 03 min", "3 d 4 h"."""
    s = max(0, round(seconds))
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02} s"
    if s < 86400:
        return f"{s // 3600} h {s % 3600 // 60:02} min"
    return f"{s // 86400} d {s % 86400 // 3600} h"


def md(text: str) -> str:
    """Text for one line of Markdown, or one cell of a table: shown as it is."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line)
