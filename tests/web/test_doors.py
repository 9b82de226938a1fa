"""Connections that cost and bring nothing: half a head, an idle socket, an answer nobody takes, a flood of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bot.steady.seldom import Seldom, SeldomTheSame
from bot.web import doors
from bot.web.doors import Doors

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def _large(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * 64_000_000)


@asynccontextmanager
async def served(most: int = 3, reserve: int = 1) -> AsyncIterator[Callable[[], Awaitable[Wire]]]:
    """A server behind doors of that size: makes connections to it."""
    app = web.Application()
    app.add_routes([web.get("/healthz", _healthz), web.get("/large", _large), web.get("/v1/me", _healthz)])
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=doors.IDLE, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    made = Doors(runner.server, most, reserve)
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    wires: list[Wire] = []

    async def call() -> Wire:
        wires.append(await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1]))
        return wires[-1]

    try:
        yield call
        async with asyncio.timeout(60):
            for _, writer in wires:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            while made.open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        server.close()
        await runner.cleanup()


async def ask(wire: Wire, path: str) -> bytes:
    """The status line."""
    wire[1].write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(60):
        return (await wire[0].readuntil(b"\r\n")).strip()


async def ended(wire: Wire) -> bool:
    """Whether the other side has closed, once it does."""
    async with asyncio.timeout(60):
        try:
            while await wire[0].read(65536):
                pass
        except ConnectionError:
            pass
    return True


async def leave(wire: Wire) -> None:
    """Ends it, and waits until the other side has."""
    wire[1].write_eof()
    await ended(wire)


async def test_half_a_head_and_an_idle_socket_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "HEAD_TIME", 0.2)
    async with served() as call:
        half = await call()
        half[1].write(b"GET /v1/me HTTP/1.1\r\nHost:")
        idle = await call()
        assert await ended(half) and await ended(idle)


async def test_a_head_in_pieces_is_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as call:
        wire = await call()
        for piece in (b"GET /v1/me HT", b"TP/1.1\r\nHost: x\r", b"\n\r"):
            wire[1].write(piece)
            await wire[1].drain()
            await asyncio.sleep(0)
        wire[1].write(b"\n")
        async with asyncio.timeout(60):
            assert (await wire[0].readuntil(b"\r\n")).endswith(b"200 OK\r\n")
        monkeypatch.setattr(doors, "HEAD_TIME", 0.0)
        await wire[0].readuntil(b"alive\n")
        assert await ask(wire, "/v1/me") == b"HTTP/1.1 200 OK", "a further request has its own time"


async def test_who_does_not_take_his_answer_is_cut(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(doors, "STUCK", 0.2)
    async with served() as call:
        wire = await call()
        wire[1].write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        wire[1].transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while "was cut" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        wire[1].transport.abort()


async def test_a_flood_leaves_room_for_probes_and_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with served(most=3, reserve=2) as call:
        crowd = [await call() for _ in range(3)]
        assert await ask(crowd[0], "/v1/me") == b"HTTP/1.1 200 OK"
        for _ in range(5):
            more = await call()
            assert b"503" in await ask(more, "/v1/me") and await ended(more)
            probe = await call()
            assert await ask(probe, "/healthz") == b"HTTP/1.1 200 OK"
            await leave(probe)
        silent = [await call() for _ in range(2)]
        for _ in range(3):
            probe = await call()
            assert await ask(probe, "/healthz") == b"HTTP/1.1 200 OK", "although silent ones hold all there is"
            await leave(probe)
            silent.append(await call())
        assert await ended(silent[0]), "the one that was silent for the longest has given way"
        probes = [await call() for _ in range(2)]
        for probe in probes:
            assert await ask(probe, "/healthz") == b"HTTP/1.1 200 OK"
        beyond = await call()
        assert await ended(beyond), "beyond the reserve nobody is answered"
        for wire in (*crowd, *probes, *silent):
            await leave(wire)
        again = await call()
        assert await ask(again, "/v1/me") == b"HTTP/1.1 200 OK"
    told = [r.message for r in caplog.records if r.name == "bot.web.doors"]
    assert len(told) == 2 and "was refused" in told[0] and "was cut" in told[1]


def test_what_can_be_made_happen_at_will_is_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = logging.getLogger("tests.seldom")
    seldom = Seldom(log, "A bad token", lambda: now)
    for now in (0.0, 1.0, 2.0, 59.0, 61.0):
        seldom.say(f"by {now:g}")
    assert [r.getMessage() for r in caplog.records] == [
        "A bad token; by 0 (1 since the last line)", "A bad token; by 61 (4 since the last line)",
    ]  # fmt: skip


def test_records_that_are_worded_alike_pass_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = logging.getLogger("tests.alike")
    log.filters = [SeldomTheSame(lambda: now)]
    for now in (0.0, 1.0, 2.0, 61.0):
        log.error("Error handling request from %s", f"10.0.0.{now:g}")
    log.error("another thing")
    assert [r.getMessage() for r in caplog.records] == [
        "Error handling request from 10.0.0.0",
        "Error handling request from 10.0.0.61 (and 2 more since the last line)",
        "another thing",
    ]
