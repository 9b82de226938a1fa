"""A shop's frontend as its people have it: a bucket, a cache before it, a bad build published and the good one to come
back; and the ports that lead there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgesClient, EdgeTarget
from bot.contract import Json, Outgoing
from bot.playground.edge import EdgeCache
from bot.ports import Ports, Record
from bot.ports.builds import Build
from bot.testing import MemoryBlobs, ports
from tests.storefront import BAD, GOOD, Bucket, outgoing


@dataclass
class Front:
    """What there is. good, bad: the builds; edge: the cache, warm with the bad one."""

    bucket: Bucket
    edge: EdgeCache
    sites: S3Sites
    edges: EdgesClient
    good: Build
    bad: Build
    more: Mapping[str, Any]

    def ports_for(self, record: Record) -> Ports:
        sites, edges = self.sites.bind(record), self.edges.bind(record)
        return ports(sites=sites, edges=edges, blobs=MemoryBlobs(), **self.more)

    @property
    def gone(self) -> list[Outgoing]:
        return [outgoing("2.4.1", self.bad)]

    @property
    def params(self) -> dict[str, Any]:
        return {"build": str(self.good), "outgoing": self.gone}

    def publish(self, files: Mapping[str, bytes] = GOOD) -> None:
        """As `frontend.publish` leaves the site."""
        self.bucket.publish(files)

    async def world(self) -> Mapping[str, Json]:
        return await self.bucket.world()


@asynccontextmanager
async def front(
    bucket: Bucket,
    good: Mapping[str, bytes] = GOOD,
    bad: Mapping[str, bytes] = BAD,
    more: Mapping[str, Any] | None = None,
    **edge: Any,
) -> AsyncIterator[Front]:
    """One that stands on the bad build, its cache warm."""
    async with EdgeCache(f"{bucket.url}/{bucket.name}/www", token="letmein") as cache:
        given = {"purge": (cache.url,), "headers": {"X-Purge-Token": "letmein"}, "addresses": (cache.address,)} | edge
        variables = {"X-Purge-Token": "PURGE_TOKEN"} if "headers" not in edge else {}
        target = EdgeTarget("http://shop.example", timeout=5.0, variables=variables, **given)
        bucket.acl = "public-read"  # the cache has no credentials
        sites, edges = S3Sites({"www": bucket.target()}), EdgesClient({"cdn": target})
        f = Front(bucket, cache, sites, edges, bucket.build("2.4.0", good), bucket.build("2.4.1", bad), more or {})
        f.publish(bad)
        await edges.served("cdn", [f"/{key}" for key in bad] + ["/", "/docs/"])
        cache.asked.clear()
        try:
            yield f
        finally:
            await sites.close()
            await edges.close()
            await f.edges.close()  # a test may have put others in their place
