"""The shop's frontend: builds in a bucket of an object store, the site that they are published to, and before it a
cache that keeps pages longer than it was told.

Invariants: a build is uploaded once and never changed; whoever publishes puts entry points last; everything is on
loopback. Release 2.4.1 brings a service worker, which browsers keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from bot.playground.edge import EdgeCache
from bot.playground.objects import private_objects
from bot.playground.shop.behaviour import NEW
from bot.playground.shop.releases import VERSIONS
from bot.playground.staged import Staged

BUCKET, SITE, WORKER, CONFIG = "shop-web", "www", "sw.js", "config.json"
HOST = "www.shop.example"
"""What people open: the cache keeps a copy for each name, so whoever looks or purges says it."""
_TOKEN = "playground-purge"  # noqa: S105 - of a cache on loopback
_FOR_EVER, _ANEW, _NEVER = "public, max-age=31536000, immutable", "no-cache", "no-store"


def files(version: str) -> Mapping[str, str]:
    """A build: path -> content."""
    script = f"document.title = 'Shop {version}';\n"
    style = f"body {{ margin: 2em; }} /* {version} */\n"
    named = {f"assets/app-{_mark(text)}.{ending}": text for ending, text in (("js", script), ("css", style))}
    js, css = named
    page = (
        f'<!doctype html><html lang="en"><title>Shop</title><link rel="stylesheet" href="/{css}">'
        f'<script type="module" src="/{js}"></script><h1>Shop {version}</h1></html>\n'
    )
    known = VERSIONS[version].settings
    config = {"release": version, "settings": {"payments.url": known["payments.url"]}}
    worker = {WORKER: f"self.addEventListener('fetch', () => {{}}); // {version}\n"} if version == NEW else {}
    return {**named, **worker, CONFIG: json.dumps(config), "index.html": page}


class Front(Staged):
    """`async with Front(folder) as front`. folder: for the builds, as CI makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = ""
        self._edge: EdgeCache | None = None
        self._stack = contextlib.AsyncExitStack()

    async def _start(self) -> None:
        self._store = await asyncio.to_thread(self._stack.enter_context, private_objects())
        await self._put("", b"")
        self._edge = await self._stack.enter_async_context(EdgeCache(f"{self._store}/{BUCKET}/{SITE}", token=_TOKEN))

    @property
    def edge(self) -> EdgeCache:
        """What browsers reach. LookupError before the context is entered."""
        if self._edge is None:
            raise LookupError("the frontend is not there yet")
        return self._edge

    # -- what the bot is told ------------------------------------------------------------------------------------------

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment of the bot."""
        return {"SHOP_WEB_KEY": "test", "SHOP_WEB_SECRET": "test", "SHOP_PURGE_TOKEN": _TOKEN}

    def targets(self, backend: str) -> Mapping[str, object]:
        """Target -> what it is, for the catalogue. backend: the HTTP target of the API."""
        store = {"region": "us-east-1", "endpoint": self._store, "key": "SHOP_WEB_KEY", "secret": "SHOP_WEB_SECRET"}
        return {
            SITE: {"site": f"s3://{BUCKET}/{SITE}", "builds": f"s3://{BUCKET}", "acl": "public-read", **store},
            "cdn": {
                "edge": f"http://{HOST}",
                "purge": [self.edge.url],
                "headers": {"X-Purge-Token": "SHOP_PURGE_TOKEN"},
                "probes": [self.edge.address],
                "backend": backend,
                "reports": "/healthz",
            },
        }

    # -- CI ------------------------------------------------------------------------------------------------------------

    def make(self, version: str) -> Path:
        """The folder of a build, as its compiler leaves it."""
        folder = self.folder / version
        for path, text in files(version).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return folder

    async def upload(self, version: str) -> None:
        """Everything in the build's folder, its manifest too, to where builds are kept."""
        folder = self.folder / version
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            await self._put(f"builds/{version}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    async def publish(self, version: str) -> None:
        """A build to the site, entry points last; then the cache is emptied."""
        for path, text in files(version).items():
            await self._put(f"{SITE}/{path}", text.encode(), _headers(path))
        self.edge.kept.clear()

    async def serves(self) -> str:
        """The release whose page browsers get; empty where there is none."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.edge.url}/", headers={"Host": HOST}) as answer:
            found = re.search(r"<h1>Shop ([\d.]+)</h1>", await answer.text())
            return found[1] if found and answer.status == 200 else ""

    async def _put(self, key: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        url, acl = f"{self._store}/{BUCKET}/{key}", {"x-amz-acl": "public-read"}
        async with aiohttp.ClientSession() as http, http.put(url, data=data, headers={**acl, **(headers or {})}) as got:
            got.raise_for_status()


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _headers(path: str) -> Mapping[str, str]:
    kind = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}.get(path.rpartition(".")[2])
    kept = _FOR_EVER if path.startswith("assets/") else _NEVER if path == WORKER else _ANEW
    return {"Content-Type": kind or mimetypes.guess_type(path)[0] or "text/plain", "Cache-Control": kept}
