"""The workspace in this process: an HTTP server on loopback that an unchanged slack-bolt app connects to.

    async with Workspace() as slack:
        client = AsyncWebClient(slack.app.bot_token, base_url=slack.api_url)
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback", "shop")

    /api/<method>      the Web API                    /link/      Socket Mode
    /actions/<key>     response URLs                  /upload/v1/<ticket>, /files-pri/...   file bytes
    /_faults           GET, POST, DELETE: see faults  /_driver/<verb>   POST: see remote

Invariants: listens on loopback only; a workspace that was stopped and started again remembers everything, on the same
port.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import TracebackType

from aiohttp import web

from bot.playground.workspace import remote, responses
from bot.playground.workspace.api.files import receive
from bot.playground.workspace.app import App
from bot.playground.workspace.cast import Cast, standard_cast
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.core import Core
from bot.playground.workspace.delivery import Ack, Delivery, Kind
from bot.playground.workspace.driver import Driver
from bot.playground.workspace.events import Events
from bot.playground.workspace.faults import Fault, Faults
from bot.playground.workspace.rates import Rates
from bot.playground.workspace.signed import Signed
from bot.playground.workspace.sockets import Sockets
from bot.playground.workspace.state import State
from bot.playground.workspace.webapi import Called, WebApi
from bot.playground.workspace.wire import Json, SlackError, read_arguments

UPLOAD = 100_000_000
"""Bytes of one request."""


class Workspace:
    """One Slack workspace with one app.

    port: 0 takes any free one; rates: whether rate limits are enforced; request_url: where the app listens, which makes
    Slack call it over signed HTTP instead of Socket Mode.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        app: App | None = None,
        cast: Cast | None = None,
        clock: Clock | None = None,
        rates: bool = True,
        request_url: str | None = None,
    ) -> None:
        self.app = app or App()
        self.clock = clock or Clock()
        self.faults = Faults(self.clock)
        self.rates = Rates(self.clock, strict=rates)
        self.state = State(self.app, cast or standard_cast(self.app), self.clock)
        self.sockets = Sockets(self.app, self.clock)
        self.signed = Signed(self.app, request_url or "")
        self._delivery = Delivery(self.clock, self.faults, self.signed if request_url else self.sockets)
        self.core = Core(self.state, Events(self.state, self._delivery.tell))
        self.web_api = WebApi(self.core, self.rates, self.faults, self.sockets)
        self.driver = Driver(self.core, self._delivery)
        self.faults.on_outage = lambda: self._delivery.transport.drop()
        self.sockets.on_change = self.state.wake
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Workspace:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        """The `base_url` of a Slack client."""
        return f"{self.url}/api/"

    async def start(self) -> None:
        """Listen. OSError where the port is taken."""
        app = web.Application(client_max_size=UPLOAD)
        app.router.add_route("*", "/api/{method}", self.web_api.handle)
        app.router.add_get("/link/", self._link)
        app.router.add_post("/actions/{key}", self._action)
        app.router.add_post("/upload/v1/{ticket}", self._upload)
        app.router.add_get("/files-pri/{place}/{name}", self._download)
        app.router.add_route("*", "/_faults", self._fault)
        app.router.add_post("/_driver/{verb}", self._drive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError:
            await self.stop()
            raise
        self._port = self._runner.addresses[0][1]
        self.state.base_url = self.url

    async def stop(self) -> None:
        """Close every connection; what was under way is given up. Harmless again."""
        await self._delivery.close()
        await self.core.close()
        await self.sockets.close()
        await self.signed.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def use_http(self, url: str) -> None:
        """Call the app at this URL from now on. ValueError unless it answers Slack's challenge."""
        await self.signed.close()
        self.signed = Signed(self.app, url)
        if not await self.signed.verify():
            raise ValueError(f"{url} did not answer the challenge; Slack would not use it")
        self._delivery.transport = self.signed

    async def deliver(self, kind: Kind, payload: Json, *, answerable: bool = False) -> Ack:
        """Send the app anything, true or not, as Slack would send it: for payloads that no person can cause."""
        return await self._delivery.ask(kind, payload, answerable=answerable)

    def calls(self, methods: str = "*") -> list[Called]:
        """What the app called of the Web API, oldest first. methods: a pattern, such as `chat.*`."""
        return [call for call in self.web_api.log if fnmatchcase(call.method, methods)]

    @property
    def delivered(self) -> list[Json]:
        """Everything that was sent to the app, envelope by envelope."""
        return self._delivery.transport.sent

    # -- over HTTP -------------------------------------------------------------------------------------------------

    async def _link(self, request: web.Request) -> web.StreamResponse:
        return await self.web_api.guarded("link", request, lambda: self.sockets.serve(request))

    async def _action(self, request: web.Request) -> web.StreamResponse:
        return await self.web_api.guarded("response_url", request, lambda: self._respond(request))

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        try:
            responses.answer(self.core, request.match_info["key"], await read_arguments(request))
        except SlackError as error:
            if error.status == 404:
                return web.json_response(error.body(), status=404)
            return web.Response(text=error.code, status=max(error.status, 400))
        return web.Response(text="ok")

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        return await self.web_api.guarded("upload", request, lambda: self._receive(request))

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        if request.content_type == "multipart/form-data":
            parts = [p for p in (await request.post()).values() if isinstance(p, web.FileField)]
            data = parts[0].file.read() if parts else b""
        else:
            data = await request.read()
        try:
            receive(self.state, request.match_info["ticket"], data)
        except SlackError as error:
            return web.Response(text=error.code, status=error.status)
        return web.Response(text=f"OK - {len(data)}")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = self.state.files.get(request.match_info["place"].partition("-")[2])
        if request.headers.get("Authorization") != f"Bearer {self.app.bot_token}" or file is None or file.data is None:
            return web.Response(status=404)
        return web.Response(body=file.data)

    async def _drive(self, request: web.Request) -> web.StreamResponse:
        return await remote.handle(self.driver, self.clock, request)

    async def _fault(self, request: web.Request) -> web.StreamResponse:
        if request.method == "DELETE":
            self.faults.clear()
        if request.method == "POST":
            try:
                self.faults.add(Fault.parse(await request.json()))
            except (TypeError, ValueError) as error:
                return web.json_response({"ok": False, "error": f"no fault of ours: {error}"}, status=422)
        return web.json_response({"ok": True, "faults": self.faults.pending()})
