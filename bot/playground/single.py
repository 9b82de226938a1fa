"""A small shop to break and to roll back: three releases, one of which cannot take payments.

    python -m bot.playground.single --port 8081 --release 2.4.1

    GET  /healthz      {"release", "status", "read_only", "errors"}: what serves now; errors: share of failed payments
                       (0 to 1), above a half the answer is 503
    GET  /release      {"release": "2.4.1"}; PUT points the shop at another release, which serves after `delay`
    GET  /maintenance  {"read_only": false, "notice": ""}; PUT replaces both, a field left out is empty again
    POST /pay          {"amount": 12.5}: 200, or 500 where the release cannot, or 503 while read-only
    GET  /log          every changing request that was carried out or refused, oldest first
    PUT  /faults       what goes wrong next, see `Fault`

Both documents carry a strong ETag that counts versions and never comes back, and honour If-Match (412). That
makes a late copy of an old write harmless.

Invariants: listens on loopback only; with `state`, a change is on disk before it is answered, so a killed shop comes
back as it was. It imports nothing of the bot: it stands for somebody else's service.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

RELEASES = ("2.3.9", "2.4.0", "2.4.1")
"""What the shop has, oldest first; the last one is bad."""

UNWELL = 0.5
"""Share of failed payments above which the shop calls itself failing."""

Documents = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the next requests.

    next: how many requests it hits; method, path: only these, where given; delay: seconds before anything happens;
    status: answered in place of serving; serve: whether the request is carried out at all;
    answer: what becomes of the answer: given, or the connection hangs or is dropped.
    """

    next: int = 1
    method: str | None = None
    path: str | None = None
    delay: float = 0.0
    status: int | None = None
    serve: bool = True
    answer: Literal["give", "hang", "drop"] = "give"

    def hits(self, request: web.Request) -> bool:
        """Whether this request is one of those."""
        return self.next > 0 and self.method in (None, request.method) and self.path in (None, request.path)


@dataclass
class State:
    """What a shop remembers. serving: the release that answers until `since` (by the shop's clock), when the one
    pointed at takes over."""

    documents: Documents
    serving: str
    since: float = 0.0
    versions: dict[str, int] = field(default_factory=lambda: {"release": 1, "maintenance": 1})
    log: list[dict[str, Any]] = field(default_factory=list)


class Shop:
    """The shop in this process: `async with Shop("2.4.1") as shop: ... shop.url`.

    delay: seconds from pointing at a release until it serves; clock: seconds, may be a test's; port 0: any free one.
    """

    def __init__(
        self,
        release: str = "2.4.0",
        *,
        port: int = 0,
        delay: float = 1.0,
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if release not in RELEASES:
            raise ValueError(_unknown(release))
        self._port, self._delay, self._path, self._clock = port, delay, state, clock
        self._state = _load(state) or State(
            {"release": {"release": release}, "maintenance": {"read_only": False, "notice": ""}}, serving=release
        )
        self._fault = Fault(next=0)
        self._paid: Counter[bool] = Counter()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    # -- in process ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Shop:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Sequence[Mapping[str, Any]]:
        """What GET /log answers."""
        return tuple(self._state.log)

    @property
    def serving(self) -> str:
        """The release that serves now."""
        if self._clock() >= self._state.since:
            self._serve(str(self._state.documents["release"]["release"]))
        return self._state.serving

    async def world(self) -> Mapping[str, Any]:
        """Everything that can be changed here, flat: for tests that compare before and after."""
        return {f"{d}/{k}": v for d, fields in self._state.documents.items() for k, v in fields.items()}

    async def edit(self, document: Literal["release", "maintenance"], **fields: Any) -> None:
        """Somebody else's change, past HTTP and the log."""
        self._write(document, {**self._state.documents[document], **fields})

    def break_next(self, fault: Fault) -> None:
        """As PUT /faults does."""
        self._fault = fault

    async def start(self) -> None:
        """Listen. OSError where the port is taken. A stopped shop can be started again, on the same port."""
        app = web.Application(middlewares=[self._faulty])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_post("/pay", self._pay)
        app.router.add_get("/log", self._get_log)
        app.router.add_put("/faults", self._put_faults)
        for document in self._state.documents:
            app.router.add_get(f"/{document}", self._get)
            app.router.add_put(f"/{document}", self._put)
        self._closing.clear()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError:
            await self.stop()
            raise
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection. Harmless again."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- over HTTP -------------------------------------------------------------------------------------------------

    async def _get(self, request: web.Request) -> web.Response:
        return self._document(request.path[1:])

    async def _put(self, request: web.Request) -> web.Response:
        name = request.path[1:]
        body = await _body(request)
        fault = _wrong(name, body)
        wanted = request.headers.get("If-Match")
        if fault:
            return await self._done(request, body, _error(422, fault))
        if wanted is not None and wanted != "*" and self._etag(name) not in [e.strip() for e in wanted.split(",")]:
            text = f"/{name} is at version {self._etag(name)} now"
            return await self._done(request, body, _error(412, text, ETag=self._etag(name)))
        self._write(name, body if name == "release" else {"read_only": False, "notice": "", **body})
        return await self._done(request, body, self._document(name))

    async def _healthz(self, request: web.Request) -> web.Response:
        release = self.serving
        self._charge()  # a payment of nothing, so that health is known without customers
        share = self._paid[False] / self._paid.total()
        status = "ok" if share == 0 else "degraded" if share <= UNWELL else "failing"
        read_only = self._state.documents["maintenance"]["read_only"]
        body = {"release": release, "status": status, "read_only": read_only, "errors": round(share, 3)}
        return web.json_response(body, status=503 if status == "failing" else 200)

    async def _pay(self, request: web.Request) -> web.Response:
        body = await _body(request)
        amount = body.get("amount") if isinstance(body, dict) else None
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
            return await self._done(request, body, _error(422, "amount must be a number above 0"))
        if self._state.documents["maintenance"]["read_only"]:
            refused = _error(503, "read-only at the moment", **{"Retry-After": "60"})
            return await self._done(request, body, refused)
        release = self.serving
        if not self._charge():
            return await self._done(request, body, _error(500, f"{release}: the payment provider refused our call"))
        return await self._done(request, body, web.json_response({"paid": amount, "release": release}))

    async def _get_log(self, request: web.Request) -> web.Response:
        return web.json_response(self._state.log)

    async def _put_faults(self, request: web.Request) -> web.Response:
        body = await _body(request)
        try:
            self._fault = _fault(body)
        except (TypeError, ValueError) as error:
            return _error(422, f"no fault of ours: {error}")
        return web.json_response(dataclasses.asdict(self._fault))

    @web.middleware
    async def _faulty(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        fault = self._fault
        if request.path in ("/faults", "/log") or not fault.hits(request):
            return await handler(request)
        self._fault = dataclasses.replace(fault, next=fault.next - 1)
        if fault.delay:
            await self._pause(fault.delay)
        if fault.serve and fault.status is None:
            response = await handler(request)
        else:
            response = _error(fault.status or 500, "as asked for by /faults")
            self._paid[False] += request.path == "/pay"
        if fault.answer == "hang":
            await self._pause(None)
        if fault.answer != "give" and request.transport is not None:
            request.transport.abort()
        return response

    # -- what lies behind ------------------------------------------------------------------------------------------

    def _charge(self) -> bool:
        """One payment on the serving release: whether it went through. The bad one calls a provider wrongly."""
        went = self.serving != RELEASES[-1]
        self._paid[went] += 1
        return went

    def _serve(self, release: str) -> None:
        if release != self._state.serving:
            self._state.serving = release
            self._paid.clear()

    def _document(self, name: str) -> web.Response:
        return web.json_response(self._state.documents[name], headers={"ETag": self._etag(name)})

    def _etag(self, name: str) -> str:
        return f'"{self._state.versions[name]}"'

    def _write(self, name: str, fields: dict[str, Any]) -> None:
        if name == "release" and fields["release"] != self._state.documents["release"]["release"]:
            self._serve(self.serving)
            self._state.since = self._clock() + self._delay
        self._state.documents[name] = fields
        self._state.versions[name] += 1
        self._save()

    async def _done(self, request: web.Request, body: Any, response: web.Response) -> web.Response:
        line = {"method": request.method, "path": request.path, "body": body, "status": response.status}
        key, over = request.headers.get("Idempotency-Key"), request.headers.get("If-Match")
        self._state.log.append({**line, "key": key, "if_match": over, "at": self._clock()})
        self._save()
        return response

    def _save(self) -> None:
        if self._path is not None:
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(dataclasses.asdict(self._state)))
            draft.replace(self._path)

    async def _pause(self, seconds: float | None) -> None:
        """Wait, but never longer than the shop is open."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


def _load(path: Path | None) -> State | None:
    if path is None or not path.exists():
        return None
    try:
        return State(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no state of a shop ({error}); remove it to begin anew") from error


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _wrong(name: str, body: Any) -> str:
    """Why this is no such document; empty if it is one."""
    if not isinstance(body, dict):
        return "the body must be a JSON object"
    if name == "release":
        if set(body) != {"release"}:
            return 'must be {"release": "<version>"}'
        return "" if body["release"] in RELEASES else _unknown(body["release"])
    if set(body) - {"read_only", "notice"} or not isinstance(body.get("read_only"), bool):
        return 'must be {"read_only": true or false, "notice": "<text>"}'
    return "" if isinstance(body.get("notice", ""), str) else "notice must be text"


def _fault(body: Any) -> Fault:
    """The fault that the body describes. TypeError, ValueError."""
    fault = Fault(**body)
    answers = ("give", "hang", "drop")
    numbers = (body.get("next", 1), body.get("delay", 0), body.get("status") or 500)
    if body.get("answer", "give") not in answers or not all(isinstance(n, int | float) for n in numbers):
        raise ValueError(f"next, delay and status are numbers, answer is one of {', '.join(answers)}")
    return fault


def _unknown(release: object) -> str:
    return f"there is no release {release}; there are {', '.join(RELEASES)}"


def _error(status: int, text: str, **headers: str) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


async def _run(shop: Shop) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    async with shop:
        sys.stdout.write(f"shop {shop.serving} on {shop.url}\n")
        sys.stdout.flush()
        await leave.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m bot.playground.single`: serves until SIGINT or SIGTERM, after one line that ends with its URL."""
    parser = argparse.ArgumentParser(prog="shop", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--release", choices=RELEASES, default="2.4.0", help="what it starts with, without a state")
    parser.add_argument("--delay", type=float, default=1.0, help="seconds until another release serves")
    parser.add_argument("--state", type=Path, help="file that keeps the shop as it is over a restart")
    args = parser.parse_args(argv)
    try:
        asyncio.run(_run(Shop(args.release, port=args.port, delay=args.delay, state=args.state)))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"shop: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
