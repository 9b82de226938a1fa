"""A newer release is registered: the bot itself ends the ban that a rollback has left in the clusters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot import wiring
from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.playground.cluster import Cluster
from bot.policy import Actor
from bot.run.state import Run
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_guarded import part
from tests.fixtures.whole_bot import until
from tests.fixtures.works import at_work

PLAN = """\
name: banning
tracks:
  main:
    - {id: ban, uses: release.ban, with: {service: "${service.name}", releases: "${run.banned}"}}
    - id: serves
      uses: health.serving
      phase: verify
      with: {target: api, release: "${target.version}"}
"""
CI = Actor("ci", "CI", (), "webhook")
GUARD = "rollback-ban-shop-2.4.1"


@dataclass
class Banned:
    """A bot whose rollback has banned 2.4.1, and its cluster."""

    bot: wiring.Bot
    cluster: Cluster
    run: Run

    def guards(self) -> list[str]:
        return [p["metadata"]["name"] for p in self.cluster.all("ValidatingAdmissionPolicy")]

    async def register(self, version: str) -> list[Run]:
        image = f"registry.example/shop-api@sha256:{version.replace('.', ''):0<64}"
        await self.bot.releases.record("shop", Release(version, images={"shop-api": image}), by="ci")
        return await self.bot.rollbacks.end_bans("shop", CI)

    async def ended(self, run: Run) -> Run:
        return await until(self.bot, run.id, lambda r: r.closed is not None)


@pytest.fixture
async def banned(tmp_path: Path) -> AsyncIterator[Banned]:
    workload = part("shop", deployment("shop-api:2.4.0", "shop-api", 1, probe=False))
    async with at_work(tmp_path, PLAN, workload) as (bot, cluster):
        wanted = Wanted("shop", "payments fail", plan="banning")
        run = await bot.rollbacks.open(wanted, await bot.people.person("ana"), "test")
        assert isinstance(run, Run), run
        run = await until(bot, run.id, lambda r: r.closed is not None)
        await bot.releases.catch_up()
        yield Banned(bot, cluster, run)


async def test_the_newer_release_ends_the_ban_by_a_run_of_its_own(banned: Banned) -> None:
    assert banned.run.closed is not None and banned.run.closed.outcome == "verified"
    assert banned.guards() == [GUARD]
    (run,) = await banned.register("2.4.2")
    run = await banned.ended(run)
    assert banned.guards() == []
    assert run.created is not None and run.closed is not None
    assert (run.purpose, run.created.by, run.closed.outcome) == ("unban", CI, "closed")
    assert (run.created.removed.version, run.created.target.version) == ("2.4.1", "2.4.2")
    released = await banned.bot.releases.get("shop", "2.4.1")
    assert released is not None and released.state == "banned", "it is still not gone back to"
    assert not (await banned.bot.rollbacks.freeze("shop")).banned


async def test_it_is_ended_once_and_does_not_stand_in_the_way_of_a_rollback(banned: Banned) -> None:
    (run,) = await banned.register("2.4.2")
    assert await banned.register("2.4.3") == []
    next_one = await banned.bot.rollbacks.open(
        Wanted("shop", "again", plan="banning"), await banned.bot.people.person("ana"), "test"
    )
    assert isinstance(next_one, Run), next_one
    assert await banned.bot.rollbacks.find("shop") == next_one.id
    await banned.ended(run)


async def test_an_older_release_ends_nothing(banned: Banned) -> None:
    assert await banned.register("2.3.10") == [] and banned.guards() == [GUARD]


async def test_a_ban_that_a_person_has_put_on_top_stays_until_a_person_lifts_it(banned: Banned) -> None:
    await banned.bot.releases.ban("shop", "2.4.1", "leaks addresses", "ben")
    assert await banned.register("2.4.2") == [] and banned.guards() == [GUARD]
    await banned.bot.releases.lift("shop", "2.4.1", "addresses are safe", "ben")
    (run,) = await banned.bot.rollbacks.end_bans("shop", CI)
    await banned.ended(run)
    assert banned.guards() == []
