"""`postmortem:` of a service: when and how its postmortems are held, and where a ticket is filed.

    postmortem:
      zone: Europe/Berlin
      at: "10:00"
      organizer: incidents@example.com
      invite: [team-shop@example.com]
      addresses: {U0ANA: ana@example.com}
      ticket: {target: tracker, form: jira, project: OPS}

Invariants: a zone that does not exist, an hour or a day that is none, and a target that is not there are faults of the
file. Mail addresses are no secrets, but personal data: they are asked for by person, and stand nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from bot.catalogued.shapes import UrlPath, check_http_target, one_or_more
from bot.located import Path, Report
from bot.located.strict import Duration, Slug, Strict, Text, Word
from bot.ports.history import Arrangement, Ticket, TicketForm

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SEARCH = "/rest/api/3/search/jql"
"""Jira Cloud's search; its Data Center still has /rest/api/2/search."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; name one like Europe/Berlin or UTC") from None
    return name


def _time(value: object) -> time:
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a time of the day, like 10:00")
    return time(int(found[1]), int(found[2]))


def _date(value: object) -> date:
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be a date, like 2026-12-25") from None


def _day(name: str) -> str:
    if name.lower() not in DAYS:
        raise ValueError(f"must be a day of the week, like saturday, not {name!r}")
    return name.lower()


def _mail(address: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", address):
        raise ValueError("must be a mail address, like team@example.com")
    return address


Mail = Annotated[Word, AfterValidator(_mail)]
Hour = Annotated[time, BeforeValidator(_time), WithJsonSchema({"type": "string"})]
Holiday = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string"})]


class TicketFile(Strict):
    """Where a ticket is filed."""

    target: Slug = Field(description="HTTP target of the tracker, or of the webhook.")
    form: TicketForm = Field(description="Whose shape it has: jira, github, or a plain webhook.")
    project: Word | None = Field(None, description="Jira: key of the project; GitHub: owner/repository.")
    type: Text = Field("Task", description="Jira: type of the issue.")
    search: UrlPath = Field(SEARCH, description="Jira: path of its search; /rest/api/2/search in a Data Center.")
    path: UrlPath = Field("/", description="Webhook: path that is posted to.")
    labels: list[Word] = Field([], description="Further labels.")


class PostmortemFile(Strict):
    """How postmortems of the service are held."""

    zone: Annotated[Word, AfterValidator(_zone)] = Field("UTC", description="Time zone of the team, by its IANA name.")
    at: Hour = Field(time(10), description="Local time of the day.")
    days: int = Field(2, ge=0, le=30, description="Working days on.")
    lasts: Duration = Field(3600.0, ge=300, le=28800, description="How long.")
    weekend: Annotated[list[Annotated[str, AfterValidator(_day)]], BeforeValidator(one_or_more)] = Field(
        ["saturday", "sunday"], max_length=6, description="Days of the week on which nobody works."
    )
    holidays: list[Holiday] = Field([], description="Dates on which nobody works.")
    organizer: Mail | None = Field(None, description="Mail address in whose name people are invited.")
    invite: Annotated[list[Mail], BeforeValidator(one_or_more)] = Field([], description="Who is invited to each.")
    addresses: dict[Word, Mail] = Field({}, description="Person's id -> mail address.")
    remind: Duration = Field(3600.0, description="How long before people are reminded; 0: not at all.")
    channel: Word | None = Field(None, description="Where they are reminded, if not in the run's own channel.")
    place: Text | None = Field(None, description="Room or link.")
    ticket: TicketFile | None = Field(None, description="Where a ticket is filed.")


def check_postmortem(file: PostmortemFile, path: Path, targets: Mapping[str, bool], report: Report) -> None:
    """What the shape alone does not hold. targets: name -> whether it is reached over HTTP."""
    ticket, at = file.ticket, (*path, "ticket")
    if ticket is None:
        return
    check_http_target(ticket.target, (*at, "target"), targets, report)
    if ticket.form == "github" and not re.fullmatch(r"[\w.-]+/[\w.-]+", ticket.project or ""):
        report.add(at, "a GitHub issue needs its project: owner/repository")
    if ticket.form == "jira" and not re.fullmatch(r"[A-Z][A-Z0-9_]*", ticket.project or ""):
        report.add(at, "a Jira issue needs its project: the key, like OPS")


def arrangement_of(file: PostmortemFile) -> Arrangement:
    """The value."""
    t = file.ticket
    ticket = Ticket(t.target, t.form, t.project or "", t.path, t.search, t.type, tuple(t.labels)) if t else None
    return Arrangement(
        file.zone, file.at, file.days, round(file.lasts / 60), frozenset(DAYS.index(d) for d in file.weekend),
        frozenset(file.holidays), file.organizer or "", tuple(file.invite), dict(file.addresses), file.remind,
        file.channel or "", file.place or "", ticket,
    )  # fmt: skip
