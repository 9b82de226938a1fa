"""`init`: a first catalogue that passes lint as it is, from a kubeconfig where there is one; nothing is overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from bot.catalogue import load_catalogue
from bot.catalogued.kubernetes import KubernetesTarget
from bot.cli import root
from bot.cli.output import Code

CONTEXTS = """
apiVersion: v1
kind: Config
current-context: arn:aws:eks:eu-1:123:cluster/prod
contexts:
  - {name: "arn:aws:eks:eu-1:123:cluster/prod", context: {cluster: c, user: u, namespace: web-shop}}
  - {name: api, context: {cluster: c, user: u}}
"""


def said(folder: Path, *words: str, **more: str) -> Result:
    """What a shell says in this folder, which is its home too."""
    clean: Mapping[str, str | None] = {k: None for k in os.environ if k.startswith(("ROLLBACK_", "KUBECONFIG"))}
    own = {"ROLLBACK_CATALOGUE": str(folder / "rollback.yaml"), "HOME": str(folder), **more}
    return CliRunner().invoke(root, [*words], env={**clean, **own}, prog_name="rollback-bot")


def written(folder: Path) -> Any:
    """The service and its targets."""
    (service,) = load_catalogue((folder / "rollback.yaml").read_bytes(), "rollback.yaml").services.values()
    return service


def test_without_a_kubeconfig_it_writes_what_passes_lint_and_says_what_to_do_next(tmp_path: Path) -> None:
    found = said(tmp_path, "init")
    assert found.exit_code == 0 and "no kubeconfig found" in found.stdout and "rollback-bot db upgrade" in found.stdout
    assert said(tmp_path, "plan", "lint").stdout == "No mistakes.\n"
    assert written(tmp_path).name == "shop" and set(written(tmp_path).targets) == {"api"}
    assert json.loads((tmp_path / "release.json").read_text())["service"] == "shop"


def test_what_is_commented_out_is_right_as_well(tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(CONTEXTS)
    said(tmp_path, "init", KUBECONFIG=str(tmp_path / "kube"))
    file = tmp_path / "rollback.yaml"
    lines = file.read_text().splitlines()[3:]
    file.write_text("\n".join(line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in lines))
    assert said(tmp_path, "plan", "lint").stdout == "No mistakes.\n"
    target = written(tmp_path).targets["arn-aws-eks-eu-1-123-cluster-prod"]
    assert target.workers == ("deployment/web-shop-worker",) and target.wave == 2
    assert written(tmp_path).floor == "2.3.0" and "dba" in yaml.safe_load(file.read_text())["roles"]


def test_the_current_context_of_the_kubeconfig_is_the_cluster(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(CONTEXTS)
    assert "context arn:aws:eks:eu-1:123:cluster/prod, namespace web-shop" in said(tmp_path, "init").stdout
    assert written(tmp_path).name == "web-shop"
    found = written(tmp_path).targets["arn-aws-eks-eu-1-123-cluster-prod"]
    assert found == KubernetesTarget("arn:aws:eks:eu-1:123:cluster/prod", "web-shop")


def test_context_namespace_service_and_address_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(CONTEXTS)
    words = ("init", "--context", "api", "--namespace", "pay", "--service", "payments", "--api", "https://pay.example")
    data = json.loads(said(tmp_path, *words, "--json", ROLLBACK_KUBECONFIG=str(tmp_path / "kube")).stdout)
    assert data["service"] == "payments" and data["context"] == "api" and data["namespace"] == "pay"
    assert set(written(tmp_path).targets) == {"api", "cluster"}
    assert written(tmp_path).targets["api"].http == "https://pay.example"


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    for name in ("rollback.yaml", "release.json"):
        (tmp_path / name).write_text("mine")
    found = said(tmp_path, "init")
    assert found.exit_code == Code.REFUSED and "stays as it is" in found.stderr
    (tmp_path / "rollback.yaml").unlink()
    assert json.loads(said(tmp_path, "init", "--json").stdout)["written"] == [str(tmp_path / "rollback.yaml")]
    assert (tmp_path / "release.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--context", "prd"], "The kubeconfig has no context 'prd'; there are: none. Nothing was written."),
        (["--service", "My Shop"], "use a-z, 0-9 and '-'"),
        (["--api", "shop.example"], "must be an address like https://"),
    ],
)
def test_what_makes_no_good_catalogue_is_told_and_not_written(tmp_path: Path, words: list[str], told: str) -> None:
    found = said(tmp_path, "init", *words)
    assert found.exit_code == Code.USAGE and told in found.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["[]", "contexts: [{}]", "a: [", "contexts: {a: b}"])
def test_a_kubeconfig_that_is_none_is_told_and_left_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "kube").write_text(text)
    found = said(tmp_path, "init", KUBECONFIG=str(tmp_path / "kube"))
    assert found.exit_code == 0 and "is no kubeconfig that I can read" in found.stderr
    assert said(tmp_path, "plan", "lint").exit_code == 0


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = said(tmp_path, "init", ROLLBACK_CATALOGUE=str(tmp_path / "no" / "rollback.yaml"))
    assert found.exit_code == Code.USAGE and "cannot be written: No such file or directory" in found.stderr
