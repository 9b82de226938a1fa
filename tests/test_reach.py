"""Which place a target is: its address and who vouches for it, never who we are there; nothing is sent elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.adapters.http import HttpTarget
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.ports import Unreachable, Where
from bot.ports.kubernetes import Cluster

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
    assert HttpTarget(one).where == HttpTarget(other, 9.0, {"X-Key": "x"}, variables={"X-Key": "KEY"}).where


@pytest.mark.parametrize(
    "other", ["http://api.internal", "https://api.internal:8443", "https://api2.internal", "https://api.internal/v2"]
)
def test_another_scheme_port_host_or_path_is_another_place(other: str) -> None:
    here, there = HttpTarget("https://api.internal").where, HttpTarget(other).where
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
