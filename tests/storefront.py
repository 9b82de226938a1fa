"""Builds of a small shop's frontend, the bucket they lie in and the site they are published to, on a real S3 server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bot.adapters.aws.account import Access
from bot.adapters.aws.buckets import Folder, sent
from bot.adapters.aws.sites import SiteTarget
from bot.contract import Json, Outgoing
from bot.ports.builds import MANIFEST, Build, Headers, Manifest, digest_of, file_of, headers_for

CREDENTIALS = {"S3_KEY": "test", "S3_SECRET": "test"}
"""Variable -> value, for whoever the environment is handed to."""

GOOD: Mapping[str, bytes] = {
    "index.html": b'<script type="module" src="/assets/app-1a2b3c4d.js"></script><link rel="stylesheet" '
    b'href="/assets/app-5e6f7a8b.css"><img src="/logo.png"> shop 2.4.0',
    "docs/index.html": b'<script src="/assets/app-1a2b3c4d.js"></script> help 2.4.0',
    "config.json": b'{"api": "/v1", "coupons": false}',
    "assets/app-1a2b3c4d.js": b"console.log('2.4.0')",
    "assets/app-5e6f7a8b.css": b"body{color:black}",
    "assets/café 100%+1-9f8e7d6c.js": b"//",
    "logo.png": b"\x89PNG old",
}
BAD: Mapping[str, bytes] = {
    "index.html": b'<script type="module" src="/assets/app-0f0f0f0a.js"></script> shop 2.4.1',
    "docs/index.html": b'<script src="/assets/app-0f0f0f0a.js"></script> help 2.4.1',
    "config.json": b'{"api": "/v2", "coupons": true}',
    "sw.js": b"self.addEventListener('fetch', () => {})",
    "assets/app-0f0f0f0a.js": b"console.log('2.4.1')",
    "logo.png": b"\x89PNG new",
}
ADDED = frozenset(key for key in GOOD if key.startswith("assets/"))
"""Of the good build, what the bad one has not."""
FRONTS: Mapping[str, Sequence[str]] = {"entries": ("docs/index.html", "index.html"), "workers": ("sw.js",)}


def manifest_of(files: Mapping[str, bytes], *, encodings: Mapping[str, str] = {}) -> Manifest:
    """Of a build with these files."""
    entries = tuple(key for key in FRONTS["entries"] if key in files) or (next(iter(files)),)
    workers = tuple(key for key in FRONTS["workers"] if key in files)
    config = "config.json" if "config.json" in files else ""
    fronts = {*entries, *workers, config}

    def headers(key: str) -> Headers:
        plain = headers_for(key, front=key in fronts)
        return Headers(plain.type, plain.cache, encodings.get(key, ""))

    return Manifest({key: file_of(key, data, headers(key)) for key, data in files.items()}, entries, workers, config)


@dataclass
class Bucket:
    """A bucket of an S3 server, with builds below `builds` and the site below `www`."""

    url: str
    name: str
    s3: Any
    acl: str = ""

    @property
    def access(self) -> Access:
        return Access("eu-central-1", self.url, key="S3_KEY", secret="S3_SECRET", timeout=5.0)

    def target(self, site: str = "www", **more: Any) -> SiteTarget:
        return SiteTarget(Folder(self.name, site), Folder(self.name), self.access, self.acl, **more)

    def put(self, key: str, data: bytes, headers: Headers | None = None) -> None:
        given = sent(headers, self.acl) if headers is not None else {}
        self.s3.put_object(Bucket=self.name, Key=key, Body=data, **given)

    def build(
        self, version: str, files: Mapping[str, bytes], manifest: Manifest | None = None, *, served: bool = False
    ) -> Build:
        """Uploads a build as CI would: without a thought for headers, unless it is to be served from there."""
        manifest = manifest or manifest_of(files)
        for key, data in files.items():
            self.put(f"builds/{version}/{key}", data, manifest.files[key].headers if served else None)
        text = manifest.dump()
        self.put(f"builds/{version}/{MANIFEST}", text)
        return Build(f"builds/{version}", digest_of(text))

    def publish(self, files: Mapping[str, bytes], site: str = "www", manifest: Manifest | None = None) -> None:
        """As whoever released it did."""
        manifest = manifest or manifest_of(files)
        for key, data in files.items():
            self.put(f"{site}/{key}", data, manifest.files[key].headers)

    def there(self, prefix: str = "www/") -> dict[str, tuple[bytes, Headers]]:
        """Everything below a prefix, with its headers."""
        found = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            for item in page.get("Contents", ()):
                got = self.s3.get_object(Bucket=self.name, Key=item["Key"])
                headers = Headers(
                    got.get("ContentType", ""), got.get("CacheControl", ""), got.get("ContentEncoding", "")
                )
                found[item["Key"].removeprefix(prefix)] = (got["Body"].read(), headers)
        return found

    async def world(self) -> Mapping[str, Json]:
        """What the site holds, without the files that a build adds to it: nothing takes them away again."""
        there = self.there().items()
        return {key: [data.hex(), str(headers)] for key, (data, headers) in there if key not in ADDED}

    def whole(self, files: Mapping[str, bytes], manifest: Manifest | None = None, site: str = "www") -> list[str]:
        """What is not published as the build has it."""
        manifest, there = manifest or manifest_of(files), self.there(f"{site}/")
        return [key for key, data in files.items() if there.get(key) != (data, manifest.files[key].headers)]


def outgoing(version: str, build: Build) -> Outgoing:
    return Outgoing(version=version, frontend=str(build))


@cache
def _client(url: str) -> Any:
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", endpoint_url=url, region_name="eu-central-1", **keys)


def bucket_on(url: str, name: str) -> Bucket:
    """A new bucket, empty, with a client of the test's own."""
    s3 = _client(url)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return Bucket(url, name, s3)
