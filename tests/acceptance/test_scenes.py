"""What may go wrong in the world while a rollback is at work; judged by pods and payments, never by the run's words."""

from __future__ import annotations

from pathlib import Path

from bot.playground.cluster.faults import Fault
from bot.playground.shop.hands import Hands
from bot.playground.shop.manifests import NAMESPACE
from bot.run import commands as cmd
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
    each is seen, and ended only by people. What is verified is so, and what is not so is not verified."""
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
