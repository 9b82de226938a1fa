"""A fix is ready while the freeze stands: people let it through, and the cluster does, at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bot import wiring
from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.playground.cluster import Cluster
from bot.policy import Refusal
from bot.run.commands import Admit, Agree, Approve
from bot.run.state import Run
from tests.fixtures.cluster import deployment, namespace
from tests.fixtures.clusters_guarded import Paths, part
from tests.fixtures.whole_bot import fill, until, upgraded
from tests.fixtures.works import Works
from tests.web.test_ci import PLAN


def image(version: str) -> str:
    """As the house registers its releases."""
    return f"registry.example/shop-api@sha256:{version.replace('.', ''):0<64}"


def api(version: str) -> dict[str, object]:
    return part("shop", deployment(image(version), "shop-api", 1, probe=False))


async def test_the_cluster_takes_the_fix_and_nothing_else_and_the_thaw_leaves_no_guard(tmp_path: Path) -> None:
    async with Cluster("eu-1", kubelet=False) as cluster:
        cluster.apply(namespace(), api("2.4.1"))
        house = Works(tmp_path, "http://127.0.0.1:9", kubeconfig=str(cluster.kubeconfig("bot")))
        house.in_cluster("frozen", PLAN)
        await asyncio.to_thread(upgraded, house)
        async with wiring.running(house.settings) as bot:
            await fill(bot, house)
            await bot.releases.record("shop", Release("2.4.2", images={"shop-api": image("2.4.2")}), by="ci")
            ana, cho = await bot.people.person("ana"), await bot.people.person("cho")
            run = await bot.rollbacks.open(Wanted("shop", "checkout fails", plan="frozen"), ana, "test")
            assert isinstance(run, Run), run
            await until(bot, run.id, lambda r: r.steps["freeze"].end == "done")
            adapter = bot.reach.now["shop"].kubernetes
            deploy = Paths({"eu-1": cluster}, adapter, adapter).deploy
            assert "frozen" in await deploy(api("2.4.2"))

            wish = Admit(Release("2.4.2"), "has the fix")
            assert not isinstance(await bot.rollbacks.command(run.id, wish, ana, "test"), Refusal)
            (proposal,) = (await bot.store.load(run.id)).proposals
            assert not isinstance(await bot.rollbacks.command(run.id, Agree(proposal), cho, "test"), Refusal)
            frozen = await until(bot, run.id, lambda r: r.steps["freeze"].end == "done" and r.admitted != ())
            made = frozen.steps["freeze"].made
            assert made is not None and [e.before for e in made.edits] == [None]
            async with asyncio.timeout(60):
                while said := await deploy(api("2.4.2")):  # a changed policy bites after about a second
                    assert "frozen" in said
                    await asyncio.sleep(0.1)
            assert "frozen" in await deploy(api("2.4.3"))

            card = (await until(bot, run.id, lambda r: r.asked["thaw"].opened is not None)).card("thaw")
            await bot.rollbacks.command(run.id, Approve("thaw", card), ana, "test")
            await until(bot, run.id, lambda r: not r.debts)
            assert not cluster.all("ValidatingAdmissionPolicy")
