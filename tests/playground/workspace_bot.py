"""A small slack-bolt app that tests put into the workspace, over real sockets, in either mode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import Workspace
from tests.fixtures.served import served

Mode = Literal["socket", "http"]
MODES: tuple[Mode, ...] = ("socket", "http")
HERE = "C0INC04211"


def client(slack: Workspace, token: str | None = None) -> AsyncWebClient:
    """A Web API client, the bot's unless a token is given."""
    return AsyncWebClient(token or slack.app.bot_token, base_url=slack.api_url)


def bolt(slack: Workspace) -> AsyncApp:
    """An app that knows nothing yet."""
    return AsyncApp(client=client(slack), signing_secret=slack.app.signing_secret)


@asynccontextmanager
async def running(slack: Workspace, app: AsyncApp, mode: Mode = "socket") -> AsyncIterator[None]:
    """The app, connected."""
    connect = _socket if mode == "socket" else _http
    async with connect(slack, app):
        yield


@asynccontextmanager
async def _socket(slack: Workspace, app: AsyncApp) -> AsyncIterator[None]:
    web_client = AsyncWebClient(base_url=slack.api_url)
    handler = AsyncSocketModeHandler(app, slack.app.app_token, web_client=web_client, ping_interval=0.1)
    await handler.connect_async()  # type: ignore[no-untyped-call]  # slack-bolt gives it no types
    await slack.sockets.connected.wait()
    try:
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _http(slack: Workspace, app: AsyncApp) -> AsyncIterator[None]:
    async def events(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

    server = web.Application()
    server.router.add_post("/slack/events", events)
    async with served(server) as at:
        await slack.use_http(f"http://{at}/slack/events")
        yield


def plain(text: str) -> dict[str, Any]:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def button(label: str, action_id: str, **more: Any) -> dict[str, Any]:
    """A button."""
    return {"type": "button", "text": plain(label), "action_id": action_id, "value": label.lower(), **more}


def actions(*elements: dict[str, Any], block_id: str = "actions") -> dict[str, Any]:
    """An actions block."""
    return {"type": "actions", "block_id": block_id, "elements": list(elements)}


def section(text: str, block_id: str = "text") -> dict[str, Any]:
    """A section."""
    return {"type": "section", "block_id": block_id, "text": {"type": "mrkdwn", "text": text}}


def modal(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A modal with a submit button."""
    return {
        "type": "modal",
        "callback_id": "m",
        "title": plain("A modal"),
        "submit": plain("Go"),
        "blocks": list(blocks),
    } | more


def asks(label: str, action_id: str, **element: Any) -> dict[str, Any]:
    """An input block, for text unless the element says otherwise."""
    body = {"type": "plain_text_input", "action_id": action_id, **element}
    return {"type": "input", "block_id": f"{action_id}_block", "label": plain(label), "element": body}
