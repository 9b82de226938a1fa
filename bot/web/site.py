"""The handlers: who asks, probes, runs. Each takes a request and answers; what fails is raised (answers.py)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from bot.opening.rollbacks import Wanted
from bot.policy import Person, Refusal, Why, stranger
from bot.run.answering import COMMANDS
from bot.run.events import BadEvent, decode
from bot.run.state import Run
from bot.steady.seldom import Seldom
from bot.steady.together import Together
from bot.store.log import SchemaMismatch, StoreUnavailable
from bot.store.tokens import PREFIX, NotBelieved
from bot.telling import owing
from bot.telling.plain import decision_lines, text
from bot.telling.sentences import Names, sentence
from bot.telling.view import status, title, view
from bot.web import preview
from bot.web.answers import Answering, No, as_json
from bot.web.doctors import knocks
from bot.web.freezes import is_ci
from bot.web.releases import signed
from bot.web.requests import (
    BEARER,
    PERSON,
    between,
    boolean,
    click_key,
    in_query,
    name,
    read_body,
    via,
    word_in_address,
)
from bot.web.serves import Serves

LONGEST_WAIT = 25.0
"""Seconds a long poll may wait for something new."""
LOOK_AGAIN = 0.25
"""Seconds between two looks of a long poll."""
READY_KEPT = 3.0
"""Seconds for which strangers get the same answer about readiness."""
READY_TIME = 10.0
"""Seconds that finding out about readiness may take."""
BAD_TOKEN_PAUSE = 0.3
"""Seconds before a token that stands for nobody is answered: guessing is slow, a typing mistake hardly noticed."""


@dataclass(frozen=True, slots=True)
class Forwards:
    """What rolling forward again asks for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Replans:
    """What another plan for an unstarted rollback asks for. plan: its name."""

    plan: str
    reason: str


@dataclass(frozen=True, slots=True)
class Meets:
    """When a postmortem begins. at: seconds since the epoch."""

    at: float


_WANTED, _FORWARDS, _REPLANS = TypeAdapter(Wanted), TypeAdapter(Forwards), TypeAdapter(Replans)
_MEETS = TypeAdapter(Meets)

log = logging.getLogger(__name__)


def _is_ready(parts: Mapping[str, str]) -> bool:
    return not any(parts.get(name) for name in ("database", "lease", "record"))


class WebSite:
    """The handlers, with the bot they speak for."""

    def __init__(self, bot: Serves, via: str, others: Collection[str] = ()) -> None:
        self.bot, self.via = bot, via
        self._open = frozenset({"/healthz", "/readyz", "/metrics", *others})
        self._ready: Together[None, Mapping[str, str]] = Together(self._parts)
        self._kept: tuple[float, bool] | None = None
        self._strangers = Seldom(log, "A token that stands for nobody was shown")
        self._closing = asyncio.Event()

    async def close(self, _: web.Application) -> None:
        """Ends long polls."""
        self._closing.set()

    # -- who asks --------------------------------------------------------------------------------------------------

    @web.middleware
    async def known(self, request: web.Request, handler: Answering) -> web.StreamResponse:
        """Lets nobody through whose token does not stand for a member."""
        if request.path in self._open or request.match_info.http_exception is not None:
            return await handler(request)
        if not (is_ci(self.bot, request) or await signed(self.bot, request)):
            request[PERSON] = await self._person(request)
        return await handler(request)

    async def _person(self, request: web.Request) -> Person:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        how = "`rollback-bot token NAME` on the bot's host makes one; put it into ROLLBACK_TOKEN."
        if scheme.lower() != "bearer" or not token.strip():
            raise No(401, "no-token", f"Who are you? A personal token is missing. {how}")
        token = token.strip()
        fits = token.startswith(PREFIX) and len(token) < 200 and token.isascii()
        try:
            bearer = await self.bot.tokens.whose(token) if fits else None
        except NotBelieved as doubt:
            what = f"No new token is good for anything: the record of tokens is not believed ({doubt})"
            raise No(503, "not-now", f"{what}. Next: `rollback-bot audit verify` on the bot's host.") from None
        if bearer is None:
            self._strangers.say(f"by {request.remote or 'somebody'} for {request.method} {request.path[:100]}")
            await self._pause(BAD_TOKEN_PAUSE)
            raise No(401, "bad-token", f"This token stands for nobody: unknown, expired or revoked. {how}")
        request[BEARER] = bearer
        person = await self.bot.people.person(bearer.person)
        if no := stranger(person):
            raise No.of(no)
        return person

    async def me(self, request: web.Request) -> web.Response:
        """Whom the token stands for, with roles as they are now."""
        p = request[PERSON]
        on_call, roles = sorted(p.on_call), sorted(p.roles)
        return as_json({"id": p.id, "name": p.name, "kind": p.kind, "roles": roles, "on_call": on_call})

    # -- probes ----------------------------------------------------------------------------------------------------

    async def healthz(self, request: web.Request) -> web.Response:
        """The process is alive."""
        return web.Response(text="alive\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether it may act; to members and `doctor` a line for each part. A target that is down does not make the bot
        unready: it is there to repair it. Strangers cost a look each `READY_KEPT` seconds at most."""
        if not await self._may_see(request):
            now = asyncio.get_running_loop().time()
            if self._kept is None or now - self._kept[0] > READY_KEPT:
                self._kept = now, _is_ready(await self._ready.of(None))
            return web.Response(
                text="ready\n" if self._kept[1] else "not ready\n", status=200 if self._kept[1] else 503
            )
        parts = await self._ready.of(None)
        lines = [f"{name}: {self.bot.redactor.text(fault) or 'fine'}" for name, fault in parts.items()]
        return web.Response(text="\n".join(lines) + "\n", status=200 if _is_ready(parts) else 503)

    async def _parts(self, _: None) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(READY_TIME):
                return await self.bot.ready()
        except TimeoutError:
            return {"database": f"no answer within {READY_TIME:g} s"}

    async def _may_see(self, request: web.Request) -> bool:
        """Whether somebody of us asks; where the database cannot tell, only `doctor` is known."""
        given = request.headers.get("Authorization", "")
        if not given:
            return False
        if await asyncio.to_thread(knocks, self.bot.files, given):
            return True
        try:
            await self._person(request)
        except (StoreUnavailable, SchemaMismatch):
            return False
        return True

    # -- runs ------------------------------------------------------------------------------------------------------

    async def open(self, request: web.Request) -> web.Response:
        """Opens a rollback."""
        wanted = await read_body(_WANTED, request)
        opened = await self.bot.rollbacks.open(wanted, request[PERSON], self._via(request), key=click_key(request))
        if isinstance(opened, Refusal) and opened.why is Why.IMPOSSIBLE:
            opened = replace(opened, text=f"{opened.text} That is `--despite`.")
        return self._opened(opened)

    async def forward(self, request: web.Request) -> web.Response:
        """Opens the run that takes an ended one back."""
        reason = (await read_body(_FORWARDS, request)).reason
        run, key = await self._find(request), click_key(request)
        opened = await self.bot.rollbacks.forward(run, reason, request[PERSON], self._via(request), key=key)
        return self._opened(opened)

    async def postmortem(self, request: web.Request) -> web.Response:
        """Holds the postmortem of an ended run at another time."""
        at = (await read_body(_MEETS, request)).at
        run, key = await self._find(request), click_key(request)
        held = await self.bot.rollbacks.postmortems.hold(run, at, request[PERSON], self._via(request), key=key)
        return self._opened(held)

    async def replan(self, request: web.Request) -> web.Response:
        """Opens the same rollback by another plan, in place of a run that has not begun."""
        said = await read_body(_REPLANS, request)
        run, key = await self._find(request), click_key(request)
        opened = await self.bot.rollbacks.replan(
            run, said.plan, said.reason, request[PERSON], self._via(request), key=key
        )
        return self._opened(opened)

    def _opened(self, run: Run | Refusal) -> web.Response:
        if isinstance(run, Refusal):
            raise No.of(run)
        said = f"{title(run)}. Follow it: `rollback-bot show {run.id} --live`."
        return as_json({"run": run.id, "seq": run.seq, "title": title(run), "text": said}, status=201)

    async def preview(self, request: web.Request) -> web.Response:
        """What a rollback would do now, step by step; writes nothing."""
        found = await self.bot.rollbacks.preview(await read_body(_WANTED, request), request[PERSON])
        if isinstance(found, Refusal):
            raise No.of(found)
        steps = [preview.as_data(f) for f in found]
        return as_json(self._redacted({"steps": steps, "text": "\n".join(preview.lines(steps))}))

    async def runs(self, request: web.Request) -> web.Response:
        """Runs in one line each, newest first. ?service=, ?open=true|false, ?limit=1..100."""
        service = in_query(request, "service", name, None)
        only = in_query(request, "open", boolean, None)
        limit = int(in_query(request, "limit", between(1, 100), 20))
        heads = await self.bot.store.heads(service=service, open=only, limit=limit)
        return as_json({"runs": [asdict(h) | await self._in_a_line(h.run) for h in heads]})

    async def _in_a_line(self, run_id: str) -> dict[str, str]:
        try:
            run = await self.bot.store.load(run_id)
        except BadEvent:
            return {"title": run_id, "status": "its record cannot be read: `rollback-bot audit verify` says why"}
        return {"title": title(run), "status": status(run, self.bot.clock())}

    async def debts(self, request: web.Request) -> web.Response:
        """What is still owed, by open runs and ended ones. ?service=."""
        service = in_query(request, "service", name, None)
        found, now = await self.bot.rollbacks.debts.owed(service), self.bot.clock()
        found = [replace(x, text=await self._named(x.text)) for x in found]
        owed = [asdict(x) | {"overdue": x.overdue(now)} for x in found]
        return as_json({"owed": owed, "text": "\n".join(owing.lines(found, now))})

    async def show(self, request: web.Request) -> web.Response:
        """One run as a person should see it."""
        run = await self.bot.store.load(await self._find(request))
        return as_json(await self._shown(run))

    async def _shown(self, run: Run) -> dict[str, Any]:
        now = self.bot.clock()
        v = view(run, now)
        eta = await self.bot.estimates.of(run, now)
        written = text(v).split("\n", 2)
        if run.open:
            written.insert(2, f"Back: {eta.text}" if run.restored is None else f"Verified: {eta.text}")
        progress = await self.bot.store.progress(run.id)
        at_work = {i: p for i, p in progress.items() if i in run.steps and run.steps[i].attempt is not None}
        return asdict(v) | {
            "run": run.id, "seq": run.seq, "head": run.head, "now": now, "open": run.open,
            "outcome": run.closed.outcome if run.closed else None,
            "progress": {i: asdict(p) for i, p in at_work.items()},
            "cards": {d.name: "\n".join(decision_lines(d)) for d in v.decisions},
            "eta": asdict(eta),
            "text": await self._named("\n".join(written)),
        }  # fmt: skip

    async def events(self, request: web.Request) -> web.Response:
        """The rows behind ?after=seq, as stored. ?wait=seconds for the first of them (or for progress newer than
        ?since=, seconds since the epoch); an empty answer then means: ask again."""
        run_id = await self._find(request)
        after = int(in_query(request, "after", between(0, 2**53), 0))
        wait = min(in_query(request, "wait", between(0, 3600), 0.0), LONGEST_WAIT)
        since = in_query(request, "since", between(0, 2**40), None)
        clock = asyncio.get_running_loop().time
        until = clock() + wait
        while True:
            rows = await self.bot.store.events(run_id, after)
            moved = rows or await self._progressed(run_id, since)
            if moved or clock() >= until or await self._pause(LOOK_AGAIN):
                break
        run = await self.bot.store.load(run_id)
        names = Names.of(run.plan)
        found = [
            asdict(r) | {"at": r.at / 1e6, "body": json.loads(r.body), "text": sentence(decode(r.kind, r.body), names)}
            for r in rows
        ]
        return as_json({"run": run_id, "seq": run.seq, "open": run.open, "now": self.bot.clock(), "events": found})

    async def _progressed(self, run_id: str, since: float | None) -> bool:
        if since is None:
            return False
        return any(p.at > since for p in (await self.bot.store.progress(run_id)).values())

    async def command(self, request: web.Request) -> web.Response:
        """What a person asks of a run: one of bot.run.commands."""
        command = await read_body(COMMANDS, request)
        run_id, person = await self._find(request), request[PERSON]
        via, key = self._via(request), click_key(request)
        found = await self.bot.rollbacks.command(run_id, command, person, via, key=key)
        if isinstance(found, Refusal):
            raise No.of(found)
        return as_json({"run": run_id, "do": command.do, "text": found.text})

    # -- shared ----------------------------------------------------------------------------------------------------

    async def _find(self, request: web.Request) -> str:
        """The run in the address: its id, a service with one open run, or "-" for the only open one."""
        word = word_in_address(request, "run")
        found = await self.bot.rollbacks.find(None if word == "-" else word)
        if isinstance(found, Refusal):
            raise No.of(found)
        return found

    async def _named(self, text: str) -> str:
        """A text in which people may be named by an id of Slack's, with their names."""
        names = {p.id: p.name for p in await self.bot.people.everyone()}
        return re.sub(r"@([UW][A-Z0-9]{6,})\b", lambda m: f"@{names.get(m[1], m[1])}", text)

    def _via(self, request: web.Request) -> str:
        own = request.headers.get("User-Agent", "").startswith("rollback-bot")
        return via(request, self.via or ("cli" if own else "http"))

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.bot.redactor.text(value)
        if isinstance(value, Mapping):
            return {k: self._redacted(v) for k, v in value.items()}
        return [self._redacted(v) for v in value] if isinstance(value, list | tuple) else value

    async def _pause(self, seconds: float) -> bool:
        """Waits; True if the bot is going down."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return False
        return True
