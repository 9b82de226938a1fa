"""The routes of the page, and who is let in: nobody from another machine, no page of another site, nobody without the
token that stands in the address.

    GET  /<token>/                  the page        GET  /<token>/static/<name>      its scripts and style
    GET  /<token>/stream?as=ana     what changes    GET  /<token>/files/<id>         what was uploaded
    POST /<token>/do/<verb>         an act          GET  /<token>/traffic?after=n    what went between Slack and the app
    POST /<token>/world/<switch>    {"on": true}

Invariants: listens on loopback; a request whose Host is another name is refused (a name that was bound to 127.0.0.1
afterwards), and an act from another origin too; nothing is loaded from outside; what was uploaded is never run.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import mimetypes
import secrets
from importlib import resources
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.playground.page import hands, stream
from bot.playground.page.traffic import Traffic
from bot.playground.page.world import World
from bot.playground.workspace import Workspace
from bot.playground.workspace.wire import Json

_STATIC = resources.files("bot.playground.page").joinpath("static")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PICTURES = ("image/png", "image/jpeg", "image/gif")


class Site:
    """The page of one workspace. world: what can be made to happen around it, if anything; port: 0 takes any free
    one."""

    def __init__(self, workspace: Workspace, world: World | None = None, port: int = 0) -> None:
        self._workspace, self._world, self._port = workspace, world, port
        self._token = secrets.token_urlsafe(18)
        self._traffic = Traffic(workspace)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address to open, once started."""
        return f"http://127.0.0.1:{self._port}/{self._token}/"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/{token}/", self._index)
        app.router.add_get("/{token}/static/{name}", self._static)
        app.router.add_get("/{token}/stream", self._stream)
        app.router.add_get("/{token}/files/{id}", self._file)
        app.router.add_get("/{token}/traffic", self._seen)
        app.router.add_post("/{token}/do/{verb}", self._do)
        app.router.add_post("/{token}/world/{switch}", self._turn)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # -- who is let in -------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host not in (f"127.0.0.1:{self._port}", f"localhost:{self._port}"):
            return _refused(421, f"This is http://127.0.0.1:{self._port}, and not {request.host}.")
        if not hmac.compare_digest(request.path.split("/")[1].encode(), self._token.encode()):
            return _refused(403, "Open the address that the playground printed: the token in it lets you in.")
        if request.method == "POST" and request.headers.get("Origin") != f"http://{request.host}":
            return _refused(403, "This came from another page.")
        return await handler(request)

    # -- the page ------------------------------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.Response:
        return self._part("index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._part(request.match_info["name"])

    def _part(self, name: str) -> web.Response:
        file = _STATIC.joinpath(name)
        if "/" in name or not file.is_file():
            raise web.HTTPNotFound(headers=_HEADERS)
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "text/plain"
        return web.Response(body=file.read_bytes(), content_type=kind, charset="utf-8", headers=_HEADERS)

    async def _file(self, request: web.Request) -> web.Response:
        found = self._workspace.state.files.get(request.match_info["id"])
        if found is None or found.data is None:
            raise web.HTTPNotFound(headers=_HEADERS)
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        headers = {**_HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox"}
        if kind not in _PICTURES:
            safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in found.name)
            headers["Content-Disposition"] = f'attachment; filename="{safe}"'
        return web.Response(body=found.data, content_type=kind, headers=headers)

    # -- what it is told, and does -------------------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        try:
            user = self._workspace.state.user(request.query.get("as", ""))
        except KeyError as error:
            return _refused(404, str(error.args[0]))
        answer = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for event in stream.events(self._workspace.state, user, self._around):
                await answer.write(stream.written(event))
        return answer

    async def _seen(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        return _json(self._traffic.after(int(after) if after.isdecimal() else 0))

    async def _do(self, request: web.Request) -> web.Response:
        body = await _body(request)
        try:
            user = str(body.pop("as", ""))
            return _json(await hands.do(self._workspace.driver, user, request.match_info["verb"], body))
        except hands.Refused as error:
            return _json({"ok": False, "error": str(error), "errors": {}}, 422)

    async def _turn(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if self._world is None:
            return _json({"ok": False, "error": "There is no world around this workspace."}, 404)
        try:
            await self._world.turn(request.match_info["switch"], bool(body.get("on")))
        except KeyError:
            return _json({"ok": False, "error": "There is no such switch."}, 404)
        except ValueError as error:
            return _json({"ok": False, "error": str(error)}, 409)
        return _json({"ok": True})

    async def _around(self) -> Json:
        return await self._world.json() if self._world is not None else {}


async def _body(request: web.Request) -> dict[str, object]:
    """A JSON object. HTTPBadRequest."""
    try:
        found = await request.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="A JSON object is expected.", headers=_HEADERS)
    return found


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(content), status=status, content_type="application/json", headers=_HEADERS)


def _refused(status: int, why: str) -> web.Response:
    return web.Response(text=f"{why}\n", status=status, headers=_HEADERS)
