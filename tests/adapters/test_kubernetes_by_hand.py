"""What people type in the bot's place, run with the real kubectl: it makes the edits so, again as well, and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.contract import Change, Edit
from bot.playground.cluster import Cluster
from bot.playground.shop.shop import Shop
from bot.ports.kubernetes import Cluster as Catalogued
from bot.ports.kubernetes import Place, value_at

SPACE = "shop"
RULES: Any = {"service": "shop", "banned": ["sha256:" + "1" * 64], "message": "banned"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path / "shop", ("eu-1",), deployed=("2.4.0",)) as made:
        yield made


async def typed(shop: Shop, commands: Sequence[str]) -> str:
    """The commands in a shell of a person who may do all of it. AssertionError with what was said."""
    config = shop.folder / "admin"
    config.write_text(yaml.safe_dump(shop.kubeconfig_of("admin")))
    config.chmod(0o600)
    shell = await asyncio.create_subprocess_exec(
        "bash", "-e", "-o", "pipefail", "-c", "\n".join(commands).replace("sleep 3", "sleep 0"),
        env={**os.environ, "KUBECONFIG": str(config)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await shell.communicate())[0].decode()
    assert shell.returncode == 0, "\n".join([*commands, said])
    return said


async def test_every_kind_of_edit_is_made_so_again_and_back(shop: Shop) -> None:
    known = Catalogued("eu-1", SPACE, settings=("shop-settings",), applications=("argocd/shop",))
    clusters = Clusters([ClusterTarget(known, "eu-1")], str(shop.kubeconfig))
    try:
        cluster: Cluster = shop.clusters["eu-1"]
        maps = await clusters.list("eu-1", "configmap") or await _maps(clusters, cluster)
        settings, key = maps[0], next(k for k in maps[0].fields if k.startswith("data/"))
        api = await clusters.get(Place("eu-1", "deployment", "shop-api"))
        worker = await clusters.get(Place("eu-1", "deployment", "shop-api-canary"))  # which no autoscaler sets back
        cron = await clusters.get(Place("eu-1", "cronjob", "shop-settle"))
        app = await clusters.get(Place("eu-1", "application", "shop"))
        assert api is not None and worker is not None and cron is not None and app is not None
        image = next(f for f in api.fields if f.startswith("image/"))
        container = image.removeprefix("image/")
        good = shop.images["2.3.9"]["shop-api"]
        sourced: Any = {"field": "metadata.name"}
        edits = (
            Edit(
                app.place.target("spec.syncPolicy.automated"), app.fields.get("spec.syncPolicy.automated"), None
            ),  # first: it would bring all of it back
            Edit(settings.place.target(key), settings.fields[key], 'it\'s "this" & $that'),
            Edit(settings.place.target("data/NEW_KEY"), None, "new"),
            Edit(api.place.target(image), api.fields[image], good),
            Edit(api.place.target(f"env/{container}/BY_HAND"), None, "a b"),
            Edit(api.place.target(f"env/{container}/MY_NAME"), None, sourced),
            Edit(worker.place.target("replicas"), worker.fields.get("replicas"), 0),
            Edit(cron.place.target("suspend"), cron.fields.get("suspend") or False, True),
            Edit("eu-1/guard/ban-by-hand/rules", None, RULES),
        )
        change = Change("everything", edits)
        for doing in (change, change, change.inverted(), change.inverted(), change):
            await typed(shop, clusters.by_hand(doing.edits))
            for e in doing.edits:
                there = value_at(await clusters.get(Place.of(e.target)), e.target)
                assert there == e.after or (not there and not e.after), (e, there)
        commands = "\n".join(clusters.by_hand(change.inverted().edits))
        assert "Only once Git holds what runs now" in commands, "a person is told what the bot would wait for"
        assert clusters.by_hand([replace(edits[3], after=good)])[-1].endswith(
            "rollout status deployment/shop-api --timeout=10m"
        )
    finally:
        await clusters.close()


def test_flux_is_resumed_by_hand_with_a_word_of_what_that_does() -> None:
    known = Catalogued("eu-1", SPACE, flux=("kustomization/flux-system/shop",))
    clusters = Clusters([ClusterTarget(known, "eu-1")], "nowhere")
    change = Change("pause", (Edit("eu-1/kustomization/shop/spec.suspend", None, True),))
    start = (
        "kubectl --context eu-1 -n flux-system patch kustomizations.kustomize.toolkit.fluxcd.io/shop --type=merge -p"
    )
    assert clusters.by_hand(change.edits) == [start + """ '{"spec":{"suspend":true}}'"""]
    told, resume = clusters.by_hand(change.inverted().edits)
    assert told == "# Only once Git holds what runs now: it applies what Git holds at once."
    assert resume == start + """ '{"spec":{"suspend":null}}'"""


async def _maps(clusters: Clusters, cluster: Cluster) -> list[Any]:
    names = [m["metadata"]["name"] for m in cluster.all("ConfigMap", SPACE)]
    found = [await clusters.get(Place("eu-1", "configmap", n)) for n in names]
    return [t for t in found if t is not None and any(f.startswith("data/") for f in t.fields)]
