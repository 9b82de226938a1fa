"""The shop as a product: its good release sells, its bad one really does not, and nothing is lost when they change."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.catalogue import load_catalogue
from bot.playground.cluster import Cluster
from bot.playground.shop import database
from bot.playground.shop.database import Database
from bot.playground.shop.hands import Hands, NotDone, Unreached
from bot.playground.shop.releases import PROGRAMS, VERSIONS
from bot.playground.shop.shop import Shop
from bot.playground.shop.traffic import Traffic
from bot.ports.kubernetes import Cluster as CatalogueCluster
from tests.fixtures.waiting import until

SPACE = "shop"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Serves 2.4.0 in one cluster."""
    async with Shop(tmp_path, ("eu-1",), deployed=("2.4.0",)) as made:
        yield made


async def pay(shop: Shop, id: str, path: str = "/pay", **order: Any) -> tuple[int, str]:
    """A payment in the first cluster: status and what was said."""
    body = {"id": id, "amount": "12.95", "customer": {"reference": "c"}, "card": "plain", **order}
    door = next(iter(shop.doors.values()))
    async with aiohttp.ClientSession() as http, http.post(f"http://{door}{path}", json=body) as answer:
        return answer.status, await answer.text()


async def states(shop: Shop) -> set[str]:
    """How the pods of the API in the first cluster say they are: one that reads its settings later says it later."""
    return {str(page["status"]) for page in await shop.health("eu-1")}


async def fetch(url: str, token: str = "playground-admin") -> tuple[int, str]:
    """Status and body of a GET."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        return answer.status, await answer.text()


async def logs(cluster: Cluster, app: str) -> str:
    """What the pods of an app have written, through the API."""
    pods = [p["metadata"] for p in cluster.all("Pod", SPACE) if p["metadata"]["labels"]["app"] == app]
    start = f"{cluster.url}/api/v1/namespaces/{SPACE}/pods"
    return "\n".join([(await fetch(f"{start}/{pod['name']}/log"))[1] for pod in pods])


async def test_the_good_release_serves_everywhere_and_takes_payments(tmp_path: Path) -> None:
    async with Shop(tmp_path, deployed=("2.4.0",)) as shop, shop.traffic(per_second=20) as traffic:

        async def sold() -> bool:
            return traffic.of_late(60).paid >= 20 and (await shop.truth()).queued == 0

        await until(sold)
        truth = await shop.truth(60)
        assert set(truth.running) == {"eu-1", "us-1"}
        assert set(truth.running["us-1"]) == {"shop-api", "shop-api-canary", "shop-worker", "shop-settle"}
        assert truth.serves("2.4.0")
        assert (truth.paused, truth.lost, truth.doubled, truth.failing) == ((), (), (), 0.0)
        for name in shop.clusters:
            pages = await shop.health(name)
            assert len(pages) >= 2  # the canary's too
            for page in pages:
                assert (page["release"], page["cluster"], page["status"], page["errors"]) == ("2.4.0", name, "ok", 0.0)
                assert page["settings"]["PAYMENTS_FORMAT"] == "decimal"


async def test_with_the_bad_release_payments_fail_in_several_ways_and_the_worker_throws(shop: Shop) -> None:
    await pay(shop, "before")
    assert await shop.deploy("2.4.1") == {"eu-1": ""}
    await until(lambda: _serves(shop, "2.4.1"))
    assert (await pay(shop, "a"))[0] == 500
    assert "TypeError" in (await pay(shop, "b", customer=None))[1]
    assert "TimeoutError" in (await pay(shop, "c", amount="20.00", card="second-factor"))[1]
    assert await pay(shop, "d", amount="20.00") == (200, '{"paid": "20.00", "release": "2.4.1"}')
    assert await states(shop) == {"failing"}
    assert max(page["errors"] for page in await shop.health("eu-1")) >= 0.75  # of the pod that took none
    seen = await logs(shop.clusters["eu-1"], "shop-api")
    assert all(f"{kind}: " in seen for kind in ("ValueError", "TypeError", "TimeoutError"))
    assert "Traceback" in seen

    async def tried() -> bool:
        return "put back after try 2" in await logs(shop.clusters["eu-1"], "shop-worker")

    await until(tried)
    assert (await shop.truth()).queued >= 1


async def test_what_the_bad_workers_put_back_is_done_once_by_the_good_ones(shop: Shop) -> None:
    await shop.deploy("2.4.1")
    for number in range(5):
        assert (await pay(shop, f"p{number}", amount="20.00"))[0] == 200
    assert await shop.deploy("2.4.0") == {"eu-1": ""}

    async def worked_off() -> bool:
        return (await shop.truth()).queued == 0

    await until(worked_off)
    await until(lambda: _serves(shop, "2.4.0"))
    truth = await shop.truth()
    assert (truth.lost, truth.doubled) == ((), ())


async def test_nobody_notices_a_rollout_of_a_good_release(shop: Shop) -> None:
    async with shop.traffic(per_second=20) as traffic:
        assert await shop.deploy("2.3.9") == {"eu-1": ""}
        assert await shop.deploy("2.4.0") == {"eu-1": ""}
        await until(lambda: _paid(traffic, 20))
        everything = traffic.of_late(60)
        truth = await shop.truth()
    assert (truth.lost, truth.doubled) == ((), ())
    assert (everything.failed, everything.broken) == (0, 0)


async def test_a_release_whose_certificate_has_run_out_is_bad_and_the_one_before_is_not(shop: Shop) -> None:
    await shop.expire("2.4.0")
    status, said = await pay(shop, "x")
    assert status == 500
    assert "Refused: 401 from sandbox://payments/v1: the client's certificate has run out" in said
    assert await states(shop) == {"failing"}
    await shop.deploy("2.3.9")
    await until(lambda: _serves(shop, "2.3.9"))
    assert (await pay(shop, "x"))[0] == 200
    assert await states(shop) == {"ok"}


async def test_the_old_release_fails_on_the_new_configuration(shop: Shop) -> None:
    async with Hands(shop.clusters["eu-1"], "admin") as hands:  # or Argo CD would put the setting back
        await hands.merge("Application", "argocd", "shop", {"spec": {"syncPolicy": {"automated": None}}})
    await shop.edit("eu-1", "payments.url", "sandbox://payments/v2")

    async def failing() -> bool:
        return await states(shop) == {"failing"}

    await until(failing)
    status, said = await pay(shop, "x")
    assert status == 500
    assert "Refused: 400 from sandbox://payments/v2: field 'amount_minor' is missing" in said


async def test_a_setting_takes_hold_without_a_restart_and_a_colleague_can_flip_the_switch(shop: Shop) -> None:
    assert (await pay(shop, "one", "/express"))[0] == 200
    await shop.kill_switch(by="dee")

    async def off() -> bool:
        return (await pay(shop, "two", "/express"))[0] == 503

    await until(off)
    assert (await pay(shop, "three"))[0] == 200
    wrote = shop.clusters["eu-1"].get("ConfigMap", "shop-settings", SPACE)["metadata"]["managedFields"]
    assert [e["manager"] for e in wrote if "f:checkout.kill_switch" in e["fieldsV1"].get("f:data", {})] == ["dee"]
    assert (await pay(shop, "four", amount=3)) == (422, '{"error": "amount must be a text like \\"12.50\\", above 0"}')


async def test_the_cron_settles_with_the_good_release_and_hangs_with_the_bad_one(shop: Shop) -> None:
    cluster = shop.clusters["eu-1"]
    await pay(shop, "a")
    await shop.settle("eu-1", "first")
    await cluster.until(lambda: cluster.get("Job", "first", SPACE)["status"].get("succeeded") == 1)
    with Database(shop.database) as db:
        assert db.books().unsettled == 0
    await shop.deploy("2.4.1")
    await pay(shop, "b", amount="20.00")
    await shop.settle("eu-1", "second")

    async def hangs() -> bool:
        return "waiting for the bank" in await logs(cluster, "shop-settle")

    await until(hangs)
    assert cluster.get("Job", "second", SPACE)["status"].get("active") == 1
    with Database(shop.database) as db:
        assert db.books().unsettled == 1


async def test_a_frozen_cluster_refuses_ci_and_argo_cd_in_its_own_words_and_git_stays_as_it_was(shop: Shop) -> None:
    cluster = shop.clusters["eu-1"]
    policy = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "frozen"}}
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    check = {"expression": "object.spec.template == oldObject.spec.template", "message": "shop is frozen"}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [check], "failurePolicy": "Fail"}
    bound = {"policyName": "frozen", "validationActions": ["Deny"]}
    cluster.apply(
        {**policy, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**policy, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound},
    )
    await asyncio.sleep(1.2)  # a policy bites late, in real time
    said = (await shop.deploy("2.4.1"))["eu-1"]
    assert "shop is frozen" in said
    assert "ValidatingAdmissionPolicy 'frozen'" in said
    assert (await shop.truth()).serves("2.4.0")
    shop.push("2.4.1")

    def told() -> str:
        state = cluster.get("Application", "shop", "argocd").get("status", {}).get("operationState") or {}
        return str(state.get("message", ""))

    await cluster.until(lambda: "shop is frozen" in told())
    assert set((await shop.truth()).running["eu-1"].values()) <= {("2.4.0",), ("2.4.1",)}
    assert (await shop.truth()).running["eu-1"]["shop-api"] == ("2.4.0",)


async def test_argo_cd_deploys_what_git_says_and_puts_back_what_people_change(shop: Shop) -> None:
    cluster = shop.clusters["eu-1"]
    shop.push("2.3.9")
    await until(lambda: _serves(shop, "2.3.9"))
    app = cluster.get("Application", "shop", "argocd")
    assert app["status"]["sync"]["status"] == "Synced"
    await shop.scale("eu-1", "shop-api-canary", 0)
    assert (await shop.truth()).paused == ("eu-1/deployment/shop-api-canary",)
    await cluster.until(lambda: cluster.get("Deployment", "shop-api-canary", SPACE)["spec"]["replicas"] == 1)


async def _paid(traffic: Traffic, least: int) -> bool:
    return traffic.of_late(60).paid >= least


async def _serves(shop: Shop, version: str) -> bool:
    return (await shop.truth()).serves(version)


async def test_who_may_do_what_is_enforced_and_an_unreachable_cluster_says_so(shop: Shop) -> None:
    cluster = shop.clusters["eu-1"]
    with pytest.raises(NotDone, match='cannot patch resource "configmaps"'):
        await shop.edit("eu-1", "payments.url", "x", by="nobody")
    with pytest.raises(NotDone, match="cannot create"):
        await shop.settle("eu-1", "mine", by="bot")
    await shop.scale("eu-1", "shop-worker", 3, by="break-glass")
    await cluster.disconnect()
    with pytest.raises(Unreached, match="eu-1 cannot be reached"):
        await shop.scale("eu-1", "shop-worker", 1)
    assert "eu-1 cannot be reached" in (await shop.deploy("2.4.1"))["eu-1"]
    assert (await pay(shop, "still"))[0] == 200
    await cluster.connect()
    await shop.scale("eu-1", "shop-worker", 1)
    cluster.requests.clear()
    told = yaml.safe_load(shop.kubeconfig.read_text())
    server, token = told["clusters"][0]["cluster"]["server"], told["users"][0]["user"]["token"]
    assert (await fetch(f"{server}/apis/apps/v1/namespaces/{SPACE}/deployments", token))[0] == 200
    assert cluster.requests.count(user="bot", verb="list", resource="deployments") == 1


async def test_the_bot_has_every_right_that_it_needs_and_none_to_secrets(shop: Shop) -> None:
    told = CatalogueCluster("eu-1", SPACE, settings=("shop-settings",), applications=("argocd/shop",))
    clusters = Clusters([ClusterTarget(told, "eu-1")], str(shop.kubeconfig))
    try:
        assert await clusters.missing_rights("eu-1") == []
    finally:
        await clusters.close()
    name = f"{shop.clusters['eu-1'].url}/api/v1/namespaces/{SPACE}/secrets/shop-database"
    assert (await fetch(name, "playground-bot"))[0] == 403


async def test_releases_are_pinned_by_digests_that_the_registry_has_and_that_stay_the_same(tmp_path: Path) -> None:
    async with Shop(tmp_path / "a", ("eu-1",), deployed=()) as one, Shop(tmp_path / "b", ("eu-1",), deployed=()) as two:
        assert list(one.releases) == [*VERSIONS]
        for version, body in one.releases.items():
            assert set(body["images"]) == set(PROGRAMS)
            assert body["version"] == version
            assert body["service"] == "shop"
            for key, image in body["images"].items():
                name, _, digest = image.partition("@")
                assert two.releases[version]["images"][key].endswith(digest)
                url = f"{one.registry.url}/v2/{name.partition('/')[2]}/manifests/{digest}"
                async with aiohttp.ClientSession() as http, http.head(url) as answer:
                    assert answer.headers["Docker-Content-Digest"] == digest
        found = [image for body in one.releases.values() for image in body["images"].values()]
        assert len({image.partition("@")[2] for image in found}) == len(found)


async def test_the_catalogue_names_every_cluster_and_the_kubeconfig_has_a_context_for_each(tmp_path: Path) -> None:
    async with Shop(tmp_path, deployed=()) as shop:
        service = yaml.safe_load(shop.catalogue())["services"]["shop"]
        assert set(load_catalogue(shop.catalogue(), "rollback.yaml").services["shop"].targets) == set(
            service["targets"]
        )
        contexts = {c["name"] for c in yaml.safe_load(shop.kubeconfig.read_text())["contexts"]}
        assert {t["kubernetes"] for t in service["targets"].values() if "kubernetes" in t} == contexts
        assert [service["targets"][c]["wave"] for c in ("eu-1", "us-1")] == [1, 2]
        (first, address), pages = next(iter(shop.doors.items())), ("api-eu-1", "api-us-1")
        assert service["targets"]["api"] == {"http": f"http://{address}"} and first == "eu-1"
        assert [service["targets"][page]["cluster"] for page in pages] == ["eu-1", "us-1"]


def test_a_payment_repeated_is_paid_once_and_a_job_of_a_dead_worker_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    database.create(path)
    with Database(path) as one, Database(path) as two:
        assert one.pay("p", 1295, "2.4.0", "eu-1")
        assert not two.pay("p", 1295, "2.4.0", "eu-1")
        job = one.take()
        assert job is not None
        assert two.take() is None
        with sqlite3.connect(path) as raw:
            raw.execute("update jobs set since = since - ?", (database.LEASE + 1,))
        again = two.take()
        assert again is not None
        assert (again.id, again.tries) == (job.id, 2)
        assert two.done(again, "2.4.0")
        assert not one.done(job, "2.4.0")  # the first one was not dead, only slow
        assert one.settle(10, "2.4.0") == 1
        assert two.settle(10, "2.4.0") == 0
        assert (one.books().lost, one.books().doubled, one.books().queued) == ((), (), 0)


def test_the_books_tell_what_was_lost_and_what_was_done_twice(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    database.create(path)
    with Database(path) as db:
        for id in ("a", "b", "c"):
            db.pay(id, 100, "2.4.0", "eu-1")
        with sqlite3.connect(path) as raw:
            raw.execute("delete from jobs where payment = 'a'")
            raw.execute("update jobs set state = 'done' where payment = 'b'")
            raw.executemany("insert into settlements values ('c', '2.4.0', ?)", [(1.0,), (2.0,)])
        assert db.books().lost == ("a", "b")
        assert db.books().doubled == ("c",)


def test_people_can_watch_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bot.playground.shop", "--folder", str(tmp_path), "--deploy", "2.4.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began = time.monotonic()
        for line in process.stdout:
            if "payments went through" in line or time.monotonic() - began > 30:
                break
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)
    assert "2.4.0: " in line
    assert " 0 payments lost, 0 doubled" in line
    assert process.returncode == 0
    assert {p.name for p in tmp_path.iterdir()} >= {"kubeconfig", "rollback.yaml", "releases.json", "shop.db"}
