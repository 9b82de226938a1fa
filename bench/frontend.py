"""How long a frontend takes to come back, beside what a person would use.

    make bench BENCH=frontend

- over a bad build: 2,000 objects, of which 400 differ, 100 of these of equal size; yardsticks: `aws s3 sync`, once for
  files that are kept for ever and once for the rest, so that headers come right, and `s5cmd sync`;
- into an empty place: the same build where nothing is published yet;
- origin path switch: the same build read where it lies; the figure is told beside the copying, with what was written.

Ours is the action from its look at the site to its end. People approve between the two: what they wait for after that
is a line of its own.

All sides copy within one server (ministack), whose own pace is not the bound that a real store sets. After each every
object is compared, content and headers: both yardsticks leave objects of equal size as they are, and what a side has
left wrong is printed below its figure.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import random
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from actions.frontend_publish import FrontendPublish, FrontendPublishParams
from bench import median, report
from bot.adapters.aws.account import Access
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.ports import Ports, Record
from bot.ports.builds import ASKED_AGAIN, FOR_EVER, Build
from bot.testing import MemoryBlobs, TestCtx, ports
from tests.fixtures.cloudfront import HOME, KEYS, Cloud, cloud, made
from tests.fixtures.frontend_bucket import Bucket, bucket_on, manifest_of, outgoing

FILES, CHANGED, SAME_SIZE, TURNS = 2000, 400, 100, 3
Side = Callable[[Bucket, str, Build, Build], Awaitable[float | None]]
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"]}


def builds() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The previous one and the bad one."""
    rng = random.Random(2)
    good = {f"assets/chunk-{n:08x}f.js": rng.randbytes(rng.randint(1000, 28000)) for n in range(FILES - 1)}
    good["index.html"] = b"<html>good"
    bad = dict(good)
    for n, key in enumerate(rng.sample([*good][:-1], CHANGED - 1)):
        size = len(good[key]) + (0 if n < SAME_SIZE - 1 else 7)
        bad[key] = rng.randbytes(size)
    bad["index.html"] = b"<html>evil"
    return good, bad


async def ours(bucket: Bucket, site: str, good: Build, bad: Build) -> float:
    """The action, from its plan to its end; seconds after the plan."""
    return await acted(S3Sites({"www": bucket.target(site)}), EdgesClient({}), good, bad)


async def acted(sites: S3Sites, edges: EdgesClient, good: Build, bad: Build) -> float:
    """Plan and carry out; seconds of the latter."""

    def bound(record: Record) -> Ports:
        return ports(sites=sites.bind(record), edges=edges.bind(record), blobs=MemoryBlobs())

    p = FrontendPublishParams(build=str(good), outgoing=[outgoing("bad", bad)])
    change = await FrontendPublish().plan(TestCtx(bound, FrontendPublish.needs), p)
    start = time.perf_counter()
    await FrontendPublish().apply(TestCtx(bound, FrontendPublish.needs, acting=True), p, change)
    took = time.perf_counter() - start
    await sites.close()
    await edges.close()
    return took


async def by_aws(bucket: Bucket, site: str, good: Build, bad: Build) -> None:
    """Twice, for the two kinds of headers."""
    source, to = f"s3://{bucket.name}/{good.prefix}", f"s3://{bucket.name}/{site}"
    sync = [str(HOME / "bin" / "aws"), "--endpoint-url", bucket.url, "s3", "sync", "--only-show-errors", source, to]
    kinds = {FOR_EVER: ["--exclude", "*", "--include", "assets/*"], ASKED_AGAIN: ["--exclude", "assets/*"]}
    for cache, which in kinds.items():
        headers = ["--metadata-directive", "REPLACE", "--cache-control", cache]
        await _run([*sync, *which, "--exclude", "frontend-manifest.json", *headers])


async def by_s5cmd(bucket: Bucket, site: str, good: Build, bad: Build) -> None:
    """Once: it knows one set of headers a call."""
    source, to = f"s3://{bucket.name}/{good.prefix}/*", f"s3://{bucket.name}/{site}/"
    command = [str(HOME / "bin" / "s5cmd"), "--endpoint-url", bucket.url, "--log", "error", "sync"]
    await _run([*command, "--exclude", "frontend-manifest.json", "--cache-control", FOR_EVER, source, to])


async def switched(at: Cloud, bucket: Bucket, good: Build, bad: Build) -> tuple[float, int]:
    """The same by an origin path: seconds, and how many objects were written."""
    access = Access("us-east-1", at.url, key="S3_KEY", secret="S3_SECRET")
    id = at.distribution(path="/builds/bad")
    edges = EdgesClient({"cdn": EdgeEndpoint("http://shop.example", cloudfront=id, access=access)})
    before, start = stamps(bucket), time.perf_counter()
    await acted(S3Sites({"www": bucket.target(switch="cdn")}), edges, good, bad)
    took = time.perf_counter() - start
    return took, len(stamps(bucket) ^ before)


def stamps(bucket: Bucket) -> set[tuple[str, str]]:
    """Each object's key and last change."""
    pages = bucket.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    return {(item["Key"], str(item["LastModified"])) for page in pages for item in page.get("Contents", ())}


async def _run(command: list[str]) -> None:
    env = {**os.environ, **ENVIRONMENT, "AWS_REGION": "eu-central-1"}
    await asyncio.to_thread(subprocess.run, command, check=True, env=env, stdout=subprocess.DEVNULL)


def wrong(bucket: Bucket, site: str, files: Mapping[str, bytes]) -> tuple[int, int]:
    """Objects with wrong content, and with wrong Cache-Control."""
    there = bucket.there(f"{site}/")
    content = sum(there.get(key, (b"", None))[0] != data for key, data in files.items())
    wanted = {key: FOR_EVER if key.startswith("assets/") else ASKED_AGAIN for key in files}
    return content, sum(key in there and there[key][1].cache != wanted[key] for key in files)


def publish(bucket: Bucket, site: str, files: Mapping[str, bytes]) -> None:
    """As whoever released it did, many at once."""
    manifest = manifest_of(files)

    def put(key: str) -> None:
        bucket.put(f"{site}/{key}", files[key], manifest.files[key].headers)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, files))


async def compared(bucket: Bucket, sides: Mapping[str, Side], good: Build, bad: Build, over: bool) -> list[float]:
    """Every side in turns; prints how they stand, and gives the seconds of `aws s3 sync`."""
    first, second = builds()
    what, goals = ("over a bad build", (0.3, 0.4)) if over else ("into an empty place", (0.3, 0.4))
    took: dict[str, list[float]] = {name: [] for name in sides}
    left: dict[str, tuple[int, int]] = {}
    approved: list[float] = []
    for n in range(TURNS):
        for name, side in sides.items():
            site = f"{'over' if over else 'empty'}-{n}-{[*sides].index(name)}"
            if over:
                publish(bucket, site, second)
            start = time.perf_counter()
            approved += filter(None, [await side(bucket, site, good, bad)])
            took[name].append(time.perf_counter() - start)
            left[name] = wrong(bucket, site, first)
    for name, goal in zip(("aws s3 sync", "s5cmd sync"), goals, strict=True):
        report(f"{what}, beside {name}", median(took["ours"]), median(took[name]), "s", goal, of="ratio")
    report(f"{what}, once approved, beside aws s3 sync", median(approved), median(took["aws s3 sync"]), "s", None)
    for name, (content, headers) in left.items():
        print(f"  {name}: {content} objects wrong, {headers} headers wrong", flush=True)
    return took["aws s3 sync"]


async def main() -> None:
    """Every side in turns."""
    os.environ |= {"S3_KEY": KEYS["aws_access_key_id"], "S3_SECRET": KEYS["aws_secret_access_key"]}
    sides: dict[str, Side] = {"ours": ours, "aws s3 sync": by_aws, "s5cmd sync": by_s5cmd}
    compileall.compile_dir(made() / "lib", quiet=2)  # the yardsticks start as fast as installed ones do
    first, second = builds()
    with cloud() as at:
        bucket = bucket_on(at.url, "bench")
        good, bad = bucket.build("good", first, served=True), bucket.build("bad", second, served=True)
        await compared(bucket, sides, good, bad, over=True)
        copying = await compared(bucket, sides, good, bad, over=False)
        turns = [await switched(at, bucket, good, bad) for _ in range(TURNS)]
        seconds = median([seconds for seconds, _ in turns])
        report("origin path switch, beside copying by aws s3 sync", seconds, median(copying), "s", None)
        print(f"  {max(objects for _, objects in turns)} objects copied", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
