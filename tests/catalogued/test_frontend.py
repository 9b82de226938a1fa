"""Sites and edges in the catalogue, what they become, and what a person types for them."""

from __future__ import annotations

import pytest

from bot.adapters.aws.buckets import Folder
from bot.catalogue import load_catalogue
from bot.catalogued.frontend import EdgeTarget, SiteTarget
from bot.contract import Edit
from bot.located import Faults
from bot.ports.builds import REMOVER, Headers
from bot.ports.sites import StoredObject, held
from bot.redaction import held as secrets
from bot.settings import Settings
from bot.targets.factory import adapters_of
from tests.fixtures.frontend_bucket import GOOD, Bucket, manifest_of
from tests.fixtures.s3 import bucket as bucket

ROLES = "roles: {commander: {people: [a]}, approver: {people: [b]}}\n"
WHOLE = """
services:
  shop:
    targets:
      api: {http: "http://api.internal"}
      www: {site: "s3://shop-web/www/", key: S3_KEY, secret: S3_SECRET, region: eu-central-1}
      mobile: {site: "s3://shop-m/www", builds: "s3://shop-builds/web", switch: cdn}
      cdn: {edge: "https://www.shop.example/", cloudfront: E2EXAMPLE, backend: api, reports: /settings}
      varnish:
        edge: "https://m.shop.example"
        purge: "http://varnish:6081"
        headers: {X-Purge-Token: PURGE_TOKEN}
        probes: [203.0.113.10, "[2001:db8::1]:8443", edge-fra.example]
"""


def test_sites_and_edges_are_targets_that_plans_can_ask_for() -> None:
    shop = load_catalogue(ROLES + WHOLE, "r.yaml").services["shop"]
    www, varnish = shop.targets["www"], shop.targets["varnish"]
    assert isinstance(www, SiteTarget) and www.site == "s3://shop-web/www"
    assert isinstance(varnish, EdgeTarget) and varnish.purge == ("http://varnish:6081",)
    assert varnish.probes == ("203.0.113.10", "[2001:db8::1]:8443", "edge-fra.example")
    assert {"site", "edge"} <= {*shop.kinds}


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ('www: {site: "shop-web/www"}', "must be a folder of a bucket, like s3://shop-web/www"),
        ('www: {site: "s3://Shop/www"}', "must be a folder of a bucket"),
        ('www: {site: "s3://shop-web", switch: cdm}\n      cdn: {edge: "https://x", cloudfront: E1}',
         "no edge with a CloudFront distribution is named 'cdm'; did you mean 'cdn'?"),
        ('www: {site: "s3://shop-web", key: A}', "key and secret belong together"),
        ('cdn: {edge: "x"}', "must be an address like https://www.shop.example"),
        ('cdn: {edge: "https://u:p@x"}', "no credentials in an address"),
        ('cdn: {edge: "https://x", backend: api, reports: /s}', "no HTTP target is named 'api'"),
        ('cdn: {edge: "https://x", reports: /s}', "backend and reports belong together"),
        ('cdn: {edge: "https://x", cloudfront: E1, purge: ["http://y"]}', "by CloudFront or over HTTP, not both"),
        ('cdn: {edge: "https://x", headers: {Host: A}}', "must be a header of yours"),
        ('cdn: {edge: "https://x", probes: ["http://y"]}', "must be a host or an IP address"),
        ('cdn: {edge: "https://x", headers: {K: "secret-value"}}', "must be the name of an environment variable"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_place(targets: str, words: str) -> None:
    with pytest.raises(Faults) as told:
        load_catalogue(f"{ROLES}services:\n  shop:\n    targets:\n      {targets}\n", "r.yaml")
    assert words in str(told.value) and "r.yaml:" in str(told.value)


async def test_they_become_places_that_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_KEY", "S3_SECRET", "PURGE_TOKEN"):
        monkeypatch.setenv(name, f"value-of-{name}")
    catalogue = load_catalogue(ROLES + WHOLE, "r.yaml")
    adapters = adapters_of(Settings(), catalogue)["shop"]
    named = adapters.named
    assert {name: named[name].at for name in ("www", "mobile", "cdn", "varnish")} == {
        "www": "s3://shop-web/www", "mobile": "s3://shop-m/www",
        "cdn": "https://www.shop.example (distribution E2EXAMPLE)",
        "varnish": "https://m.shop.example (http://varnish:6081)",
    }  # fmt: skip
    assert all(named[name].digest for name in ("www", "cdn"))
    assert [(s.builds, s.switch) for s in adapters.sites.sites] == [
        ("s3://shop-web", ""), ("s3://shop-builds/web", "cdn"),
    ]  # fmt: skip
    assert {*secrets.by_catalogue(catalogue)} == {"value-of-S3_KEY", "value-of-S3_SECRET", "value-of-PURGE_TOKEN"}
    await adapters.close()


async def test_by_hand_files_come_before_the_pages_that_name_them(bucket: Bucket) -> None:
    text = f"""
services:
  shop:
    targets:
      www:
        site: "s3://{bucket.name}/www"
        endpoint: "{bucket.url}"
        region: eu-central-1
        key: S3_KEY
        secret: S3_SECRET
"""
    adapters = adapters_of(Settings(), load_catalogue(ROLES + text, "r.yaml"))["shop"]
    build = bucket.build("2.4.0", GOOD)
    await adapters.sites.manifest("www", build)
    files = manifest_of(GOOD).files
    other = StoredObject(7, "f" * 64, Headers("text/html"))
    edits = [
        Edit("www/index.html", other.value, held(files["index.html"]).value),
        Edit("www/about.html", other.value, None),
        Edit("www/old.html", None, other.value),
        Edit(
            "www/sw.js",
            other.value,
            StoredObject(len(REMOVER), _sha(REMOVER), Headers("text/javascript", "no-store")).value,
        ),
    ]
    lines = adapters.by_hand("frontend.publish", edits)
    assert lines[0].startswith(f"aws --endpoint-url {bucket.url} --region eu-central-1 s3 cp --recursive ")
    assert "--exclude index.html" in lines[0] and "--exclude frontend-manifest.json" in lines[0]
    assert f"--copy-source {bucket.name}/builds/2.4.0/index.html --metadata-directive REPLACE" in lines[1]
    assert lines[1].endswith("--key www/index.html --content-type 'text/html; charset=utf-8' --cache-control no-cache")
    assert lines[2].endswith(f"s3api delete-object --bucket {bucket.name} --key www/about.html")
    assert f"--copy-source {bucket.name}/rollback-kept/{'f' * 64}" in lines[3]
    assert lines[4].startswith("printf %s ") and "--cache-control no-store" in lines[4]
    await adapters.close()


def _sha(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_folder_is_a_bucket_and_a_prefix() -> None:
    assert Folder.of("s3://b/x/y/") == Folder("b", "x/y") and str(Folder("b")) == "s3://b"
    with pytest.raises(ValueError, match="is not s3://bucket/prefix"):
        Folder.of("b/x")
