"""A whole bot to talk to: a shop that really runs, a catalogue, people with tokens, the engine and its web server.

It runs on a thread of its own, so that the command line, which is not asynchronous, meets it over a real socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from click.testing import CliRunner, Result
from pydantic import SecretStr

from bot import wiring
from bot.catalogue import Release
from bot.cli import root
from bot.playground.free_port import free_port
from bot.playground.single import Shop
from bot.settings import Settings
from bot.web import app
from tests.databases import filled

T = TypeVar("T")

OS_USER = pwd.getpwuid(os.getuid()).pw_name
SECRET = "webhook-secret-of-the-tests"
ROLES = {"commander": ["ana", "dee", OS_USER], "approver": ["ben", "cho"], "dba": ["ben"]}
PEOPLE = ["ana", "ben", "cho", "dee", "eve", OS_USER]

PLAN = """\
name: standard
tracks:
  prepare:
    - {id: start, title: Start the rollback, gate: {by: {commander: 1}, self_approval: true}}
  backend:
    - id: quiesce
      title: Go read-only
      uses: service.quiesce
      after: [start]
      gate: {group: backend, title: Bring the backend back, by: {approver: 1}}
      with: {target: api}
    - id: switch
      title: Switch the release
      uses: release.switch
      gate: {group: backend}
      with: {target: api, release: "${target.version}"}
    - {id: resume, title: Take writes again, undo: quiesce}
  verify:
    - id: serves
      title: Serves the target release
      uses: health.serving
      after: [resume]
      phase: verify
      within: 20s
      every: 1s
      with: {target: api, release: "${target.version}"}
"""
TYPED = PLAN.replace("by: {approver: 1}}", "by: {approver: 1}, typed_phrase: true}").replace("standard", "typed")


def catalogue(shop: str) -> str:
    """rollback.yaml."""
    roles = "".join(f"  {role}: {{people: [{', '.join(dict.fromkeys(who))}]}}\n" for role, who in ROLES.items())
    people = "".join(f"  {p}: {p}\n" for p in dict.fromkeys(PEOPLE))
    target = f"targets: {{api: {{http: {shop}}}}}"
    return f"people:\n{people}roles:\n{roles}services:\n  shop: {{{target}, floor: 2.3.0}}\n  other: {{{target}}}\n"


@dataclass
class House:
    """Where everything lies. port: of the bot, the same over restarts."""

    folder: Path
    shop: str
    port: int = field(default_factory=free_port)
    tokens: dict[str, str] = field(default_factory=dict)
    database: str = ""
    signing: str = ""
    """The bot's private key."""
    signed_by: str = ""

    def __post_init__(self) -> None:
        self.database = self.database or f"sqlite+aiosqlite:///{self.folder / 'bot.db'}"
        (self.folder / "rollback.yaml").write_text(catalogue(self.shop))
        (self.folder / "plans").mkdir()
        for name, text in (("standard", PLAN), ("typed", TYPED)):
            (self.folder / "plans" / f"{name}.yaml").write_text(text)

    @property
    def settings(self) -> Settings:
        """As the environment of `env` gives them."""
        return Settings(
            database_url=self.database, blobs_url=f"file:{self.folder / 'files'}", plans=self.folder / "plans",
            catalogue=self.folder / "rollback.yaml", port=self.port, url=self.url, token=None, tick=0.1,
            webhook_secret=SecretStr(SECRET), signing_key=SecretStr(self.signing) if self.signing else None,
            signed_by=self.signed_by,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """Where the bot is."""
        return f"http://127.0.0.1:{self.port}"

    def env(self, person: str = "") -> dict[str, str | None]:
        """What a person's shell holds."""
        own = {
            "ROLLBACK_DATABASE_URL": self.database, "ROLLBACK_BLOBS_URL": f"file:{self.folder / 'files'}",
            "ROLLBACK_CATALOGUE": str(self.folder / "rollback.yaml"), "ROLLBACK_PLANS": str(self.folder / "plans"),
            "ROLLBACK_PORT": str(self.port), "ROLLBACK_URL": self.url, "ROLLBACK_TICK": "0.1",
            "ROLLBACK_TOKEN": self.tokens.get(person), "ROLLBACK_SIGNING_KEY": self.signing,
            "ROLLBACK_SIGNED_BY": self.signed_by,
        }  # fmt: skip
        return {k: None for k in os.environ if k.startswith("ROLLBACK_")} | own

    def say(self, person: str, *words: str, input: str | None = None) -> Result:
        """What a person types, and what becomes of it."""
        return CliRunner().invoke(root, [*words], env=self.env(person), input=input, prog_name="rollback-bot")

    def json(self, person: str, *words: str) -> Any:
        """The same for programs."""
        found = self.say(person, *words, "--json")
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)


class Running:
    """The bot of a house, on its own thread, until stopped."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._runner = asyncio.Runner()
        self.loop = self._runner.get_loop()
        self._stop = asyncio.Event()
        self._up: Future[wiring.Bot] = Future()
        self._thread = threading.Thread(target=self._work, name="bot")
        self._thread.start()
        self.bot = self._up.result(30)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Something done on the bot's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        """Everything down. Harmless again."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)

    def _work(self) -> None:
        try:
            with self._runner:
                self._runner.run(self._serve())
        except BaseException as e:
            if self._up.done():
                raise
            self._up.set_exception(e)

    async def _serve(self) -> None:
        async with wiring.running(self.house.settings) as bot:
            runner = web.AppRunner(app(bot, metrics=bot.metrics.answer), access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.house.port).start()
            self._up.set_result(bot)
            await self._stop.wait()
            await runner.cleanup()


def stocked(house: House) -> House:
    """With a database, tokens for everybody, and three releases of which the last is bad and serves."""
    asyncio.run(_stock(upgraded(house)))
    return house


def upgraded(house: House) -> House:
    """With a database."""
    filled(house.database)
    return house


async def _stock(house: House) -> None:
    async with wiring.offline(house.settings) as bot:
        await fill(bot, house)


async def fill(bot: wiring.Offline, house: House) -> None:
    """Tokens and releases."""
    now = bot.clock()
    for person in dict.fromkeys(PEOPLE):
        house.tokens[person] = await bot.tokens.issue(person, f"slack:{person}")
    for version, days in (("2.3.9", 20.0), ("2.4.0", 6.0), ("2.4.1", 0.1)):
        digest = "sha256:" + version.replace(".", "").ljust(64, "0")
        release = Release(version, images={"shop-api": f"registry.example/shop-api@{digest}"})
        await bot.releases.record("shop", release, by="ci", serving_since=now - days * 86400)


@contextmanager
def shop_running() -> Iterator[Shop]:
    """A shop that serves the bad release, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="shop")
    thread.start()
    shop = Shop("2.4.1", delay=0.1)
    asyncio.run_coroutine_threadsafe(shop.start(), loop).result(10)
    try:
        yield shop
    finally:
        asyncio.run_coroutine_threadsafe(shop.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
