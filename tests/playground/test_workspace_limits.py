"""What runs out: acknowledgements, triggers, response URLs, rates, tickets and sockets. On a clock that tests move."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Clock, Workspace
from bot.playground.workspace.rates import CHANNEL, TIER_2, TIER_3
from tests.playground.workspace_bot import HERE, MODES, Mode, actions, bolt, button, client, modal, running, section

Body = dict[str, Any]


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen=True)


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[Workspace]:
    events = frozenset({"message.channels", "user_change"})
    async with Workspace(app=App(events=events), clock=clock) as workspace:
        yield workspace


async def settle() -> None:
    """Let everything that is ready on this loop run; sockets included."""
    for _ in range(20):
        await asyncio.sleep(0.002)


async def answered(call: Any) -> str:
    """Slack's code for a refusal, or nothing."""
    try:
        await call
    except SlackApiError as error:
        return str(error.response["error"])
    return ""


# -- three seconds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_not_acknowledged_in_three_seconds_failed(slack: Workspace, clock: Clock, mode: Mode) -> None:
    app, called, finish = bolt(slack), asyncio.Event(), asyncio.Event()

    @app.command("/rollback")
    async def slow(ack: Any) -> None:
        called.set()
        await finish.wait()
        await ack("done")

    async with running(slack, app, mode):
        typing = asyncio.create_task(slack.driver.slash("ana", "inc-4211", "/rollback"))
        await called.wait()
        clock.advance(2.9)
        await settle()
        assert not typing.done()
        clock.advance(0.1)
        assert (await typing).error == "operation_timeout"
        finish.set()
        await settle()
    assert len(slack.delivered) == 1 and slack.driver.whispers("ana") == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_click_or_a_modal_without_an_acknowledgement_failed_and_is_not_sent_again(
    slack: Workspace, clock: Clock, mode: Mode
) -> None:
    app, called = bolt(slack), asyncio.Event()

    @app.command("/rollback")
    async def opens(ack: Any, body: Body, client: Any) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal(actions(button("Go", "go"))))

    @app.action("go")
    @app.view("m")
    async def deaf() -> None:
        called.set()

    async with running(slack, app, mode):
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback")
        assert seen.modal is not None
        for act in (slack.driver.click("ana", seen.modal, "Go"), slack.driver.submit("ana")):
            called.clear()
            pressing = asyncio.create_task(act)
            await called.wait()
            clock.advance(3)
            outcome = await pressing
            assert outcome.error == "operation_timeout"
            assert outcome.modal is not None
        clock.advance(600)
        await settle()
    assert len(slack.delivered) == 3


@pytest.mark.parametrize("mode", MODES)
async def test_an_event_is_sent_again_at_once_after_a_minute_and_after_five(
    slack: Workspace, clock: Clock, mode: Mode
) -> None:
    app, heard, deaf = bolt(slack), asyncio.Queue[tuple[str, str]](), [3]

    @app.middleware
    async def listen(req: Any, next: Any, body: Body) -> Any:
        retry = req.headers.get("x-slack-retry-num", ["0"])[0]
        await heard.put((body["event_id"], retry))
        deaf[0] -= 1
        if deaf[0] >= 0:
            await asyncio.Event().wait()
        return await next()

    @app.event("message")
    async def told() -> None:
        pass

    async with running(slack, app, mode):
        await slack.driver.say("ana", "inc-4211", "hello")
        first = await heard.get()
        clock.advance(3)
        second = await heard.get()
        clock.advance(3)
        await settle()
        clock.advance(59)
        await settle()
        assert heard.empty()
        clock.advance(1)
        third = await heard.get()
        clock.advance(3)
        await settle()
        clock.advance(300)
        fourth = await heard.get()
        await slack.driver.idle()
    assert {e for e, _ in (first, second, third, fourth)} == {first[0]}
    assert [n for _, n in (first, second, third, fourth)] == ["0", "1", "2", "3"]


# -- triggers and response URLs --------------------------------------------------------------------------------------


async def test_a_trigger_is_too_old_after_three_seconds(slack: Workspace, clock: Clock) -> None:
    app, triggers = bolt(slack), []

    @app.command("/rollback")
    async def keep(ack: Any, body: Body) -> None:
        await ack("kept")
        triggers.append(body["trigger_id"])

    async with running(slack, app):
        for _ in range(2):
            await slack.driver.slash("ana", "inc-4211", "/rollback")
    web = client(slack)
    clock.advance(3)
    assert await answered(web.views_open(trigger_id=triggers[0], view=modal(section("x")))) == ""
    clock.advance(0.1)
    assert await answered(web.views_open(trigger_id=triggers[1], view=modal(section("x")))) == "expired_trigger_id"
    assert await answered(web.views_open(trigger_id=triggers[0], view=modal(section("x")))) == "exchanged_trigger_id"


async def urls(slack: Workspace, number: int) -> list[str]:
    """Response URLs of commands."""
    app, found = bolt(slack), []

    @app.command("/rollback")
    async def keep(ack: Any, body: Body) -> None:
        found.append(body["response_url"])
        await ack("kept")

    async with running(slack, app):
        for _ in range(number):
            await slack.driver.slash("ana", "inc-4211", "/rollback")
    return found


async def test_a_response_url_serves_five_times_within_half_an_hour(slack: Workspace, clock: Clock) -> None:
    first, second = await urls(slack, 2)
    async with aiohttp.ClientSession() as session:

        async def respond(url: str, **body: Any) -> tuple[int, str]:
            async with session.post(url, json=body) as answer:
                return answer.status, await answer.text()

        assert [await respond(first, text=str(i)) for i in range(5)] == [(200, "ok")] * 5
        status, text = await respond(first, text="six")
        assert (status, json.loads(text)["error"]) == (404, "used_url")
        assert await respond(second, text="x", blocks=[section("x" * 3001)]) == (400, "invalid_blocks")
        assert await respond(second) == (400, "no_text")
        clock.advance(30 * 60)
        assert (await respond(second, text="just"))[0] == 200
        clock.advance(1)
        status, text = await respond(second, text="late")
        assert (status, json.loads(text)["error"]) == (404, "expired_url")
        assert (await respond(f"{slack.url}/actions/R1", text="x"))[0] == 404
    assert [w.text for w in slack.driver.whispers("ana")] == ["kept", "kept", *"01234", "just"]


# -- rates -----------------------------------------------------------------------------------------------------------


async def test_a_method_is_refused_above_its_tier_and_allowed_again_when_told(slack: Workspace, clock: Clock) -> None:
    web = client(slack)
    for _ in range(TIER_2.burst):
        await web.usergroups_list()
    with pytest.raises(SlackApiError) as caught:
        await web.usergroups_list()
    response = caught.value.response
    assert (response.status_code, response["error"], response.headers["Retry-After"]) == (429, "ratelimited", "3")
    await web.users_list()  # another method has a bucket of its own
    clock.advance(3)
    await web.usergroups_list()


async def test_who_keeps_to_the_published_rate_is_never_refused(slack: Workspace, clock: Clock) -> None:
    web = client(slack)
    own = await web.chat_postMessage(channel=HERE, text="x")
    for i in range(8 + 2 * int(TIER_3.per_minute)):
        await web.chat_update(channel=HERE, ts=own["ts"], text=str(i))
        if i >= 8:
            clock.advance(60 / TIER_3.per_minute)


async def test_a_channel_takes_one_post_a_second_after_a_short_burst(slack: Workspace, clock: Clock) -> None:
    web = client(slack)
    codes = [await answered(web.chat_postMessage(channel=HERE, text="x")) for _ in range(CHANNEL.burst + 1)]
    assert codes == [""] * CHANNEL.burst + ["ratelimited"]
    assert await answered(web.chat_postMessage(channel="status", text="elsewhere")) == ""
    clock.advance(1)
    assert await answered(web.chat_postMessage(channel=HERE, text="x")) == ""
    assert len(slack.driver.read("inc-4211")) == CHANNEL.burst + 1


async def test_the_sdks_own_retry_goes_through_once_the_time_has_come(slack: Workspace, clock: Clock) -> None:
    handlers: list[AsyncRetryHandler] = [AsyncRateLimitErrorRetryHandler(max_retry_count=3)]
    web = AsyncWebClient(slack.app.bot_token, base_url=slack.api_url, retry_handlers=handlers)
    for _ in range(CHANNEL.burst):
        await web.chat_postMessage(channel=HERE, text="x")
    posting = asyncio.create_task(web.chat_postMessage(channel=HERE, text="last"))
    await slack.driver.wait_for(lambda: any(c.error == "ratelimited" for c in slack.calls("chat.*")))
    clock.advance(1)
    assert (await posting)["ok"]


# -- Socket Mode -----------------------------------------------------------------------------------------------------


async def link(slack: Workspace, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """One connection, made without the SDK."""
    told = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app.app_token)
    return await session.ws_connect(told["url"])


async def test_a_ticket_opens_one_connection_and_grows_old(slack: Workspace, clock: Clock) -> None:
    web = AsyncWebClient(base_url=slack.api_url)
    async with aiohttp.ClientSession() as session:
        url = (await web.apps_connections_open(app_token=slack.app.app_token))["url"]
        socket = await session.ws_connect(url)
        hello = await socket.receive_json()
        assert hello["type"] == "hello" and hello["num_connections"] == 1
        assert hello["connection_info"] == {"app_id": slack.app.app_id}
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)
        url = (await web.apps_connections_open(app_token=slack.app.app_token))["url"]
        clock.advance(31)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)
        await socket.close()


async def test_an_envelope_goes_to_one_of_at_most_ten_connections(slack: Workspace, clock: Clock) -> None:
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        sockets = []
        for _ in range(10):
            sockets.append(await link(slack, session))
            stack.push_async_callback(sockets[-1].close)
            assert (await sockets[-1].receive_json())["type"] == "hello"
        eleventh = await link(slack, session)
        assert (await eleventh.receive_json())["reason"] == "too_many_websockets"
        for _ in range(20):
            slack.driver.change_user("fay", real_name="Fay")
        counts = []
        for socket in sockets:
            envelopes = [await socket.receive_json(), await socket.receive_json()]
            counts.append(len(envelopes))
            for envelope in envelopes:
                assert (envelope["type"], envelope["accepts_response_payload"]) == ("events_api", False)
                await socket.send_json({"envelope_id": envelope["envelope_id"]})
        await slack.driver.idle()
    assert counts == [2] * 10 and len({e["envelope_id"] for e in slack.delivered}) == 20


async def test_an_old_connection_is_warned_and_refreshed_and_the_sdk_comes_back(slack: Workspace, clock: Clock) -> None:
    app = bolt(slack)

    @app.command("/rollback")
    async def rollback(ack: Any) -> None:
        await ack("still here")

    async with running(slack, app):
        clock.advance(18_050)
        await slack.driver.wait_for(lambda: len(slack.calls("apps.connections.open")) == 2 and len(slack.sockets) == 1)
        assert (await slack.driver.slash("ana", "inc-4211", "/rollback")).text == "still here"


async def test_what_an_app_says_besides_acknowledgements_is_ignored(slack: Workspace) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await link(slack, session)
        await socket.receive_json()
        for text in ("no json", "[]", '{"envelope_id": "unknown"}', "{}"):
            await socket.send_str(text)
        slack.driver.change_user("fay", real_name="Fay")
        envelope = await socket.receive_json()
        await socket.send_json({"envelope_id": envelope["envelope_id"]})
        await slack.driver.idle()
        await socket.close()


# -- signed HTTP -----------------------------------------------------------------------------------------------------


async def test_the_app_refuses_what_slack_did_not_sign(slack: Workspace) -> None:
    app = bolt(slack)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with running(slack, app, "http"):
        for secret, skew in (("other", 0.0), (slack.app.signing_secret, -301.0)):
            status, _, _ = await slack.signed.post("command=%2Frollback", form, secret=secret, skew=skew)
            assert status == 401


async def test_the_app_can_be_sent_what_no_person_can_cause(slack: Workspace) -> None:
    app = bolt(slack)
    async with running(slack, app, "http"):
        assert (await slack.deliver("interactive", {"type": "block_actions", "actions": []})).error
        assert (await slack.deliver("slash_commands", {"command": "/other"})).error == "http_client_error"


async def test_a_request_url_that_does_not_know_slack_is_not_used(slack: Workspace) -> None:
    async with Workspace() as other:
        with pytest.raises(ValueError, match="challenge"):
            await slack.use_http(f"{other.url}/_faults")


# -- the clock -------------------------------------------------------------------------------------------------------


async def test_a_frozen_clock_stands_until_it_is_moved(clock: Clock) -> None:
    start = clock.time()
    sleeping = asyncio.create_task(clock.sleep(10))
    await settle()
    assert clock.time() == start and not sleeping.done()
    clock.advance(9)
    clock.advance(1)
    await asyncio.wait_for(sleeping, 1)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_a_running_clock_can_be_moved_on() -> None:
    clock = Clock()
    sleeping = asyncio.create_task(clock.sleep(3600))
    await settle()
    clock.advance(3600)
    await asyncio.wait_for(sleeping, 1)
    await asyncio.wait_for(clock.sleep(0.01), 1)
