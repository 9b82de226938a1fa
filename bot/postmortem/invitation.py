"""An invitation as an iCalendar file (RFC 5545, RFC 5546) that Outlook, Google and Apple take. Pure.

Invariants:
- times are in UTC, which every calendar shows in its reader's own zone; so no VTIMEZONE can be wrong or missing;
- it asks for answers (METHOD:REQUEST) only where it names an organizer and somebody to invite; without, it is a plain
  event, since both are required of a request and an attendee is not allowed without them;
- text holds no semicolon, quote or backslash of ours: readers differ in what they make of them when escaped;
- lines are folded at 75 octets, never inside a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FOLD = 75
"""Octets of one line, its end apart."""
ALARM = 15
"""Minutes before at which calendars remind."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody to invite."""

    name: str
    mail: str


@dataclass(frozen=True, slots=True)
class Meeting:
    """uid: the same for ever for the same meeting; made: when the invitation was written; begins: aware; sequence:
    higher for a later version of the same meeting."""

    uid: str
    made: datetime
    begins: datetime
    minutes: int
    title: str
    text: str
    place: str = ""
    organizer: str = ""
    guests: Sequence[Guest] = ()
    sequence: int = 0


def ics(m: Meeting) -> bytes:
    """The file. ValueError for an address that is none."""
    return b"".join(_folded(line) for line in _lines(m))


def _lines(m: Meeting) -> Iterator[str]:
    asks = bool(m.organizer and m.guests)
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//rollback-bot//postmortem//EN", "CALSCALE:GREGORIAN")
    if asks:
        yield "METHOD:REQUEST"
    yield from ("BEGIN:VEVENT", f"UID:{_text(m.uid)}", f"DTSTAMP:{_utc(m.made)}", f"SEQUENCE:{m.sequence}")
    yield from (f"DTSTART:{_utc(m.begins)}", f"DTEND:{_utc(m.begins + timedelta(minutes=m.minutes))}")
    yield from (f"SUMMARY:{_text(m.title)}", f"DESCRIPTION:{_text(m.text)}")
    if m.place:
        yield f"LOCATION:{_text(m.place)}"
    if asks:
        yield f"ORGANIZER:{_mail(m.organizer)}"
        for guest in m.guests:
            how = "CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE"
            yield f"ATTENDEE;CN={_name(guest)};{how}:{_mail(guest.mail)}"
    yield from ("STATUS:CONFIRMED", "TRANSP:OPAQUE", "CLASS:PUBLIC")
    yield from ("BEGIN:VALARM", "ACTION:DISPLAY", f"DESCRIPTION:{_text(m.title)}", f"TRIGGER:-PT{ALARM}M", "END:VALARM")
    yield from ("END:VEVENT", "END:VCALENDAR")


def _utc(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a meeting needs a moment with a zone")
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _plain(text: str) -> str:
    """Without what readers disagree about."""
    for theirs, ours in ((";", ","), ('"', "'"), ("\\", "/")):
        text = text.replace(theirs, ours)
    return "".join(c for c in text if c == "\n" or c.isprintable())


def _text(text: str) -> str:
    return _plain(text).replace(",", "\\,").replace("\n", "\\n")


def _name(guest: Guest) -> str:
    """A parameter that needs no quotes."""
    name = " ".join(re.sub(r"[,:;\"^\n]", " ", _plain(guest.name)).split())
    return name or guest.mail


def _mail(address: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+", address):
        raise ValueError(f"{address!r} is no mail address")
    return f"mailto:{address}"


def _folded(line: str) -> bytes:
    rest, parts = line, list[str]()
    while len(rest.encode()) > FOLD - bool(parts):
        end = FOLD - bool(parts)
        while len(rest[:end].encode()) > FOLD - bool(parts):
            end -= 1
        parts.append(rest[:end])
        rest = rest[end:]
    return b"\r\n ".join(part.encode() for part in [*parts, rest]) + b"\r\n"
