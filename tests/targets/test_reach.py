"""Which place a target is: its address and who vouches for it, never who we are there; nothing is sent elsewhere."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.adapters.http import HttpEndpoint
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.catalogue import load_catalogue
from bot.node.reloading import InForce
from bot.ports import Unreachable, Where
from bot.ports.kubernetes import Cluster
from bot.redaction.redactor import Redactor
from bot.run.state import Run, new_run
from bot.settings import Settings
from bot.store.log import Store
from bot.targets.reach import Reach
from tests.fixtures.databases import copy_to
from tests.run.played import T0, Play, act, plan

CA = Path("tests/tls/cert.pem").read_text()
OTHER_CA = CA.replace("MII", "MIJ", 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://api.internal", "https://API.internal:443/"),
        ("http://api.internal/shop", "http://api.internal:80/shop/"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
    ],
)
def test_one_address_written_otherwise_is_one_place(one: str, other: str) -> None:
    assert HttpEndpoint(one).where == HttpEndpoint(other, 9.0, {"X-Key": "x"}, variables={"X-Key": "KEY"}).where


@pytest.mark.parametrize(
    "other", ["http://api.internal", "https://api.internal:8443", "https://api2.internal", "https://api.internal/v2"]
)
def test_another_scheme_port_host_or_path_is_another_place(other: str) -> None:
    here, there = HttpEndpoint("https://api.internal").where, HttpEndpoint(other).where
    assert here.digest != there.digest and there.at == other


def kubeconfig(folder: Path, name: str = "prod", user: dict[str, Any] | None = None, /, **cluster: Any) -> str:
    """A file with one context; its cluster's fields are these."""
    ca = base64.b64encode(CA.encode()).decode()
    fields = {"server": "https://10.0.0.1:6443", "certificate-authority-data": ca, **cluster}
    whole = {
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": f"cluster of {name}", "cluster": {k: v for k, v in fields.items() if v}}],
        "users": [{"name": f"user of {name}", "user": user or {"token": "one"}}],
        "contexts": [{"name": name, "context": {"cluster": f"cluster of {name}", "user": f"user of {name}"}}],
    }  # fmt: skip
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(whole))
    return str(file)


async def where(file: str, context: str = "prod", namespace: str = "shop") -> Where:
    """Which place a cluster of the catalogue is."""
    clusters = Clusters([ClusterTarget(Cluster("eu-1", namespace), context)], file)
    try:
        return (await clusters.where())["eu-1"]
    finally:
        await clusters.close()


async def test_a_cluster_is_its_address_who_vouches_for_it_the_way_there_and_the_namespace(tmp_path: Path) -> None:
    here = await where(kubeconfig(tmp_path))
    assert here.at.startswith("https://10.0.0.1:6443, vouched for by ") and here.at.endswith(", namespace shop")
    assert await where(kubeconfig(tmp_path, "renamed", {"token": "rotated"}), "renamed") == here
    other = base64.b64encode(OTHER_CA.encode()).decode()
    others = [
        await where(kubeconfig(tmp_path, server="https://10.0.0.2:6443")),
        await where(kubeconfig(tmp_path, **{"certificate-authority-data": other})),
        await where(kubeconfig(tmp_path, **{"tls-server-name": "api.example"})),
        await where(kubeconfig(tmp_path, **{"proxy-url": "http://me:secret@proxy.example:3128"})),
        await where(kubeconfig(tmp_path), namespace="shop-2"),
    ]
    assert len({here.digest, *(w.digest for w in others)}) == 1 + len(others)
    assert len({here.at, *(w.at for w in others)}) == 1 + len(others), "people see what differs"
    assert "through http://proxy.example:3128" in others[3].at


async def test_nothing_that_is_said_of_a_place_is_secret(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, server="https://me:secret@10.0.0.1:6443/k8s?token=secret")
    assert (await where(file)).at.startswith("https://10.0.0.1:6443/k8s,")
    gone = await where(str(tmp_path / "none"))
    assert gone.digest == "" and gone.at.startswith("not known (eu-1: there is no kubeconfig")


async def test_a_cluster_that_leads_elsewhere_than_was_approved_is_sent_nothing(tmp_path: Path) -> None:
    approved = await where(kubeconfig(tmp_path))
    clusters = Clusters(
        [ClusterTarget(Cluster("eu-1", "shop"), "prod")], kubeconfig(tmp_path, server="http://127.0.0.1:1")
    )
    clusters.hold({"eu-1": approved})
    with pytest.raises(Unreachable, match="leads elsewhere than was approved"):
        await clusters.list("eu-1", "deployment")
    assert clusters.led_elsewhere
    await clusters.close()
    opened = Clusters([ClusterTarget(Cluster("eu-1", "shop"), "prod")], kubeconfig(tmp_path))
    await opened.where()
    opened.hold({"eu-1": approved})
    with pytest.raises(Unreachable, match="leads elsewhere than was approved"):
        opened.hold({"eu-1": Where("elsewhere", "another", "kubernetes")})
    await opened.close()


CATALOGUE = """\
services: {shop: {targets: {us-1: {kubernetes: us-1, namespace: shop}}}}
roles: {commander: {people: [ana]}, approver: {people: [cho]}}
people: {ana: Ana, cho: Cho}
"""
TYPO = CATALOGUE.replace("kubernetes: us-1", "kubernetes: us-9")


@dataclass
class Node:
    """What a process knows of the ways to the targets. run: opened by the first catalogue, at us-1."""

    held: InForce
    reach: Reach
    run: Run

    async def edit(self, text: str) -> None:
        """Somebody saves another catalogue."""
        self.held.put(load_catalogue(text, "rollback.yaml"))
        await self.reach.renew()


@asynccontextmanager
async def node(folder: Path, text: str = CATALOGUE) -> AsyncIterator[Node]:
    """A process that began with this catalogue."""
    opened = load_catalogue(CATALOGUE, "rollback.yaml")
    file = kubeconfig(folder, "us-1")
    store = await Store.open(copy_to(folder / "bot.db"))
    held = InForce(load_catalogue(text, "rollback.yaml"))
    reach = Reach(Settings(kubeconfig=file), store, held, Redactor())
    try:
        there = {"us-1": await where(file, "us-1")}
        begun = Play(plan(act("deploy", {"us-1/shop": "new"})), places=there).run.created
        assert begun is not None
        await store.append(new_run("r1"), [replace(begun, digests={"catalogue": opened.digest})], T0)
        await reach.tell()
        yield Node(held, reach, await store.load("r1"))
    finally:
        await reach.close()
        await store.close()


async def test_a_way_that_is_known_to_fit_wins_over_one_of_which_nobody_can_tell(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        before = here.reach.now["shop"]
        await here.edit(TYPO)
        assert not (await here.reach.ground(here.run)).why_not(here.run), "nothing is known to be otherwise"
        assert here.reach.of(here.run) is before
        await here.edit(CATALOGUE)
        assert here.reach.of(here.run) is here.reach.now["shop"], "of two that fit, the one in force"


async def test_catalogues_that_are_edited_to_and_fro_leave_no_connection_behind(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        made: list[object] = []
        for text in (TYPO, CATALOGUE) * 3:
            await here.edit(text)
            made.append(here.reach.now["shop"])
        assert len({*map(id, made)}) == 2, "each is opened once while a run may need it"


async def test_where_nobody_can_tell_whether_another_catalogue_leads_there_no_attempt_is_taken(tmp_path: Path) -> None:
    async with node(tmp_path, TYPO) as restarted:
        ground = await restarted.reach.ground(restarted.run)
        why = ground.why_not(restarted.run)
        assert why.startswith("us-1 now not known (us-1: context 'us-9' of ") and ", approved for https://" in why
        assert ground.moves(restarted.run) is None, "a slip is no new place that people could be asked about"
        with pytest.raises(Unreachable, match=r"us-1 now not known .*us-9.*correct the catalogue"):
            restarted.reach.of(restarted.run)
        await restarted.edit(CATALOGUE)
        assert not (await restarted.reach.ground(restarted.run)).why_not(restarted.run)


async def test_the_catalogue_that_a_run_was_opened_with_is_its_way_while_a_kubeconfig_is_lost(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        (tmp_path / "kubeconfig").unlink()
        await here.reach.renew()
        assert not (await here.reach.ground(here.run)).why_not(here.run), "its steps say what they cannot reach"
        assert here.reach.of(here.run) is not None
