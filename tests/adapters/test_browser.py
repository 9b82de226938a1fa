"""A real browser that had the bad release's service worker installed, and a tab open, while the frontend went back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actions.edge_invalidate import EdgeInvalidate, EdgeInvalidateParams
from actions.frontend_publish import FrontendPublish, FrontendPublishParams
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.ports import Ports, Record
from bot.testing import MemoryBlobs, TestCtx, ports
from tests.fixtures.frontend_bucket import Bucket, outgoing
from tests.fixtures.http_caches import varnish
from tests.fixtures.s3 import bucket as bucket

PATIENCE = 120.0
"""Seconds for a browser on a busy machine."""
READS = 2.0
"""Seconds between two reloads of a person: chromium asks for a newer worker about a second after a page has loaded, and
never where it is left before."""
PAGE = (
    '<script type="module" src="/assets/app-{hash}.js"></script><script>'
    "window.later = () => import('/assets/later-{hash}.js').then(m => m.text)</script><h1>{version}</h1>"
)
WORKER = b"""
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", event => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", event => event.respondWith((async () => {
  const kept = await caches.open("pages");
  if (event.request.mode !== "navigate") return fetch(event.request);
  const known = await kept.match(event.request);
  if (known) return known;
  const answer = await fetch(event.request);
  await kept.put(event.request, answer.clone());
  return answer;
})()));
"""
"""Shows what it has kept before it asks anybody: it never lets go of the page by itself."""


def build(version: str, hash: str, **more: bytes) -> dict[str, bytes]:
    return {
        "index.html": PAGE.format(version=version, hash=hash).encode(),
        f"assets/app-{hash}.js": b"'serviceWorker' in navigator;" + more.pop("app", b""),
        f"assets/later-{hash}.js": f"export const text = 'of {version}';".encode(),
        **({"sw.js": more["worker"]} if more else {}),
    }


GOOD = build("2.4.0", "1a2b3c4d")
BAD = build("2.4.1", "0f0f0f0a", app=b"navigator.serviceWorker.register('/sw.js')", worker=WORKER)


@pytest.fixture
async def tab() -> AsyncIterator[Any]:
    """A page of a fresh browser."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed: make browser")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        yield page
        await browser.close()


class Back:
    """The bad build stands published behind a cache; `go` brings the good one back, as the steps of a plan do."""

    def __init__(self, bucket: Bucket, address: str) -> None:
        bucket.acl = "public-read"
        self.good, self.bad = bucket.build("2.4.0", GOOD), bucket.build("2.4.1", BAD)
        bucket.publish(BAD)
        headers = {"headers": {"X-Purge-Token": "letmein"}, "variables": {"X-Purge-Token": "TOKEN"}}
        self.edges = EdgesClient({"cdn": EdgeEndpoint(f"http://{address}", purge=(f"http://{address}",), **headers)})  # type: ignore[arg-type]
        self.sites, self.blobs = S3Sites({"www": bucket.target()}), MemoryBlobs()

    def ports_for(self, record: Record) -> Ports:
        return ports(sites=self.sites.bind(record), edges=self.edges.bind(record), blobs=self.blobs)

    async def go(self) -> None:
        given: dict[str, Any] = {"build": str(self.good), "outgoing": [outgoing("2.4.1", self.bad)]}
        publish, published = FrontendPublish(), FrontendPublishParams(**given)
        change = await publish.plan(TestCtx(self.ports_for, publish.needs), published)
        await publish.apply(TestCtx(self.ports_for, publish.needs, acting=True), published, change)
        forget, forgotten = EdgeInvalidate(), EdgeInvalidateParams(**given)
        change = await forget.plan(TestCtx(self.ports_for, forget.needs), forgotten)
        await forget.apply(TestCtx(self.ports_for, forget.needs, acting=True), forgotten, change)

    async def close(self) -> None:
        await self.sites.close()
        await self.edges.close()


async def shows(tab: Any) -> str:
    return str(await tab.text_content("h1"))


async def workers(tab: Any) -> int:
    return int(await tab.evaluate("navigator.serviceWorker.getRegistrations().then(found => found.length)"))


async def test_a_browser_with_the_bad_worker_ends_on_the_right_build_and_an_open_tab_goes_on_working(
    bucket: Bucket, tmp_path: Path, tab: Any
) -> None:
    with varnish(bucket, tmp_path) as address:
        back = Back(bucket, address)
        async with asyncio.timeout(PATIENCE):
            await tab.goto(f"http://{address}/")
            await tab.wait_for_function("navigator.serviceWorker.controller !== null")
            await tab.reload()  # so that the worker keeps the page
            assert (await shows(tab), await workers(tab)) == ("2.4.1", 1)
            await back.go()
            assert await tab.evaluate("window.later()") == "of 2.4.1"  # what it had not loaded yet is still there
            seen = [await shows(tab)]
            while seen[-1] != "2.4.0" or await workers(tab):
                await asyncio.sleep(READS)
                await tab.reload()
                seen.append(await shows(tab))
            assert seen[0] == "2.4.1"  # a tab that stays open is not reloaded for people
            await tab.reload()
            assert await tab.evaluate("navigator.serviceWorker.controller") is None
            assert (await shows(tab), await tab.evaluate("window.later()")) == ("2.4.0", "of 2.4.0")
        await back.close()
