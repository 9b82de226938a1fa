"""The bot over HTTP: real sockets, the real engine, and people who get it wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot import wiring
from bot.releases.register import sign
from bot.store.log import TOKENS
from bot.web import app
from bot.web.answers import BODY_LIMIT
from bot.web.doctors import key
from tests.fixtures.lone_shop import Shop
from tests.fixtures.served import served
from tests.fixtures.whole_bot import SECRET, House, fill, upgraded


class Site:
    """A bot, its web server, and people who ask it."""

    def __init__(self, bot: wiring.Bot, house: House, session: aiohttp.ClientSession, runner: web.AppRunner) -> None:
        self.bot, self.house, self.session, self.runner = bot, house, session, runner

    async def ask(
        self,
        person: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and what was answered, as JSON where it is."""
        own = {"Authorization": f"Bearer {self.house.tokens[person]}"} if person else {}
        sent = data if data is not None or body is None else json.dumps(body).encode()
        url = self.house.url + path
        async with self.session.request(method, url, data=sent, headers={**own, **(headers or {})}) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def get(self, path: str, person: str = "eve") -> Any:
        """What is there."""
        status, found = await self.ask(person, "GET", path)
        assert status == 200, found
        return found

    async def open(self, **more: Any) -> str:
        """A rollback that waits for its commander."""
        wanted = {"service": "shop", "reason": "checkout fails", **more}
        status, found = await self.ask("ana", "POST", "/v1/rollbacks", wanted)
        assert status == 201, found
        return str(found["run"])

    async def card(self, run: str, decision: str) -> str:
        """What the card stands for, once the decision is open."""
        async with asyncio.timeout(60):
            while True:
                for d in (await self.get(f"/v1/runs/{run}"))["decisions"]:
                    if d["name"] == decision and d["state"] == "open":
                        return str(d["card"])
                await asyncio.sleep(0.02)

    async def written(self) -> int:
        """Rows of the log, and releases: what a refusal must not change. (Tokens enter it when they are first used.)"""
        async with self.bot.store.snapshot() as snapshot:
            rows = [row async for part in snapshot.rows() for row, _ in part if row.run != TOKENS]
        return len(rows) + sum([len(r.history) for r in await self.bot.releases.all("shop")])


@asynccontextmanager
async def listening(bot: wiring.Bot, house: House) -> AsyncIterator[Site]:
    runner = web.AppRunner(app(bot), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", house.port).start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            yield Site(bot, house, session, runner)
    finally:
        await runner.cleanup()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with whole(tmp_path) as found:
        yield found


@asynccontextmanager
async def whole(folder: Path, database: str = "") -> AsyncIterator[Site]:
    """Everything, on SQLite where no database is named."""
    async with Shop("2.4.1", delay=0.1) as shop:
        house = await asyncio.to_thread(upgraded, House(folder, shop.url, database=database))
        async with wiring.running(house.settings) as bot:
            await fill(bot, house)
            async with listening(bot, house) as found:
                yield found


# -- who asks ----------------------------------------------------------------------------------------------------------


async def test_who_shows_no_good_token_is_told_how_to_get_one(site: Site) -> None:
    for method, path in (("GET", "/v1/me"), ("POST", "/v1/rollbacks"), ("POST", "/v1/releases"), ("GET", "/v1/audit")):
        assert (await site.ask("", method, path))[0] == 401
    for header in (
        "", "Bearer", "Bearer ", "Basic YTpi", "Bearer rbt_unknown", "Bearer nothing", "rbt_unknown",
        "Bearer rbt_" + "x" * 5000, "Bearer rbt_\u00e9", "Bearer rbt_a b",
    ):  # fmt: skip
        status, found = await site.ask("", "GET", "/v1/me", headers={"Authorization": header})
        assert status == 401, found
        assert "rollback-bot token NAME" in found["text"] and found["why"] in ("no-token", "bad-token")


async def test_an_expired_or_revoked_token_stands_for_nobody(site: Site) -> None:
    site.house.tokens["cho"] = await site.bot.tokens.issue("cho", "os:test", life=-1.0)
    assert (await site.ask("cho", "GET", "/v1/me"))[0] == 401
    assert (await site.ask("ben", "GET", "/v1/me"))[0] == 200
    await site.bot.store.revoke_tokens("ben", site.bot.clock())
    assert (await site.ask("ben", "GET", "/v1/me"))[0] == 401


async def test_a_good_token_of_somebody_who_has_left_is_refused_before_any_role(site: Site) -> None:
    site.house.tokens["gone"] = await site.bot.tokens.issue("gone", "os:test")
    status, found = await site.ask("gone", "GET", "/v1/runs")
    assert status == 403 and "not a member" in found["text"]


async def test_a_person_sees_the_roles_they_hold_now(site: Site) -> None:
    assert await site.get("/v1/me", "ben") == {
        "id": "ben", "name": "ben", "kind": "member", "roles": ["approver", "dba"], "on_call": [],
    }  # fmt: skip


async def test_guessing_tokens_is_slow_and_logged_without_the_guess(site: Site, caplog: Any) -> None:
    began = time.monotonic()
    for guess in ("rbt_guess", "rbt_again"):
        await site.ask("", "GET", "/v1/me", headers={"Authorization": f"Bearer {guess}"})
    assert time.monotonic() - began >= 0.58
    told = [r.getMessage() for r in caplog.records if "stands for nobody" in r.getMessage()]
    assert told == ["A token that stands for nobody was shown; by 127.0.0.1 for GET /v1/me (1 since the last line)"]
    assert "guess" not in caplog.text


async def test_tokens_and_the_webhook_secret_are_in_no_answer_and_no_log(site: Site, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [SECRET, *site.house.tokens.values()]
    run = await site.open(reason="it says something")
    for path, body in (
        ("/v1/rollbacks", {"service": "shop", "reason": f"it says {SECRET}"}),
        ("/v1/rollbacks", {"service": "shop", "reason": "checkout fails", "impact": f"it says {SECRET}"}),
        (f"/v1/runs/{run}/commands", {"do": "stop", "reason": f"it says {SECRET}"}),
        ("/v1/releases", {"service": "shop", "version": "2.4.2", "commit": SECRET}),
        ("/v1/releases/shop/2.4.0/ban", {"reason": f"it says {SECRET}"}),
        ("/v1/freezes/shop/overrides", {"reason": f"it says {SECRET}"}),
    ):
        status, no = await site.ask("ana", "POST", path, body)
        assert status == 400 and "looks like a secret (secret)" in no["text"], path
        assert "Say it without the value" in no["text"] and SECRET not in json.dumps(no)
    texts = [
        json.dumps(await site.get(p)) for p in (f"/v1/runs/{run}", f"/v1/runs/{run}/events", "/v1/runs", "/readyz")
    ]
    assert not [s for s in secrets for t in [*texts, caplog.text] if s in t]


# -- runs --------------------------------------------------------------------------------------------------------------


async def test_a_rollback_over_http_from_opening_to_the_audit(site: Site) -> None:
    preview = (await site.ask("ana", "POST", "/v1/previews", {"service": "shop", "reason": "a look"}))[1]
    assert [s["step"] for s in preview["steps"]] == ["start", "quiesce", "switch", "resume", "serves"]
    assert preview["steps"][2]["change"]["edits"] == ["api/release: 2.4.1 → 2.4.0"]
    run = await site.open(to="2.4.0")
    for person, decision in (("ana", "start"), ("cho", "backend")):
        say = {"do": "approve", "decision": decision, "card": await site.card(run, decision)}
        status, found = await site.ask(person, "POST", f"/v1/runs/{run}/commands", say)
        assert status == 200 and found["text"].startswith("Approved")
    seq = 0
    async with asyncio.timeout(60):
        while (news := await site.get(f"/v1/runs/{run}/events?after={seq}&wait=20"))["open"]:
            seq = max([seq, *(e["seq"] for e in news["events"])])
    shown = await site.get(f"/v1/runs/{run}")
    assert shown["outcome"] == "verified" and shown["head"] == (await site.get(f"/v1/runs/{run}/audit"))["head"]
    assert "| cho (approver), cho via http |" in await site.get(f"/v1/runs/{run}/audit?format=markdown")
    page = await site.get(f"/v1/runs/{run}/audit?format=html")
    assert page.startswith("<!doctype html>") and "<b>Verified</b> after" in page and shown["head"] in page
    assert (await site.get("/v1/audit"))["ok"]
    assert [r["run"] for r in (await site.get("/v1/runs?service=shop&open=false"))["runs"]] == [run]
    status, forward = await site.ask("ana", "POST", f"/v1/runs/{run}/forward", {"reason": "it was not us"})
    assert status == 201 and forward["title"] == "Roll forward of shop: 2.4.0 → 2.4.1"


async def test_a_no_is_told_by_kind_with_why_and_who_can(site: Site) -> None:
    run = await site.open()
    commands = f"/v1/runs/{run}/commands"
    wanted = {"service": "shop", "reason": "checkout fails"}
    before = await site.written()
    for person, path, body, status, why in (
        ("cho", "/v1/rollbacks", wanted, 403, "not-yours"),
        ("ana", "/v1/rollbacks", wanted, 409, "not-now"),
        ("ana", "/v1/rollbacks", {**wanted, "service": "shp"}, 404, "unknown"),
        ("ana", "/v1/rollbacks", {**wanted, "service": "other"}, 404, "unknown"),
        ("ana", "/v1/rollbacks", {**wanted, "reason": "x"}, 400, "bad-input"),
        ("ana", commands, {"do": "approve", "decision": "start", "card": "0" * 12}, 409, "stale"),
        ("ana", commands, {"do": "approve", "decision": "strat", "card": "0"}, 404, "unknown"),
        ("eve", commands, {"do": "approve", "decision": "start", "card": "0"}, 403, "not-yours"),
        ("eve", commands, {"do": "abort", "reason": "no good"}, 403, "not-yours"),
        ("ana", commands, {"do": "resume"}, 409, "not-now"),
        ("ana", "/v1/runs/nowhere/commands", {"do": "resume"}, 404, "unknown"),
        ("ana", "/v1/runs/nowhere/forward", {"reason": "go on"}, 404, "unknown"),
        ("ana", f"/v1/runs/{run}/forward", {"reason": "go on"}, 409, "not-now"),
        ("dee", commands, {"do": "take"}, 409, "not-now"),
    ):
        found = await site.ask(person, "POST", path, body)
        assert (found[0], found[1]["why"]) == (status, why), found
        assert found[1]["text"].endswith((".", "!")) and isinstance(found[1]["who_can"], list)
    assert (await site.ask("eve", "POST", commands, {"do": "abort", "reason": "no good"}))[1]["who_can"] == ["ana"]
    assert await site.written() == before


async def test_a_click_that_arrives_twice_counts_once_for_its_person_only(site: Site) -> None:
    run = await site.open()
    path = f"/v1/runs/{run}/commands"
    key = {"Idempotency-Key": "click-1"}
    assert (await site.ask("ana", "POST", path, {"do": "stop"}, headers=key))[0] == 200
    assert (await site.ask("ana", "POST", path, {"do": "resume"}))[0] == 200
    status, found = await site.ask("ana", "POST", path, {"do": "stop"}, headers=key)
    assert (status, found["why"]) == (409, "already")
    assert (await site.ask("dee", "POST", path, {"do": "stop"}, headers=key))[0] == 200
    for bad in ("", "x" * 129, "a b", "\u00e9"):
        assert (await site.ask("ana", "POST", path, {"do": "resume"}, headers={"Idempotency-Key": bad}))[0] == 400


async def test_opening_twice_with_one_key_opens_one(site: Site) -> None:
    wanted = {"service": "shop", "reason": "checkout fails"}
    asks = [site.ask("ana", "POST", "/v1/rollbacks", wanted, headers={"Idempotency-Key": "k"}) for _ in range(5)]
    assert sorted([s for s, _ in await asyncio.gather(*asks)]) == [201, 409, 409, 409, 409]


async def test_a_long_poll_ends_with_news_with_progress_by_itself_and_at_shutdown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.web.site.LONGEST_WAIT", 600.0)
    run = await site.open()
    seq = (await site.get(f"/v1/runs/{run}"))["seq"]
    path = f"/v1/runs/{run}/events?after={seq}"
    assert (await site.get(f"{path}&wait=0.1"))["events"] == []
    waiting = asyncio.create_task(site.get(f"{path}&wait=600"))
    await site.ask("ana", "POST", f"/v1/runs/{run}/commands", {"do": "stop", "reason": "wait"})
    async with asyncio.timeout(60):
        news = await waiting
    assert [e["text"] for e in news["events"]] == ["ana stopped the run: wait"]
    waiting = asyncio.create_task(site.get(f"/v1/runs/{run}/events?after={news['seq']}&since={news['now']}&wait=600"))
    await site.bot.engine.progress(run, "switch", "3 of 6 pods", 3, 6)
    async with asyncio.timeout(60):
        assert (await waiting)["events"] == []
    waiting = asyncio.create_task(site.get(f"/v1/runs/{run}/events?after={news['seq']}&wait=600"))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(60):
        await site.runner.cleanup()
        assert (await waiting)["events"] == []


# -- what cannot be read -----------------------------------------------------------------------------------------------

MALFORMED = [
    (b"", "no JSON"),
    (b"{", "line 1, column 2"),
    (b"\xff\xfe", "UTF-8"),
    (b"null", "must be an object"),
    (b"[]", "must be an object"),
    (b'"stop"', "must be an object"),
    (b"{}", "do: is missing"),
    (b'{"do": "aprove"}', "did you mean 'approve'?"),
    (b'{"do": ["stop"]}', "do: "),
    (b'{"do": "retry"}', "step: is missing"),
    (b'{"do": "retry", "step": 1}', "step: must be a valid string"),
    (b'{"do": "retry", "stepp": "x"}', "stepp: is not known here; did you mean 'step'?"),
    (b'{"do": "stop", "do": "stop"}', "'do' is there twice"),
    (b'{"do": "stop", "reason": null}', "reason: must be a valid string"),
    (b'{"do": "stop", "reason": "\\u001b[2J"}', "reason: holds a character"),
    (b'{"do": "stop", "reason": "\\ud800"}', "reason: holds a character"),
    (b'{"do": "stop", "reason": "' + b"x" * 2001 + b'"}', "at most 2000"),
    (b'{"do": "hand-over", "step": "x", "to": "ben", "until": NaN, "reason": "abcd"}', "NaN"),
    (b'{"do": "hand-over", "step": "x", "to": "ben", "until": 1e999, "reason": "abcd"}', "too large"),
    (b'{"do": "hand-over", "step": "x", "to": "ben", "until": "soon", "reason": "abcd"}', "until: must be a"),
    (b'{"do": "stop", "reason": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested"),
    (b'{"do": "retarget", "reason": "abcd", "release": {"version": "2.3.9", "imgs": {}}}', "release.imgs"),
    (b'{"do": "retarget", "reason": "abcd", "release": {"version": "2.3.9", "images": {"a": "b"}}}', "version only"),
]  # fmt: skip


async def test_what_cannot_be_read_is_told_with_its_place_and_writes_nothing(site: Site) -> None:
    run = await site.open()
    before = await site.written()
    for data, says in MALFORMED:
        status, found = await site.ask("ana", "POST", f"/v1/runs/{run}/commands", data=data)
        assert status == 400, (data, found)
        assert found["why"] == "bad-input" and says in found["text"], (data, found)
    assert await site.written() == before


async def test_the_other_bodies_are_read_as_strictly(site: Site) -> None:
    good = {"service": "shop", "reason": "checkout fails"}
    for path, body in (
        ("/v1/rollbacks", {**good, "despite": "yes"}),
        ("/v1/rollbacks", {**good, "version": "2.4.0"}),
        ("/v1/previews", {"service": "shop"}),
        ("/v1/runs/-/forward", {}),
        ("/v1/releases", {"service": "shop", "version": "1", "x": 1}),
        ("/v1/releases", {"service": "shop", "version": "1", "images": []}),
        ("/v1/releases", {"service": "shop", "version": "1", "serving_since": "2026-01-01T00:00"}),
        ("/v1/releases", {"service": "shop", "version": "a b"}),
        ("/v1/releases/shop/2.4.0/ban", {"reason": ""}),
        ("/v1/releases/shop/2.4.0/ban", {"why": "x"}),
        ("/v1/releases/shop/2.4.0/serving", {"at": 1e300}),
        ("/v1/releases/shop/2.4.0/bad", {"reason": "leaks", "at": 5}),
    ):
        status, found = await site.ask("ana", "POST", path, body)
        assert status == 400, (path, body, found)
    for query in ("open=yes", "limit=0", "limit=101", "limit=x", "service=%00", "service=a/b"):
        assert (await site.ask("ana", "GET", f"/v1/runs?{query}"))[0] == 400, query
    run = await site.open()
    for query in ("after=-1", "after=x", "wait=nan", "wait=-1", "since=inf", "after=1e400"):
        assert (await site.ask("ana", "GET", f"/v1/runs/{run}/events?{query}"))[0] == 400, query
    assert (await site.ask("ana", "GET", f"/v1/runs/{run}/audit?format=pdf"))[0] == 400


async def test_a_time_beyond_all_calendars_is_refused_and_cannot_break_what_is_shown(site: Site) -> None:
    run = await site.open()
    commands = f"/v1/runs/{run}/commands"
    for until in (1e300, 0, -1e300, site.bot.clock() + 400 * 86400):
        body = {"do": "hand-over", "step": "quiesce", "to": "ben", "until": until, "reason": "for ever"}
        status, found = await site.ask("ana", "POST", commands, body)
        assert status == 400 and "within a year" in found["text"]


async def test_a_body_that_is_too_large_or_never_ends_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    status, found = await site.ask("ana", "POST", "/v1/rollbacks", data=b" " * (BODY_LIMIT + 1))
    assert status == 413 and found["why"] == "too-large"

    monkeypatch.setattr("bot.web.requests.BODY_TIME", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.house.port)
    who = f"Authorization: Bearer {site.house.tokens['ana']}"
    writer.write(f"POST /v1/rollbacks HTTP/1.1\r\nHost: x\r\n{who}\r\nContent-Length: 99\r\n\r\n{{".encode())
    async with asyncio.timeout(60):
        assert b" 408 " in await reader.readline()
    writer.close()


async def test_unknown_addresses_and_methods_are_answered_in_json(site: Site) -> None:
    for path in (
        "/",
        "/v1",
        "/v2/runs",
        "/v1/runs/",
        "/v1/runs/a/b/c",
        "/v1/runs/%2e%2e",
        "/v1/runs/%00",
        "/v1/runs/a%0ab",
    ):
        status, found = await site.ask("ana", "GET", path)
        assert status == 404 and found["why"] == "unknown", (path, found)
    status, found = await site.ask("ana", "DELETE", "/v1/me")
    assert status == 405 and found["text"] == "Not DELETE here; what works: GET, HEAD."


async def test_nothing_that_can_be_sent_breaks_or_hangs_it(tmp_path: Path, database_url: str) -> None:
    async with whole(tmp_path, database_url) as site:
        await site.open()
        await _everything(site, random.Random(4211), times=400)
        assert (await site.get("/v1/audit"))["ok"]


async def _everything(site: Site, dice: random.Random, times: int) -> None:
    junk = (Path(__file__).parents[1] / "plan" / "bad_plans.txt").read_bytes()
    for _ in range(times):
        method, path, headers, data = _anything(dice, junk)
        async with asyncio.timeout(60):
            try:
                status, found = await site.ask(
                    dice.choice(["ana", "cho", "eve"]), method, path, data=data, headers=headers
                )
            except aiohttp.InvalidURL:
                continue
        assert status < 500, (method, path, headers, data, found)


WORDS = [
    "-",
    "shop",
    "shop",
    "other",
    "..",
    "%00",
    "%ff",
    "a" * 300,
    "\u00e9",
    "2.4.0",
    "2.3.9",
    "'--",
    "serving",
    "ban",
]
ROUTES = [
    "POST /v1/rollbacks", "POST /v1/previews", "GET /v1/runs", "GET /v1/runs/{}", "GET /v1/runs/{}/events",
    "POST /v1/runs/{}/commands", "POST /v1/runs/{}/commands", "POST /v1/runs/{}/commands", "POST /v1/runs/{}/forward",
    "GET /v1/runs/{}/audit", "GET /v1/audit", "POST /v1/releases", "GET /v1/releases/{}", "POST /v1/releases/{}/{}/{}",
    "GET /{}/{}", "GET /healthz", "PUT /v1/runs", "DELETE /v1/runs/{}", "OPTIONS /v1/releases",
]  # fmt: skip
VALUES: list[Any] = [
    "", "x", "shop", 0, -1, 1e308, None, True, [], {}, ["a"], {"a": 1}, "\x00", "\ud800", "a" * 3000, 10**400,
    "quiesce", "start", "backend", "ben", "because it fails", {"version": "2.3.9"}, {"version": "\x00"}, 1e10,
]  # fmt: skip
FIELDS = [
    "do", "service", "reason", "step", "decision", "card", "to", "until", "release", "version", "images", "at", "plan",
    "proposal", "note", "phrase", "serving_since", "zzz",
]  # fmt: skip
QUERY = [*FIELDS, "after", "limit", "format", "open", "since"]
BODIES: list[dict[str, Any]] = [
    *({"do": do, "step": "quiesce", "reason": "as a test"} for do in ("skip", "accept", "undo", "restore", "adopt")),
    *({"do": do, "release": {"version": "2.3.9"}, "reason": "as a test"} for do in ("retarget", "admit")),
    *({"do": do, "decision": "start", "card": "x", "reason": "test"} for do in ("approve", "break-glass", "decline")),
    *({"do": do} for do in ("stop", "resume", "take", "close", "nothing")),
    {"do": "retry", "step": "quiesce"}, {"do": "agree", "proposal": "x"}, {"do": "offer", "to": "dee"},
    {"do": "hand-over", "step": "quiesce", "to": "ben", "until": 2e9, "reason": "as a test"}, {"reason": "as a test"},
    {"service": "shop", "reason": "as a test"}, {"service": "other", "version": "1.0", "images": {}},
]  # fmt: skip


def _anything(dice: random.Random, junk: bytes) -> tuple[str, str, dict[str, str], bytes | None]:
    """A request, more or less as nobody should send it."""
    method, path = dice.choice(ROUTES).split()
    path = path.format(*(dice.choice(WORDS) for _ in range(path.count("{}"))))
    if dice.random() < 0.3:
        path += "?" + "&".join(f"{dice.choice(QUERY)}={dice.choice(WORDS)}" for _ in range(2))
    headers: dict[str, str] = {}
    if dice.random() < 0.2:
        headers["Idempotency-Key"] = dice.choice(["", "a", "a" * 500, "\u00e9", "a b"])
    if dice.random() < 0.2:
        headers["Content-Type"] = dice.choice(["text/plain; charset=nonsense", "multipart/form-data", "x"])
    if dice.random() < 0.03:
        headers["X-Rollback-Signature"] = dice.choice(["", "v0=", "\u00e9"])
    body = dict(dice.choice(BODIES))
    for _ in range(dice.choice([0, 0, 1, 2])):
        body[dice.choice([*body, *FIELDS])] = dice.choice(VALUES)
    start = dice.randrange(len(junk))
    odd = dice.choice([None, b"", junk[start : start + dice.randrange(200)]])
    data = odd if dice.random() < 0.2 else json.dumps(body).encode()
    return method, path, headers, None if method == "GET" else data


# -- releases ----------------------------------------------------------------------------------------------------------


async def send(site: Site, body: Any, secret: str = SECRET, at: float | None = None) -> tuple[int, Any]:
    """What CI sends."""
    data, stamp = json.dumps(body).encode(), str(int(site.bot.clock() if at is None else at))
    headers = {"X-Rollback-Timestamp": stamp, "X-Rollback-Signature": sign(secret, stamp, data)}
    return await site.ask("", "POST", "/v1/releases", data=data, headers=headers)


async def test_ci_registers_a_release_by_a_signed_webhook_and_nothing_else(site: Site) -> None:
    body = {"service": "shop", "version": "2.4.2", "commit": "abc"}
    assert (await send(site, body))[0] == 201
    assert (await send(site, body))[0] == 200
    status, found = await send(site, {**body, "commit": "def"})
    assert status == 409 and "another content" in found["text"]
    history = next(r for r in (await site.get("/v1/releases/shop"))["releases"] if r["version"] == "2.4.2")["history"]
    assert [(e["what"], e["by"]) for e in history] == [("registered", "ci")]
    for other in ({"secret": "wrong"}, {"at": site.bot.clock() - 301}, {"at": site.bot.clock() + 360}):
        status, found = await send(site, body, **other)
        assert status == 401 and found["why"] == "bad-signature"
    headers = {"X-Rollback-Timestamp": "1", "X-Rollback-Signature": "v0=x"}
    assert (await site.ask("", "POST", "/v1/releases/shop/2.4.2/ban", {"reason": "abcd"}, headers=headers))[0] == 401
    assert (await site.ask("", "GET", "/v1/releases/shop", headers=headers))[0] == 401


async def test_without_a_shared_secret_there_is_no_webhook(site: Site) -> None:
    quiet = _With(site.bot, settings=site.bot.settings.model_copy(update={"webhook_secret": None}))
    async with served(app(quiet)) as at:
        url = f"http://{at}/v1/releases"
        async with site.session.post(url, data=b"{}", headers={"X-Rollback-Signature": sign("", "0", b"{}")}) as answer:
            assert answer.status == 401 and (await answer.json())["why"] == "no-webhook"


class _With:
    """A bot with something else in one place."""

    def __init__(self, bot: wiring.Bot, **other: Any) -> None:
        self._bot, self._other = bot, other

    def __getattr__(self, name: str) -> Any:
        return self._other[name] if name in self._other else getattr(self._bot, name)


async def test_releases_are_changed_by_commanders_only(site: Site) -> None:
    for person in ("cho", "eve"):
        for path, body in (
            ("/v1/releases", {"service": "shop", "version": "2.4.2"}),
            ("/v1/releases/shop/2.4.0/ban", {"reason": "it leaks"}),
            ("/v1/releases/shop/2.4.0/serving", {}),
        ):
            assert (await site.ask(person, "POST", path, body))[0] == 403
    status, found = await site.ask("ana", "POST", "/v1/releases/shop/2.4.0/ban", {"reason": "it leaks"})
    assert status == 200 and found["state"] == "banned"
    for version, what in (("9.9.9", "ban"), ("2.4.0", "praise"), ("a%20b", "ban")):
        assert (await site.ask("ana", "POST", f"/v1/releases/shop/{version}/{what}", {"reason": "it leaks"}))[0] == 404
    assert (await site.ask("ana", "POST", "/v1/releases/shp/2.4.0/ban", {"reason": "it leaks"}))[0] == 404


# -- trouble -----------------------------------------------------------------------------------------------------------


async def test_probes_need_no_token_and_a_target_that_is_down_is_named_without_unreadying_the_bot(site: Site) -> None:
    assert await site.ask("", "GET", "/healthz") == (200, "alive\n")
    assert await site.ask("", "GET", "/readyz") == (200, "ready\n"), "a stranger hears no more"
    status, found = await site.ask("eve", "GET", "/readyz")
    assert status == 200 and {"lease: fine", "database: fine", "shop/api: fine"} <= set(found.splitlines())
    assert (await site.ask("", "GET", "/readyz", headers={"Authorization": "Bearer rbt_x"}))[0] == 401
    doctor = {"Authorization": f"Bearer {await asyncio.to_thread(key, site.bot.files)}"}
    assert (await site.ask("", "GET", "/readyz", headers=doctor))[1] == found
    assert (await site.ask("", "GET", "/v1/runs", headers=doctor))[0] == 401, "it opens nothing else"
    site.bot.lease.close()
    status, found = await site.ask("eve", "GET", "/readyz")
    assert status == 503 and "lease: lost" in found


async def test_strangers_cost_a_look_now_and_then_and_members_see_what_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    ready = wiring.Bot.ready

    async def counted(bot: wiring.Bot) -> Mapping[str, str]:
        looks.append(1)
        return await ready(bot)

    monkeypatch.setattr(wiring.Bot, "ready", counted)
    monkeypatch.setattr("bot.web.site.READY_KEPT", 3600.0)
    assert await asyncio.gather(*(site.ask("", "GET", "/readyz") for _ in range(20))) == [(200, "ready\n")] * 20
    assert len(looks) <= 2, "those who came while the first was looked up share a second look"
    for _ in range(2):
        assert "lease: fine" in (await site.ask("eve", "GET", "/readyz"))[1]
    assert len(looks) >= 3


async def test_trouble_with_the_database_is_a_503_that_says_what_to_do(site: Site) -> None:
    run = await site.open()
    with contextlib.closing(sqlite3.connect(site.house.folder / "bot.db")) as db:
        db.execute("ALTER TABLE head RENAME TO elsewhere")
        for method, path, body in (
            ("GET", "/v1/runs", None), ("GET", "/v1/audit", None), ("POST", f"/v1/runs/{run}/commands", {"do": "stop"}),
            ("POST", "/v1/rollbacks", {"service": "shop", "reason": "checkout fails"}),
        ):  # fmt: skip
            status, found = await site.ask("ana", method, path, body)
            assert status == 503 and "Next: run `rollback-bot db upgrade`" in found["text"], found
        db.execute("ALTER TABLE elsewhere RENAME TO head")
        db.execute("BEGIN EXCLUSIVE")
        status, found = await site.ask("ana", "POST", f"/v1/runs/{run}/commands", {"do": "stop"})
        assert status == 503 and "locked" in found["text"]
        db.rollback()
    assert (await site.ask("ana", "POST", f"/v1/runs/{run}/commands", {"do": "stop"}))[0] == 200


async def test_a_fault_of_ours_is_logged_under_a_number_and_shows_nothing_of_its_inside(
    site: Site, caplog: Any
) -> None:
    broken = _With(site.bot, rollbacks=None)
    async with served(app(broken)) as at:
        url = f"http://{at}/v1/runs/x"
        async with site.session.get(url, headers={"Authorization": f"Bearer {site.house.tokens['eve']}"}) as answer:
            found = await answer.json()
            assert answer.status == 500 and "NoneType" not in json.dumps(found)
        ref = found["text"].split("under ")[1].rstrip(".")
        assert ref in caplog.text and "NoneType" in caplog.text


async def test_a_plan_with_mistakes_opens_nothing_and_names_them(site: Site) -> None:
    plan = site.house.folder / "plans" / "standard.yaml"
    plan.write_text(plan.read_text().replace("service.quiesce", "service.quiese"))
    status, found = await site.ask("ana", "POST", "/v1/rollbacks", {"service": "shop", "reason": "checkout fails"})
    assert (status, found["why"]) == (409, "bad-plan")
    assert "did you mean 'service.quiesce'?" in found["text"] and "1 mistake;" in found["text"]
    assert (await site.get("/v1/runs"))["runs"] == []


async def test_a_body_that_is_not_encoded_as_it_says_is_a_bad_request(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.house.port)
    head = "POST /v1/rollbacks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: Bearer {site.house.tokens['ana']}\r\n".encode())
    writer.write(b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}')
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 400 ") and "Content-Encoding" in answer.partition("\r\n\r\n")[2]
