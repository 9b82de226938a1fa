"""What may go wrong in the world while a rollback is at work; judged by pods and payments, never by the run's words."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bot.playground.cluster.faults import Fault
from bot.playground.shop.hands import Hands
from bot.playground.shop.manifests import NAMESPACE
from bot.run import commands as cmd
from bot.run.decide import finished
from bot.telling.view import status
from tests.acceptance.scene import BAD, GOOD, Scene, scene

THIRD = "2.3.9"
US = "us-1"


async def sets(s: Scene, workload: str, version: str) -> None:
    """Somebody whom no freeze binds puts another image there, in us-1."""
    cluster = s.shop.clusters[US]
    found = cluster.get("Deployment", workload, NAMESPACE)["spec"]["template"]["spec"]["containers"]
    image = workload.removesuffix("-canary")
    made = [{**c, "image": s.shop.images[version][image]} for c in found]
    async with Hands(cluster, "break-glass") as hands:
        await hands.merge("Deployment", NAMESPACE, workload, {"spec": {"template": {"spec": {"containers": made}}}})


async def test_third_values_at_each_moment_a_crash_loop_and_a_region_where_nobody_can_pay(
    tmp_path: Path,
) -> None:
    """Set between card and click, between click and start, while an earlier wave rolls, and while a step has stopped:
    each is seen, and ended only by people. What is verified is so, and what is not so is not verified. A region that
    the catalogue has lost meanwhile is not lost to the run."""
    async with scene(tmp_path) as s:
        await s.open()
        await s.goes(lambda r: r.asked["backend"].opened, but="backend")
        await sets(s, "shop-worker", THIRD)
        await s.shop.edit(US, "checkout.retries", "many")  # by somebody, so it is left alone: nobody can pay there
        await s.goes(lambda r: r.asked["backend"].decided or r.halted)
        await sets(s, "shop-api-canary", THIRD)
        s.shop.clusters[US].faults.add(Fault("never_ready", name="shop-api-*", next=None))
        run = await s.goes(lambda r: r.halted)
        await sets(s, "shop-api", THIRD)
        s.shop.clusters[US].faults.clear()
        await s.says("ana", cmd.Retry(run.halted[0].spec.id))
        await s.arrives("deploy")
        assert set((await s.shop.truth(3.0)).running[US].values()) == {(GOOD,)}

        await s.catalogues(lambda targets: [targets.pop(name) for name in (US, f"api-{US}")])
        told = [n.text for n in await s.bot.store.notices(s.id) if "says otherwise" in n.text]
        assert len(told) == 1 and f"{US} now in no catalogue" in told[0] and "This run goes on" in told[0], told
        await s.goes(lambda r: "api-us-1: 503, from release 2.4.0, 100.0% errors" in r.steps["health"].note)
        await s.shop.edit(US, "checkout.retries", "2")
        s.shop.push(GOOD)
        await s.ends()
        await s.holds()


async def test_a_region_away_before_the_start_is_done_when_it_is_back(tmp_path: Path) -> None:
    """While it is away its own Argo CD holds it at the bad release."""
    async with scene(tmp_path) as s:
        await s.shop.clusters[US].disconnect()
        await s.open()
        await s.goes(lambda r: r.halted)
        await s.says("ana", cmd.Without(US, "the region is away"))
        await s.arrives("deploy")
        running = (await s.shop.truth(3.0)).running
        assert set(running["eu-1"].values()) == {(GOOD,)} and set(running[US].values()) == {(BAD,)}, running
        await s.shop.clusters[US].connect()
        await s.says("ana", cmd.Back(US))
        s.shop.push(GOOD)
        await s.ends()
        await s.holds()


async def test_a_region_that_is_lost_half_way_for_good_is_somebodys_and_the_run_is_never_verified(
    tmp_path: Path,
) -> None:
    """Lost when the other one gets its first image. What it is owed stays owed by name until a person has it."""
    async with scene(tmp_path) as s:
        eu, us = s.shop.clusters["eu-1"], s.shop.clusters[US]
        await s.open()
        begun = asyncio.create_task(
            eu.until(lambda: any(r.resource == "deployments" for r in eu.requests.writes("bot")), 120)
        )
        begun.add_done_callback(lambda _: cutting.append(asyncio.ensure_future(us.disconnect())))
        cutting: list[asyncio.Future[None]] = []
        run = await s.goes(lambda r: r.halted and r.steps["deploy"].began is not None)
        await asyncio.gather(begun, *cutting)
        await s.says("ana", cmd.Without(US, "its datacentre burns"))
        s.shop.push(GOOD)
        run = await s.comes_to(lambda r: finished(r) or r.closed is not None)
        assert run.closed is None, "it does not close by itself while a part is owed"
        assert "us-1" in status(run, s.bot.clock())
        truth = await s.shop.truth(3.0)
        assert set(truth.running["eu-1"].values()) == {(GOOD,)} and set(truth.running[US].values()) == {(BAD,)}
        tomorrow = s.bot.clock() + 86400
        for owed in [*(d.step for d in run.owing), *(p.name for p in run.owed_parts)]:
            await s.refuses("ana", cmd.Close("done"), "Still")
            await s.says("ana", cmd.HandOver(owed, "cho", tomorrow, "when there is a region again"))
        await s.says("ana", cmd.Close("eu-1 serves all"))
        run = await s.run()
        assert run.closed is not None and run.closed.outcome == "closed"
        assert "eu-1 restored, us-1 unknown" in status(run, s.bot.clock())
