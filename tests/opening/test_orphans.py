"""A database is lost: a fresh bot finds what the lost one has left in the clusters, names it, and takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot import wiring
from bot.opening.orphans import Orphans
from bot.opening.rollbacks import Wanted
from bot.playground.cluster import Cluster
from bot.policy import Actor, Person
from bot.run.state import Run
from bot.telling import remains
from tests.fixtures.cluster import deployment, namespace
from tests.fixtures.clusters_guarded import part
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import fill, until, upgraded
from tests.fixtures.works import Works
from tests.node.test_lookout import PLAN as FREEZING
from tests.opening.test_unban import PLAN as BANNING

FREEZE, BAN = "rollback-freeze-shop", "rollback-ban-shop-2.4.1"


@dataclass
class Site:
    """A shop in a cluster, and where bots keep their databases."""

    folder: Path
    shop: Shop
    cluster: Cluster

    @asynccontextmanager
    async def bot(self, database: str) -> AsyncIterator[wiring.Bot]:
        """A bot with a database of that name."""
        (self.folder / database).mkdir()
        house = Works(self.folder / database, self.shop.url, kubeconfig=str(self.cluster.kubeconfig("bot")))
        house.in_cluster("banning", BANNING)
        (house.folder / "plans" / "freezing.yaml").write_text(FREEZING.replace("banning", "freezing"))
        await asyncio.to_thread(upgraded, house)
        async with wiring.running(house.settings) as bot:
            await fill(bot, house)
            yield bot

    def guards(self) -> list[str]:
        return [p["metadata"]["name"] for p in self.cluster.all("ValidatingAdmissionPolicy")]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Shop("2.4.0", delay=0.1) as shop, Cluster("eu-1", kubelet=False) as cluster:
        cluster.apply(namespace(), part("shop", deployment("shop-api:2.4.0", "shop-api", 1, probe=False)))
        yield Site(tmp_path, shop, cluster)


async def ana(bot: wiring.Bot) -> Person:
    return await bot.people.person("ana")


async def freeze(bot: wiring.Bot) -> str:
    run = await bot.rollbacks.hold("shop", "checkout fails", await ana(bot), "test")
    assert isinstance(run, Run), run
    await until(bot, run.id, lambda r: bool(r.debts) and not r.steps["freeze"].open)
    return run.id


async def test_a_freeze_that_is_accounted_for_is_not_left_over(site: Site) -> None:
    async with site.bot("first") as bot:
        await freeze(bot)
        assert await bot.rollbacks.left("shop") == Orphans()


async def test_a_freeze_is_named_by_a_fresh_bot_and_thaw_lifts_it(site: Site) -> None:
    async with site.bot("lost") as bot:
        await freeze(bot)
    async with site.bot("fresh") as bot:
        ((text, hint),) = (await bot.rollbacks.left("shop")).lines("shop")
        assert text == "eu-1: new releases of shop are refused, by a run that this database does not know"
        assert "`rollback-bot thaw shop` lifts it" in hint
        run = await bot.rollbacks.thaw("shop", "the database is lost", await ana(bot), "test")
        assert isinstance(run, str), run
        await until(bot, run, lambda r: r.closed is not None)
        assert site.guards() == [] and await bot.rollbacks.left("shop") == Orphans()


async def test_the_next_run_takes_a_freeze_over_as_its_debt_and_lifts_it(site: Site) -> None:
    async with site.bot("lost") as bot:
        await freeze(bot)
    async with site.bot("fresh") as bot:
        run = await bot.rollbacks.open(Wanted("shop", "checkout fails", plan="freezing"), await ana(bot), "test")
        assert isinstance(run, Run) and "freeze" in run.debts, run
        assert "by a run that this database does not know" in remains.debt(run, run.debts["freeze"])
        assert await bot.rollbacks.left("shop") == Orphans()
        ended = await until(bot, run.id, lambda r: r.closed is not None)
        assert not ended.debts and site.guards() == []


async def test_a_ban_is_named_taken_over_by_a_person_and_ends_when_it_is_lifted(site: Site) -> None:
    async with site.bot("lost") as bot:
        run = await bot.rollbacks.open(Wanted("shop", "payments fail", plan="banning"), await ana(bot), "test")
        assert isinstance(run, Run), run
        await until(bot, run.id, lambda r: r.closed is not None)
        assert site.guards() == [BAN] and await bot.rollbacks.left("shop") == Orphans()
    async with site.bot("fresh") as bot:
        ((text, hint),) = (await bot.rollbacks.left("shop")).lines("shop")
        assert text == "eu-1: 2.4.1 is banned, by a run that this database does not know"
        assert "`rollback-bot release ban shop 2.4.1`" in hint
        await bot.releases.ban("shop", "2.4.1", "it was banned before the database was lost", "ana")
        assert await bot.rollbacks.left("shop") == Orphans()
        assert not (await bot.rollbacks.freeze("shop")).answer("2.4.1", ()).allowed, "CI hears of it again"
        await bot.releases.lift("shop", "2.4.1", "it was the network", "ana")
        (unban,) = await bot.rollbacks.end_bans("shop", Actor("ana", "ana", ("commander",)))
        await until(bot, unban.id, lambda r: r.closed is not None)
        assert site.guards() == []


async def test_a_cluster_that_is_away_holds_nobody_up(site: Site) -> None:
    async with site.bot("lost") as bot:
        await freeze(bot)
    async with site.bot("fresh") as bot:
        await site.cluster.disconnect()
        assert [*(await bot.rollbacks.left("shop")).lost] == ["eu-1"]
        run = await bot.rollbacks.open(Wanted("shop", "checkout fails", plan="freezing"), await ana(bot), "test")
        assert isinstance(run, Run) and not run.debts
