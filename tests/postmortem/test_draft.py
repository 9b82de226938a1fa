"""What a postmortem is made of: the day, the draft, the invitation, which two libraries and a strict one read."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from ical.calendar_stream import IcsCalendarStream

from bot.catalogue import load_catalogue
from bot.located import Faults
from bot.ports.history import Arrangement, Decided, Due, Happening, KeptFile, Participant, StepEnd, Story, Ticket
from bot.ports.notices import Topic
from bot.postmortem import tickets
from bot.postmortem.dates import meeting, words
from bot.postmortem.draft import draft, md, span
from bot.postmortem.invitation import FOLD, Guest, Meeting, ics

BERLIN = Arrangement("Europe/Berlin")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# -- the day -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "how", "begins"),
    [
        ("2026-11-23T14:00", BERLIN, "Wed 25 Nov 2026, 10:00 (Europe/Berlin)"),
        ("2026-11-27T20:30", BERLIN, "Tue 1 Dec 2026, 10:00 (Europe/Berlin)"),  # a Friday evening
        ("2026-11-28T12:00", BERLIN, "Tue 1 Dec 2026, 10:00 (Europe/Berlin)"),  # a Saturday
        ("2026-11-23T23:30", BERLIN, "Thu 26 Nov 2026, 10:00 (Europe/Berlin)"),  # Tuesday there already
        ("2026-03-27T12:00", BERLIN, "Tue 31 Mar 2026, 10:00 (Europe/Berlin)"),  # the clocks change in between
        ("2026-06-23T14:00", Arrangement("Asia/Kolkata"), "Thu 25 Jun 2026, 10:00 (Asia/Kolkata)"),
        ("2026-11-27T23:30", Arrangement("Asia/Tokyo"), "Tue 1 Dec 2026, 10:00 (Asia/Tokyo)"),  # Saturday there
        ("2026-11-27T23:30", Arrangement("America/Los_Angeles"), "Tue 1 Dec 2026, 10:00 (America/Los_Angeles)"),
        ("2026-11-23T14:00", replace(BERLIN, days=0), "Tue 24 Nov 2026, 10:00 (Europe/Berlin)"),
        (
            "2026-12-23T14:00", replace(BERLIN, holidays=frozenset({date(2026, 12, 24), date(2026, 12, 25)})),
            "Tue 29 Dec 2026, 10:00 (Europe/Berlin)",
        ),
        (
            "2026-11-26T08:00", Arrangement("Asia/Dubai", time(9, 30), weekend=frozenset({4, 5})),
            "Mon 30 Nov 2026, 09:30 (Asia/Dubai)",
        ),
    ],
)  # fmt: skip
def test_it_is_some_working_days_on_at_a_sensible_hour_where_the_team_lives(
    ended: str, how: Arrangement, begins: str
) -> None:
    at = moment(ended)
    assert words(meeting(at, at, how), how.zone) == begins


def test_the_same_end_gives_the_same_day_until_it_has_passed() -> None:
    ended = moment("2026-11-23T14:00")
    first = meeting(ended, ended, BERLIN)
    assert meeting(ended, first - timedelta(seconds=1), BERLIN) == first
    assert words(meeting(ended, first, BERLIN), "Europe/Berlin") == "Thu 26 Nov 2026, 10:00 (Europe/Berlin)"


def test_a_calendar_without_a_working_day_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no day of the coming year"):
        meeting(moment("2026-11-23T14:00"), moment("2026-11-23T14:00"), replace(BERLIN, weekend=frozenset(range(7))))


@settings(max_examples=200)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)), st.integers(0, 10),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Tehran"]),
)  # fmt: skip
def test_it_is_never_in_the_past_and_never_on_a_day_off(at: datetime, days: int, zone: str) -> None:
    ended = at.replace(tzinfo=UTC)
    begins = meeting(ended, ended, Arrangement(zone, days=days))
    local = begins.astimezone(ZoneInfo(zone))
    assert begins > ended and local.weekday() < 5 and (local.hour, local.minute) == (10, 0)


# -- the invitation ----------------------------------------------------------------------------------------------------

NASTY = 'Ünïcode; "quoted" \\ back, comma: colon\nsecond line, ' + "很长的一行" * 30


def invitation(zone: str = "Europe/Berlin", at: str = "2026-07-01T10:00", guests: int = 2) -> Meeting:
    begins = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone))
    asked = tuple(Guest(f'Ana "{n}"; Ruiz, {n}', f"ana{n}@example.com") for n in range(guests))
    return Meeting(
        "postmortem-r1@example.com", moment("2026-06-29T12:00"), begins, 45, "Postmortem: Shop 2.4.1 → 2.4.0", NASTY,
        "Room 7, or https://meet.example/x", "incidents@example.com" if guests else "", asked,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "at", "utc"),
    [
        ("Europe/Berlin", "2026-07-01T10:00", "20260701T080000Z"),  # summer time
        ("Europe/Berlin", "2026-12-01T10:00", "20261201T090000Z"),
        ("Asia/Kolkata", "2026-07-01T10:00", "20260701T043000Z"),  # none there, and half an hour
        ("America/New_York", "2026-03-09T10:00", "20260309T140000Z"),  # the Monday after the change
        ("Pacific/Auckland", "2026-12-01T10:00", "20261130T210000Z"),  # the day before in UTC
    ],
)
def test_every_reader_reads_the_same_hour_in_zones_with_and_without_summer_time(zone: str, at: str, utc: str) -> None:
    text = ics(invitation(zone, at))
    assert f"DTSTART:{utc}\r\n".encode() in text
    begins = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone))
    event: Any = icalendar.Calendar.from_ical(text).walk("VEVENT")[0]
    read = vobject.readOne(text.decode()).vevent
    strict: Any = IcsCalendarStream.calendar_from_ics(text.decode()).events[0]
    for start, end in (
        (event.decoded("dtstart"), event.decoded("dtend")),
        (read.dtstart.value, read.dtend.value),
        (strict.dtstart, strict.dtend),
    ):
        assert start == begins and end == begins + timedelta(minutes=45)
        assert start.utcoffset() == timedelta(0)


def test_two_calendar_libraries_and_a_strict_one_read_all_of_it() -> None:
    text = ics(invitation()).decode()
    calendar = icalendar.Calendar.from_ical(text)
    event: Any = calendar.walk("VEVENT")[0]
    assert calendar["method"] == "REQUEST" and not calendar.errors and not event.errors
    told = "Ünïcode, 'quoted' / back, comma: colon\nsecond line, " + "很长的一行" * 30
    assert str(event["description"]) == told
    assert [str(a) for a in event["attendee"]] == ["mailto:ana0@example.com", "mailto:ana1@example.com"]
    assert event["attendee"][0].params["CN"] == "Ana '0' Ruiz 0"
    assert event["attendee"][0].params["RSVP"] == "TRUE"
    read = vobject.readOne(text)
    assert read.validate(raiseException=True)
    assert read.vevent.description.value == told and read.vevent.organizer.value == "mailto:incidents@example.com"
    strict = IcsCalendarStream.calendar_from_ics(text)
    assert strict.prodid == "-//rollback-bot//postmortem//EN"
    (only,) = strict.events
    assert (only.uid, only.description, only.sequence) == ("postmortem-r1@example.com", told, 0)
    assert only.organizer is not None and len(only.attendees) == 2 and len(only.alarm) == 1


def test_what_asks_nobody_is_a_plain_event() -> None:
    text = ics(invitation(guests=0)).decode()
    assert "METHOD" not in text and "ORGANIZER" not in text and "ATTENDEE" not in text
    assert vobject.readOne(text).validate(raiseException=True)
    assert len(IcsCalendarStream.calendar_from_ics(text).events) == 1


def test_no_reader_meets_what_they_disagree_about() -> None:
    text = re.sub(r"\r\n ", "", ics(invitation()).decode())
    told = next(line for line in text.split("\r\n") if line.startswith("DESCRIPTION:Ü"))
    assert ";" not in told and '"' not in told and not re.search(r"\\[^n,]", told)
    assert "VTIMEZONE" not in text and "TZID" not in text


@settings(max_examples=150)
@given(st.text(max_size=300), st.text(max_size=80))
def test_any_text_is_folded_into_lines_that_every_reader_takes(text: str, name: str) -> None:
    try:
        made = ics(replace(invitation(), text=text, guests=(Guest(name, "a@example.com"),)))
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text
    assert made.endswith(b"END:VCALENDAR\r\n")
    for line in made.removesuffix(b"\r\n").split(b"\r\n"):
        assert len(line) <= FOLD and b"\n" not in line and b"\r" not in line
        line.decode()
    event = icalendar.Calendar.from_ical(made).walk("VEVENT")[0]
    assert str(event["summary"]) == "Postmortem: Shop 2.4.1 → 2.4.0"
    assert len(IcsCalendarStream.calendar_from_ics(made.decode()).events) == 1


@pytest.mark.parametrize("mail", ["ana", "a b@example.com", "a@b\r\nATTENDEE:mailto:x@y", "a@exa mple.com"])
def test_what_is_no_address_is_refused(mail: str) -> None:
    with pytest.raises(ValueError, match="is no mail address"):
        ics(replace(invitation(), guests=(Guest("x", mail),)))


# -- the draft ---------------------------------------------------------------------------------------------------------

STORY = Story(
    Topic("shop-f3b0bf", "shop", "2.4.1", "2.4.0", "checkout fails since 14:02", "Ana", "#inc-4211"),
    "Shop", moment("2026-11-23T13:05"), "Checkout fails for some", "Paying by invoice works",
    started=moment("2026-11-23T13:06"), restored=moment("2026-11-23T13:16:20"), work=200.0, waiting=400.0,
    people=(Participant("U1", "Ana", ("commander", "asked for it")), Participant("U2", "Cho | x")),
    lines=(
        Happening(moment("2026-11-23T13:05"), "Ana", "asked to roll shop back"),
        Happening(moment("2026-11-23T23:30"), "", "Deploy: done\nsecond *line* <b>"),
    ),
    decisions=(Decided("Bring the backend back", moment("2026-11-23T13:08"), "approved", ("Cho (approver)",), 38.0),),
    steps=(StepEnd("Deploy", "done", 48.2, "12 of 12 pods"),),
    kept=(KeptFile("Evidence", "logs.txt", "sha256:ab", 120),),
    due=(
        Due("review of the broken glass", "", moment("2026-11-25T12:00")), Due("Freeze is still in place", "Dee", None),
    ),
    odd=("Deploy stopped: ImagePullBackOff, then retried by Cho",),
)  # fmt: skip


def test_the_draft_holds_what_the_record_knows_and_asks_for_the_rest() -> None:
    text = draft(STORY, BERLIN, moment("2026-11-25T09:00"))
    lines = text.split("\n")
    for line in (
        "# Postmortem: Shop 2.4.1 → 2.4.0",
        "**Meeting:** Wed 25 Nov 2026, 10:00 (Europe/Berlin), 60 min.",
        "- **What customers noticed:** Checkout fails for some",
        "| asked for | served again | 11 min 20 s |",
        "| of this: waiting for decisions | | 6 min 40 s |",
        "| 2026-11-23 14:05:00 | Ana | asked to roll shop back |",
        r"| 2026-11-24 00:30:00 | the bot | Deploy: done second \*line\* &lt;b&gt; |",
        "| Bring the backend back | 14:08:00 | approved | Cho (approver) | 38 s |  |",
        "- Evidence: logs.txt, 120 bytes, `sha256:ab`",
        r"- Cho \| x: took part",
        "| review of the broken glass | *… nobody yet* | 2026-11-25 13:00 |",
        "| Freeze is still in place | Dee | *… no date* |",
        "- Deploy stopped: ImagePullBackOff, then retried by Cho: *… why, and what would have prevented it*",
    ):
        assert line in lines, line
    assert [f"### {n}. Why" in text for n in range(1, 7)] == [True] * 5 + [False]
    assert "waited for longer (6 min 40 s) than was worked (3 min 20 s)" in text


def test_a_run_that_has_hardly_begun_is_drafted_too() -> None:
    text = draft(Story(STORY.topic, "Shop", STORY.asked), BERLIN, moment("2026-11-25T09:00"))
    assert "it does not (yet)" in text and "## To be seen to" not in text


@given(st.text(max_size=120))
def test_no_text_ends_its_line_or_begins_markup(text: str) -> None:
    shown = md(text)
    assert "\n" not in shown and "\r" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|*`_\[]", shown) and "<" not in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (680, "11 min 20 s"), (7380, "2 h 03 min"), (273600, "3 d 4 h")],
)
def test_durations_are_read_at_a_glance(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


# -- the ticket --------------------------------------------------------------------------------------------------------


def test_tickets_have_the_shape_of_their_tracker_and_are_found_by_their_run() -> None:
    jira = Ticket("tracker", "jira", "OPS", search="/rest/api/3/search/jql", labels=("shop",))
    github = Ticket("tracker", "github", "acme/shop")
    plain = Ticket("hook", "plain", path="/hooks/1")
    assert tickets.search(jira, "r1") == (
        "/rest/api/3/search/jql?jql=project+%3D+%22OPS%22+AND+labels+%3D+%22rollback-r1%22&fields=summary&maxResults=1"
    )
    assert tickets.search(github, "r1") == "/repos/acme/shop/issues?labels=rollback-r1&state=all&per_page=1"
    assert tickets.search(plain, "r1") == ""
    assert tickets.body(jira, "r1", "T", "text", "2026-11-25") == {
        "fields": {
            "project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "T", "description": "text",
            "labels": ["postmortem", "rollback-r1", "shop"], "duedate": "2026-11-25",
        }
    }  # fmt: skip
    assert tickets.body(github, "r1", "T", "x", "d") == {
        "title": "T", "body": "x", "labels": ["postmortem", "rollback-r1"]
    }  # fmt: skip
    assert [tickets.path(t) for t in (jira, github, plain)] == [
        "/rest/api/2/issue", "/repos/acme/shop/issues", "/hooks/1"
    ]  # fmt: skip
    assert tickets.found(jira, {"issues": [{"key": "OPS-7"}]}) == tickets.Filed("OPS-7", "")
    assert tickets.found(github, []) is None
    with pytest.raises(ValueError, match="no list of issues"):
        tickets.found(jira, {"total": 1})


# -- the catalogue -----------------------------------------------------------------------------------------------------

HEAD = """\
roles: {commander: {people: [U1]}, approver: {people: [U2]}}
services:
  shop:
    targets: {tracker: {http: "http://a"}, eu: {kubernetes: eu, namespace: shop}}
"""


def test_the_catalogue_says_how_a_service_holds_its_postmortems() -> None:
    text = """\
    postmortem:
      zone: Europe/Berlin
      at: "9:30"
      days: 3
      lasts: 45m
      weekend: [friday, Saturday]
      holidays: ["2026-12-25"]
      organizer: incidents@example.com
      invite: team@example.com
      addresses: {U1: ana@example.com}
      remind: 30m
      channel: "#postmortems"
      place: Room 7
      ticket: {target: tracker, form: github, project: acme/shop, labels: [shop]}
"""
    found = load_catalogue(HEAD + text, "r").services["shop"].postmortem
    assert found == Arrangement(
        "Europe/Berlin", time(9, 30), 3, 45, frozenset({4, 5}), frozenset({date(2026, 12, 25)}),
        "incidents@example.com", ("team@example.com",), {"U1": "ana@example.com"}, 1800.0, "#postmortems", "Room 7",
        Ticket("tracker", "github", "acme/shop", search="/rest/api/3/search/jql", labels=("shop",)),
    )  # fmt: skip
    assert load_catalogue(HEAD, "r").services["shop"].postmortem == Arrangement()


def said(text: str) -> list[str]:
    with pytest.raises(Faults) as caught:
        load_catalogue(f"{HEAD}    postmortem:\n{text}", "r")
    return [str(f).removeprefix("r:").replace("services.shop.postmortem.", "") for f in caught.value.faults]


def test_every_mistake_is_said_with_its_place() -> None:
    assert said("""\
      zone: Europe/Berlni
      at: 25:00
      weekend: [sunday, sonntag]
      holidays: ["25.12."]
      organizer: nobody
""") == [
        "6:13: zone: 'Europe/Berlni' is no time zone; name one like Europe/Berlin or UTC",
        "7:11: at: must be a time of the day, like 10:00",
        "8:25: weekend[1]: must be a day of the week, like saturday, not 'sonntag'",
        "9:18: holidays[0]: must be a date, like 2026-12-25",
        "10:18: organizer: must be a mail address, like team@example.com",
    ]  # fmt: skip
    assert said("      ticket: {target: trackr, form: jira, project: ops}\n") == [
        "6:15: ticket: a Jira issue needs its project: the key, like OPS",
        "6:24: ticket.target: there is no HTTP target 'trackr'; did you mean 'tracker'?",
    ]
    assert said("      ticket: {target: eu, form: github}\n") == [
        "6:15: ticket: a GitHub issue needs its project: owner/repository",
        "6:24: ticket.target: there is no HTTP target 'eu'",
    ]
