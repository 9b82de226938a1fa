"""What `rollback-bot rights` writes: the rights that the catalogue asks for, of each cluster and identity, no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bot.catalogue import Catalogue, load_catalogue
from bot.cli import root
from bot.targets.granted import in_aws, in_clusters

SERVICES = """
services:
  shop:
    targets:
      api: {http: "https://shop.example"}
      eu-1: {kubernetes: prod-eu, namespace: shop, applications: [argocd/shop], probe: "deployment/shop-api:8080"}
      www: {site: "s3://shop-web/www", builds: "s3://shop-builds/web"}
      m: {site: "s3://shop-m/www", role: "arn:aws:iam::1:role/m", switch: cdn}
      cdn: {edge: "https://www.shop.example", cloudfront: E1, backend: api, reports: /settings}
      db: {postgres: "db.example:5432/shop", login: DB}
      dumps: {backups: "s3://shop-dumps/main", key: DUMPS_KEY, secret: DUMPS_SECRET, of: db}
  pay:
    targets:
      api: {http: "https://pay.example"}
      eu-1: {kubernetes: prod-eu, namespace: pay, flux: [kustomization/flux-system/pay]}
      eu-1-jobs: {kubernetes: prod-eu, namespace: shop}
      us-1: {kubernetes: prod-us, namespace: pay}
roles: {commander: {people: [U1]}, approver: {people: [U1]}}
people: {U1: ana}
"""
ROLE = "arn:aws:iam::1:role/m"


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(SERVICES, "rollback.yaml")


def roles(text: str) -> dict[str, set[tuple[str, str]]]:
    """Namespace -> resource and verb."""
    found = [m for m in yaml.safe_load_all(text) if m["kind"].endswith("Role")]
    return {
        m["metadata"].get("namespace", ""): {
            (r, v) for rule in m["rules"] for r in rule["resources"] for v in rule["verbs"]
        }
        for m in found
    }


def test_each_cluster_gets_what_the_services_in_it_need_together(catalogue: Catalogue) -> None:
    found = {context: roles(text) for context, text in in_clusters(catalogue).items()}
    assert {context: [*spaces] for context, spaces in found.items()} == {
        "prod-eu": ["argocd", "flux-system", "pay", "shop", ""], "prod-us": ["pay", ""],
    }  # fmt: skip
    eu = found["prod-eu"]
    assert eu["argocd"] == {("applications", verb) for verb in ("get", "list", "patch")}
    assert {r for r, _ in eu["flux-system"]} == {
        "kustomizations", "gitrepositories", "ocirepositories", "buckets",
    }  # fmt: skip
    assert eu["shop"] - eu["pay"] == {("pods", "create"), ("pods/proxy", "get")}, "only what a probe needs"
    assert eu["pay"] == found["prod-us"]["pay"]
    assert not any(r == "secrets" or v in ("*", "update", "escalate", "impersonate") for s in eu.values() for r, v in s)


def allowed(policy: str) -> set[tuple[str, str]]:
    said: dict[str, Any] = json.loads(policy)
    return {(a, r.removeprefix("arn:aws:")) for s in said["Statement"] for a in s["Action"] for r in s["Resource"]}


def test_each_identity_gets_what_it_reaches_and_no_more(catalogue: Catalogue) -> None:
    found = {who: allowed(policy) for who, policy in in_aws(catalogue, "s3://bot-files/rollback").items()}
    assert found["the bot itself"] == {
        ("s3:ListBucket", "s3:::bot-files"), *((f"s3:{verb}Object", "s3:::bot-files/rollback/*") for verb in _ALL),
        ("s3:ListBucket", "s3:::shop-web"), *((f"s3:{verb}Object", "s3:::shop-web/www/*") for verb in _ALL),
        ("s3:ListBucket", "s3:::shop-builds"), ("s3:GetObject", "s3:::shop-builds/web/*"),
        ("s3:PutObject", "s3:::shop-builds/web/rollback-kept/*"),
        ("sts:AssumeRole", "iam::1:role/m"),
        *((f"cloudfront:{a}", "cloudfront::*:distribution/E1") for a in _POINTED),
    }  # fmt: skip
    assert found[ROLE] == {
        ("s3:ListBucket", "s3:::shop-m"), ("s3:GetObject", "s3:::shop-m/*"), ("s3:DeleteObject", "s3:::shop-m/www/*"),
        ("s3:PutObject", "s3:::shop-m/www/*"), ("s3:PutObject", "s3:::shop-m/rollback-kept/*"),
    }  # fmt: skip
    assert found["the key in DUMPS_KEY"] == {
        ("s3:ListBucket", "s3:::shop-dumps"), ("s3:GetObject", "s3:::shop-dumps/main/*"),
    }  # fmt: skip


_ALL = ("Get", "Put", "Delete")
_POINTED = (
    "CreateInvalidation", "GetInvalidation", "GetDistribution", "GetDistributionConfig", "UpdateDistribution",
)  # fmt: skip


def test_where_there_are_several_one_is_asked_for_by_name(tmp_path: Path) -> None:
    (tmp_path / "rollback.yaml").write_text(SERVICES)
    env = {"ROLLBACK_CATALOGUE": str(tmp_path / "rollback.yaml"), "ROLLBACK_BLOBS_URL": f"file:{tmp_path}"}

    def said(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(root, ["rights", *words], env=env)
        return done.exit_code, done.output

    code, text = said("kubernetes")
    assert code == 2 and "The clusters differ; name one of 'prod-eu', 'prod-us'." in text
    code, text = said("kubernetes", "prod-us")
    assert code == 0 and [*roles(text)] == ["pay", ""]
    code, text = said("kubernetes", "prod-uk")
    assert code == 2 and "'prod-uk' is no context of the catalogue; there are 'prod-eu', 'prod-us'." in text
    code, text = said("aws", ROLE)
    assert code == 0 and ("s3:ListBucket", "s3:::shop-m") in allowed(text)
