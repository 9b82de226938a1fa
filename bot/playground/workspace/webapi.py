"""The Web API over HTTP: who may call what how often, and what goes wrong on the way if it is told to.

Invariants: everything but 429 and an outage is answered with 200, as at Slack; a call is logged with what became of it;
a fault that loses an answer does so after the work was done.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from bot.playground.workspace import api
from bot.playground.workspace.core import Core
from bot.playground.workspace.faults import CALLS, Fault, Faults
from bot.playground.workspace.method import METHODS, Call, Method
from bot.playground.workspace.rates import Rates, limited
from bot.playground.workspace.sockets import Sockets
from bot.playground.workspace.wire import Json, SlackError, coerce, read_arguments

__all__ = ["Called", "WebApi", "api"]


@dataclass(frozen=True, slots=True)
class Called:
    """One call of the app. error: Slack's code, empty if it went well; ignored: arguments that Slack does not know."""

    method: str
    args: Json
    at: float
    error: str
    ignored: tuple[str, ...] = ()


class WebApi:
    """What stands behind /api/."""

    def __init__(self, core: Core, rates: Rates, faults: Faults, sockets: Sockets) -> None:
        self.log: list[Called] = []
        self._core, self._rates, self._faults, self._sockets = core, rates, faults, sockets

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        name = request.match_info["method"]
        return await self.guarded(name, request, lambda: self._answer(name, request))

    async def guarded(
        self, name: str, request: web.Request, answer: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The answer, unless a fault comes between. name: what faults call this request."""
        fault = self._faults.take(name, CALLS)
        match fault:
            case None:
                return await answer()
            case Fault(kind="outage", status=status) if status:
                return web.Response(status=status, text="Service Unavailable")
            case Fault(kind="outage" | "refuse"):
                return _dropped(request)
            case Fault(kind="ratelimited"):
                return _refusal(limited(fault.retry_after))
            case Fault(kind="error"):
                return _refusal(SlackError(fault.error))
            case Fault(kind="delay"):
                if not request.content_type.startswith("multipart/"):
                    await request.read()  # so that it is done even if nobody waits for the answer any more
                await self._core.state.clock.sleep(fault.seconds)
                return await answer()
        response = await answer()
        if fault.kind == "cut" and isinstance(response, web.Response):
            await _half(request, response)
        return _dropped(request)

    async def _answer(self, name: str, request: web.Request) -> web.StreamResponse:
        given: Json = {}
        ignored: tuple[str, ...] = ()
        error, headers = "", {}
        try:
            given = await read_arguments(request)
            method = METHODS.get(name)
            if method is None:
                raise SlackError("unknown_method", more={"req_method": name})
            headers = self._authorized(method, request, given)
            call = Call(self._core, self._rates, self._sockets, given)
            call.need(*method.scopes)
            self._rates.spend((name, method.rate))
            args, ignored = coerce(given, method.args)
            body = {"ok": True, **method.run(Call(self._core, self._rates, self._sockets, args))}
            return web.json_response(body, headers=headers)
        except SlackError as refused:
            error = refused.code
            return _refusal(refused, headers)
        finally:
            told = {k: v for k, v in given.items() if k != "token"}
            self.log.append(Called(name, told, self._core.state.clock.time(), error, ignored))
            self._core.state.wake()

    def _authorized(self, method: Method, request: web.Request, given: Json) -> dict[str, str]:
        """Headers about scopes, for a token that may be used. SlackError."""
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else str(given.get("token") or "")
        app = self._core.state.app
        if not token:
            raise SlackError("not_authed")
        if token not in (app.bot_token, app.app_token):
            raise SlackError("invalid_auth")
        if (token == app.app_token) != (method.takes == "app"):
            raise SlackError("not_allowed_token_type")
        granted = app.scopes if method.takes == "bot" else {"connections:write"}
        return {"X-OAuth-Scopes": ",".join(sorted(granted)), "X-Accepted-OAuth-Scopes": ",".join(method.scopes)}


def _refusal(error: SlackError, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(error.body(), status=error.status, headers={**(headers or {}), **error.headers})


def _dropped(request: web.Request) -> web.Response:
    """What is returned after the connection is gone."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half(request: web.Request, response: web.Response) -> None:
    """Send the first half of an answer that promises to be whole."""
    body = response.body if isinstance(response.body, bytes) else json.dumps({"ok": True}).encode()
    part = web.StreamResponse(headers={"Content-Type": response.content_type, "Content-Length": str(len(body))})
    await part.prepare(request)
    await part.write(body[: len(body) // 2])
