"""A freeze that somebody lifts by hand is noticed, said in the run, and marked in what is owed."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot import view, wiring
from bot.lookout import EVERY, Lookout
from bot.playground.cluster import Cluster, resources
from bot.playground.single import Shop
from bot.run import events as ev
from bot.run.state import Debt, Run
from bot.wiring import running
from tests.actions.guarded import part
from tests.cli.house import fill, upgraded
from tests.playground.cluster_world import deployment, namespace
from tests.test_unban import Works, until

NAME = "rollback-freeze-shop"
PLAN = """\
name: banning
tracks:
  main:
    - {id: freeze, uses: deploys.freeze, with: {service: "${service.name}"}}
    - {id: thaw, undo: freeze}
    - {id: serves, uses: health.serving, phase: verify, with: {target: api, release: "${target.version}"}}
"""


@dataclass
class Frozen:
    """A bot that has frozen a service by hand, its cluster, and the freeze."""

    bot: wiring.Bot
    cluster: Cluster
    lookout: Lookout
    id: str

    async def look(self) -> Debt:
        await self.lookout.look()
        return (await self.run()).debts["freeze"]

    async def run(self) -> Run:
        return await self.bot.store.load(self.id)

    def delete(self, kind: str) -> None:
        resource = next(r for r in resources.RESOURCES if r.kind == kind)
        self.cluster.core.delete(self.cluster.access.users["admin"], resource, "", NAME)


@pytest.fixture
async def frozen(tmp_path: Path) -> AsyncIterator[Frozen]:
    async with Shop("2.4.0", delay=0.1) as shop, Cluster("eu-1", kubelet=False) as cluster:
        cluster.apply(namespace(), part("shop", deployment("shop-api:2.4.0", "shop-api", 1, probe=False)))
        house = Works(tmp_path, shop.url, kubeconfig=str(cluster.kubeconfig("bot")))
        house.in_cluster("banning", PLAN)
        await asyncio.to_thread(upgraded, house)
        async with running(house.settings) as bot:
            await fill(bot, house)
            person = await bot.people.person("ana")
            opened = await bot.rollbacks.hold("shop", "checkout fails", person, "test")
            assert isinstance(opened, Run), opened
            run = await until(bot, opened.id, lambda r: bool(r.debts) and not r.steps["freeze"].open)
            yield Frozen(bot, cluster, Lookout(lambda: bot.reach.clusters, bot.store, bot.engine.submit), run.id)


async def test_a_freeze_that_stands_is_not_written_of(frozen: Frozen) -> None:
    before = (await frozen.run()).seq
    assert (await frozen.look()).missing == {}
    assert (await frozen.run()).seq == before
    assert EVERY < 60, "within a minute"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ValidatingAdmissionPolicy", "the guard is gone: new releases are taken"),
        ("ValidatingAdmissionPolicyBinding", "the guard's binding is gone: new releases are taken"),
    ],
)
async def test_one_that_is_lifted_by_hand_is_said_and_marked_once(frozen: Frozen, kind: str, words: str) -> None:
    frozen.delete(kind)
    debt = await frozen.look()
    assert debt.missing == {f"eu-1/guard/{NAME}/rules": words} and debt.missed is not None
    run = await frozen.run()
    assert f"LIFTED BY SOMEBODY, noticed {view.clock(debt.missed)}: eu-1: {words}" in view.debt(run, debt)
    await frozen.look()
    assert (await frozen.run()).seq == run.seq, "said once"


async def test_one_that_is_bent_is_said_and_one_that_stands_again_too(frozen: Frozen) -> None:
    was = frozen.cluster.get("ValidatingAdmissionPolicy", NAME)
    bent = copy.deepcopy(was)
    bent["spec"]["failurePolicy"] = "Ignore"
    frozen.cluster.apply(bent)
    (words,) = (await frozen.look()).missing.values()
    assert words == "the guard was changed by somebody (spec.failurePolicy)"
    frozen.cluster.apply({**was, "metadata": {k: v for k, v in was["metadata"].items() if k != "resourceVersion"}})
    assert (await frozen.look()).missing == {}


async def test_a_cluster_that_is_away_says_nothing(frozen: Frozen) -> None:
    frozen.delete("ValidatingAdmissionPolicy")
    known = (await frozen.look()).missing
    await frozen.cluster.disconnect()
    assert (await frozen.look()).missing == known
    await frozen.cluster.connect()


async def test_a_freeze_that_the_run_lifts_itself_is_not_missed(frozen: Frozen) -> None:
    person = await frozen.bot.people.person("ana")
    await frozen.bot.rollbacks.thaw("shop", "all is well", person, "test")
    run = await until(frozen.bot, frozen.id, lambda r: r.closed is not None)
    await frozen.lookout.look()
    assert ev.Lifted.kind not in {stored.kind for stored in await frozen.bot.store.events(run.id)}
