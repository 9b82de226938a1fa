"""The whole bot and a Slack workspace, over real sockets: what scenario tests stand on.

    @both                                        # once by Socket Mode, once by signed HTTP; without it by the first
    async def test_...(desk: Desk) -> None:
        seen = await desk.slash("ana", "shop to 2.4.0 because checkout fails")
        run = await desk.run()                   # the open run, as the log has it
        await desk.until(lambda r: r.asked["backend"].opened)
        await desk.click("cho", card, "Bring the backend back")

`desk.workspace` is Slack (`.faults`, `.clock`, `.driver`, `.calls()`), `desk.bot` the bot as wired for production,
`desk.shop` what it rolls back; `desk.restart()` ends the bot and starts it again on the same database, `desk.down()`
and `desk.up()` are the halves of that. `desk_in` makes one with settings of its own.

Slack and the bot share one clock, which runs like the machine's and can be moved on: `desk.later(600)`. Whoever waits
for a message moves it on himself, so that the publisher's pauses cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
from aiohttp import web
from pydantic import SecretStr

from bot import wiring
from bot.catalogue import Release
from bot.playground.workspace import App, Modal, Outcome, Post, Workspace
from bot.playground.workspace.app import EVENTS
from bot.run.state import Run
from bot.settings import Settings
from bot.slack.hear.app import PATH
from bot.web import app
from tests.fixtures.databases import copy_to
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import PLAN, TYPED

T = TypeVar("T")
Mode = Literal["socket", "http"]
MODES: tuple[Mode, ...] = ("socket", "http")
HERE, HERE_ID = "inc-4211", "C0INC04211"
PAUSE = 0.15
"""Real seconds in which something may come of itself, before the clock is moved on."""
IDS = {
    "ana": "U0ANA00001", "ben": "U0BEN00001", "cho": "U0CHO00001", "dee": "U0DEE00001", "eli": "U0ELI00001",
    "fay": "U0FAY00001", "gus": "U0GUS00001", "sam": "U0SAM00001", "zoe": "U0ZOE00001",
}  # fmt: skip
OPENING = "shop to 2.4.0 because checkout fails"

CATALOGUE = """\
roles:
  commander: {{groups: [S0COMMAND1]}}
  approver: {{groups: [S0APPROVE1], on_call: {{groups: [S0ONCALL01]}}}}
  dba: {{groups: ["@dbas"]}}
services:
  shop:
    channels: {{incident: ["#inc-4211"], stakeholders: ["#status"]}}
    targets: {{api: {{http: {shop}}}}}
    floor: 2.3.0
  other: {{targets: {{api: {{http: {shop}}}}}}}
"""


@dataclass
class Desk:
    """Slack, a shop, and the bot between them. changes: settings of the bot's own."""

    workspace: Workspace
    shop: Shop
    folder: Path
    mode: Mode
    changes: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    _bot: wiring.Bot | None = None
    _up: contextlib.AsyncExitStack | None = None
    _port: int = 0

    # -- the bot ---------------------------------------------------------------------------------------------------

    @property
    def bot(self) -> wiring.Bot:
        """The bot that is up. LookupError while it is down."""
        if self._bot is None:
            raise LookupError("the bot is down")
        return self._bot

    @property
    def settings(self) -> Settings:
        """As an operator would set them."""
        slack = self.workspace.app
        own = {
            "database_url": f"sqlite:///{self.folder / 'bot.db'}", "blobs_url": f"file:{self.folder / 'files'}",
            "plans": self.folder / "plans", "catalogue": self.folder / "rollback.yaml", "port": self._port, "tick": 0.1,
            "slack": self.mode, "slack_url": self.workspace.api_url, "slack_bot_token": SecretStr(slack.bot_token),
            "slack_app_token": SecretStr(slack.app_token), "slack_signing_secret": SecretStr(slack.signing_secret),
            "token": None,
        }  # fmt: skip
        return Settings(**{**own, **self.changes})

    async def up(self) -> None:
        """The bot, as `rollback-bot serve` starts it; connected to Slack if that is up."""
        self._up = contextlib.AsyncExitStack()
        self._bot = await self._up.enter_async_context(wiring.running(self.settings, self.workspace.clock.time))
        runner = web.AppRunner(app(self._bot, others=self._bot.posts), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._up.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        if self.workspace.faults.outage:
            return
        if self.mode == "http":
            await self.workspace.use_http(self.url + PATH)
        else:
            await self.workspace.driver.wait_for(lambda: len(self.workspace.sockets) > 0, 60)

    async def down(self) -> None:
        """The bot ends as on SIGTERM. Harmless again."""
        up, self._up, self._bot = self._up, None, None
        if up is not None:
            await up.aclose()

    async def restart(self) -> None:
        """Down, and up again on the same database and port."""
        await self.down()
        await self.up()

    async def ready(self) -> Mapping[str, str]:
        """What `/readyz` would say."""
        return await self.bot.ready()

    async def later(self, seconds: float) -> None:
        """So much later, for the bot and for Slack."""
        self.workspace.clock.advance(seconds)
        slack = self._bot.slack if self._bot is not None else None
        if slack is not None and slack.publisher is not None:
            for head in await self.bot.store.heads(limit=5):
                slack.publisher.hint(head.run)

    async def shown(self, find: Callable[[], T | None], what: str, within: float = 60.0) -> T:
        """What is found in Slack, once it is there, with the publisher's pauses cut short. TimeoutError."""
        driver = self.workspace.driver
        for _ in range(int(within / PAUSE)):
            with contextlib.suppress(TimeoutError):
                if (found := await driver.wait_for(find, PAUSE)) is not None:
                    return found
            await self.later(1.0)
        raise TimeoutError(f"no {what}, but:\n{driver.transcript(HERE)}")

    # -- people ----------------------------------------------------------------------------------------------------

    async def slash(self, who: str, text: str = "", *, channel: str = HERE) -> Outcome:
        """Somebody types `/rollback ...`."""
        return await self.workspace.driver.slash(who, channel, "/rollback", text, patience=10, alone=True)

    async def click(self, who: str, post: Post, button: str) -> Outcome:
        """Somebody presses a button, or takes an entry of a menu."""
        driver = self.workspace.driver
        press = driver.click if _is_button(post, button) else driver.overflow
        return await press(who, post, button, patience=10, alone=True)

    async def card(self, text: str, *, channel: str = HERE) -> Post:
        """The newest message of the bot that says this, once there is one."""
        return await self.shown(lambda: self.workspace.driver.find(channel, text), f"message saying {text!r}")

    async def button(self, label: str, *, channel: str = HERE) -> Post:
        """The newest message of the bot with a button or menu entry that is called so (`...` may follow)."""
        driver = self.workspace.driver

        def offered() -> Post | None:
            found = [p for p in driver.read(channel) if any(b.rstrip("…") == label for b in p.buttons)]
            return found[-1] if found else None

        return await self.shown(offered, f"button {label!r}")

    async def form(self, who: str, text: str) -> Modal:
        """The modal in front of somebody, once it shows this (a label counts)."""
        driver = self.workspace.driver

        def shown() -> Modal | None:
            modal = driver.modal(who)
            return modal if modal is not None and (text in modal.plain or text in modal.inputs) else None

        found = await driver.wait_for(shown, 5, f"a form with {text!r}")
        assert found is not None
        return found

    def plan(self, name: str) -> str:
        """A plan's text."""
        return (self.folder / "plans" / f"{name}.yaml").read_text()

    # -- the log ---------------------------------------------------------------------------------------------------

    async def run(self) -> Run:
        """The newest run as the log has it. LookupError where there is none."""
        heads = await self.bot.store.heads(limit=1)
        if not heads:
            raise LookupError("nothing was opened")
        return await self.bot.store.load(heads[0].run)

    async def until(self, true: Callable[[Run], object], within: float = 60.0) -> Run:
        """The newest run, once something holds of it. TimeoutError."""
        async with asyncio.timeout(within):
            while True:
                if await self.bot.store.heads(limit=1) and true(run := await self.run()):
                    return run
                await asyncio.sleep(0.02)

    async def holds(self, true: Callable[[], object], within: float = 60.0) -> None:
        """Until something holds that neither Slack nor the log tells; it may have to be awaited. TimeoutError."""
        async with asyncio.timeout(within):
            while True:
                found = true()
                if await found if inspect.isawaitable(found) else found:
                    return
                await asyncio.sleep(0.02)

    async def events(self) -> list[str]:
        """The kinds of the newest run's events."""
        return [e.kind for e in await self.bot.store.events((await self.run()).id)]

    async def events_since(self, decision: str) -> list[str]:
        """The kinds of events behind the one that decided this."""
        rows = await self.bot.store.events((await self.run()).id)
        decided = next(r.seq for r in rows if r.kind == "approved" and f'"{decision}"' in r.body)
        return [r.kind for r in rows if r.seq > decided]


def _is_button(post: Post, label: str) -> bool:
    elements = [e for b in post.blocks for e in b.get("elements", []) if isinstance(e, dict)]
    return any(e.get("type") == "button" and label in (e["text"]["text"], e.get("action_id")) for e in elements)


@asynccontextmanager
async def desk_in(
    folder: Path,
    mode: Mode,
    *,
    start: bool = True,
    stock: Callable[[Desk], Awaitable[None]] | None = None,
    **changes: Any,
) -> AsyncIterator[Desk]:
    """A desk in an empty folder. changes: settings of the bot; start: whether the bot is up; stock: records releases,
    and writes another catalogue or other plans first, where these are to be others."""
    (folder / "plans").mkdir()
    for name, text in (("standard", PLAN), ("typed", TYPED)):
        (folder / "plans" / f"{name}.yaml").write_text(text)
    shop = Shop("2.4.1", delay=0)
    await shop.start()
    (folder / "rollback.yaml").write_text(CATALOGUE.format(shop=shop.url))
    copy_to(folder / "bot.db")
    try:
        async with Workspace(app=App(events=EVENTS), rates=False) as workspace:
            desk = Desk(workspace, shop, folder, mode, changes)
            await (stock or _stock)(desk)
            try:
                if start:
                    await desk.up()
                yield desk
            finally:
                await desk.down()
    finally:
        await shop.stop()


async def _stock(desk: Desk) -> None:
    """Three releases, of which the last is bad and serves."""
    async with wiring.offline(desk.settings) as bot:
        now = bot.clock()
        for version, days in (("2.3.9", 20.0), ("2.4.0", 6.0), ("2.4.1", 0.1)):
            digest = "sha256:" + version.replace(".", "").ljust(64, "0")
            release = Release(version, images={"shop-api": f"registry.example/shop-api@{digest}"})
            await bot.releases.record("shop", release, by="ci", serving_since=now - days * 86400)


both = pytest.mark.parametrize("mode", MODES)
"""For what depends on the way in: how it is heard, answered, repeated and lost. The rest takes Socket Mode."""


@pytest.fixture
def mode() -> Mode:
    return "socket"


@pytest.fixture
async def desk(tmp_path: Path, mode: Mode) -> AsyncIterator[Desk]:
    async with desk_in(tmp_path, mode) as found:
        yield found
