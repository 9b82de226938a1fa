"""How long a frontend takes to come back, beside what a person would use.

    make bench BENCH=frontend

- over a bad build: 2,000 objects, of which 400 differ, 100 of these of equal size; yardsticks: `aws s3 sync`, once for
  files that are kept for ever and once for the rest, so that headers come right, and `s5cmd sync`;
- into an empty place: the same build where nothing is published yet.

All sides copy within one server (ministack), whose own pace is not the bound that a real store sets. After each every
object is compared, content and headers: both yardsticks leave objects of equal size as they are, and what a side has
left wrong is printed below its figure.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actions.frontend_publish import FrontendPublish, FrontendPublishParams
from bench import median, report
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgesClient
from bot.ports import Ports, Record
from bot.ports.builds import ASKED_AGAIN, FOR_EVER, Build
from bot.testing import MemoryBlobs, TestCtx, ports
from tests.fixtures.cloudfront import HOME, KEYS, Cloud, cloud
from tests.fixtures.frontend_bucket import Bucket, bucket_on, outgoing

FILES, CHANGED, SAME_SIZE, TURNS = 2000, 400, 100, 3
Side = Callable[[Bucket, Build, Build], Awaitable[None]]
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


async def ours(bucket: Bucket, good: Build, bad: Build) -> None:
    """The action, from its plan to its end."""
    sites = S3Sites({"www": bucket.target()})

    def bound(record: Record) -> Ports:
        return ports(sites=sites.bind(record), edges=EdgesClient({}), blobs=MemoryBlobs())

    p = FrontendPublishParams(build=str(good), outgoing=[outgoing("bad", bad)])
    change = await FrontendPublish().plan(TestCtx(bound, FrontendPublish.needs), p)
    await FrontendPublish().apply(TestCtx(bound, FrontendPublish.needs, acting=True), p, change)
    await sites.close()


async def by_aws(bucket: Bucket, good: Build, bad: Build) -> None:
    """Twice, for the two kinds of headers."""
    source, to = f"s3://{bucket.name}/{good.prefix}", f"s3://{bucket.name}/www"
    sync = [str(HOME / "bin" / "aws"), "--endpoint-url", bucket.url, "s3", "sync", "--only-show-errors", source, to]
    kinds = {FOR_EVER: ["--exclude", "*", "--include", "assets/*"], ASKED_AGAIN: ["--exclude", "assets/*"]}
    for cache, which in kinds.items():
        headers = ["--metadata-directive", "REPLACE", "--cache-control", cache]
        await _run([*sync, *which, "--exclude", "frontend-manifest.json", *headers])


async def by_s5cmd(bucket: Bucket, good: Build, bad: Build) -> None:
    """Once: it knows one set of headers a call."""
    source, to = f"s3://{bucket.name}/{good.prefix}/*", f"s3://{bucket.name}/www/"
    command = [str(HOME / "bin" / "s5cmd"), "--endpoint-url", bucket.url, "--log", "error", "sync"]
    await _run([*command, "--exclude", "frontend-manifest.json", "--cache-control", FOR_EVER, source, to])


async def _run(command: list[str]) -> None:
    env = {**os.environ, **ENVIRONMENT, "AWS_REGION": "eu-central-1"}
    await asyncio.to_thread(subprocess.run, command, check=True, env=env, stdout=subprocess.DEVNULL)


def wrong(bucket: Bucket, files: Mapping[str, bytes]) -> tuple[int, int]:
    """Objects with wrong content, and with wrong Cache-Control."""
    there = bucket.there()
    content = sum(there.get(key, (b"", None))[0] != data for key, data in files.items())
    wanted = {key: FOR_EVER if key.startswith("assets/") else ASKED_AGAIN for key in files}
    return content, sum(key in there and there[key][1].cache != wanted[key] for key in files)


async def turn(at: Cloud, n: str, side: Side, good: Mapping[str, bytes], bad: Mapping[str, bytes], over: bool) -> Any:
    """Seconds, and what was left wrong."""
    bucket = bucket_on(at.url, f"bench-{n}")
    first, second = bucket.build("good", good, served=True), bucket.build("bad", {"index.html": bad["index.html"]})
    if over:
        second = bucket.build("bad", bad)
        bucket.publish(bad)
    start = time.perf_counter()
    await side(bucket, first, second)
    took = time.perf_counter() - start
    return took, wrong(bucket, good)


async def main() -> None:
    """Every side in turns."""
    os.environ |= {"S3_KEY": KEYS["aws_access_key_id"], "S3_SECRET": KEYS["aws_secret_access_key"]}
    good, bad = builds()
    sides: dict[str, Side] = {"ours": ours, "aws s3 sync": by_aws, "s5cmd sync": by_s5cmd}
    with cloud() as at:
        for what, over, goals in (("over a bad build", True, (0.3, 0.4)), ("into an empty place", False, (0.3, 0.4))):
            took: dict[str, list[float]] = {name: [] for name in sides}
            left: dict[str, tuple[int, int]] = {}
            for n in range(TURNS):
                for name, side in sides.items():
                    number = f"{n}-{[*sides].index(name)}-{'over' if over else 'empty'}"
                    seconds, left[name] = await turn(at, number, side, good, bad, over)
                    took[name].append(seconds)
            for name, goal in zip(("aws s3 sync", "s5cmd sync"), goals, strict=True):
                report(f"{what}, beside {name}", median(took["ours"]), median(took[name]), "s", goal, of="ratio")
            for name, (content, headers) in left.items():
                print(f"  {name}: {content} objects wrong, {headers} headers wrong", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
