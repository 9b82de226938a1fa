"""A cache between browsers and a store, for the playground: it keeps pages longer than it was told, as caches do, and
forgets a path when it is sent PURGE.

    async with EdgeCache("http://127.0.0.1:5000/shop/www", hold=600) as edge:
        ...  # http://127.0.0.1:<port>/ serves index.html of that folder
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

_KEPT = ("content-type", "cache-control", "content-encoding", "etag", "last-modified")


@dataclass
class Kept:
    """One answer of the store. at: when it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class EdgeCache:
    """One cache. origin: the folder that it reads; hold: seconds for which it keeps whatever it got; token: what PURGE
    must give as X-Purge-Token, "" for none; asked: what browsers asked for, as (method, path)."""

    origin: str
    hold: float = 600.0
    token: str = ""
    clock: Callable[[], float] = time.monotonic
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """ "127.0.0.1:<port>"."""
        if self._runner is None:
            raise RuntimeError("the cache is not running")
        return f"127.0.0.1:{self._runner.addresses[0][1]}"

    @property
    def url(self) -> str:
        """Where browsers find it."""
        return f"http://{self.address}"

    async def __aenter__(self) -> EdgeCache:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._session = aiohttp.ClientSession(auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None and self._session is not None:
            await self._runner.cleanup()
            await self._session.close()
        self._runner = self._session = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append((request.method, path))
        if request.method == "PURGE":
            return self._purge(request)
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405)
        kept = self.kept.get((request.host, path))
        if kept is None or self.clock() - kept.at > self.hold:
            kept = self.kept[request.host, path] = await self._fetch(path)
        age = {"Age": str(int(self.clock() - kept.at))}
        return web.Response(status=kept.status, headers={**kept.headers, **age}, body=kept.body)

    def _purge(self, request: web.Request) -> web.Response:
        if self.token and request.headers.get("X-Purge-Token") != self.token:
            return web.Response(status=403, text="whoever purges must say who they are")
        there = self.kept.pop((request.host, request.path), None)
        return web.Response(status=200 if there is not None else 404)

    async def _fetch(self, path: str) -> Kept:
        if self._session is None:
            raise RuntimeError("the cache is not running")
        name = f"{path}index.html" if path.endswith("/") else path
        async with self._session.get(URL(self.origin + quote(name), encoded=True)) as answer:
            body = await answer.read()
            headers = {h.title(): answer.headers[h] for h in _KEPT if h in answer.headers}
            return Kept(answer.status, headers, body, self.clock())
