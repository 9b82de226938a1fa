"""The rows of a run as people read them: who, when, in which words. What the writers of Markdown and HTML share.

Pure. What cannot be seen (control characters, those that turn the direction of writing) is made visible by `visible`,
which every writer uses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from bot.policy import Actor
from bot.run import events as ev
from bot.store.chain import Stored
from bot.telling.sentences import Names, details, sentence, who


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row. by: "ana (commander), U1 via slack" or "the bot"; details: one line each, as they are."""

    row: Stored
    event: ev.Event
    by: str
    said: str
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What is known of a run from its rows alone; `created` and `closed` None where those rows are missing."""

    entries: tuple[AuditEntry, ...]
    created: ev.Created | None
    closed: ev.Closed | None
    names: Names

    @classmethod
    def of(cls, rows: Sequence[Stored]) -> RecordedRun:
        """Never fails: a row that cannot be read is shown as such, not left out."""
        events = [_event(r) for r in rows]
        created = next((e for e in events if isinstance(e, ev.Created)), None)
        closed = next((e for e in events if isinstance(e, ev.Closed)), None)
        names = Names.of(created.plan) if created else Names()
        return cls(tuple(_entry(r, e, names) for r, e in zip(rows, events, strict=True)), created, closed, names)


def _event(row: Stored) -> ev.Event:
    try:
        return ev.decode(row.kind, row.body)
    except ValueError:
        return ev.Unknown(f"{row.kind}, which cannot be read", row.body)


def _entry(row: Stored, event: ev.Event, names: Names) -> AuditEntry:
    try:
        return AuditEntry(row, event, actor_words(who(event)), sentence(event, names), details(event))
    except (ValueError, OverflowError, OSError):  # it holds a moment that is in no calendar
        return _entry(row, ev.Unknown(f"{row.kind}, which cannot be read", row.body), names)


def actor_words(actor: Actor | None) -> str:
    """Who, with the roles held then, and by which way in."""
    if actor is None:
        return "the bot"
    roles = f" ({', '.join(actor.roles)})" if actor.roles else ""
    return f"{actor.name}{roles}, {actor.id} via {actor.via}"


def day(us: int) -> str:
    """ "2026-11-23" in UTC; us: microseconds since the epoch, as rows have them. Empty for what is in no calendar."""
    return _utc(us, "%Y-%m-%d")


def time_of_day(us: int) -> str:
    """ "14:02:05.123" in UTC; the bare number for what is in no calendar."""
    found = _utc(us, "%H:%M:%S")
    return f"{found}.{us // 1000 % 1000:03}" if found else str(us)


def _utc(us: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""


def escaped(text: str) -> str:
    """Any text, to stand between tags of a page or in an attribute, and to be seen as it is."""
    return escape(visible(text), quote=True)


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """Control characters and those that turn the direction of writing, as escapes that can be seen."""
    return _UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", text.replace("\r\n", "\n").replace("\t", " "))
