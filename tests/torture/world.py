"""The world that tortured nodes act on: documents over HTTP, in a process that no kill reaches, with a journal.

The journal is what the auditor believes: every effect with the value before and after it, who asked for it (attempt,
process, idempotency key), and how far the run's log had come at that moment, read from the database on a connection
of its own. Orders of the harness make single requests slow, fail, hang, or kill the process that sent them.

Invariants: an effect and its journal line are one (nothing is awaited between them); versions only grow, so a late
copy of an old write meets a 412.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from bot.engine.attempt_id import AttemptId
from bot.ports import Json
from tests.torture.eyes import Eyes

TIMEOUT = 1.5
"""Seconds that a node waits for an answer."""

Order = Literal["", "delay", "hang", "hang after", "500", "500 after", "drop", "drop after", "kill", "kill after"]
"""What happens to one request; "after": the effect takes place, only the answer suffers."""
What = Literal["enter", "leave", "put", "post", "foreign"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. Times in seconds since the epoch.

    seen, seq: the run's last event when the request arrived and when its effect took place; recorded: events
    `recorded` of the attempt in the log at its arrival; status: as answered, or would have been; place: the address
    that was asked.
    """

    at: float
    what: What
    path: str
    attempt: AttemptId | None = None
    pid: int = 0
    key: str = ""
    before: Json = None
    after: Json = None
    status: int = 200
    arrived: float = 0.0
    seen: int = 0
    seq: int = 0
    recorded: int = 0
    place: str = ""

    @property
    def changed(self) -> bool:
        """Whether the world is another one since."""
        return self.status == 200 and (self.what == "post" or (self.what == "put" and self.before != self.after))


@dataclass(slots=True)
class _Doc:
    value: Json
    version: int = 1


def initial(path: str) -> Json:
    """What a document is before anybody has written it; some do not exist."""
    return None if path.endswith("-new") else "v0"


def values(journal: list[Entry], path: str, at: float) -> Json:
    """What a document was at a moment."""
    found = initial(path)
    for e in journal:
        if e.path == path and e.what in ("put", "foreign") and e.status == 200 and e.at <= at:
            found = e.after
    return found


@dataclass
class World:
    """Documents, the journal, and a server for both. kill: ends the process of that id at once.

    dying, ready, frozen: what nodes say of themselves; url, other: its two addresses, which a catalogue tells apart.
    """

    eyes: Eyes
    kill: Callable[[int, str], None]
    order: Callable[[str, str], Order] = lambda method, path: ""
    docs: dict[str, _Doc] = field(default_factory=dict)
    journal: list[Entry] = field(default_factory=list)
    turns: Counter[str] = field(default_factory=Counter)
    dying: dict[int, tuple[float, str]] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)
    frozen: Callable[[int, str], None] = lambda pid, why: None
    url: str = ""
    other: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        app = web.Application()
        app.router.add_get("/doc/{path:.+}", self._get)
        app.router.add_put("/doc/{path:.+}", self._put)
        app.router.add_put("/post/{path:.+}", self._put)
        app.router.add_get("/turn/{path:.+}", self._turn)
        app.router.add_post("/{what:enter|leave}", self._inside)
        app.router.add_post("/{what:dying|frozen|ready}", self._told)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        for _ in range(2):
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url, self.other = (f"http://127.0.0.1:{port}" for _, port in self._runner.addresses)

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def foreign(self, path: str, value: Json) -> None:
        """Somebody else writes a document."""
        doc = self._doc(path)
        before, doc.value, doc.version = doc.value, value, doc.version + 1
        self.journal.append(Entry(time.time(), "foreign", path, before=before, after=value))

    def value(self, path: str) -> Json:
        """What a document is now."""
        return self._doc(path).value

    # -- requests ---------------------------------------------------------------------------------------------------

    async def _get(self, request: web.Request) -> web.StreamResponse:
        doc = self._doc(request.match_info["path"])
        order = self.order("GET", request.path)
        if refusal := await self._suffer(request, order):
            return refusal
        return _answer(doc)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        arrived, path = time.time(), request.path.lstrip("/").partition("/")[2]
        body: Json = await request.json()
        attempt = _attempt(request)
        seen = self.eyes.seq(attempt.run) if attempt else 0
        recorded = self.eyes.recorded(attempt) if attempt else 0
        order = self.order("PUT", request.path)
        if refusal := await self._suffer(request, order):
            return refusal
        post = request.path.startswith("/post/")
        doc = self._doc(path)
        match = request.headers.get("If-Match")
        fits = post or match is None or match == _tag(doc)
        before = None if post else doc.value
        if fits and not post:
            doc.value, doc.version = body, doc.version + 1
        self.journal.append(Entry(
            time.time(), "post" if post else "put", path, attempt, _pid(request),
            request.headers.get("Idempotency-Key", ""), before, body, 200 if fits else 412, arrived, seen,
            self.eyes.seq(attempt.run) if attempt else 0, recorded, f"http://{request.host}",
        ))  # fmt: skip
        if order.endswith(" after") and (refusal := await self._suffer(request, order.removesuffix(" after"))):
            return refusal
        return _answer(doc) if fits else web.Response(status=412, text="changed meanwhile")

    async def _suffer(self, request: web.Request, order: str) -> web.StreamResponse | None:
        if order == "delay":
            await asyncio.sleep(0.4)
        elif order == "hang":
            await asyncio.sleep(TIMEOUT + 0.5)
            return web.Response(status=504)
        elif order == "500":
            return web.Response(status=500, text="out of order")
        elif order == "drop":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        elif order == "kill":
            self.kill(_pid(request), "by the world, " + ("mid-request" if request.method == "PUT" else "mid-look"))
            return web.Response(status=500)
        return None

    async def _turn(self, request: web.Request) -> web.Response:
        attempt = _attempt(request)
        place = f"{attempt.run}/{attempt.step}/{attempt.application}" if attempt else ""
        name = f"{place}/{request.match_info['path']}"
        self.turns[name] += 1
        return web.json_response(self.turns[name])

    async def _inside(self, request: web.Request) -> web.Response:
        what: What = "enter" if request.match_info["what"] == "enter" else "leave"
        said: dict[str, Any] = await request.json()
        attempt = AttemptId.parse(said["attempt"])
        seq = self.eyes.seq(attempt.run)
        step = f"{attempt.run}/{attempt.step}"
        self.journal.append(Entry(time.time(), what, step, attempt, int(said["pid"]), seen=seq, seq=seq))
        return web.json_response(True)

    async def _told(self, request: web.Request) -> web.Response:
        said: dict[str, Any] = await request.json()
        what = request.match_info["what"]
        if what == "dying":
            self.dying[int(said["pid"])] = (time.time(), str(said["why"]))
        elif what == "ready":
            self.ready.add(int(said["pid"]))
        else:
            self.frozen(int(said["pid"]), str(said["why"]))
        return web.json_response(True)

    def _doc(self, path: str) -> _Doc:
        return self.docs.setdefault(path, _Doc(initial(path)))


def _answer(doc: _Doc) -> web.Response:
    return web.json_response({"value": doc.value}, headers={"ETag": _tag(doc)})


def _tag(doc: _Doc) -> str:
    return f'"{doc.version}"'


def _attempt(request: web.Request) -> AttemptId | None:
    with contextlib.suppress(KeyError, ValueError):
        return AttemptId.parse(request.headers["X-Attempt"])
    return None


def _pid(request: web.Request) -> int:
    return int(request.headers.get("X-Pid", "0"))
