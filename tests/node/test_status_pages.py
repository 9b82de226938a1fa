"""Customers' status page: what it says in each state of a run, and that a webhook hears all of it, whatever crashes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot import wiring
from bot.node.status_pages import PAGES
from bot.opening.rollbacks import Wanted
from bot.run import commands as c
from bot.run.state import Run
from bot.telling.status_page import update
from tests.fixtures.lone_shop import Shop
from tests.fixtures.served import served
from tests.fixtures.whole_bot import House, fill, upgraded
from tests.slack import scenes

FAILS, HELPS = "Paying by card fails for some", "Paying by invoice works."


def test_it_says_what_customers_notice_and_never_more_than_is_certain() -> None:
    assert update(scenes.preflight().run, "Shop") is None, "nothing has been started"
    begun = update(scenes.asked_backend().run, "Shop")
    assert begun is not None and (begun.key, begun.state) == ("shop-1f", "investigating")
    noticed, helps = "Checkout has failed for some customers since 14:02.", "Carts are kept, paying by invoice works."
    assert begun.text == f"{noticed} {helps} We are working on it."
    watched, over = update(scenes.watching().run, "Shop"), update(scenes.verified().run, "Shop")
    assert watched is not None and (watched.state, watched.text) == (
        "monitoring", f"The problem was: {noticed} It works again. We are watching it.",
    )  # fmt: skip
    assert over is not None and (over.state, over.text) == (
        "resolved", f"The problem was: {noticed} It is solved.",
    )  # fmt: skip
    given_up = update(scenes.aborted().run, "Shop")
    assert (
        given_up is not None and given_up.state == "investigating" and given_up.text.endswith("We are working on it.")
    )


def test_it_holds_peoples_words_about_customers_and_nothing_else_of_the_run() -> None:
    tape = scenes.asked_backend()
    tape.do(scenes.ANA, c.Tell(FAILS, HELPS))
    said = update(tape.run, "Shop")
    assert said is not None and said.text == f"{FAILS}. {HELPS} We are working on it."
    created = tape.run.created
    assert created is not None
    for secret in (created.reason, created.target.version, created.removed.version, "ollback", "@"):
        assert secret not in said.text


@dataclass
class Hook:
    """A webhook. heard: (idempotency key, body) of what it took; statuses: answered first, instead."""

    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        if self.statuses:
            return web.json_response({}, status=self.statuses.pop(0))
        self.heard.append((request.headers["Idempotency-Key"], await request.json()))
        return web.json_response({})

    @property
    def states(self) -> list[str]:
        return [body["state"] for _, body in self.heard]


@dataclass
class World:
    house: House
    hook: Hook

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 - what a hook hears cannot be waited for otherwise
                await asyncio.sleep(0.02)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    hook, app = Hook(), web.Application()
    app.router.add_post("/status", hook.take)
    async with Shop("2.4.1", delay=0) as shop, served(app) as at:
        house = await asyncio.to_thread(upgraded, House(tmp_path, shop.url))
        file = house.folder / "rollback.yaml"
        targets = f"targets: {{api: {{http: {shop.url}}}, page: {{http: 'http://{at}'}}}}"
        kept = f"shop: {{{targets}, floor: 2.3.0, status_page: {{target: page, path: /status}}}}"
        lines = [f"  {kept}" if line.startswith("  shop: {") else line for line in file.read_text().splitlines()]
        file.write_text("\n".join(lines) + "\n")
        yield World(house, hook)


async def started(bot: wiring.Bot, house: House) -> Run:
    await fill(bot, house)
    ana = await bot.people.person("ana")
    run = await bot.rollbacks.open(Wanted("shop", "checkout fails", impact=FAILS), ana, "test")
    assert isinstance(run, Run)
    await bot.rollbacks.command(run.id, c.Approve("start", run.card("start")), ana, "test")
    return run


async def test_the_hook_hears_each_change_once_though_it_was_away_and_the_bot_died(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    hook = world.hook
    hook.statuses = [503] * 1000
    async with wiring.running(world.house.settings) as bot:
        run = await started(bot, world.house)
        await world.until(lambda: bot.pages.fault)
        assert (await bot.ready())["status pages"] == "the status page of shop answered 503; look at its target page"
    hook.statuses.clear()
    async with wiring.running(world.house.settings) as bot:
        await world.until(lambda: hook.heard)
        ana = await bot.people.person("ana")
        await bot.rollbacks.command(run.id, c.Tell(FAILS, HELPS), ana, "test")
        await world.until(lambda: len(hook.heard) == 2)
        (first, body), (second, told) = hook.heard
        assert (body["key"], body["service"], body["impact"]) == (run.id, "shop", f"{FAILS}.")
        assert told["workaround"] == HELPS and first != second
        await bot.pages.round()
        assert len(hook.heard) == 2 and "status pages" not in await bot.ready()
        await bot.rollbacks.command(run.id, c.Abort("it was a false alarm"), ana, "test")
        await world.until(lambda: len(hook.heard) == 3)
    assert hook.states == ["investigating"] * 3 and hook.heard[-1][1]["text"].endswith("We are working on it.")
    assert len({key for key, _ in hook.heard}) == 3


async def test_a_run_that_nobody_was_told_of_is_not_told_of_when_it_is_over(world: World) -> None:
    """Its page is catalogued only after it has ended; of another it is told to the end."""
    file = world.house.folder / "rollback.yaml"
    told = file.read_text()
    file.write_text(told.replace(", status_page: {target: page, path: /status}", ""))
    async with wiring.running(world.house.settings) as bot:
        await ended(bot, await started(bot, world.house))
    file.write_text(told)
    async with wiring.running(world.house.settings) as bot:
        await bot.pages.round()
        assert world.hook.heard == [] and await bot.store.slots(PAGES) == {}
        run = await started(bot, world.house)
        await world.until(lambda: world.hook.heard)
        await ended(bot, run)
        await world.until(lambda: "resolved" in world.hook.states)
        assert {body["key"] for _, body in world.hook.heard} == {run.id}


async def ended(bot: wiring.Bot, run: Run) -> None:
    ben = await bot.people.person("ben")
    async with asyncio.timeout(60):
        while (now := await bot.store.load(run.id)).open:
            asked = now.asked["backend"]
            if asked.opened is not None and asked.decided is None:
                await bot.rollbacks.command(run.id, c.Approve("backend", now.card("backend")), ben, "test")
            await asyncio.sleep(0.02)
