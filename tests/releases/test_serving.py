"""Which release serves: decided from what clusters run, told to the ledger, with the configuration it serves with."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import migrations
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.adapters.registry import RegistryClient
from bot.catalogue import Release
from bot.plan.model import Plan, StepSpec
from bot.playground.shop.shop import Shop
from bot.policy import Actor
from bot.ports import Blob, Json
from bot.ports.kubernetes import Cluster, Kind, Place, Rollout, Thing
from bot.redaction.redactor import Redactor
from bot.releases.register import ReleasePayload, ReleaseRegister
from bot.releases.serving import BRISK, SETTLED, Look, Serving, arriving, configuration, pause, serving
from bot.run import events as ev
from bot.run.state import new_run
from bot.store.blobs import FileBlobs
from bot.store.log import Store
from tests.fixtures.clusters_deployed import BAD, deployed
from tests.fixtures.waiting import until

NOW = 1_763_900_000.0


def image(letter: str) -> str:
    return f"registry.example/shop/x@sha256:{letter * 64}"


OLD = Release("2.4.0", images={"shop-api": image("a"), "shop-worker": image("b")})
NEW = Release("2.4.1", images={"shop-api": image("c"), "shop-worker": image("d")})
DONE = Rollout(2, 2, 2)
ROLLING = Rollout(2, 1, 2, old=1)


def workload(
    name: str,
    letter: str,
    rollout: Rollout | None = DONE,
    kind: Kind = "deployment",
    cluster: str = "eu-1",
    **env: Json,
) -> Thing:
    fields = {"image/app": image(letter), **{f"env/app/{key}": value for key, value in env.items()}}
    return Thing(Place(cluster, kind, name), "1", fields, rollout=rollout)


def decided(*things: Thing, elsewhere: tuple[Thing, ...] = (), current: str | None = None) -> str | None:
    seen = {"eu-1": things, **({"us-1": elsewhere} if elsewhere else {})}
    found = serving([OLD, NEW], seen, current)
    return found.version if found is not None else None


def coming(*things: Thing, current: str | None = "2.4.0") -> str | None:
    found = arriving([OLD, NEW], {"eu-1": things}, current)
    return found.version if found is not None else None


def test_a_release_that_is_out_there_anywhere_is_arriving() -> None:
    old, half = workload("shop-api", "a"), workload("shop-api", "c", ROLLING)
    assert coming(old, half) == "2.4.1"
    assert coming(old, workload("shop-worker", "b")) is None
    assert coming(half, current="2.4.1") is None
    assert coming(half, current=None) is None


def test_images_that_the_serving_release_has_too_announce_nothing() -> None:
    shared = replace(NEW, images={**NEW.images, "shop-worker": image("b")})
    assert arriving([OLD, shared], {"eu-1": [workload("shop-worker", "b")]}, "2.4.0") is None


# -- the decision ----------------------------------------------------------------------------------------------------


def test_a_release_serves_when_everything_it_names_runs_complete() -> None:
    assert decided(workload("shop-api", "c"), workload("shop-worker", "d")) == "2.4.1"


def test_a_canary_alone_does_not_serve_and_does_not_end_the_one_that_does() -> None:
    assert decided(workload("shop-api", "a"), workload("shop-worker", "b"), workload("shop-canary", "c")) == "2.4.0"


@pytest.mark.parametrize(
    "things",
    [
        (workload("shop-api", "c", ROLLING), workload("shop-worker", "d")),
        (workload("shop-api", "c"), workload("shop-worker", "b")),
        (workload("shop-api", "c"), workload("shop-worker", "d"), workload("shop-canary", "c", ROLLING)),
        (workload("shop-api", "c"),),
        (workload("shop-api", "e"), workload("shop-worker", "f")),
        (workload("shop-api", "c", Rollout(2, 2, 2, seen=False)), workload("shop-worker", "d")),
        (),
    ],
    ids=["rolling", "half deployed", "its canary rolls", "a part is missing", "unknown", "not seen yet", "nothing"],
)
def test_while_none_runs_complete_nothing_is_said(things: tuple[Thing, ...]) -> None:
    assert decided(*things) is None


def test_every_cluster_has_to_run_it_and_not_every_one_needs_all_its_parts() -> None:
    api, worker = workload("shop-api", "c"), workload("shop-worker", "d")
    assert decided(api, worker, elsewhere=(workload("shop-api", "c", cluster="us-1"),)) == "2.4.1"
    assert decided(api, worker, elsewhere=(workload("shop-api", "a", cluster="us-1"),)) is None
    assert decided(api, worker, elsewhere=(workload("other", "e", cluster="us-1"),)) is None


def test_paused_workers_do_not_end_it_and_a_shop_without_any_pod_serves_nothing() -> None:
    none = Rollout(0, 0, 0)
    assert decided(workload("shop-api", "c"), workload("shop-worker", "d", none)) == "2.4.1"
    assert decided(workload("shop-api", "c", none), workload("shop-worker", "d", none)) is None


def test_a_cron_counts_by_its_image() -> None:
    release = replace(NEW, images={**NEW.images, "shop-settle": image("e")})
    running = [workload("shop-api", "c"), workload("shop-worker", "d")]
    for letter, expected in (("e", release), ("f", None)):
        cron = workload("shop-settle", letter, None, "cronjob")
        assert serving([OLD, release], {"eu-1": [*running, cron]}) == expected


def test_of_two_releases_with_the_same_images_the_current_one_serves_else_the_newest() -> None:
    again = replace(NEW, version="2.4.2")
    seen = {"eu-1": [workload("shop-api", "c"), workload("shop-worker", "d")]}
    assert serving([NEW, again], seen, "2.4.1") == NEW
    assert serving([NEW, again], seen, None) == again


def test_a_release_without_images_never_serves_in_a_cluster() -> None:
    assert serving([Release("1")], {"eu-1": [workload("shop-api", "a")]}) is None


def test_its_configuration_is_its_settings_and_the_variables_of_what_runs_it_and_no_secret() -> None:
    secret: Json = {"secret": "shop-database", "key": "path"}
    seen = {
        "eu-1": [workload("shop-api", "c", LEVEL="info", DATABASE=secret), workload("shop-canary", "a", LEVEL="debug")]
    }
    settings = Thing(Place("eu-1", "configmap", "shop-settings"), "1", {"data/checkout.retries": "2", "label/x": "y"})
    assert configuration(NEW, seen, [settings], Redactor()) == {
        "eu-1/configmap/shop-settings/data/checkout.retries": "2",
        "eu-1/deployment/shop-api/env/app/LEVEL": "info",
        "eu-1/deployment/shop-api/env/app/DATABASE": secret,
        "eu-1/deployment/shop-api/image/app": image("c"),
    }


async def test_a_snapshot_is_every_setting_of_every_cluster_and_no_secret() -> None:
    async with deployed(1, 2) as shop:
        found = await shop.configuration()
        assert shop.writes() == []
    assert {target.split("/")[0] for target in found} == {"eu-1", "us-1"}
    assert found["us-1/configmap/shop-settings/data/PAYMENTS"] == "v2"
    root = "eu-1/deployment/shop-api"
    kept = {t: v for t, v in found.items() if t.startswith((f"{root}/env/", f"{root}/image/", f"{root}/order/"))}
    assert kept == {
        f"{root}/order/shop-api": ["REGION", "TOKEN", "PAYMENTS", "NEW"],
        f"{root}/env/shop-api/NEW": "on",
        f"{root}/env/shop-api/PAYMENTS": "v2",
        f"{root}/env/shop-api/REGION": "eu",
        f"{root}/env/shop-api/TOKEN": {"secret": "shop", "key": "token"},
        f"{root}/image/migrate": BAD["api"],
        f"{root}/image/shop-api": BAD["api"],
    }
    assert not [t for t in found if "/replicas" in t or "/annotation/" in t]


# -- over clusters ---------------------------------------------------------------------------------------------------


class House:
    """A shop on two clusters, the bot's ledger, and what looks at both."""

    def __init__(self, shop: Shop, store: Store, folder: Path) -> None:
        self.shop, self.store = shop, store
        self.ticks, self.leap = count(), 0.0
        self.releases = ReleaseRegister(store, self.time)
        self.blobs = FileBlobs(folder)
        targets = [
            ClusterTarget(Cluster(name, "shop", wave, settings=("shop-settings",)), name, timeout=5.0)
            for wave, name in enumerate(shop.clusters, 1)
        ]
        self.kube = Clusters(targets, str(shop.kubeconfig))
        self.images = RegistryClient(2.0, {})
        self.serving = Serving(
            {"shop": self.kube}, self.releases, self.blobs, self.images, self.time, every=30.0,
            secrets=Redactor(key="of the tests alone"),
        )  # fmt: skip

    def time(self) -> float:
        return NOW + next(self.ticks) + self.leap

    def later(self, seconds: float) -> None:
        """The bot's clock goes on."""
        self.leap += seconds

    async def register(self, version: str) -> None:
        """As CI does."""
        payload = ReleasePayload.model_validate(self.shop.releases[version])
        await self.releases.record("shop", payload.release, by="ci")

    async def current(self) -> str | None:
        found = await self.releases.current("shop")
        return found.version if found is not None else None

    async def snapshot(self, version: str, which: str = "settings") -> Mapping[str, Any] | None:
        found = await self.releases.get("shop", version)
        blob = getattr(found.release, which) if found is not None else None
        if blob is None:
            return None
        kept: Mapping[str, Any] = json.loads(await self.blobs.get(blob))
        return kept


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    await asyncio.to_thread(migrations.upgrade, url)
    store = await Store.open(url)
    async with Shop(tmp_path / "shop", deployed=("2.4.0",)) as shop:
        found = House(shop, store, tmp_path / "files")
        await found.register("2.4.0")
        try:
            yield found
        finally:
            await found.kube.close()
            await found.images.close()
            await store.close()


async def test_what_serves_is_noted_once_and_two_snapshots_tell_what_a_release_changed(
    house: House,
) -> None:
    assert (await house.serving.look("shop")).version == "2.4.0"
    assert (await house.serving.look("shop")).version == "2.4.0"
    history = (await house.releases.all("shop"))[0].history
    assert [e.what for e in history] == ["registered", "serving"]
    await house.register("2.4.1")
    await house.shop.deploy("2.4.1")
    assert (await house.serving.look("shop")).version == "2.4.1"
    assert await house.current() == "2.4.1"
    before, after = await house.snapshot("2.4.0"), await house.snapshot("2.4.1")
    assert before is not None
    assert after is not None
    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    wholes = {key for key in differing if key.split("/")[3:4] in (["container"], ["order"], ["whole"])}
    changed = {key for key in differing - wholes if "/image/" not in key}
    parts = ("deployment/shop-api", "deployment/shop-api-canary", "deployment/shop-worker", "cronjob/shop-settle")
    assert differing - changed - wholes == {f"{c}/{part}/image/app" for c in ("eu-1", "us-1") for part in parts}
    keys = ("checkout.retries", "checkout.timeout_ms", "payments.url", "settle.batch")
    assert changed == {
        *(f"{c}/configmap/shop-settings/data/{key}" for c in ("eu-1", "us-1") for key in keys),
        *(
            f"{c}/deployment/{d}/env/app/PAYMENTS_FORMAT"
            for c in ("eu-1", "us-1")
            for d in ("shop-api", "shop-api-canary")
        ),
    }
    assert before["eu-1/deployment/shop-api/env/app/DATABASE"] == {"secret": "shop-database", "key": "path"}
    assert before["us-1/configmap/shop-settings/data/checkout.kill_switch"] == "false"
    assert [c.requests.writes("bot") for c in house.shop.clusters.values()] == [[], []]


KILLED = "eu-1/configmap/shop-settings/data/checkout.kill_switch"


async def test_what_a_release_came_with_stays_and_what_others_changed_for_good_is_recorded_beside_it(
    house: House,
) -> None:
    await house.serving.look("shop")
    first = await house.snapshot("2.4.0")
    assert first is not None
    assert first[KILLED] == "false"
    await house.shop.kill_switch(by="dee")
    await house.serving.look("shop")
    assert await house.snapshot("2.4.0", "last") is None
    house.later(SETTLED)
    await house.serving.look("shop")
    last = await house.snapshot("2.4.0", "last")
    assert last is not None
    assert {key for key in first if last.get(key) != first[key]} == {KILLED, KILLED.replace("eu-1", "us-1")}
    assert await house.snapshot("2.4.0") == first


async def test_settings_that_come_shortly_before_their_release_are_not_taken_for_the_one_that_serves(
    house: House,
) -> None:
    await house.serving.look("shop")
    await house.shop.edit("eu-1", "payments.url", "https://v2", by="ci")
    await house.serving.look("shop")
    house.later(SETTLED - 60)
    await house.serving.look("shop")
    assert await house.snapshot("2.4.0", "last") is None


async def test_of_what_looks_like_a_secret_only_a_digest_with_the_bots_key_is_recorded(house: House) -> None:
    await house.shop.edit("eu-1", "db.password", "hunter2-hunter2", by="dee")
    await house.serving.look("shop")
    found = await house.snapshot("2.4.0")
    assert found is not None
    assert "hunter2" not in json.dumps(found)
    kept = found["eu-1/configmap/shop-settings/data/db.password"]
    assert kept == {"hidden": Redactor(key="of the tests alone").digest("hunter2-hunter2")}
    assert hashlib.sha256(b'"hunter2-hunter2"').hexdigest() not in json.dumps(found)


async def test_a_release_that_was_deployed_by_tag_serves_and_is_recorded_by_digest(house: House) -> None:
    for cluster in house.shop.clusters.values():
        app = cluster.get("Application", "shop", "argocd")
        cluster.apply({**app, "spec": {**app["spec"], "syncPolicy": {}}})  # Git says it by digest
        for kind in ("Deployment", "CronJob"):
            for found in cluster.all(kind, "shop"):
                text = json.dumps(found)
                for pinned in house.shop.images["2.4.0"].values():
                    text = text.replace(pinned, f"{pinned.partition('@')[0]}:2.4.0")
                cluster.apply(json.loads(text))
    await until(lambda: _serves(house, "2.4.0"))
    kept = await house.snapshot("2.4.0")
    assert kept is not None
    digest = house.shop.images["2.4.0"]["shop-api"].partition("@")[2]
    assert str(kept["eu-1/deployment/shop-api/image/app"]).endswith(f":2.4.0@{digest}")


async def _serves(house: House, version: str) -> bool:
    return (await house.serving.look("shop")).version == version


async def test_a_cluster_that_cannot_be_reached_leaves_the_ledger_as_it_is(house: House) -> None:
    await house.serving.look("shop")
    await house.register("2.4.1")
    await house.shop.deploy("2.4.1")
    await house.shop.clusters["us-1"].disconnect()
    look = await house.serving.look("shop")
    assert (look.seen, look.version, look.arriving) == (False, None, "2.4.1")
    assert await house.serving.to_remove("shop") == "2.4.1"
    assert await house.current() == "2.4.0"
    await house.shop.clusters["us-1"].connect()
    assert (await house.serving.look("shop")).version == "2.4.1"
    assert await house.current() == "2.4.1"


async def test_what_nobody_registered_serves_nothing_and_the_last_one_stays(house: House) -> None:
    await house.serving.look("shop")
    await house.shop.deploy("2.4.1")
    look = await house.serving.look("shop")
    assert (look.seen, look.version) == (True, None)
    assert await house.current() == "2.4.0"


async def test_while_a_run_is_open_no_configuration_is_taken(house: House) -> None:
    plan = Plan("small", (StepSpec("deploy", "Deploy", "backend", "action", "http.put"),))
    ana = Actor("U1", "ana", ("commander",))
    run = await house.store.append(
        new_run("r1"), [ev.Created("shop", plan, "sha256:0", NEW, OLD, "it fails", ana)], NOW
    )
    assert (await house.serving.look("shop")).version == "2.4.0"
    assert await house.snapshot("2.4.0") is None
    await house.store.append(run, [ev.Closed("closed", ana)], NOW)
    await house.serving.look("shop")
    assert await house.snapshot("2.4.0") is not None


async def test_it_looks_by_itself_and_at_once_when_told_that_a_release_was_registered(house: House) -> None:
    async def first() -> bool:
        return await house.current() == "2.4.0" and await house.snapshot("2.4.0") is not None

    async def second() -> bool:
        return await house.current() == "2.4.1"

    loop = asyncio.create_task(house.serving.run())
    try:
        await until(first)
        await house.shop.deploy("2.4.1")
        await house.register("2.4.1")
        house.serving.soon()
        await until(second)
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    assert [e.what for e in (await house.releases.all("shop"))[0].history] == ["registered", "serving"]


def test_while_nothing_serves_and_nothing_moves_it_looks_more_and_more_rarely() -> None:
    stands = {"shop": Look(seen=True, runs=1), "billing": Look(seen=True, version="1.0")}
    waits = [pause(stands, {}, 60.0, 60.0)]
    for _ in range(5):
        waits.append(pause(stands, stands, waits[-1], 60.0))
    assert waits == [BRISK, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert pause({**stands, "shop": Look(seen=True, runs=2)}, stands, 60.0, 60.0) == BRISK
    assert pause({**stands, "shop": Look(seen=True, version="1.1")}, stands, BRISK, 60.0) == 60.0
    assert pause({**stands, "shop": Look(seen=False)}, stands, BRISK, 60.0) == 60.0


async def test_what_runs_is_told_apart_by_images_and_by_how_far_rollouts_are(house: House) -> None:
    await house.shop.deploy("2.4.1")
    first = await house.serving.look("shop")
    assert first == await house.serving.look("shop") and not first.settled
    await house.shop.deploy("2.4.0")
    assert (await house.serving.look("shop")).settled


class Counted(FileBlobs):
    """Counts what it is given."""

    given = 0

    async def put(self, data: bytes, type: str) -> Blob:
        """Keeps it, and counts."""
        self.given += 1
        return await super().put(data, type)


async def test_a_record_is_made_again_only_where_somebody_has_written(house: House) -> None:
    house.serving._blobs = blobs = Counted(house.blobs.folder)
    await house.serving.look("shop")  # recorded
    await house.serving.look("shop")  # compared with what was recorded
    known = blobs.given
    await house.serving.look("shop")
    assert blobs.given == known
    await house.shop.deploy("2.4.1")
    await house.shop.deploy("2.4.0")
    await house.serving.look("shop")
    assert blobs.given == known + 1
