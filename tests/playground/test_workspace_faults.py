"""Each fault on demand: what the app meets, what really happened, and that afterwards all is well again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Clock, Fault, Workspace
from tests.playground.workspace_bot import HERE, MODES, Mode, actions, bolt, button, client, running

Body = dict[str, Any]


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen=True)


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[Workspace]:
    async with Workspace(app=App(events=frozenset({"message.channels"})), clock=clock, rates=False) as workspace:
        yield workspace


@pytest.fixture
def web(slack: Workspace) -> AsyncWebClient:
    """A client that never tries again by itself."""
    return AsyncWebClient(slack.app.bot_token, base_url=slack.api_url, retry_handlers=[])


async def said(slack: Workspace) -> list[str]:
    return [p.text for p in slack.driver.read("inc-4211")]


# -- the Web API -----------------------------------------------------------------------------------------------------


async def test_a_storm_of_429_ends_when_its_time_is_over(slack: Workspace, web: AsyncWebClient, clock: Clock) -> None:
    slack.faults.add(Fault("ratelimited", "chat.*", next=None, seconds=30, retry_after=7))
    for _ in range(3):
        with pytest.raises(SlackApiError) as caught:
            await web.chat_postMessage(channel=HERE, text="x")
        assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "7")
    await web.auth_test()
    clock.advance(30)
    await web.chat_postMessage(channel=HERE, text="after")
    assert await said(slack) == ["after"]


async def test_one_call_answers_the_error_that_was_asked_for(slack: Workspace, web: AsyncWebClient) -> None:
    slack.faults.add(Fault("error", "chat.update", error="fatal_error"))
    own = await web.chat_postMessage(channel=HERE, text="x")
    with pytest.raises(SlackApiError) as caught:
        await web.chat_update(channel=HERE, ts=own["ts"], text="y")
    assert caught.value.response["error"] == "fatal_error"
    await web.chat_update(channel=HERE, ts=own["ts"], text="z")
    assert await said(slack) == ["z"]


@pytest.mark.parametrize(("kind", "done"), [("refuse", []), ("cut", ["x"]), ("lose_answer", ["x"])])
async def test_a_broken_connection_leaves_the_work_done_or_not(
    slack: Workspace, web: AsyncWebClient, kind: Any, done: list[str]
) -> None:
    slack.faults.add(Fault(kind, "chat.postMessage"))
    with pytest.raises((aiohttp.ClientError, SlackApiError, ValueError)):
        await web.chat_postMessage(channel=HERE, text="x")
    assert await said(slack) == done
    await web.chat_postMessage(channel=HERE, text="again")
    assert await said(slack) == [*done, "again"]


async def test_a_post_whose_answer_was_lost_is_found_by_its_metadata(slack: Workspace, web: AsyncWebClient) -> None:
    slack.faults.add(Fault("lose_answer", "chat.postMessage"))
    mark = {"event_type": "slot", "event_payload": {"key": "k"}}
    with pytest.raises(aiohttp.ClientError):
        await web.chat_postMessage(channel=HERE, text="x", metadata=mark)
    told = (await web.conversations_history(channel=HERE, include_all_metadata=True))["messages"]
    assert [m["metadata"] for m in told] == [mark]


async def test_a_slow_answer_comes_when_the_clock_says(slack: Workspace, web: AsyncWebClient, clock: Clock) -> None:
    slack.faults.add(Fault("delay", "chat.postMessage", seconds=60))
    posting = asyncio.create_task(web.chat_postMessage(channel=HERE, text="x"))
    await asyncio.sleep(0.05)
    assert not posting.done() and await said(slack) == []
    clock.advance(60)
    await posting
    assert await said(slack) == ["x"]


@pytest.mark.parametrize("status", [503, 0])
async def test_an_outage_takes_everything_down_and_ends(
    slack: Workspace, web: AsyncWebClient, clock: Clock, status: int
) -> None:
    app, heard = bolt(slack), asyncio.Queue[Body]()

    @app.event("message")
    async def told(body: Body) -> None:
        await heard.put(body)

    @app.command("/rollback")
    async def rollback(ack: Any) -> None:
        await ack("here")

    async with running(slack, app):
        slack.faults.add(Fault("outage", seconds=600, status=status))
        await slack.driver.wait_for(lambda: len(slack.sockets) == 0)
        with pytest.raises((SlackApiError, aiohttp.ClientError)):
            await web.chat_postMessage(channel=HERE, text="x")
        assert (await slack.driver.slash("ana", "inc-4211", "/rollback")).error == "dispatch_failed"
        await slack.driver.say("ana", "inc-4211", "said meanwhile")
        clock.advance(600)
        await slack.driver.wait_for(lambda: len(slack.sockets) == 1)
        assert (await slack.driver.slash("ana", "inc-4211", "/rollback")).text == "here"
        await web.chat_postMessage(channel=HERE, text="after")
        for _ in range(3):
            clock.advance(301)
            await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(heard.get(), 2))["event"]["text"] == "said meanwhile"


async def test_uploads_and_response_urls_fail_like_the_rest(slack: Workspace, web: AsyncWebClient) -> None:
    ticket = await web.files_getUploadURLExternal(filename="x", length=1)
    slack.faults.add(Fault("refuse", "upload"))
    slack.faults.add(Fault("refuse", "response_url"))
    async with aiohttp.ClientSession() as session:
        for url in (ticket["upload_url"], f"{slack.url}/actions/R1"):
            with pytest.raises(aiohttp.ClientError):
                await session.post(url, data=b"x")
        assert (await session.post(ticket["upload_url"], data=b"x")).status == 200


# -- deliveries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_click_delivered_twice_is_the_same_click(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), asyncio.Queue[Body]()

    @app.action("go")
    async def go(ack: Any, body: Body) -> None:
        await ack()
        await heard.put(body)

    async with running(slack, app, mode):
        own = await client(slack).chat_postMessage(channel=HERE, text="x", blocks=[actions(button("Go", "go"))])
        slack.faults.add(Fault("duplicate", "interactive"))
        await slack.driver.click("ana", own["ts"], "Go", patience=0)
        first, second = await heard.get(), await heard.get()
        await slack.driver.idle()
    assert first["actions"] == second["actions"] and first["trigger_id"] == second["trigger_id"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_lost_acknowledgement_looks_failed_though_the_app_did_it(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []

    @app.command("/rollback")
    async def rollback(ack: Any, body: Body) -> None:
        heard.append(body["text"])
        await ack("done")

    async with running(slack, app, mode):
        slack.faults.add(Fault("lose_ack", "slash_commands"))
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback", "shop")
    assert (seen.error, seen.text, heard) == ("operation_timeout", "", ["shop"])


@pytest.mark.parametrize("mode", MODES)
async def test_an_event_whose_acknowledgement_was_lost_comes_again(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), asyncio.Queue[str]()

    @app.event("message")
    async def told(body: Body) -> None:
        await heard.put(body["event_id"])

    async with running(slack, app, mode):
        slack.faults.add(Fault("lose_ack", "events_api"))
        await slack.driver.say("ana", "inc-4211", "hello")
        assert await heard.get() == await heard.get()
        await slack.driver.idle()
    assert [e["retry_attempt"] for e in slack.delivered] == [0, 1]


async def test_a_late_click_arrives_with_an_old_trigger(slack: Workspace, clock: Clock) -> None:
    app, heard = bolt(slack), asyncio.Queue[str]()

    @app.command("/rollback")
    async def rollback(ack: Any, body: Body) -> None:
        await ack()
        await heard.put(body["trigger_id"])

    async with running(slack, app):
        slack.faults.add(Fault("late", "slash_commands", seconds=10))
        typing = asyncio.create_task(slack.driver.slash("ana", "inc-4211", "/rollback", patience=0))
        await asyncio.sleep(0.02)
        assert heard.empty()
        clock.advance(10)
        assert (await typing).ok
        with pytest.raises(SlackApiError, match="expired_trigger_id"):
            view = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": []}
            await client(slack).views_open(trigger_id=await heard.get(), view=view)


async def test_a_socket_dropped_in_the_middle_is_made_anew(slack: Workspace, clock: Clock) -> None:
    app = bolt(slack)

    @app.command("/rollback")
    async def rollback(ack: Any) -> None:
        await ack("done")

    async with running(slack, app):
        slack.faults.add(Fault("drop_socket", "slash_commands"))
        typing = asyncio.create_task(slack.driver.slash("ana", "inc-4211", "/rollback"))
        await slack.driver.wait_for(lambda: len(slack.calls("apps.connections.open")) == 2 and len(slack.sockets) == 1)
        clock.advance(3)
        await typing  # acknowledged on the new connection or never: both happen at Slack
        assert (await slack.driver.slash("ana", "inc-4211", "/rollback")).text == "done"


# -- asking for them -------------------------------------------------------------------------------------------------


async def test_faults_are_asked_for_listed_and_cleared_over_http(slack: Workspace, web: AsyncWebClient) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{slack.url}/_faults"
        for nonsense in ({"kind": "earthquake"}, {"kind": "error", "often": 1}, {"kind": "error", "next": -1}, {}):
            assert (await session.post(url, json=nonsense)).status == 422
        assert (await session.post(url, json={"kind": "error", "hits": "auth.*", "next": 2})).status == 200
        with pytest.raises(SlackApiError, match="internal_error"):
            await web.auth_test()
        pending = (await (await session.get(url)).json())["faults"]
        assert [(f["kind"], f["left"]) for f in pending] == [("error", 1)]
        assert (await (await session.delete(url)).json())["faults"] == []
    await web.auth_test()
