"""What a run was, for whoever writes about it afterwards: told from its record, once, as values.

The one port through which a handler reads the record of its own run. Everything in it is text for people, redacted
like the record itself; nothing of it is a command. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Literal, Protocol

from bot.ports.notices import Topic

TicketForm = Literal["jira", "github", "plain"]


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody who had a part in it. id: Slack's or the catalogue's; did: in words ("asked for it")."""

    id: str
    name: str
    did: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. at: aware, in UTC; who: "" the bot."""

    at: datetime
    who: str
    what: str


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision. how: "approved", "break-glass", or why nobody was asked; by: names with roles; waited: seconds
    that it was open, None where nobody was asked."""

    title: str
    at: datetime
    how: str
    by: tuple[str, ...] = ()
    waited: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepEnd:
    """One step that has ended. seconds: from its first act to its end, None where it did not act; said: its result."""

    title: str
    end: str
    seconds: float | None
    said: str


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that a step kept as evidence."""

    step: str
    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Due:
    """Something that somebody still has to see to: a review of broken glass, a debt. who: "" nobody yet; until: None
    where nothing was promised."""

    what: str
    who: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Story:
    """A run as its record has it at this moment. title: of the service; impact, workaround: what customers noticed and
    what worked all the same, "" where nobody said; started: when the first decision let it begin; restored: when it
    served again; work, waiting: seconds until then; odd: what did not simply go well, a line each."""

    topic: Topic
    title: str
    asked: datetime
    impact: str = ""
    workaround: str = ""
    started: datetime | None = None
    restored: datetime | None = None
    work: float = 0.0
    waiting: float = 0.0
    people: tuple[Participant, ...] = ()
    lines: tuple[Happening, ...] = ()
    decisions: tuple[Decided, ...] = ()
    steps: tuple[StepEnd, ...] = ()
    kept: tuple[KeptFile, ...] = ()
    due: tuple[Due, ...] = ()
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where a ticket is filed. target: HTTP target; form: whose shape; project: Jira's key or GitHub's
    owner/repository; path: of a plain webhook; search: path of Jira's search; type: of the Jira issue; labels: further
    ones."""

    target: str
    form: TicketForm
    project: str = ""
    path: str = "/"
    search: str = ""
    type: str = "Task"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How postmortems of a service are held, as its catalogue says. zone: IANA name; at: local time of the day; days:
    working days on; minutes: how long; weekend: days of the week that are none (Monday is 0), holidays: dates likewise;
    organizer, invite: mail addresses; addresses: person's id -> mail address; remind: seconds before; channel: "" the
    run's own; place: room or link; ticket None: none is filed."""

    zone: str = "UTC"
    at: time = time(10)
    days: int = 2
    minutes: int = 60
    weekend: frozenset[int] = frozenset({5, 6})
    holidays: frozenset[date] = frozenset()
    organizer: str = ""
    invite: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    remind: float = 3600.0
    channel: str = ""
    place: str = ""
    ticket: Ticket | None = None


class History(Protocol):
    """The record of the run that asks. Bound to one run."""

    @property
    def arranged(self) -> Arrangement:
        """How postmortems of its service are held."""
        ...

    async def story(self) -> Story:
        """What happened up to now."""
        ...
