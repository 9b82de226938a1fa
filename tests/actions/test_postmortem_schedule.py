"""`postmortem.schedule`: drafted, invited to, remembered and filed once, whatever crashed or was away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import icalendar
import pytest
from aiohttp import web

from actions.postmortem_schedule import PostmortemSchedule, PostmortemScheduleParams
from bot.adapters.http import HttpClient, HttpEndpoint
from bot.contract import Change, Effect, Json, NotYet
from bot.ports import Ports, Record
from bot.ports.history import Arrangement, Due, Participant, Story, Ticket
from bot.ports.notices import Topic
from bot.testing import MemoryBlobs, PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.served import served

NOW = datetime(2026, 11, 27, 19, 0, tzinfo=UTC)  # a Friday evening
TOPIC = Topic("shop-f3b0bf", "shop", "2.4.1", "2.4.0", "checkout fails", "Ana", "#inc-4211")
STORY = Story(
    TOPIC, "Shop", datetime(2026, 11, 27, 17, tzinfo=UTC), restored=datetime(2026, 11, 27, 18, tzinfo=UTC),
    people=(Participant("U1", "Ana", ("commander",)), Participant("U2", "Cho")),
    due=(Due("review of the broken glass for Deploy", "", None),),
)  # fmt: skip
HOW = Arrangement(
    "Europe/Berlin", organizer="incidents@example.com", invite=("team@example.com",),
    addresses={"U1": "ana@example.com"},
)  # fmt: skip
JIRA = Ticket("tracker", "jira", "OPS", search="/rest/api/3/search/jql")
GITHUB = Ticket("tracker", "github", "acme/shop")
PLAIN = Ticket("tracker", "plain", path="/hook")
PARAMS = PostmortemScheduleParams()
MEETING = "2026-12-01T09:00:00+00:00"


@dataclass(frozen=True)
class Told:
    """`bot.ports.History`."""

    arranged: Arrangement
    told: Story = STORY

    async def story(self) -> Story:
        return self.told


@dataclass
class Board:
    """Where posts stand, by name; the first text stays."""

    record: Record
    topic: Topic
    posts: dict[str, tuple[str, str, datetime | None, tuple[str, ...]]]

    async def post(
        self, channel: str, name: str, text: str, *, at: datetime | None = None, people: Collection[str] = ()
    ) -> None:
        await self.record(f"post in {channel}")
        self.posts.setdefault(name, (channel, text, at, tuple(people)))


@dataclass
class Tracker:
    """Jira, GitHub and a webhook, over real HTTP: what was filed; status: answered instead, of posts alone where so;
    loses: the answer to the next post breaks after it was filed."""

    filed: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0
    posts_only: bool = False
    loses: int = 0
    asked: int = 0

    @web.middleware
    async def faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked += 1
        if self.status and (request.method == "POST" or not self.posts_only):
            return web.json_response({"message": "no"}, status=self.status)
        answer: web.StreamResponse = await handler(request)
        if request.method == "POST" and self.loses and request.transport is not None:
            self.loses -= 1
            request.transport.abort()
        return answer

    async def jira(self, request: web.Request) -> web.Response:
        self.filed.append((await request.json())["fields"])
        return web.json_response({"id": "1", "key": f"OPS-{len(self.filed)}"}, status=201)

    async def jql(self, request: web.Request) -> web.Response:
        label = request.query["jql"].rpartition('labels = "')[2].rstrip('"')
        hits = [i for i, f in enumerate(self.filed, 1) if label in f["labels"]]
        return web.json_response({"issues": [{"key": f"OPS-{i}"} for i in hits]})

    async def github(self, request: web.Request) -> web.Response:
        self.filed.append(await request.json())
        n = len(self.filed)
        return web.json_response({"number": n, "html_url": f"https://github.example/{n}"}, status=201)

    async def listed(self, request: web.Request) -> web.Response:
        hits = [i for i, f in enumerate(self.filed, 1) if request.query["labels"] in f["labels"]]
        return web.json_response([{"number": i, "html_url": f"https://github.example/{i}"} for i in hits])

    async def hook(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        if key not in [f["key"] for f in self.filed]:
            self.filed.append({**(await request.json()), "key": key})
        return web.json_response({})


@dataclass
class World:
    tracker: Tracker
    blobs: MemoryBlobs
    posts: dict[str, tuple[str, str, datetime | None, tuple[str, ...]]]
    http: HttpClient

    def ports_for(self, how: Arrangement = HOW, told: Story = STORY) -> PortsFor:
        def bound(record: Record) -> Ports:
            board = Board(record, told.topic, self.posts)
            return ports(history=Told(how, told), blobs=self.blobs, notices=board, http=self.http.bind(record))

        return bound

    async def seen(self) -> dict[str, Json]:
        """What an effect leaves behind belongs to no target."""
        return {}

    def file(self, receipt: Any, name: str) -> bytes:
        return self.blobs.data[receipt.evidence[name]["digest"]]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with tracked() as found:
        yield found


@asynccontextmanager
async def tracked() -> AsyncIterator[World]:
    tracker = Tracker()
    app = web.Application(middlewares=[tracker.faulty])
    app.router.add_post("/rest/api/2/issue", tracker.jira)
    app.router.add_get("/rest/api/3/search/jql", tracker.jql)
    app.router.add_post("/repos/acme/shop/issues", tracker.github)
    app.router.add_get("/repos/acme/shop/issues", tracker.listed)
    app.router.add_post("/hook", tracker.hook)
    async with served(app) as at:
        http = HttpClient({"tracker": HttpEndpoint(f"http://{at}", timeout=20.0)})
        try:
            yield World(tracker, MemoryBlobs(), {}, http)
        finally:
            await http.close()


def context(world: World, how: Arrangement = HOW, told: Story = STORY, **more: Any) -> TestCtx:
    acting = more.pop("acting", True)
    return TestCtx(world.ports_for(how, told), PostmortemSchedule.needs, acting=acting, now=NOW, **more)


async def schedule(world: World, how: Arrangement = HOW, told: Story = STORY, **more: Any) -> Any:
    ctx = context(world, how, told, **more)
    change = await PostmortemSchedule().plan(ctx, PARAMS)
    return await PostmortemSchedule().apply(ctx, PARAMS, change)


@pytest.mark.parametrize("ticket", [JIRA, GITHUB, None])
async def test_lifecycle(world: World, ticket: Ticket | None) -> None:
    how = replace(HOW, ticket=ticket)
    story = replace(STORY, restored=datetime(2026, 1, 1, 12, tzinfo=UTC))
    change = await assert_lifecycle(
        PostmortemSchedule(), world.ports_for(how, story), PARAMS, world=world.seen, drift=None, replayed=1
    )
    assert change.inverted().is_noop
    assert len(world.posts) == 1 and len(world.tracker.filed) == (ticket is not None)


async def test_asked_for_on_a_friday_evening_it_is_on_tuesday(world: World) -> None:
    change = await PostmortemSchedule().plan(context(world, acting=False), PARAMS)
    assert change.summary == "postmortem of shop on Tue 1 Dec 2026, 10:00 (Europe/Berlin)"
    assert change.effects == (
        Effect(f"draft and invitation for {MEETING}"),
        Effect("remind in #inc-4211 at 2026-12-01T08:00:00+00:00"),
    )
    assert change.warnings == ("no mail address of Cho: add them to postmortem.addresses, or forward the invitation",)
    sooner = await PostmortemSchedule().plan(context(world, acting=False), PostmortemScheduleParams(days=1))
    assert "Mon 30 Nov 2026" in sooner.summary


async def test_files_are_evidence_and_people_are_invited(world: World) -> None:
    receipt = await schedule(world)
    assert receipt.detail == (
        "postmortem of shop: Tue 1 Dec 2026, 10:00 (Europe/Berlin), draft and invitation below, 2 people invited, "
        "reminder in #inc-4211 1 h before"
    )
    assert receipt.output == {"at": MEETING, "ticket": ""}
    assert world.file(receipt, "postmortem.md").decode().startswith("# Postmortem: Shop 2.4.1 → 2.4.0\n")
    event: Any = icalendar.Calendar.from_ical(world.file(receipt, "postmortem.ics")).walk("VEVENT")[0]
    assert event.decoded("dtstart") == datetime.fromisoformat(MEETING)
    assert sorted(map(str, event["attendee"])) == ["mailto:ana@example.com", "mailto:team@example.com"]
    assert "To be seen to: review of the broken glass for Deploy" in str(event["description"])
    assert str(event["uid"]) == "postmortem-shop-f3b0bf@example.com"


async def test_the_reminder_mentions_people_when_its_time_has_come(world: World) -> None:
    await schedule(world, replace(HOW, place="Room 7", remind=1800.0))
    channel, text, at, people = world.posts["postmortem.remind"]
    assert (channel, at, people) == ("#inc-4211", datetime(2026, 12, 1, 8, 30, tzinfo=UTC), ("U1", "U2"))
    assert text == (
        "Postmortem: Shop 2.4.1 → 2.4.0 begins at 10:00 (Europe/Berlin).\nWhere: Room 7\n"
        "To be seen to by then: review of the broken glass for Deploy"
    )


@pytest.mark.parametrize("how", [replace(HOW, remind=0.0), replace(HOW, remind=9 * 86400.0)])
async def test_nobody_is_reminded_where_it_is_not_wanted_or_too_late(world: World, how: Arrangement) -> None:
    receipt = await schedule(world, how)
    assert not world.posts and "reminder" not in receipt.detail


async def test_a_run_without_a_channel_and_a_catalogue_without_people_still_get_a_draft(world: World) -> None:
    story = replace(STORY, topic=replace(TOPIC, channel=""), people=())
    receipt = await schedule(world, Arrangement(), story)
    assert "nobody is invited by mail" in receipt.detail and not world.posts
    assert b"METHOD" not in world.file(receipt, "postmortem.ics")


@pytest.mark.parametrize(
    ("ticket", "name", "links"),
    [
        (JIRA, "OPS-1", ()),
        (GITHUB, "acme/shop#1", (("acme/shop#1", "https://github.example/1"),)),
        (PLAIN, "the ticket", ()),
    ],
)
async def test_a_ticket_is_filed_once(world: World, ticket: Ticket, name: str, links: Any) -> None:
    how = replace(HOW, ticket=ticket)
    receipt = await schedule(world, how)
    assert receipt.detail.endswith(f"ticket {name}") and receipt.links == links
    assert receipt.output["ticket"] == name
    assert (await schedule(world, how)).output["ticket"] == name  # even where nothing is remembered
    assert len(world.tracker.filed) == 1
    assert {"postmortem", "rollback-shop-f3b0bf"} <= set(world.tracker.filed[0]["labels"])


async def test_a_ticket_whose_answer_was_lost_is_found_and_not_filed_again(world: World) -> None:
    how, memo = replace(HOW, ticket=JIRA), dict[str, Json]()
    world.tracker.loses = 1
    with pytest.raises(NotYet, match="does not answer yet"):
        await schedule(world, how, memo=memo)
    receipt = await schedule(world, how, memo=memo)
    assert receipt.output["ticket"] == "OPS-1" and len(world.tracker.filed) == 1


async def test_a_tracker_that_stays_away_costs_the_ticket_alone(world: World) -> None:
    how, memo = replace(HOW, ticket=GITHUB), dict[str, Json]()
    world.tracker.status = 503
    with pytest.raises(NotYet):
        await schedule(world, how, memo=memo)
    memo["ticket wanted"] = "2026-11-27T18:58:00+00:00"
    receipt = await schedule(world, how, memo=memo)
    assert receipt.detail.endswith("no ticket: tracker answered 503 to its search")
    assert set(receipt.evidence) == {"postmortem.md", "postmortem.ics"} and receipt.output["ticket"] == ""


async def test_a_tracker_that_refuses_is_not_asked_again(world: World) -> None:
    world.tracker.status, world.tracker.posts_only = 403, True
    receipt = await schedule(world, replace(HOW, ticket=JIRA))
    assert receipt.detail.endswith("no ticket: tracker refused a new ticket (403)")
    assert world.tracker.asked == 2


async def test_another_attempt_invites_to_the_hour_that_was_approved(world: World) -> None:
    change = await PostmortemSchedule().plan(context(world), PARAMS)
    late = context(world, replace(HOW, zone="Asia/Tokyo"))
    receipt = await PostmortemSchedule().apply(late, PARAMS, change)
    assert receipt.output["at"] == MEETING


async def test_nothing_is_done_for_a_change_that_holds_nothing(world: World) -> None:
    receipt = await PostmortemSchedule().apply(context(world, acting=False), PARAMS, Change("nothing"))
    assert receipt.output == {"at": "", "ticket": ""} and not world.blobs.data
