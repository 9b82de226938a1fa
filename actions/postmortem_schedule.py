"""C3: a postmortem is drafted from the record, put into calendars, remembered, and filed as a ticket.

All of it follows from one moment, which stands in the change: whatever crashed, another attempt invites to the same
hour. Files are evidence of the step and are shown in its thread; the reminder is posted when its time has come. A
tracker that does not answer, or refuses, costs the ticket and nothing else, and the result says so.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Effect,
    Fact,
    Fatal,
    Json,
    NotYet,
    Output,
    Params,
    ReadCtx,
    Receipt,
    Value,
    first_seen,
)
from bot.ports import Blob, Reply, Unreachable
from bot.ports.history import Arrangement, Participant, Story, Ticket
from bot.postmortem import dates, tickets
from bot.postmortem.draft import draft
from bot.postmortem.invitation import Guest, Meeting, ics

INVITE = "draft and invitation for "
"""How the effect begins that holds the moment."""
PATIENCE = 60.0
"""Seconds that a tracker is waited for."""
NAMED = 12
"""People whom the invitation's text names."""


class PostmortemScheduleParams(Params):
    """Everything about it stands in the catalogue (`postmortem` of the service); this is for one run."""

    days: int | None = Field(None, ge=0, le=30, description="Working days on; left out: as the catalogue says.")
    at: str = Field("", description="When people chose to meet (RFC 3339); empty: as the catalogue says.")


class PostmortemScheduleOutput(Output):
    """When it is, and what was made for it."""

    at: str = Field(description="When it begins, in UTC: 2026-11-24T09:00:00+00:00; empty where none was scheduled.")
    ticket: str = Field(description="Name of its ticket; empty where none was filed.")


class PostmortemSchedule(Action[PostmortemScheduleParams]):
    """Writes the draft and the invitation, has people reminded, and files a ticket."""

    name = "postmortem.schedule"
    needs = frozenset({"history", "blobs", "notices", "http"})
    duties = frozenset({"learn"})
    Params = PostmortemScheduleParams
    Output = PostmortemScheduleOutput

    async def plan(self, ctx: ReadCtx, p: PostmortemScheduleParams) -> Change:
        how = ctx.ports.history.arranged
        story = await ctx.ports.history.story()
        begins = _begins(ctx, p, how, story)
        asked, unknown = _guests(how, story)
        effects = [Effect(f"{INVITE}{begins.isoformat()}")]
        if remind := _reminded(ctx, how, begins):
            effects.append(Effect(f"remind in {_channel(how, story)} at {remind.isoformat()}"))
        if how.ticket is not None:
            effects.append(Effect(f"file a ticket in {how.ticket.target} ({how.ticket.form})"))
        return Change(
            f"postmortem of {story.topic.service} on {dates.words(begins, how.zone)}",
            effects=tuple(effects),
            facts=(Fact("people invited by mail", len(asked)), Fact("to be seen to", len(story.due))),
            warnings=_warnings(how, asked, unknown),
        )

    async def observe(self, ctx: ReadCtx, p: PostmortemScheduleParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)

    async def apply(self, ctx: Ctx, p: PostmortemScheduleParams, change: Change) -> Receipt:
        begins = _of(change)
        if begins is None:
            return Receipt(change.summary, output={"at": "", "ticket": ""})
        how = ctx.ports.history.arranged
        story = await ctx.ports.history.story()
        text = draft(story, how, begins)
        made = await first_seen(ctx, "written")
        notes = await ctx.ports.blobs.put(text.encode(), "text/markdown")
        invitation = await ctx.ports.blobs.put(
            ics(_meeting(story, how, begins, made, moved=bool(p.at))), "text/calendar"
        )
        remind = _wanted(change, "remind in ") and await _remind(ctx, how, story, begins)
        said, filed = "", None
        if how.ticket is not None and _wanted(change, "file a ticket"):
            said, filed = await _ticket(ctx, how.ticket, story, how, begins)
        asked, _ = _guests(how, story)
        told = [dates.words(begins, how.zone), "draft and invitation below"]
        invited = f"{len(asked)} {'person' if len(asked) == 1 else 'people'} invited"
        told += [invited if how.organizer and asked else "nobody is invited by mail"]
        told += [f"reminder in {_channel(how, story)} {_before(how.remind)} before"] if remind else []
        return Receipt(
            f"postmortem of {story.topic.service}: {', '.join([*told, *([said] if said else [])])}",
            evidence={"postmortem.md": _reference(notes), "postmortem.ics": _reference(invitation)},
            links=((filed.name, filed.url),) if filed is not None and filed.url else (),
            output={"at": begins.isoformat(), "ticket": filed.name if filed is not None else ""},
        )


# -- when, and who -----------------------------------------------------------------------------------------------------


def _begins(ctx: ReadCtx, p: PostmortemScheduleParams, how: Arrangement, story: Story) -> datetime:
    if p.at:
        return _chosen(p.at)
    days = how.days if p.days is None else p.days
    chosen = Arrangement(how.zone, how.at, days, weekend=how.weekend, holidays=how.holidays)
    try:
        return dates.meeting(story.restored or ctx.now, ctx.now, chosen)
    except ValueError as error:
        raise Fatal(str(error), "correct the catalogue, then try again") from error


def _chosen(word: str) -> datetime:
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        raise Fatal(f"{word[:60]!r} is no moment", "write it like 2026-12-01T10:00:00+01:00") from None
    if found.tzinfo is None:
        raise Fatal(f"{word} names no time zone", "write it like 2026-12-01T10:00:00+01:00")
    return found.astimezone(UTC)


def _of(change: Change) -> datetime | None:
    """The moment that was approved."""
    found = (e.what.removeprefix(INVITE) for e in change.effects if e.what.startswith(INVITE))
    return next((datetime.fromisoformat(moment) for moment in found), None)


def _wanted(change: Change, start: str) -> bool:
    return any(e.what.startswith(start) for e in change.effects)


def _channel(how: Arrangement, story: Story) -> str:
    return how.channel or story.topic.channel


def _reminded(ctx: ReadCtx, how: Arrangement, begins: datetime) -> datetime | None:
    """When people are reminded; None where that has passed, or there is nowhere to."""
    at = begins - timedelta(seconds=how.remind)
    there = bool(how.channel or ctx.ports.notices.topic.channel)
    return at if there and how.remind > 0 and at > ctx.now else None


def _guests(how: Arrangement, story: Story) -> tuple[tuple[Guest, ...], tuple[Participant, ...]]:
    """Whom the invitation is for, each address once; and those of whom no address is known."""
    found = {mail.casefold(): Guest(mail, mail) for mail in how.invite}
    unknown = []
    for person in story.people:
        if mail := how.addresses.get(person.id):
            found[mail.casefold()] = Guest(person.name, mail)
        else:
            unknown.append(person)
    found.pop(how.organizer.casefold(), None)
    return tuple(found.values()), tuple(unknown)


def _warnings(how: Arrangement, asked: Collection[Guest], unknown: Collection[Participant]) -> tuple[str, ...]:
    found = []
    if not how.organizer:
        found.append("the invitation asks nobody: the catalogue names no organizer (postmortem.organizer)")
    if unknown:
        names = ", ".join(p.name for p in unknown)
        found.append(f"no mail address of {names}: add them to postmortem.addresses, or forward the invitation")
    return tuple(found)


# -- the invitation, the reminder --------------------------------------------------------------------------------------


def _title(story: Story) -> str:
    t = story.topic
    return f"Postmortem: {story.title} {t.removed} → {t.target}"


def _meeting(story: Story, how: Arrangement, begins: datetime, made: datetime, *, moved: bool) -> Meeting:
    """moved: it takes the place of an earlier one. Calendars take the version with the highest number: the seconds
    since the run was asked for, which need nobody who counts."""
    domain = how.organizer.rpartition("@")[2] or "rollback-bot.invalid"
    asked, _ = _guests(how, story)
    return Meeting(
        f"postmortem-{story.topic.run}@{domain}", made, begins, how.minutes, _title(story), _words(story), how.place,
        how.organizer, asked, max(1, round((made - story.asked).total_seconds())) if moved else 0,
    )  # fmt: skip


def _words(story: Story) -> str:
    """What calendars show."""
    t = story.topic
    where = f" in the thread of the run in {t.channel}" if t.channel else ""
    lines = [f"Run {t.run}. The draft is postmortem.md{where}."]
    lines += [f"Reason: {t.reason}"] if t.reason else []
    lines += [f"Part in it: {', '.join(p.name for p in story.people[:NAMED])}"] if story.people else []
    lines += [f"To be seen to: {d.what}{f' ({d.who})' if d.who else ''}" for d in story.due]
    return "\n".join(lines)


async def _remind(ctx: Ctx, how: Arrangement, story: Story, begins: datetime) -> bool:
    at = begins - timedelta(seconds=how.remind)
    lines = [f"{_title(story)} begins at {begins.astimezone(ZoneInfo(how.zone)):%H:%M} ({how.zone})."]
    lines += [f"Where: {how.place}"] if how.place else []
    lines += [f"To be seen to by then: {d.what}" for d in story.due]
    people = tuple(p.id for p in story.people)
    await ctx.ports.notices.post(_channel(how, story), "postmortem.remind", "\n".join(lines), at=at, people=people)
    return True


def _before(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _reference(blob: Blob) -> Json:
    return {"digest": blob.digest, "size": blob.size, "type": blob.type}


# -- the ticket --------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """The tracker said no: trying again is useless."""


async def _ticket(
    ctx: Ctx, t: Ticket, story: Story, how: Arrangement, begins: datetime
) -> tuple[str, tickets.Filed | None]:
    """What came of it in words, and the ticket."""
    since = await first_seen(ctx, "ticket wanted")

    async def filed() -> Json:
        found = await _filed(ctx, t, story, how, begins)
        return {"name": found.name, "url": found.url}

    try:
        told = await ctx.once("ticket", filed)
    except _Refused as error:
        return f"no ticket: {error}", None
    except (Unreachable, _Away) as error:
        if (ctx.now - since).total_seconds() < PATIENCE:
            raise NotYet(f"the tracker does not answer yet: {error}", after=10) from error
        return f"no ticket: {error}", None
    found = tickets.Filed(**{k: str(v) for k, v in told.items()}) if isinstance(told, dict) else tickets.Filed("", "")
    return f"ticket {found.name}", found


class _Away(Exception):
    """The tracker answers, and cannot just now."""


async def _filed(ctx: Ctx, t: Ticket, story: Story, how: Arrangement, begins: datetime) -> tickets.Filed:
    """The run's ticket: the one that is there, else a new one. Unreachable, _Away, _Refused."""
    run = story.topic.run
    if look := tickets.search(t, run):
        reply = _good(t, await ctx.ports.http.get(t.target, look), "its search")
        try:
            if (there := tickets.found(t, reply.json)) is not None:
                return there
        except ValueError as error:
            raise _Refused(str(error)) from error
    day = f"{begins.astimezone(ZoneInfo(how.zone)):%Y-%m-%d}"
    body = tickets.body(t, run, _title(story), _words(story), day)
    reply = await ctx.ports.http.post(t.target, tickets.path(t), body, key=ctx.key)
    return tickets.filed(t, _good(t, reply, "a new ticket").json)


def _good(t: Ticket, reply: Reply, what: str) -> Reply:
    if reply.status == 429 or reply.status >= 500:
        raise _Away(f"{t.target} answered {reply.status} to {what}")
    if not 200 <= reply.status < 300:
        raise _Refused(f"{t.target} refused {what} ({reply.status})")
    return reply
