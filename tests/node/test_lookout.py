"""A freeze that somebody lifts by hand is noticed, said in the run, and marked in what is owed."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot import wiring
from bot.node.lookout import EVERY, Lookout
from bot.node.paging import alerts
from bot.opening.rollbacks import Wanted
from bot.playground.cluster import Cluster, resources
from bot.run import events as ev
from bot.run.state import Debt, Run
from bot.telling import remains, times, view
from bot.wiring import running
from tests.actions.test_gitops_pause_flux import kustomization, repository
from tests.fixtures.cluster import deployment, namespace
from tests.fixtures.clusters_guarded import REPO, application, part
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import fill, until, upgraded
from tests.fixtures.works import Works, at_work

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

    def runs(self, version: str) -> None:
        """What comes past every guard: a controller's write, an older API server, a restored etcd."""
        found = copy.deepcopy(self.cluster.get("Deployment", "shop-api", "shop"))
        found["spec"]["template"]["spec"]["containers"][0]["image"] = image(version)
        self.cluster.store.put(resources.DEPLOYMENTS, found)

    def delete(self, kind: str) -> None:
        resource = next(r for r in resources.RESOURCES if r.kind == kind)
        self.cluster.core.delete(self.cluster.access.users["admin"], resource, "", NAME)


def lookout(bot: wiring.Bot) -> Lookout:
    return Lookout(lambda: bot.reach.clusters, bot.store, bot.rollbacks.is_banned, bot.engine.submit)


@pytest.fixture
async def frozen(tmp_path: Path) -> AsyncIterator[Frozen]:
    workload = part("shop", deployment("shop-api:2.4.0", "shop-api", 1, probe=False))
    async with at_work(tmp_path, PLAN, workload) as (bot, cluster):
        person = await bot.people.person("ana")
        opened = await bot.rollbacks.hold("shop", "checkout fails", person, "test")
        assert isinstance(opened, Run), opened
        run = await until(bot, opened.id, lambda r: bool(r.debts) and not r.steps["freeze"].open)
        yield Frozen(bot, cluster, lookout(bot), run.id)


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
    assert f"LIFTED BY SOMEBODY, noticed {times.clock(debt.missed)}: eu-1: {words}" in remains.debt(run, debt)
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


# -- what is to follow Git again -------------------------------------------------------------------------------------

PAUSING = """\
name: banning
tracks:
  main:
    - {id: git, uses: gitops.pause, with: {version: "${target.version}", banned: "${run.banned}"}}
    - {id: sure, title: Go on, gate: {by: {commander: 1}, self_approval: true}}
    - {id: follow, undo: git}
    - {id: serves, uses: health.serving, phase: verify, with: {target: api, release: "${target.version}"}}
"""
FLUX = "kustomization/flux-system/shop"


async def test_what_is_made_to_follow_git_again_in_the_middle_of_a_run_is_said(tmp_path: Path) -> None:
    async with Shop("2.4.0", delay=0.1) as shop, Cluster("eu-1", kubelet=False) as cluster:
        cluster.apply(namespace(), part("shop", deployment("shop-api:2.4.0", "shop-api", 1, probe=False)))
        cluster.git.push(REPO, "deploy", [])
        app, suspended = application(), copy.deepcopy(kustomization())
        cluster.apply(app, repository(), suspended)
        house = Works(tmp_path, shop.url, kubeconfig=str(cluster.kubeconfig("bot")))
        house.in_cluster("banning", PAUSING, f", applications: [argocd/shop], flux: [{FLUX}]")
        await asyncio.to_thread(upgraded, house)
        async with running(house.settings) as bot:
            await fill(bot, house)
            person = await bot.people.person("ana")
            opened = await bot.rollbacks.open(Wanted("shop", "payments fail", plan="banning"), person, "test")
            assert isinstance(opened, Run), opened
            await until(bot, opened.id, lambda r: "git" in r.debts and not r.steps["git"].open)
            held = Frozen(bot, cluster, lookout(bot), opened.id)
            await held.lookout.look()
            assert (await held.run()).debts["git"].missing == {}
            made = cluster.get("Application", "shop", "argocd")  # an ApplicationSet, half an hour later
            cluster.apply({**made, "spec": {**made["spec"], "syncPolicy": {"automated": {"selfHeal": True}}}})
            cluster.apply(kustomization())
            await held.lookout.look()
            run = await held.run()
            assert sorted(run.debts["git"].missing.values()) == [
                "eu-1 kustomization shop follows Git again", "eu-1 shop follows Git again"
            ]  # fmt: skip
            assert "LIFTED BY SOMEBODY" in remains.debt(run, run.debts["git"])
            await held.lookout.look()
            assert (await held.run()).seq == run.seq, "said once"


# -- what was removed ------------------------------------------------------------------------------------------------

REMOVING = """\
name: banning
tracks:
  main:
    - id: deploy
      uses: release.deploy
      with: {release: "${target.version}", images: "${target.images}", outgoing: "${run.outgoing}"}
    - {id: ban, uses: release.ban, after: [deploy], with: {service: "${service.name}", releases: "${run.banned}"}}
    - id: serves
      uses: health.serving
      after: [ban]
      phase: verify
      with: {target: api, release: "${target.version}"}
"""


def image(version: str) -> str:
    return f"registry.example/shop-api@sha256:{version.replace('.', ''):0<64}"


def api(version: str) -> dict[str, Any]:
    """A worker that is scaled to nothing, as nobody runs pods here."""
    return part("shop", deployment(image(version), "shop-api", 0, probe=False))


@pytest.fixture
async def removed(tmp_path: Path) -> AsyncIterator[Frozen]:
    """A bot whose last rollback has removed 2.4.1, verified and closed."""
    async with at_work(tmp_path, REMOVING, api("2.4.1")) as (bot, cluster):
        person = await bot.people.person("ana")
        run = await bot.rollbacks.open(Wanted("shop", "payments fail", plan="banning"), person, "test")
        assert isinstance(run, Run), run
        run = await until(bot, run.id, lambda r: r.closed is not None)
        assert run.closed is not None and run.closed.outcome == "verified"
        await bot.releases.catch_up()
        yield Frozen(bot, cluster, lookout(bot), run.id)


async def back(removed: Frozen) -> Run:
    await removed.lookout.look()
    return await removed.run()


async def test_what_was_removed_and_is_back_is_said_and_people_are_called(removed: Frozen) -> None:
    target = "eu-1/deployment/shop-api/image/shop-api"
    quiet = await back(removed)
    assert quiet.back == {}
    removed.runs("2.4.1")
    run = await back(removed)
    assert run.back == {target: f"is {image('2.4.1')} again"} and run.back_at is not None
    assert f"is back, noticed {times.clock(run.back_at)}: {target}" in view.view(run, run.back_at).left[0]
    (alert,) = [a for a in alerts(run).values() if a.payload["class"] == "back"]
    assert target in str(alert.payload["summary"])
    assert (await back(removed)).seq == run.seq, "said once"
    removed.runs("2.4.0")
    assert (await back(removed)).back == {}
    assert not [a for a in alerts(await removed.run()).values() if a.payload["class"] == "back"]


async def test_what_is_no_longer_banned_may_come_back(removed: Frozen) -> None:
    await removed.bot.releases.lift("shop", "2.4.1", "it was the network", "ana")
    removed.runs("2.4.1")
    assert (await back(removed)).back == {}
