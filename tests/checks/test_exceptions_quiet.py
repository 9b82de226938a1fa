"""`exceptions.quiet` over the logs of real processes: what is new is told first, and silence proves nothing."""

from __future__ import annotations

from typing import Any

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.contract import Outgoing, Status, Verdict
from bot.observed.exceptions import fingerprint
from bot.ports import Ports, kubernetes
from bot.testing import ports, run_check
from checks.exceptions_quiet import ExceptionsQuiet, ExceptionsQuietOutput, ExceptionsQuietParams
from tests.fixtures.cluster import eventually
from tests.fixtures.clusters_logging import DECLINED, SERVED, TIMEOUT, Talking, talking

DECLINES, TIMES_OUT = fingerprint("PaymentDeclined: card … declined"), fingerprint("could not reach …")
KEPT: dict[str, Any] = {
    "began": "2026-11-25T13:10:00+00:00", "ended": "2026-11-25T14:10:00+00:00", "raised": {}, "before": {},
    "seen": True,
}  # fmt: skip


async def look(shop: Talking, kept: Any = KEPT, adapter: Clusters | None = None, **params: Any) -> Verdict:
    def bound(_: object) -> Ports:
        return ports(kubernetes=adapter or shop.adapter)

    asked: dict[str, Any] = {"release": "2.4.0", "images": {"api": shop.images["api 2.4.0"]}, "window": 60.0, **params}
    outgoing = [Outgoing(version="2.4.1", commit="", settings=None)]
    check = ExceptionsQuietParams(outgoing=outgoing, **asked)
    return await run_check(ExceptionsQuiet(), bound, check, now=shop.now, baseline=kept)


async def test_what_is_raised_again_and_again_is_new_old_or_not_cured() -> None:
    async with talking() as shop:
        await shop.run("api", "2.4.0", SERVED, DECLINED, TIMEOUT)
        await shop.later(120)
        verdict = await look(shop)
        assert verdict.status is Status.FAIL
        assert "PaymentDeclined: card … declined ×" in verdict.observed
        assert verdict.observed.count("(new)") == 2
        assert {*ExceptionsQuietOutput.model_validate(verdict.data).new} == {DECLINES, TIMES_OUT}

        old = await look(shop, {**KEPT, "before": {DECLINES: 9_000}, "raised": {DECLINES: 9_000, TIMES_OUT: 3}})
        assert old.status is Status.FAIL
        assert old.observed.startswith("could not reach … ×")
        assert old.observed.endswith("(as under 2.4.1: not cured)")
        both = await look(shop, {**KEPT, "before": {DECLINES: 9_000, TIMES_OUT: 9_000}})
        assert both.status is Status.PASS
        assert "2 kinds of exceptions that are no news" in both.observed
        grown = await look(shop, {**KEPT, "before": {DECLINES: 9_000, TIMES_OUT: 1}})
        assert grown.status is Status.FAIL
        assert "1 in 60 min before" in grown.observed

        unsure = await look(shop, {**KEPT, "raised": {DECLINES: 9, TIMES_OUT: 9}, "seen": False})
        assert unsure.status is Status.UNKNOWN
        assert "under 2.4.1 too; whether before it nobody kept" in unsure.observed
        nothing = await look(shop, None)
        assert nothing.status is Status.UNKNOWN
        assert "nothing was kept that says whether it is new" in nothing.observed

        rare = await look(shop, recurring=100_000)
        assert rare.status is Status.PASS


async def test_a_release_that_raises_nothing_passes_and_silence_does_not() -> None:
    async with talking() as shop:
        await shop.run("api", "2.4.0", SERVED)
        early = await look(shop)
        assert early.status is Status.UNKNOWN
        assert "the newest pod in eu-1 has run for " in early.observed
        await shop.later(120)
        verdict = await look(shop)
        assert verdict.status is Status.PASS
        assert verdict.observed.endswith("lines of log, no exception")
        few = await look(shop, lines=1_000_000)
        assert few.status is Status.UNKNOWN
        assert few.observed.endswith("hardly more in an hour: nothing to judge by")
        assert (await look(shop, images={})).status is Status.UNKNOWN
        other = await look(shop, images={"api": shop.images["api 2.4.0"].replace("@sha256:", "@sha256:0")[:-1]})
        assert (other.status, "no pod in eu-1 runs 2.4.0" in other.observed) == (Status.UNKNOWN, True)

        away = Clusters([ClusterTarget(kubernetes.Cluster("us-1", "shop"), "us-1", 1.0)], "/nowhere")
        lost = await look(shop, adapter=away)
        assert (lost.status, "us-1" in lost.observed) == (Status.UNKNOWN, True)
        await away.close()


async def test_what_a_container_wrote_before_it_was_started_again_counts() -> None:
    async with talking() as shop:
        await shop.run("api", "2.4.0", SERVED, DECLINED, ENDS="yes")

        async def restarted() -> bool:
            shop.cluster.clock.advance(30)
            return any(p.restarts for p in await shop.adapter.every_pod("eu-1"))

        await eventually(restarted)
        verdict = await look(shop, window=3600.0)
        assert "PaymentDeclined: card … declined ×" in verdict.observed
        assert verdict.status is Status.FAIL


async def test_a_log_that_is_quiet_passes_only_if_it_has_said_something_within_the_hour() -> None:
    async with talking() as shop:
        await shop.run("api", "2.4.0", "INFO ready", "INFO listening", "INFO joined", ONCE="yes")
        shop.cluster.clock.advance(1200)
        verdict = await look(shop)
        assert (verdict.status, verdict.observed) == (Status.PASS, "0 lines of log, no exception")
        shop.cluster.clock.advance(7200)
        verdict = await look(shop)
        assert verdict.status is Status.UNKNOWN
        assert verdict.observed == "0 lines were logged in 60 s, and hardly more in an hour: nothing to judge by"


async def test_what_the_catalogue_calls_noise_is_none() -> None:
    async with talking(noise=["PaymentDeclined"]) as shop:
        await shop.run("api", "2.4.0", SERVED, DECLINED)
        await shop.later(120)
        assert (await look(shop, None)).status is Status.PASS
