"""The shop's payment provider, somebody else's product: it charges cards, can be probed, and has a status page.

    POST /charges                what the shop asks for each payment
    GET  /health                 {"status": "ok"}, or 503
    GET  /api/v2/summary.json    its status page, in the form that such pages have (statuspage.io)

`down` and `says` are set by hand and apart: a status page that is late is one of the things that happen.

Invariants: listens on loopback only, and ends with the context.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

from aiohttp import web

Says = Literal["none", "minor", "major", "critical"]
_WORDS = {
    "none": ("All Systems Operational", "operational"),
    "minor": ("Partially Degraded Service", "degraded_performance"),
    "major": ("Partial System Outage", "partial_outage"),
    "critical": ("Major Service Outage", "major_outage"),
}
NAME = "Cardwise"


class Partner:
    """`async with Partner() as partner: partner.down = True`. down: nothing is charged; says: what its page says."""

    def __init__(self) -> None:
        self.down, self.charged = False, 0
        self.says: Says = "none"
        self._port = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/charges", self._charge)
        app.router.add_get("/health", self._health)
        app.router.add_get("/api/v2/summary.json", self._summary)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def place(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """What its paths are put behind."""
        return f"http://{self.place}"

    async def _charge(self, _: web.Request) -> web.Response:
        self.charged += not self.down
        return self._answer({"charged": True})

    async def _health(self, _: web.Request) -> web.Response:
        return self._answer({"status": "ok"})

    def _answer(self, body: dict[str, object]) -> web.Response:
        return web.json_response({"error": "out of order"}, status=503) if self.down else web.json_response(body)

    async def _summary(self, _: web.Request) -> web.Response:
        words, state = _WORDS[self.says]
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        page = {"id": "c4rdw1se", "name": NAME, "url": self.url, "time_zone": "Etc/UTC", "updated_at": now}
        charges = {"id": "ch4rges", "name": "Charges", "status": state, "updated_at": now, "group": False}
        return web.json_response(
            {
                "page": page,
                "status": {"indicator": self.says, "description": words},
                "components": [charges],
                "incidents": [],
                "scheduled_maintenances": [],
            }
        )
