"""A service with customers, over real HTTP: sessions, payments, messages. For journeys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PASSWORD = "correct-horse-battery"


@dataclass
class Customers:
    """What there is; `broken`: path -> status that is answered instead; `slow`: path -> seconds; `drops`: paths whose
    connection breaks, `after` it was carried out where so; asked: every request; bodies: what was
    posted; waiting: set once a slow path was asked."""

    url: str = ""
    sessions: dict[str, str] = field(default_factory=dict)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    drops: set[str] = field(default_factory=set)
    after: bool = False
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        if request.path in self.slow:
            self.waiting.set()
            await asyncio.sleep(self.slow[request.path])
        if status := self.broken.get(request.path):
            return web.json_response({"error": "as asked for"}, status=status)
        if request.path in self.drops and not self.after:
            raise ConnectionResetError
        answer: web.StreamResponse = await handler(request)
        if request.path in self.drops and request.transport is not None:
            request.transport.abort()
        return answer

    async def sign_in(self, request: web.Request) -> web.Response:
        given = await request.json()
        self.bodies.append(given)
        if given != {"user": "synthetic-1", "password": PASSWORD}:
            return web.json_response({"error": f"wrong: {given.get('password')}"}, status=401)
        token = f"session-of-{len(self.sessions)}-{given['user']}"
        self.sessions[token] = given["user"]
        cookie = {"Set-Cookie": f"basket=b{len(self.sessions)}; Path=/; HttpOnly"}
        return web.json_response(
            {"token": token, "user": {"name": given["user"], "age": 41}}, status=201, headers=cookie
        )

    async def pay(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.sessions:
            return web.json_response({"error": "sign in first"}, status=401)
        given = await request.json()
        self.bodies.append(given)
        number = f"p/{len(self.payments) + 1}"
        self.payments[number] = given
        return web.json_response({"id": number, "state": "paid", **given}, status=201)

    async def one(self, request: web.Request) -> web.Response:
        found = self.payments.get(request.match_info["id"])
        return web.json_response(found or {"error": "none"}, status=200 if found else 404)

    async def remove(self, request: web.Request) -> web.Response:
        """Everything of a walk, by its mark."""
        mark = request.query["reference"]
        self.payments = {n: p for n, p in self.payments.items() if p.get("reference") != mark}
        return web.Response(status=204)

    async def sign_out(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.sessions.pop(request.match_info["token"], None) else 404)

    async def page(self, request: web.Request) -> web.Response:
        return web.json_response({"items": [{"sku": "a/b", "price": 3}], "ok": True})

    async def elsewhere(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/page")


@contextlib.asynccontextmanager
async def customers() -> AsyncIterator[Customers]:
    """The service on loopback."""
    there = Customers()
    app = web.Application(middlewares=[there._faulty])
    app.router.add_post("/sessions", there.sign_in)
    app.router.add_delete("/sessions/{token}", there.sign_out)
    app.router.add_post("/payments", there.pay)
    app.router.add_get("/payments/{id}", there.one)
    app.router.add_delete("/payments", there.remove)
    app.router.add_get("/page", there.page)
    app.router.add_get("/elsewhere", there.elsewhere)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield there
    finally:
        await runner.cleanup()
