"""deploy/: manifests as Kubernetes reads them, and nothing in them that the program would not understand."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes_schemas import faults

DEPLOY = Path(__file__).parents[2] / "deploy" / "kubernetes"
FOLDERS = ("bot", "rights")


def written(folder: str) -> Iterator[dict[str, Any]]:
    """The manifests that a folder's kustomization names."""
    for name in yaml.safe_load((DEPLOY / folder / "kustomization.yaml").read_text())["resources"]:
        yield from yaml.safe_load_all((DEPLOY / folder / name).read_text())


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_manifest_is_as_kubernetes_own_schemas_have_it(folder: str) -> None:
    assert [fault for manifest in written(folder) for fault in faults(manifest)] == []


def test_what_these_schemas_do_not_know_is_found() -> None:
    (sound,) = (m for m in written("bot") if m["kind"] == "Deployment")
    wrong = copy.deepcopy(sound)
    wrong["spec"]["replicas"] = "2"
    wrong["spec"]["template"]["spec"]["securityContext"]["runAsUsr"] = 1
    del wrong["spec"]["template"]["spec"]["containers"][0]["name"]
    assert [f.partition(":")[0].rpartition(".")[2] for f in faults(wrong)] == ["replicas", "runAsUsr", "name"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_it_whole(folder: str) -> None:
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client")
    built = subprocess.run([kubectl, "kustomize", str(DEPLOY / folder)], capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    found = [*yaml.safe_load_all(built.stdout)]
    assert sorted(m["kind"] for m in found) == sorted(m["kind"] for m in written(folder))
    assert [fault for manifest in found for fault in faults(manifest)] == []
    if folder == "bot":
        spaces = {m["metadata"].get("namespace") for m in found if m["kind"] != "Namespace"}
        assert spaces == {"rollback-bot"}
        pod = next(m for m in found if m["kind"] == "Deployment")["spec"]["template"]["spec"]
        assert {c["image"] for c in pod["initContainers"] + pod["containers"]} == {
            "registry.example/rollback-bot:0.1.0"
        }


def test_the_pods_are_what_a_restricted_namespace_lets_in_and_write_nowhere_but_into_volumes() -> None:
    by_kind = {m["kind"]: m for m in written("bot")}
    assert by_kind["Namespace"]["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert "/tmp" in {m["mountPath"] for m in container["volumeMounts"]}


def test_what_selects_the_pods_selects_them() -> None:
    by_kind = {m["kind"]: m for m in written("bot")}
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        by_kind["Deployment"]["spec"]["selector"]["matchLabels"],
        by_kind["Service"]["spec"]["selector"],
        by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert by_kind["PodDisruptionBudget"]["spec"]["minAvailable"] < by_kind["Deployment"]["spec"]["replicas"]
