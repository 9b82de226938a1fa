"""A run that was aborted lets go of the fields that it has written, so that the team's next apply meets no conflict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bot import wiring
from bot.opening.following import holds_fields, unlearnt
from bot.opening.rollbacks import Wanted
from bot.playground.cluster import Cluster
from bot.ports import Blob
from bot.run import commands as cmd
from bot.run import events as ev
from bot.run.state import Run
from bot.telling import view
from tests.fixtures.cluster import namespace, template
from tests.fixtures.clusters_guarded import part
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import fill, until, upgraded
from tests.fixtures.works import Works

PLAN = """\
name: pausing
tracks:
  main:
    - {id: pause, uses: workers.pause}
    - {id: go, title: Go on, gate: {by: {approver: 1}}}
    - {id: resume, undo: pause}
    - {id: learn, uses: postmortem.schedule, on_fail: continue}
    - {id: serves, uses: health.serving, phase: verify, with: {target: api, release: "${target.version}"}}
"""

ONCE = template("shop-settle:2.4.0", "settle")
ONCE["spec"]["restartPolicy"] = "Never"
SETTLE: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "shop-settle", "namespace": "shop"},
    "spec": {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": ONCE}}},
}


@dataclass
class Paused:
    """A bot in whose run the workers stand paused."""

    bot: wiring.Bot
    cluster: Cluster
    house: Works
    run: Run

    async def say(self, command: Any) -> None:
        said = await self.bot.rollbacks.command(self.run.id, command, await self.bot.people.person("ana"), "test")
        assert not hasattr(said, "why"), said

    def owned(self) -> list[str]:
        return [name for name, manager in self.managers() if manager.startswith("rollback")]

    def managers(self) -> list[tuple[str, str]]:
        found = self.cluster.all("CronJob")
        return [(d["metadata"]["name"], m["manager"]) for d in found for m in d["metadata"].get("managedFields", ())]

    async def first(self, purpose: str = "disown") -> str:
        """The id of the run that follows, once there is one."""
        async with asyncio.timeout(60):
            while True:
                if found := await self.following(purpose):
                    return found[0].id
                await asyncio.sleep(0.05)

    async def disowning(self) -> list[Run]:
        return await self.following("disown")

    async def following(self, purpose: str) -> list[Run]:
        heads = [h for h in await self.bot.store.heads(limit=None) if h.kind == purpose]
        return [await self.bot.store.load(h.run) for h in heads]


def house_in(folder: Path, shop: str, cluster: Cluster) -> Works:
    """Where a bot lives whose worker is a CronJob of the cluster."""
    folder.mkdir()
    house = Works(folder, shop, kubeconfig=str(cluster.kubeconfig("bot")))
    house.in_cluster("pausing", PLAN, ", workers: [cronjob/shop-settle]")
    upgraded(house)
    return house


@asynccontextmanager
async def pausing(folder: Path, shop: str, cluster: Cluster) -> AsyncIterator[Paused]:
    """A bot whose run has paused the worker."""
    house = await asyncio.to_thread(house_in, folder, shop, cluster)
    async with wiring.running(house.settings) as bot:
        await fill(bot, house)
        wanted = Wanted("shop", "payments fail", plan="pausing")
        run = await bot.rollbacks.open(wanted, await bot.people.person("ana"), "test")
        assert isinstance(run, Run), run
        run = await until(bot, run.id, lambda r: bool(r.debts) and not r.steps["pause"].open)
        yield Paused(bot, cluster, house, run)


@pytest.fixture
async def place() -> AsyncIterator[tuple[str, Cluster]]:
    """A shop's address, and the cluster that its worker is in."""
    async with Shop("2.4.0", delay=0.1) as shop, Cluster("eu-1", kubelet=False) as cluster:
        cluster.apply(namespace(), part("shop", SETTLE))
        yield shop.url, cluster


@pytest.fixture
async def paused(tmp_path: Path, place: tuple[str, Cluster]) -> AsyncIterator[Paused]:
    async with pausing(tmp_path / "bot", *place) as begun:
        yield begun


async def test_the_fields_are_given_back_by_a_run_of_its_own_once_nothing_is_owed(paused: Paused) -> None:
    assert paused.owned() == ["shop-settle"]
    await paused.say(cmd.Abort("a false alarm"))
    await until(paused.bot, paused.run.id, lambda r: r.aborted is not None)
    assert await paused.disowning() == []  # the workers are owed still: whoever resumes them has to find them
    await paused.say(cmd.Restore("pause", "a false alarm"))
    await until(paused.bot, paused.run.id, lambda r: r.closed is not None)
    gives = await until(paused.bot, await paused.first(), lambda r: r.closed is not None)
    assert paused.owned() == []
    assert gives.created is not None and gives.closed is not None
    assert (gives.created.reason, gives.created.by.id, gives.closed.outcome) == (
        f"{paused.run.id} was aborted", "bot", "closed",
    )  # fmt: skip
    await paused.bot.rollbacks.following.catch_up()  # as after a crash: once is enough
    assert len(await paused.disowning()) == 1


async def test_an_aborted_run_that_had_done_something_gets_the_postmortem_that_its_plan_would_have_scheduled(
    paused: Paused,
) -> None:
    await paused.say(cmd.Abort("a false alarm"))
    await paused.say(cmd.Restore("pause", "a false alarm"))
    run = await until(paused.bot, await paused.first("postmortem"), lambda r: r.closed is not None)
    assert run.created is not None and run.created.follows == paused.run.id
    receipt = run.steps["postmortem"].receipt
    assert receipt is not None and set(receipt.evidence) == {"postmortem.md", "postmortem.ics"}
    kept = TypeAdapter(Blob).validate_python(receipt.evidence["postmortem.md"])
    text = (await paused.bot.files.get(kept)).decode()
    assert "a false alarm" in text and "payments fail" in text and paused.run.id in text and run.id not in text
    assert view.title(run) == f"Postmortem of shop, after {paused.run.id}"
    await paused.bot.rollbacks.following.catch_up()
    assert len(await paused.following("postmortem")) == 1


async def test_a_run_that_was_aborted_before_anything_was_done_has_nothing_to_learn_from(paused: Paused) -> None:
    nothing = replace(paused.run, steps={}, closed=ev.Closed("aborted"), aborted=paused.run.commander)
    assert not unlearnt(nothing) and not holds_fields(nothing)


async def test_what_a_dead_node_has_missed_is_caught_up_with(paused: Paused) -> None:
    paused.bot.engine.watchers = ()
    await paused.say(cmd.Abort("a false alarm"))
    await paused.say(cmd.Restore("pause", "a false alarm"))
    await until(paused.bot, paused.run.id, lambda r: r.closed is not None)
    assert await paused.disowning() == []
    await paused.bot.rollbacks.following.catch_up()
    (gives,) = await paused.disowning()
    await until(paused.bot, gives.id, lambda r: r.closed is not None)
    assert paused.owned() == []


async def test_a_fresh_bot_names_the_workers_that_a_lost_database_has_left_paused(
    tmp_path: Path, place: tuple[str, Cluster]
) -> None:
    async with pausing(tmp_path / "lost", *place) as lost:
        assert (await lost.bot.rollbacks.left("shop")).lines("shop") == []
    house = await asyncio.to_thread(house_in, tmp_path / "fresh", *place)
    async with wiring.running(house.settings) as fresh:
        ((text, hint),) = (await fresh.rollbacks.left("shop")).lines("shop")
        assert text == "stand still, set so in no run that this database knows: eu-1/cronjob/shop-settle"
        assert "by-hand file" in hint
