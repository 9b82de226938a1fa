"""The adapter where a test needs a cluster that fails on demand, several users, a kubelet, KEDA or Argo CD."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.contract import Retryable
from bot.playground.cluster import ApiError, Cluster, Fault, Registry
from bot.playground.workspace.clock import Clock
from bot.ports import Json, Unreachable
from bot.ports import kubernetes as port
from bot.ports.kubernetes import Changed, Denied, Place, Thing
from tests.fixtures.cluster import config_map, deployment, namespace, python, service
from tests.fixtures.cluster import template as pod_template

A, B = (f"registry.example/shop/api@sha256:{letter * 64}" for letter in "ab")
API = Place("eu", "deployment", "web")
GUARD = "rollback-freeze-shop"
FREEZE: dict[str, Json] = {
    "service": "shop",
    "digests": [B[-71:]],
    "groups": ["break-glass"],
    "message": "frozen, ask ana",
}
BAN: dict[str, Json] = {"service": "shop", "banned": [B[-71:]], "groups": ["break-glass"], "message": "2.4.1 is banned"}
REPO = "https://git.example/shop"
RIGHTS = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rights" / "rights.yaml"


@pytest.fixture
async def eu() -> AsyncIterator[Cluster]:
    async with Cluster("eu", kubelet=False, clock=Clock(1_800_014_400.0, frozen=True)) as cluster:
        cluster.apply(namespace(), deployment(A, probe=False), config_map("settings", MODE="a"))
        yield cluster


@pytest.fixture
async def opened() -> AsyncIterator[list[Clusters]]:
    made: list[Clusters] = []
    yield made
    for adapter in made:
        await adapter.close()


@pytest.fixture
def clusters(eu: Cluster, opened: list[Clusters], said: list[str]) -> Clusters:
    return _reached(eu, opened, 0.5).bind(_into(said))


def _reached(eu: Cluster, opened: list[Clusters], timeout: float, probe: str = "") -> Clusters:
    flux = tuple(f"{kind}/flux-system/shop" for kind in port.FLUX)
    known = port.Cluster("eu", "shop", settings=("settings",), applications=("argocd/shop",), flux=flux, probe=probe)
    opened.append(Clusters([ClusterTarget(known, "eu", timeout)], str(eu.kubeconfig("bot"))))
    return opened[-1]


@pytest.fixture
def said() -> list[str]:
    return []


def _into(said: list[str]) -> Any:
    async def record(command: str) -> None:
        said.append(command)

    return record


async def get(clusters: Clusters, place: Place = API) -> Thing:
    found = await clusters.get(place)
    assert found is not None
    return found


# -- no answer, no rights ---------------------------------------------------------------------------------------------


async def test_no_connection_is_unreachable(eu: Cluster, clusters: Clusters) -> None:
    await eu.disconnect()
    with pytest.raises(Unreachable, match=r"eu: no connection to 127\.0\.0\.1:\d+ \(nothing answers there\)"):
        await clusters.get(API)
    assert (await clusters.ping())["eu"].startswith("eu: no connection to 127.0.0.1:")
    await eu.connect()
    assert await clusters.get(API)


async def test_no_answer_in_time_is_unreachable(eu: Cluster, clusters: Clusters) -> None:
    eu.faults.add(Fault("hang", verb="list", user="bot"))
    with pytest.raises(Unreachable, match=r"eu: no answer within 0\.5 s$"):
        await clusters.list("eu", "deployment")


async def test_a_lost_answer_says_that_nothing_is_known_and_a_write_is_sent_once(
    eu: Cluster, clusters: Clusters
) -> None:
    eu.faults.add(Fault("lose_answer", verb="patch", user="bot"))
    seen = await get(clusters)
    with pytest.raises(Unreachable, match="whether it took the change is unknown"):
        await clusters.write(seen, {"image/web": B})
    assert len(eu.requests.writes("bot")) == 1
    assert (await get(clusters)).fields["image/web"] == B


@pytest.mark.parametrize(
    ("status", "retry", "error", "after"),
    [(429, 7, Retryable, 7.0), (429, None, Retryable, 5.0), (503, 3, Retryable, 3.0), (503, None, Unreachable, 0.0),
     (500, None, Unreachable, 0.0)],
)  # fmt: skip
async def test_what_passes_is_told_from_what_is_unknown(
    eu: Cluster, clusters: Clusters, status: int, retry: int | None, error: type[Exception], after: float
) -> None:
    seen = await get(clusters)
    eu.faults.add(Fault("error", verb="patch", user="bot", status=status, retry_after=retry))
    with pytest.raises(error) as told:
        await clusters.write(seen, {"image/web": B})
    assert getattr(told.value, "after", 0.0) == after


async def test_a_conflict_is_changed(eu: Cluster, clusters: Clusters) -> None:
    seen = await get(clusters)
    eu.faults.add(Fault("error", verb="patch", user="bot", status=409))
    with pytest.raises(Changed, match="eu/deployment/web has changed since it was read"):
        await clusters.write(seen, {"image/web": B})


async def test_a_missing_right_is_denied_and_listed(eu: Cluster, clusters: Clusters, said: list[str]) -> None:
    role = eu.get("ClusterRole", "rollback-bot")
    rules = [r if "apps" not in r["apiGroups"] else {**r, "verbs": ["get", "list"]} for r in role["rules"]]
    rules = [{**r, "resources": [x for x in r["resources"] if x != "pods/log"]} for r in rules]
    eu.apply({**role, "rules": rules})
    with pytest.raises(Denied, match=r'deployments\.apps "web" is forbidden: .*cannot patch resource "deployments"'):
        await clusters.write(await get(clusters), {"image/web": B})
    kinds, verbs = ("deployments", "statefulsets", "daemonsets"), ("patch", "create", "delete")
    missing = await clusters.missing_rights("eu")
    assert {*missing} == {*(f"{v} {k}.apps in shop" for k in kinds for v in verbs), "get pods/log in shop"}
    assert len(missing) == 10


async def test_tokens_that_were_renewed_are_read_anew(eu: Cluster, opened: list[Clusters]) -> None:
    path = eu.kubeconfig("bot")
    good = path.read_text()
    stale = yaml.safe_load(good)
    stale["users"][0]["user"]["token"] = "playground-stale"
    _write(path, yaml.safe_dump(stale))
    opened.append(Clusters([ClusterTarget(port.Cluster("eu", "shop"), "eu")], str(path)))
    with pytest.raises(Unreachable, match=r"Unauthorized: it does not know the bot \(401\)"):
        await opened[0].get(API)  # no missing right: nobody can say what is there
    _write(path, good)
    assert all(await asyncio.gather(*(opened[0].get(API) for _ in range(5))))
    assert await opened[0].get(API)


@pytest.mark.parametrize(
    ("context", "file", "said"),
    [
        ("nowhere", "", r"eu: context 'nowhere' of .*: Invalid kube-config file.*nowhere"),
        ("eu", "/nothing", "no kubeconfig at"),
    ],
)
async def test_a_kubeconfig_that_does_not_fit_is_told(
    eu: Cluster, opened: list[Clusters], context: str, file: str, said: str
) -> None:
    target = ClusterTarget(port.Cluster("eu", "shop"), context)
    opened.append(Clusters([target], file or str(eu.kubeconfig("bot"))))
    with pytest.raises(Unreachable, match=said):
        await opened[0].get(API)


async def test_a_kubeconfig_that_is_none_is_told_without_what_stands_in_it(
    opened: list[Clusters], tmp_path: Path
) -> None:
    _write(tmp_path / "config", "users: [{name: x, user: {token: sesame")
    opened.append(Clusters([ClusterTarget(port.Cluster("eu", "shop"), "eu")], str(tmp_path / "config")))
    said = (await opened[0].ping())["eu"]
    assert said.startswith("eu: context 'eu' of ")
    assert "sesame" not in said


async def test_a_cluster_that_is_not_catalogued_is_no_cluster(clusters: Clusters) -> None:
    with pytest.raises(LookupError, match="no cluster 'eu-1'; did you mean 'eu'"):
        await clusters.list("eu-1", "deployment")
    with pytest.raises(LookupError, match="no application 'other' in eu"):
        await clusters.get(Place("eu", "application", "other"))


def test_waves_decide_the_order_then_names() -> None:
    names = [("b", 1), ("c", 2), ("a", 2), ("d", 1)]
    made = Clusters([ClusterTarget(port.Cluster(name, "shop", wave), name) for name, wave in names])
    assert [c.name for c in made.clusters] == ["b", "d", "a", "c"]


def test_the_client_is_not_imported_before_it_is_needed() -> None:
    code = "import bot.wiring, sys; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- who may what under a guard ---------------------------------------------------------------------------------------


async def bitten(eu: Cluster, clusters: Clusters, rules: Json, name: str = GUARD) -> None:
    await clusters.guard("eu", name, rules)
    assert (await clusters.trial("eu", name, rules)).refused is False
    eu.clock.advance(1.3)
    assert (await clusters.trial("eu", name, rules)).refused is True


def changed(eu: Cluster, image: str = A, **spec: Any) -> Any:
    found = eu.get("Deployment", "web", "shop")
    template = {**found["spec"]["template"], "spec": {"containers": [{"name": "web", "image": image}]}}
    return {**found, "spec": {**found["spec"], "template": template, **spec}}


C = f"registry.example/shop/api@sha256:{'c' * 64}"


async def test_a_freeze_refuses_others_and_admits_the_bot_break_glass_and_admitted_images(
    eu: Cluster, clusters: Clusters
) -> None:
    await bitten(eu, clusters, FREEZE)
    for refused in (changed(eu, C), deployment(C, "new", probe=False)):
        with pytest.raises(ApiError, match="frozen, ask ana"):
            eu.apply(refused, user="ci")
    await clusters.write(await get(clusters), {"image/web": C})
    eu.apply(changed(eu, A), user="break-glass")
    eu.apply(changed(eu, B), user="ci")


async def test_a_fix_may_keep_a_sidecar_that_no_release_knows_and_nothing_else_passes(
    eu: Cluster, clusters: Clusters
) -> None:
    def with_sidecar(image: str, **env: str) -> Any:
        found = changed(eu, image)
        variables = [{"name": key, "value": value} for key, value in env.items()]
        found["spec"]["template"]["spec"]["containers"] += [{"name": "proxy", "image": C, "env": variables}]
        return found

    eu.apply(with_sidecar(A))
    await bitten(eu, clusters, FREEZE)
    with pytest.raises(ApiError, match="frozen"):
        eu.apply(with_sidecar(A, MODE="b"), user="ci")
    eu.apply(with_sidecar(B), user="ci")
    with pytest.raises(ApiError, match="frozen"):
        eu.apply(deployment(C, "new", probe=False), user="ci")


async def test_under_a_freeze_scaling_and_labels_and_rollouts_that_run_go_on(eu: Cluster, clusters: Clusters) -> None:
    await bitten(eu, clusters, FREEZE)
    found = eu.get("Deployment", "web", "shop")
    eu.apply({**found, "spec": {**found["spec"], "replicas": 5}}, user="ci")
    found = eu.get("Deployment", "web", "shop")
    eu.apply({**found, "metadata": {**found["metadata"], "labels": {"team": "x"}}}, user="ci")
    await eu.until(lambda: len(eu.all("Pod", "shop")) == 5)


async def test_a_freeze_covers_cronjobs_and_ends_with_its_binding(eu: Cluster, clusters: Clusters) -> None:
    pod = pod_template(C, "run")["spec"] | {"restartPolicy": "Never"}
    spec = {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "shop"}, "spec": spec}
    await bitten(eu, clusters, FREEZE)
    with pytest.raises(ApiError, match="frozen"):
        eu.apply(cron, user="ci")
    await clusters.guard("eu", GUARD, None)
    eu.clock.advance(1.2)
    eu.apply(cron, user="ci")


async def test_a_freeze_of_one_service_does_not_bind_its_neighbours(eu: Cluster, clusters: Clusters) -> None:
    other = deployment(A, "other", probe=False)
    eu.apply({**other, "metadata": {**other["metadata"], "labels": {"team": "x"}}})
    await bitten(eu, clusters, {**FREEZE, "selector": "team=x"})
    eu.apply(changed(eu, C), user="ci")
    with pytest.raises(ApiError, match="frozen"):
        eu.apply({**changed(eu, A), "metadata": {**changed(eu)["metadata"], "labels": {"team": "x"}}}, user="ci")


async def test_a_ban_refuses_only_the_banned_images_and_binds_the_bot(eu: Cluster, clusters: Clusters) -> None:
    await bitten(eu, clusters, BAN, "rollback-ban-shop")
    eu.apply(changed(eu, C), user="ci")
    with pytest.raises(ApiError, match=r"2\.4\.1 is banned"):
        eu.apply(changed(eu, B), user="ci")
    with pytest.raises(Denied, match=r"2\.4\.1 is banned"):
        await clusters.write(await get(clusters), {"image/web": B})
    eu.apply(changed(eu, B), user="break-glass")
    eu.apply(changed(eu, B, replicas=3), user="ci")  # what runs it already can still be scaled


# -- KEDA, Argo CD, pods that run -------------------------------------------------------------------------------------


async def test_a_dotted_field_of_a_custom_kind_goes_and_comes_back_exactly(
    eu: Cluster, clusters: Clusters, said: list[str]
) -> None:
    app = Place("eu", "application", "shop")
    policy: Json = {"prune": True, "selfHeal": False}
    _argo(eu, {"automated": policy, "retry": {"limit": 2}})
    seen = await get(clusters, app)
    assert seen.fields["spec.syncPolicy.automated"] == policy
    off = await clusters.write(seen, {"spec.syncPolicy.automated": None})
    assert "spec.syncPolicy.automated" not in off.fields
    assert said[0].startswith("kubectl --context eu -n argocd patch applications.argoproj.io/shop --type=json -p ")
    back = await clusters.write(off, {"spec.syncPolicy.automated": policy})
    assert back.fields["spec.syncPolicy"] == seen.fields["spec.syncPolicy"]


async def test_a_dotted_field_is_put_where_nothing_above_it_is(eu: Cluster, clusters: Clusters) -> None:
    _argo(eu, None)
    after = await clusters.write(
        await get(clusters, Place("eu", "application", "shop")), {"spec.syncPolicy.automated": {}}
    )
    assert after.fields["spec.syncPolicy"] == {"automated": {}}


async def test_an_application_is_read_after_its_refresh(eu: Cluster, clusters: Clusters, said: list[str]) -> None:
    app = Place("eu", "application", "shop")
    _argo(eu, None)
    assert await clusters.refreshed(app) is None
    assert "refresh" in said[0]
    await eu.until(
        lambda: (
            "argocd.argoproj.io/refresh"
            not in (eu.get("Application", "shop", "argocd")["metadata"].get("annotations") or {})
        )
    )
    fresh = await clusters.refreshed(app)
    assert fresh is not None
    assert (fresh.facts["sync"], fresh.facts["images"]) == ("Synced", [A])
    assert len(said) == 1
    assert [t.place for t in await clusters.list("eu", "application")] == [app]


async def test_logs_are_of_all_containers_and_of_the_run_before(opened: list[Clusters]) -> None:
    registry = Registry()
    image = registry.add(
        "registry.example/loud", "v1", python("import time; print('hello', flush=True); time.sleep(60)")
    )
    async with Cluster("eu", registry=registry) as eu:
        eu.apply(namespace(), deployment(image, replicas=1, probe=False), service())
        await eu.rolled_out("web", "shop")
        opened.append(Clusters([ClusterTarget(port.Cluster("eu", "shop"), "eu")], str(eu.kubeconfig("bot"))))
        (pod,) = await opened[0].pods(API)
        await eu.until(lambda: True)
        text = ""
        while not text:
            text = await opened[0].logs("eu", pod.name)
        assert text == "hello\n"
        assert await opened[0].logs("eu", pod.name, previous=True) == ""
        assert await opened[0].logs("eu", "nobody") == ""


def _argo(eu: Cluster, policy: Any) -> None:
    eu.git.push(REPO, "shop", [deployment(A, probe=False)])
    spec = {"project": "x", "source": {"repoURL": REPO, "path": "shop"}, "destination": {"namespace": "shop"}}
    app = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd"},
    }
    eu.apply(namespace("argocd"), app | {"spec": spec | ({"syncPolicy": policy} if policy is not None else {})})


def _write(path: Path, text: str) -> None:
    path.write_text(text)


# -- what the documentation says ---------------------------------------------------------------------------------------


async def test_the_rights_that_are_to_be_given_are_enough_and_none_is_idle(eu: Cluster, opened: list[Clusters]) -> None:
    clusters = _reached(eu, opened, 10.0, "deployment/api:8080")
    manifests = list(yaml.safe_load_all(RIGHTS.read_text()))
    spaces = (namespace("argocd"), namespace("flux-system"))
    eu.apply(*spaces, {**eu.get("ClusterRole", "rollback-bot"), "rules": []})
    assert await clusters.missing_rights("eu")
    eu.apply(*manifests)
    assert await clusters.missing_rights("eu") == []
    for role in (m for m in manifests if m["kind"].endswith("Role")):
        for at, rule in enumerate(role["rules"]):
            for verb in rule["verbs"]:
                less = {**rule, "verbs": [v for v in rule["verbs"] if v != verb]}
                rules = [*role["rules"][:at], *([less] if less["verbs"] else []), *role["rules"][at + 1 :]]
                eu.apply({**role, "rules": rules})
                told = await clusters.missing_rights("eu")
                assert {line.split()[0] for line in told} == {verb}
                assert len(told) == len(rule["resources"])
        eu.apply(role)
