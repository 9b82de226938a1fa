"""The Slack half against bare Bolt, and against Slack's rate limits.

    make bench BENCH=slack [ARGS="clicks runs"]

- clicks: from a signed click to its 200, at 100 clicks a second, with the work that follows from each (somebody
  without a role is refused, and told) going on behind; yardstick: bare Bolt with an empty handler, set to
  answer as soon as that has run (by default it looks each 10 ms). Each side in a process of its own, in turns;
  latencies count from when a click was due, so that a queue shows.
- runs: twenty live runs before the strict workspace with Slack's rate limits, in virtual time: how long a decision
  takes from the log to the thread, and how many 429 were earned; yardstick: one queue of payloads, one call a second.

The bot, its playground and the people are those of the scenario tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult

import migrations
from bench import median, report
from bot.playground.workspace import App, Clock, Post, Workspace
from bot.playground.workspace.cast import Cast, standard_cast
from bot.playground.workspace.people import Channel
from bot.playground.workspace.signed import signature
from bot.slack.draw.post import Post as Wanted
from bot.slack.hear.app import PATH
from bot.store.lease import FileLease
from bot.store.log import Store
from tests.slack.acting import BACKEND, START, process
from tests.slack.conftest import HERE, HERE_ID, IDS, OPENING, Desk, desk_in
from tests.slack.publishing import Board, decision, message, news, root

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEAM = "T0PLAYGRND"


# -- clicks ------------------------------------------------------------------------------------------------------------


async def clicks(rate: float = 100.0, seconds: float = 4.0, turns: int = 5) -> None:
    """Signed clicks, ours and bare in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with desk_in(Path(folder), "http", start=False) as desk, _sink() as (sink, heard):
            secret = desk.workspace.app.signing_secret
            async with process(desk) as url, _bare(secret) as bare, aiohttp.ClientSession() as client:
                card = await _waiting(desk)
                shot = Shot(client, secret, card, f"{sink}/told")
                for side in (url, bare):  # both warm
                    await shot.fire(side + PATH, rate, 1.0)
                for _ in range(turns):
                    ours += await shot.fire(url + PATH, rate, seconds)
                    theirs += await shot.fire(bare + PATH, rate, seconds)
                async with asyncio.timeout(30):
                    while len(heard) < len(ours):  # everybody was told, behind the acknowledgement
                        await asyncio.sleep(0.1)
    ms = 1e3
    report(f"signed click to 200 at {rate:.0f}/s, p50", ms * median(ours), ms * median(theirs), "ms", 2, of="ratio")
    report(f"signed click to 200 at {rate:.0f}/s, p95", ms * share(ours, 0.95), ms * share(theirs, 0.95), "ms", None)
    report(f"signed click to 200 at {rate:.0f}/s, p99", ms * share(ours, 0.99), ms * share(theirs, 0.99), "ms", 100)


async def _waiting(desk: Desk) -> Post:
    """A run that waits for a decision, and its card."""
    driver = desk.workspace.driver

    async def offered(label: str) -> Post:
        found = await driver.wait_for(lambda: [p for p in driver.read(HERE) if label in p.buttons], 20, label)
        return found[-1]

    await driver.slash("ana", HERE, "/rollback", OPENING, patience=5)
    await driver.click("ana", await offered(START), START, patience=5)
    return await offered(BACKEND)


@dataclass
class Shot:
    """Clicks on one button, each another one."""

    client: aiohttp.ClientSession
    secret: str
    card: Post
    told: str
    n: int = 0

    async def fire(self, url: str, rate: float, seconds: float) -> list[float]:
        """Seconds that each click took, from when it was due."""
        begin = time.perf_counter()
        shots = []
        for i in range(int(rate * seconds)):
            due = begin + i / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            shots.append(asyncio.create_task(self._one(url, self._body(), due)))
        return list(await asyncio.gather(*shots))

    async def _one(self, url: str, body: str, due: float) -> float:
        at = str(int(time.time()))
        signed = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature(self.secret, at, body)}
        async with self.client.post(url, data=body, headers={**FORM, **signed}) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{url} answered {answer.status}")
        return time.perf_counter() - due

    def _body(self) -> str:
        """A payload as Slack makes it, with the whole message in it."""
        self.n += 1
        row = next(b for b in self.card.blocks if b["type"] == "actions")
        button = next(e for e in row["elements"] if e["type"] == "button")
        pressed = {k: button[k] for k in ("type", "action_id", "value", "text")}
        payload = {
            "type": "block_actions", "team": {"id": TEAM}, "api_app_id": "A0PLAYGRND", "token": "x",
            "user": {"id": IDS["fay"], "team_id": TEAM, "username": "fay"}, "trigger_id": f"1.2.{self.n}",
            "channel": {"id": HERE_ID, "name": HERE}, "response_url": self.told,
            "container": {"type": "message", "channel_id": HERE_ID, "message_ts": self.card.ts},
            "message": {"ts": self.card.ts, "thread_ts": self.card.thread_ts, "text": self.card.text,
                        "blocks": list(self.card.blocks)},
            "actions": [{**pressed, "block_id": row["block_id"], "action_ts": f"1.{self.n}"}],
        }  # fmt: skip
        return urlencode({"payload": json.dumps(payload)})


@asynccontextmanager
async def _sink() -> AsyncIterator[tuple[str, list[str]]]:
    """Where people are told things: its address, and what was said so far."""
    heard: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(await request.text())
        return web.Response(text="ok")

    server = web.Application()
    server.router.add_post("/told", hear)
    async with _listening(server) as url:
        yield url, heard


@asynccontextmanager
async def _listening(server: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _bare(secret: str) -> AsyncIterator[str]:
    """Bare Bolt in a process of its own: its address."""
    bare = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.slack", "--bare", secret, stdout=asyncio.subprocess.PIPE
    )
    try:
        if bare.stdout is None:
            raise RuntimeError("bare Bolt says nothing")
        yield (await bare.stdout.readline()).decode().strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            bare.kill()
        await bare.wait()


async def serve_bare(secret: str) -> None:
    """As little as can acknowledge a click."""

    async def known(team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=team_id)

    app = AsyncApp(signing_secret=secret, authorize=known, process_before_response=True)

    async def nothing(ack: Any) -> None:
        await ack()

    async def events(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

    app.action("do:approve:backend")(nothing)
    server = web.Application()
    server.router.add_post(PATH, events)
    async with _listening(server) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


# -- runs --------------------------------------------------------------------------------------------------------------

STARTS, WALK = 300.0, 600.0
"""Seconds in which the runs begin, and that each takes."""
STEP, DECISIONS, CHANNELS = 12.0, 4, 4
"""Seconds between two changes of a run; its decisions; incident channels that all runs share."""


@dataclass
class Story:
    """What happens in one run, by the second. posts: what is to be seen so far."""

    run: str
    channel: str
    changes: list[tuple[float, str]]
    posts: dict[str, Wanted] = field(default_factory=dict)


async def runs(n: int = 20) -> None:
    """Twenty runs at once."""
    stories = _stories(n)
    with tempfile.TemporaryDirectory() as folder:
        async with _board(Path(folder)) as board:
            asked, late = await _walk(board, stories), []
            for (run, name), at in asked.items():
                late.append(max(0.0, _posted(board, run, name) - at))
            refused = [c for c in board.slack.web_api.log if c.error == "ratelimited"]
            doubled = [k for i in range(CHANNELS) for k, count in board.slots(f"inc-{i}").items() if count > 1]
            shown = [c for c in board.slack.web_api.log if not c.error]
    queue = _queued(stories)
    if doubled:
        raise RuntimeError(f"posted twice: {doubled}")
    report(f"decision to thread, {n} live runs, p50", share(late, 0.5), share(queue, 0.5), "s", None)
    report(f"decision to thread, {n} live runs, p95", share(late, 0.95), share(queue, 0.95), "s", 1)
    report(f"decision to thread, {n} live runs, worst", max(late), max(queue), "s", None)
    report(f"answers 429 among all, {n} live runs", len(refused), len(shown), "", 0)
    report(f"calls for all changes, {n} live runs", len(shown), sum(len(s.changes) for s in stories), "", None)


def _stories(n: int) -> list[Story]:
    chance = random.Random(20)
    found = []
    for i in range(n):
        start = chance.uniform(0, STARTS)
        changes = [(start, "root")]
        changes += [(start + t * STEP + chance.uniform(0, STEP), "step") for t in range(1, int(WALK / STEP))]
        for d in range(DECISIONS):
            asked = start + (d + chance.random()) * WALK / DECISIONS
            changes += [(asked, f"decision.{d}"), (asked + chance.uniform(20, 90), f"decided.{d}")]
        changes += [(start + 5, "news"), (start + WALK, "end")]
        found.append(Story(f"r{i}", f"inc-{i % CHANNELS}", sorted(changes)))
    return found


@asynccontextmanager
async def _board(folder: Path) -> AsyncIterator[Board]:
    """A publisher before a strict workspace, in virtual time."""
    app, clock, url = App(), Clock(1_763_900_000.0, frozen=True), f"sqlite+aiosqlite:///{folder / 'bot.db'}"
    cast = standard_cast(app)
    members = next(c for c in cast.channels if c.name == HERE).members
    places = [Channel(f"C0BENCH{i:03}", f"inc-{i}", list(members)) for i in range(CHANNELS)]
    await asyncio.to_thread(migrations.upgrade, url)
    store, lease = await Store.open(url), FileLease(url)
    try:
        async with Workspace(app=app, cast=Cast(cast.users, cast.groups, [*cast.channels, *places]), clock=clock) as w:
            board = Board(w, clock, store, lease)
            yield board
            await board.publisher.close()
    finally:
        lease.close()
        await store.close()


async def _walk(board: Board, stories: Sequence[Story]) -> dict[tuple[str, str], float]:
    """Everything happens, and everything is shown: (run, slot) of each decision -> when it was asked."""
    begin, asked = board.clock.time(), {}
    coming = sorted((at, s.run, what) for s in stories for at, what in s.changes)
    by_run = {s.run: s for s in stories}
    for at, run, what in coming:
        while board.clock.time() - begin < at:
            board.clock.advance(min(0.25, max(1e-3, at - (board.clock.time() - begin))))
            await board.settle()
        story = by_run[run]
        _change(story, what, at)
        if what.startswith("decision."):
            asked[run, what] = board.clock.time()
        if what == "root":
            await board.open(run, *story.posts.values())
            board.publisher.hint(run)
        else:
            await board.happen(run, *story.posts.values())
        await board.settle()
    await board.after(120.0)
    return asked


def _change(story: Story, what: str, at: float) -> None:
    """What is to be seen after it."""
    kind, _, n = what.partition(".")
    posts, channel = story.posts, f"#{story.channel}"
    posts["root"] = root(f"at {at:.1f}", channel)
    if kind == "decision":
        posts[what] = decision(n, f"decide {n}")
    elif kind == "decided":
        posts[f"decision.{n}"] = decision(n, "done")
    elif kind == "news":
        posts["news"] = news("stakeholders", "we are on it", channel="#status")
    elif kind == "end":
        posts["end"] = Wanted("end", channel, message("the end"), urgency="decision")


def _posted(board: Board, run: str, slot: str) -> float:
    """When Slack had it."""
    for i in range(CHANNELS):
        for post in board.slack.driver.read(f"inc-{i}"):
            if post.metadata and post.metadata["event_payload"] == {"run": run, "slot": slot}:
                return float(post.ts)
    raise RuntimeError(f"{run}/{slot} was never posted")


def _queued(stories: Sequence[Story]) -> list[float]:
    """How long decisions wait in one queue of payloads, of which one is sent a second."""
    free, late = 0.0, []
    for at, what in sorted(c for s in stories for c in s.changes):
        free = max(free + 1.0, at)
        if what.startswith("decision."):
            late.append(free - at)
    return late


async def everything(which: Collection[str]) -> None:
    """All figures."""
    if "clicks" in which:
        await clicks()
    if "runs" in which:
        await runs()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        asyncio.run(serve_bare(sys.argv[2]))
    else:
        asyncio.run(everything(sys.argv[1:] or ("clicks", "runs")))
