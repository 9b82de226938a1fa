"""Socket Mode, watched: lost, refused, refreshed, away at the start, and closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import Clock, Fault, Workspace
from bot.slack.hear.socket import Socket

HERE = "inc-4211"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack.hear.socket.FIRST", 0.02)
    monkeypatch.setattr("bot.slack.hear.socket.LOOK", 0.02)


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(clock=Clock(), rates=False) as workspace:
        yield workspace


async def allowed(team_id: str | None) -> AuthorizeResult:
    return AuthorizeResult(enterprise_id=None, team_id=team_id)


def app(slack: Workspace, slow: float = 0.0) -> AsyncApp:
    """Answers `pong`, after a while (seconds)."""
    client = AsyncWebClient(base_url=slack.api_url)
    found = AsyncApp(client=client, signing_secret="x", authorize=allowed, process_before_response=True)

    @found.command("/rollback")
    async def pong(ack: Any) -> None:
        await asyncio.sleep(slow)
        await ack("pong")

    return found


@asynccontextmanager
async def connected(slack: Workspace, *, slow: float = 0.0, wait: bool = True) -> AsyncIterator[Socket]:
    socket = Socket(app(slack, slow), slack.app.app_token, slack.api_url, ping=0.2)
    running = asyncio.create_task(socket.run())
    try:
        if wait:
            await slack.driver.wait_for(lambda: len(slack.sockets) > 0)
        yield socket
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await socket.close()


async def answered(slack: Workspace) -> bool:
    return (await slack.driver.slash("ana", HERE, "/rollback")).text == "pong"


async def test_what_is_typed_arrives(slack: Workspace) -> None:
    async with connected(slack) as socket:
        assert await answered(slack) and socket.state == ""
    await slack.driver.wait_for(lambda: len(slack.sockets) == 0)


async def test_a_connection_that_is_lost_comes_back(slack: Workspace) -> None:
    async with connected(slack) as socket:
        for _ in range(3):
            slack.sockets.drop()
            await slack.driver.wait_for(lambda: len(slack.sockets) == 0)
            await slack.driver.wait_for(lambda: len(slack.sockets) == 1)
            assert await answered(slack)
        assert socket.state == ""


async def test_a_handshake_that_fails_is_tried_with_a_new_ticket(slack: Workspace) -> None:
    slack.faults.add(Fault("error", hits="link"))
    async with connected(slack):
        assert await answered(slack)
    assert len(slack.calls("apps.connections.open")) == 2


async def test_a_refresh_replaces_the_connection_without_a_gap(slack: Workspace) -> None:
    async with connected(slack):
        refreshing = asyncio.create_task(slack.sockets.refresh())
        for _ in range(20):
            assert await answered(slack)
        slack.clock.advance(11)
        await refreshing
        assert await answered(slack) and len(slack.sockets) == 1


async def test_a_slack_that_is_away_at_the_start_is_waited_for(slack: Workspace) -> None:
    slack.faults.add(Fault("outage"))
    async with connected(slack, wait=False) as socket:
        async with asyncio.timeout(60):
            while "503" not in socket.state:  # noqa: ASYNC110 - nothing tells when it changes
                await asyncio.sleep(0.01)
        slack.faults.clear()
        await slack.driver.wait_for(lambda: len(slack.sockets) == 1)
        assert await answered(slack)


async def test_what_came_before_the_end_is_still_acknowledged(slack: Workspace) -> None:
    async with connected(slack, slow=0.5):
        asked = asyncio.create_task(slack.driver.slash("ana", HERE, "/rollback"))
        await slack.driver.wait_for(lambda: slack.delivered)
        await asyncio.sleep(0.1)
    assert (await asked).text == "pong"


async def test_a_wrong_token_is_said_and_hurts_nobody(slack: Workspace) -> None:
    socket = Socket(app(slack), "xapp-wrong", slack.api_url)
    running = asyncio.create_task(socket.run())
    await slack.driver.wait_for(lambda: len(slack.calls("apps.connections.open")) >= 2)
    assert "invalid_auth" in socket.state
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await socket.close()
