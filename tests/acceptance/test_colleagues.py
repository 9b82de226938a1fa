"""What others do meanwhile: a colleague rescales a worker, a cluster goes away, CI and Git bring the release back."""

from __future__ import annotations

import asyncio

from bot.playground.demo.story import BACKEND, REASON, away_between, begin, end
from tests.acceptance.stage import faults, incident


async def test_a_worker_that_a_colleague_rescaled_after_it_was_paused_is_asked_about_and_may_stay_so() -> None:
    async with incident() as (stage, people, _):
        await begin(people)
        await people.reads("Pause workers: done")
        await stage.shop.scale("us-1", "shop-worker", 3, by="dee")
        stopped = await people.reads("Resume workers stopped at")
        assert "changed by others since: us-1/deployment/shop-worker/replicas is 3" in stopped.plain
        await people.type("cho", "accept resume-workers because dee wants three until the queue is empty")
        await people.reads("accepted as it is by @cho")
        assert stage.shop.clusters["us-1"].get("Deployment", "shop-worker", "shop")["spec"]["replicas"] == 3
        await stage.shop.scale("us-1", "shop-worker", 1, by="dee")  # as Git says: Argo CD would do the same
        await end(people, "2.4.0")
        assert await faults(stage, "2.4.0") == []


async def test_a_cluster_that_goes_away_while_it_is_deployed_to_is_named_and_done_when_it_is_back() -> None:
    async with incident() as (stage, people, _):
        await people.open("ana", f"shop because {REASON}")
        await people.press("ana", "Start rollback")
        await people.card(BACKEND)
        going = asyncio.create_task(away_between(stage))
        await people.press("cho", BACKEND)
        await going
        card = await people.reads("Deploy stopped at")
        assert "eu-1" in card.plain
        assert "try again when it is back" in card.plain.lower()
        truth = await stage.shop.truth()
        assert set(truth.running["eu-1"].values()) == {("2.4.0",)}
        assert set(truth.running["us-1"].values()) == {("2.4.1",)}
        await stage.shop.clusters["us-1"].connect()
        await people.press("ana", "Try again")
        await end(people, "2.4.0")
        assert await faults(stage, "2.4.0") == []


async def test_neither_ci_nor_git_brings_the_banned_release_back_after_the_end() -> None:
    async with incident() as (stage, people, _):
        await begin(people)
        await end(people, "2.4.0")
        assert await faults(stage, "2.4.0") == []
        said = await stage.shop.deploy("2.4.1")
        assert all("2.4.1 was rolled back and is banned" in words for words in said.values()), said
        stage.shop.push("2.4.1")
        cluster = stage.shop.clusters["eu-1"]

        def told() -> str:
            state = cluster.get("Application", "shop", "argocd").get("status", {}).get("operationState") or {}
            return str(state.get("message", ""))

        await cluster.until(lambda: "2.4.1 was rolled back and is banned" in told())
        truth = await stage.shop.truth()
        assert truth.serves("2.4.0")
