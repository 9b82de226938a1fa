"""Socket Mode: tickets, hello, envelopes and their acknowledgements, refreshes.

https://docs.slack.dev/apis/events-api/using-socket-mode

Invariants: a ticket opens one connection, within `TICKET` seconds; at most ten connections; an envelope goes to exactly
one of them, in turn; an acknowledgement counts from whichever connection it comes, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from bot.playground.workspace.app import App
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.delivery import Ack, Envelope, Unreachable
from bot.playground.workspace.wire import Json

TICKET = 30.0
"""Seconds in which the address from apps.connections.open must be used."""
MOST = 10
"""Connections of one app."""
LIFETIME = 18_060.0
"""Seconds after which Slack asks for a new connection."""
WARNING = 10.0
"""Seconds between the warning and the end of a connection."""


@dataclass(eq=False)
class _Connection:
    socket: web.WebSocketResponse
    request: web.Request
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Sockets:
    """The connections of one app."""

    timeout_reason = "timeout"

    def __init__(self, app: App, clock: Clock) -> None:
        self._app, self._clock = app, clock
        self._tickets: dict[str, float] = {}
        self._open: list[_Connection] = []
        self._turn = 0
        self._waiting: dict[str, asyncio.Future[Ack]] = {}
        self.connected = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self.sent: list[Json] = []

    def __len__(self) -> int:
        return len(self._open)

    def ticket(self) -> str:
        """What opens one connection."""
        ticket = uuid.uuid4().hex
        self._tickets[ticket] = self._clock.time()
        return ticket

    async def send(self, envelope: Envelope) -> Ack:
        """Deliver to the next connection in turn. Unreachable where there is none."""
        if not self._open:
            raise Unreachable
        self._turn += 1
        connection = self._open[self._turn % len(self._open)]
        body: Json = {
            "envelope_id": str(uuid.uuid4()),
            "payload": envelope.payload,
            "type": envelope.kind,
            "accepts_response_payload": envelope.answerable,
        }
        if envelope.kind == "events_api":
            body |= {"retry_attempt": envelope.attempt, "retry_reason": envelope.reason}
        answer: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting[body["envelope_id"]] = answer
        self.sent.append(body)
        try:
            await connection.socket.send_str(json.dumps(body))
            return await answer
        except ConnectionError as error:
            raise Unreachable from error
        finally:
            del self._waiting[body["envelope_id"]]

    def drop(self) -> None:
        """Break every connection off, without a word."""
        for connection in self._open:
            if connection.request.transport is not None:
                connection.request.transport.abort()

    async def refresh(self, *, warn: bool = True) -> None:
        """Ask for new connections, as Slack does every few hours."""
        for connection in list(self._open):
            await self._refresh(connection, warn=warn)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from handshake to end."""
        made = self._tickets.pop(request.query.get("ticket", ""), None)
        if made is None or self._clock.time() - made > TICKET:
            return web.json_response({"ok": False, "error": "invalid_ticket"}, status=401)
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        if len(self._open) >= MOST:
            await _say(
                socket, {"type": "disconnect", "reason": "too_many_websockets", "debug_info": {"host": "playground"}}
            )
            await socket.close()
            return socket
        connection = _Connection(socket, request)
        self._open.append(connection)
        ageing = asyncio.create_task(self._age(connection))
        try:
            await _say(socket, self._hello())
            self.connected.set()
            self.on_change()
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledged(message.data)
        finally:
            ageing.cancel()
            self._open.remove(connection)
            if not self._open:
                self.connected.clear()
            self.on_change()
        return socket

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            with contextlib.suppress(ConnectionError):
                await connection.socket.close()

    def _hello(self) -> Json:
        debug = {"host": "playground", "build_number": 1, "approximate_connection_time": int(LIFETIME)}
        info = {"app_id": self._app.app_id}
        return {"type": "hello", "num_connections": len(self._open), "debug_info": debug, "connection_info": info}

    async def _age(self, connection: _Connection) -> None:
        await self._clock.sleep(LIFETIME - WARNING)
        await self._refresh(connection, warn=True)

    async def _refresh(self, connection: _Connection, *, warn: bool) -> None:
        if warn:
            await _say(connection.socket, _disconnect("warning"))
            await self._clock.sleep(WARNING)
        await _say(connection.socket, _disconnect("refresh_requested"))
        with contextlib.suppress(ConnectionError):
            await connection.socket.close()

    def _acknowledged(self, text: str) -> None:
        """What an app says is an acknowledgement, or nothing that Slack understands."""
        try:
            body = json.loads(text)
        except ValueError:
            return
        envelope_id = body.get("envelope_id") if isinstance(body, dict) else None
        answer = self._waiting.get(str(envelope_id))
        if answer is not None and not answer.done():
            answer.set_result(Ack(body=body.get("payload")))


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "playground"}}


async def _say(socket: web.WebSocketResponse, body: Json) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_str(json.dumps(body))
