"""Socket Mode, watched: connected, connected again, and closed with what is under way answered.

Invariants:
- a connection that is gone, or that Slack wants to end, is replaced by a new client with a ticket of its own (one of
  slack_sdk 3.47 tries a used ticket for ever after a failed handshake); where Slack warns, the new one comes first,
  and the old one listens until Slack has closed it: what is sent meanwhile may come by either;
- tries back off from `FIRST` to `SLOWEST` seconds, with jitter; nothing here ever ends the bot;
- `state` says what is wrong, empty while connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Callable

from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.workspace.channels import words
from bot.steady.outage import Outage

log = logging.getLogger(__name__)
_sdk = logging.getLogger("bot.slack.sdk")
_sdk.setLevel(logging.CRITICAL)  # what it would say, with traces, is said here in a line

FIRST, SLOWEST = 0.5, 30.0
CONNECT = 10.0
"""Seconds that making a connection may take."""
LOOK = 0.2
"""Seconds between two looks at whether it stands."""
LINGER = 12.0
"""Seconds that a replaced connection still listens: Slack goes on using it until it closes it, ten seconds or so."""
DRAIN = 3.0
"""Seconds in which what came by a connection is answered before it is closed: Slack waits no longer."""


class _Client(SocketModeClient):
    """One connection, for one ticket: what would make it connect again ends it instead."""

    def __init__(self, app_token: str, web_client: AsyncWebClient, ping: float) -> None:
        super().__init__(
            app_token, logger=_sdk, web_client=web_client, auto_reconnect_enabled=False, ping_interval=ping
        )
        self.unwanted, self.leave = asyncio.Event(), asyncio.Event()
        self.answering: set[asyncio.Task[None]] = set()

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Slack warns that it will close this one."""
        self.unwanted.set()

    async def open(self) -> None:
        """Connects, once (`connect` would try the same ticket for ever). Raises what went wrong."""
        async with asyncio.timeout(CONNECT):
            ticket = await self.web_client.apps_connections_open(app_token=self.app_token)
            self.current_session = await self.aiohttp_client_session.ws_connect(
                str(ticket["url"]), autoping=False, heartbeat=self.ping_interval, proxy=self.proxy,
                ssl=self.web_client.ssl if self.web_client.ssl is not None else True,
            )  # fmt: skip
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())
        self.message_receiver = asyncio.ensure_future(self.receive_messages())

    async def retire(self) -> None:
        """Listens until Slack has closed it, or it is to leave; then ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self.is_connected() and not self.leave.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK):
                            await self.leave.wait()
        await self.end()

    async def end(self) -> None:
        """Answers what is under way, then closes."""
        if self.answering:
            await asyncio.wait(self.answering, timeout=DRAIN)
        with contextlib.suppress(Exception):
            await self.close()  # type: ignore[no-untyped-call]  # slack-sdk gives it no types


class Socket:
    """Feeds a Bolt app by Socket Mode. url: of the Web API; ping: seconds between two pings."""

    def __init__(
        self, app: AsyncApp, app_token: str, url: str, *, ping: float = 5.0, trust: ssl.SSLContext | None = None
    ) -> None:
        self.app, self.state = app, "not connected yet"
        self._outage = Outage("Slack's Socket Mode", log)
        self._ping = ping
        self._new: Callable[[], _Client] = lambda: _Client(
            app_token, AsyncWebClient(base_url=url, retry_handlers=[], ssl=trust), ping
        )
        self._client: _Client | None = None
        self._ending: dict[asyncio.Task[None], _Client] = {}

    async def run(self) -> None:
        """Keeps a connection until cancelled; `close` then ends it."""
        pause = FIRST
        while True:
            try:
                await self._replace()
                pause = FIRST
                await self._watch()
            except Exception as e:
                self._wrong(words(e))
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311
                pause = min(SLOWEST, pause * 2)

    async def close(self) -> None:
        """Ends what there is, once what came by it is acknowledged."""
        if self._client is not None:
            await self._client.end()
            self._client = None
        for old in self._ending.values():
            old.leave.set()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _replace(self) -> None:
        """A new connection; the old one, if it stands, retires when the new one does."""
        client = self._new()
        client.socket_mode_request_listeners.append(self._heard)
        try:
            await client.open()
        except BaseException:
            await client.end()
            raise
        old, self._client = self._client, client
        if self.state and not self._outage.away:
            log.info("connected to Slack by Socket Mode")
        self.state = ""
        self._outage.up()
        if old is not None:
            ending = asyncio.create_task(old.retire())
            self._ending[ending] = old
            ending.add_done_callback(self._ending.pop)

    async def _watch(self) -> None:
        """Returns when a new connection is needed."""
        client = self._client
        while client is not None and not client.unwanted.is_set():
            if not await client.is_connected():
                self._wrong("the connection was lost")
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await client.unwanted.wait()

    async def _heard(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """One envelope: Bolt hears it, and it is acknowledged by the connection that it came by."""
        if not isinstance(client, _Client):
            return
        task = asyncio.current_task()
        if task is not None:
            client.answering.add(task)
        try:
            response = await run_async_bolt_app(self.app, request)
            await send_async_response(client, request, response, 0.0)
        except Exception as e:
            log.warning("could not acknowledge %s: %s", request.type, words(e))
        finally:
            if task is not None:
                client.answering.discard(task)

    def _wrong(self, why: str) -> None:
        self.state = why
        self._outage.down(why)
