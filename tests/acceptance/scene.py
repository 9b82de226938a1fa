"""A rollback in this process, on the shop's clusters: people say yes to what is asked, the world does what it likes.

Cheaper than the demo's stage: no workspace and no process of the bot's, the standard plan with a short watch. The judge
is the shop: what runs, by pods, and what customers pay.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

import migrations
from bot import wiring
from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.playground.demo import verdict
from bot.playground.demo.stage import short_plan
from bot.playground.shop.shop import Shop
from bot.playground.shop.truth import Truth
from bot.policy import Refusal
from bot.run import commands as cmd
from bot.run.state import Run
from bot.settings import Settings

BAD, GOOD = "2.4.1", "2.4.0"
PATIENCE = 180.0
"""Seconds that anything may take here, on a busy machine."""
Holds = Callable[[Run], object]


@dataclass
class Scene:
    """The shop runs the bad release in both clusters, and the bot has recorded both releases."""

    shop: Shop
    bot: wiring.Bot
    id: str = ""

    async def run(self) -> Run:
        return await self.bot.store.load(self.id)

    async def open(self, reason: str = "payments fail") -> Run:
        """Asked for by ana."""
        opened = await self.bot.rollbacks.open(Wanted("shop", reason), await self.bot.people.person("ana"), "test")
        assert isinstance(opened, Run), opened
        self.id = opened.id
        return opened

    async def says(self, person: str, command: cmd.Command) -> None:
        """Somebody's command, which must not be refused; two people where one does not suffice."""
        found = await self.bot.rollbacks.command(self.id, command, await self.bot.people.person(person), "test")
        assert not isinstance(found, Refusal), found
        for p in [*(await self.run()).proposals.values()]:
            other = await self.bot.people.person("cho")
            await self.bot.rollbacks.command(self.id, cmd.Agree(p.id), other, "test")

    async def goes(self, until: Holds, *, but: str = "") -> Run:
        """The run, once this holds of it. Meanwhile every decision is taken, but the one of this name."""
        deadline = time.monotonic() + PATIENCE
        while not until(run := await self.run()):
            assert time.monotonic() < deadline, _told(run)
            for name, a in run.asked.items():
                if a.opened is not None and a.decided is None and name != but:
                    person = await self.bot.people.person("ana" if name == "start" else "cho")
                    await self.bot.rollbacks.command(run.id, cmd.Approve(name, run.card(name)), person, "test")
            await asyncio.sleep(0.1)
        return run

    async def arrives(self, step: str) -> Run:
        """The run once this step is done, with everything that stops before it tried again a few times."""
        return await self._through(lambda r: r.steps[step].end == "done")

    async def ends(self) -> Run:
        """The run once it is closed, likewise."""
        return await self._through(lambda r: r.closed is not None)

    async def comes_to(self, until: Holds) -> Run:
        """The run once this holds of it, likewise."""
        return await self._through(until)

    async def refuses(self, person: str, command: cmd.Command, words: str) -> None:
        """Somebody's command, which must be refused with these words."""
        found = await self.bot.rollbacks.command(self.id, command, await self.bot.people.person(person), "test")
        assert isinstance(found, Refusal) and words in found.text, found

    async def _through(self, until: Holds) -> Run:
        tried: Counter[str] = Counter()
        while not until(run := await self.goes(lambda r: until(r) or r.halted)):
            for s in run.halted:
                tried[s.spec.id] += 1
                assert tried[s.spec.id] < 6, _told(run)
                await self.says("ana", cmd.Retry(s.spec.id))
        return run

    async def catalogues(self, change: Callable[[dict[str, object]], object]) -> None:
        """Somebody edits the targets in the catalogue, which the bot takes."""
        file: Path = self.bot.settings.catalogue
        body = yaml.safe_load(file.read_text())  # noqa: ASYNC240
        change(body["services"]["shop"]["targets"])
        file.write_text(yaml.safe_dump(body))  # noqa: ASYNC240
        await self.bot.reloading.look()
        assert not self.bot.reloading.fault, self.bot.reloading.fault

    async def truth(self) -> Truth:
        """Once it has come to rest on the good release, or as it is after a while."""

        deadline = time.monotonic() + verdict.SETTLED
        while True:
            found = await self.shop.truth(3.0)
            if not [*verdict.faults(found, GOOD)] or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.5)

    async def holds(self) -> None:
        """What a verified run promises, as customers and pods have it."""
        run, found = await self.run(), [*verdict.faults(await self.truth(), GOOD)]
        assert run.closed is not None and run.closed.outcome == "verified", _told(run)
        assert not found, [found, _told(run)]


def _told(run: Run) -> str:
    """Where a run stands, for whoever reads a failure."""
    lines = [f"{s.spec.id}: {s.end or 'open'} {s.note} {s.halt.error if s.halt else ''}" for s in run.steps.values()]
    return "\n".join([f"run {run.id}: {run.closed}, aborted {run.aborted}", *lines])


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """An incident: everybody pays with the bad release."""
    shop = Shop(folder / "shop", deployed=("2.3.9", GOOD), schedule="*/30 * * * *")
    async with shop, shop.traffic(4.0):
        (folder / "rollback.yaml").write_text(shop.catalogue())
        (folder / "plans").mkdir()
        (folder / "plans" / "standard.yaml").write_text(short_plan())
        settings = Settings(
            database_url=f"sqlite:///{folder}/bot.db", blobs_url=f"file:{folder}/files", plans=folder / "plans",
            catalogue=folder / "rollback.yaml", kubeconfig=str(shop.kubeconfig), port=0, tick=0.2,
        )  # fmt: skip
        await asyncio.to_thread(migrations.upgrade, settings.database_url)
        async with wiring.running(settings) as bot:
            for version in ("2.3.9", GOOD, BAD):
                if version == BAD:
                    said = await shop.deploy(BAD)
                    assert not any(said.values()), said
                body = shop.releases[version]
                release = Release(version, str(body["commit"]), images=body["images"])
                days = {"2.3.9": 26, GOOD: 6}.get(version)
                since = bot.clock() - days * 86400 if days else None
                await bot.releases.record("shop", release, by="ci", serving_since=since)
                if version != "2.3.9":
                    await _seen(bot, version)
            yield Scene(shop, bot)


async def _seen(bot: wiring.Bot, version: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = await bot.releases.get("shop", version)
        if found is not None and found.serves and found.release.settings is not None:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{version} was not seen to serve")
