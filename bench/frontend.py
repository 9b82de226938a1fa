"""How long a frontend takes to come back, beside what a person would use.

    make bench BENCH=frontend

- over a bad build: 2,000 objects, of which 400 differ, 100 of these of equal size; yardsticks: `aws s3 sync`, once for
  files that are kept for ever and once for the rest, so that headers come right, and `s5cmd sync`. Both leave objects
  of equal size as they are, so `s5cmd cp` of everything, which ends right in content, stands beside them;
- into an empty place: the same build where nothing is published yet;
- origin path switch: the same build read where it lies; the figure is told beside the copying, with what was written;
- 20,000 files into an empty place: what that takes of the loop at a time, and of memory.

Ours is the action from its look at the site to its end, in a process that has not seen the site, with what the bot
keeps of it since its releases were registered. "First seen" is the same where nothing is kept: a request for each file.

All sides copy within one server (ministack), each request a millisecond of its one core; what each side takes of the
processors, and makes the server take, is told below the figures, since it does not depend on what else the machine
does. After each side every object is compared, content and headers, and what it has left wrong is printed too.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import random
import resource
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from actions.frontend_publish import FrontendPublish, FrontendPublishParams
from bench import median, report
from bot.adapters.aws.account import Access, Account
from bot.adapters.aws.buckets import Folder, Objects, sent
from bot.adapters.aws.sites import S3Sites
from bot.adapters.backups.shelves import ProcessMemory
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.adapters.gathering import gathered
from bot.ports import Ports, Record
from bot.ports.builds import ASKED_AGAIN, FOR_EVER, MANIFEST, Build, digest_of
from bot.testing import MemoryBlobs, TestCtx, ports
from tests.fixtures.cloudfront import HOME, KEYS, Cloud, cloud, made
from tests.fixtures.frontend_bucket import Bucket, bucket_on, manifest_of, outgoing
from tests.fixtures.waiting import longest_turn

FILES, CHANGED, SAME_SIZE, TURNS = 2000, 400, 100, 3
MANY = 20_000
Files = Mapping[str, bytes]
Side = Callable[["Scene", str], Awaitable[None]]
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"]}


def builds() -> tuple[Files, Files]:
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


@dataclass
class Taken:
    """What one side took, turn by turn: seconds; of the processors, its own seconds and the server's. wrong: what it
    left so in the last turn: objects, headers."""

    wall: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    wrong: tuple[int, int] = (0, 0)


@dataclass
class Scene:
    """The server with both builds in a bucket. memory: what a bot keeps of sites; approved: seconds from the approval
    to the end, of ours."""

    at: Cloud
    bucket: Bucket
    good: Build
    bad: Build
    memory: ProcessMemory = field(default_factory=ProcessMemory)
    approved: list[float] = field(default_factory=list)

    async def put(self, folder: str, files: Files) -> Build:
        """As whoever made or released it did, many at once; the build that it is."""
        manifest, account = manifest_of(files), Account(self.bucket.access)
        store = Objects(account)
        await gathered(
            store.put(Folder(self.bucket.name, folder), key, data, sent(manifest.files[key].headers),
                      None)
            for key, data in files.items()
        )  # fmt: skip
        await account.close()
        text = manifest.dump()
        if folder.startswith("builds/"):
            self.bucket.put(f"{folder}/{MANIFEST}", text)
        return Build(folder, digest_of(text))

    async def wrong(self, site: str, files: Files) -> tuple[int, int]:
        """Objects with wrong content, and with wrong Cache-Control."""
        account = Account(self.bucket.access)

        async def read(key: str) -> tuple[bytes, str]:
            answer = await account.signed.send(f"read {key}", "GET", self.bucket.name, f"{site}/{key}", {})
            return (answer.body, answer.headers.get("Cache-Control", "")) if answer is not None else (b"", "")

        found = dict(zip(files, await gathered(map(read, files)), strict=True))
        await account.close()
        wanted = {key: FOR_EVER if key.startswith("assets/") else ASKED_AGAIN for key in files}
        content = sum(found[key][0] != data for key, data in files.items())
        return content, sum(bool(found[key][0]) and found[key][1] != wanted[key] for key in files)

    async def measured(self, taken: Taken, side: Side, site: str) -> None:
        """One turn of one side."""
        own, server, start = _own_cpu(), _cpu(self.at.pid), time.perf_counter()
        await side(self, site)
        taken.wall.append(time.perf_counter() - start)
        taken.own.append(_own_cpu() - own)
        taken.server.append(_cpu(self.at.pid) - server)


def _own_cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def _resident() -> float:
    """Megabytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu(pid: int) -> float:
    """Seconds of the processors that another process has taken."""
    said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


# -- the sides ---------------------------------------------------------------------------------------------------------


async def ours(scene: Scene, site: str) -> None:
    """The action, with what is kept of the site."""
    await _ours(scene, site, scene.memory)


async def first_seen(scene: Scene, site: str) -> None:
    """The same where nothing is kept."""
    await _ours(scene, site, None)


async def _ours(scene: Scene, site: str, memory: ProcessMemory | None) -> None:
    sites = S3Sites({"www": scene.bucket.target(site)}, memory=memory)
    scene.approved.append(await acted(sites, EdgesClient({}), scene.good, scene.bad))


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


async def by_aws(scene: Scene, site: str) -> None:
    """Twice, for the two kinds of headers."""
    bucket = scene.bucket
    source, to = f"s3://{bucket.name}/{scene.good.prefix}", f"s3://{bucket.name}/{site}"
    sync = [str(HOME / "bin" / "aws"), "--endpoint-url", bucket.url, "s3", "sync", "--only-show-errors", source, to]
    kinds = {FOR_EVER: ["--exclude", "*", "--include", "assets/*"], ASKED_AGAIN: ["--exclude", "assets/*"]}
    for cache, which in kinds.items():
        headers = ["--metadata-directive", "REPLACE", "--cache-control", cache]
        await _run([*sync, *which, "--exclude", MANIFEST, *headers])


async def s5cmd_sync(scene: Scene, site: str) -> None:
    """Once: it knows one set of headers a call."""
    await _s5cmd(scene, site, "sync")


async def s5cmd_cp(scene: Scene, site: str) -> None:
    """Everything, whatever is there."""
    await _s5cmd(scene, site, "cp")


async def _s5cmd(scene: Scene, site: str, verb: str) -> None:
    bucket = scene.bucket
    source, to = f"s3://{bucket.name}/{scene.good.prefix}/*", f"s3://{bucket.name}/{site}/"
    command = [str(HOME / "bin" / "s5cmd"), "--endpoint-url", bucket.url, "--log", "error", verb]
    await _run([*command, "--exclude", MANIFEST, "--cache-control", FOR_EVER, source, to])


async def _run(command: list[str]) -> None:
    env = {**os.environ, **ENVIRONMENT, "AWS_REGION": "eu-central-1"}
    await asyncio.to_thread(subprocess.run, command, check=True, env=env, stdout=subprocess.DEVNULL)


# -- the scenes --------------------------------------------------------------------------------------------------------


SIDES: Mapping[str, Side] = {
    "ours": ours,
    "ours, first seen": first_seen,
    "aws s3 sync": by_aws,
    "s5cmd sync": s5cmd_sync,
    "s5cmd cp": s5cmd_cp,
}


async def compared(scene: Scene, over: bool) -> list[float]:
    """Every side in turns; prints how they stand, and gives the seconds of `aws s3 sync`."""
    first, second = builds()
    what = "over a bad build" if over else "into an empty place"
    sides = {name: side for name, side in SIDES.items() if over or side not in (first_seen, s5cmd_cp)}
    taken = {name: Taken() for name in sides}
    approved: list[float] = []
    for n in range(TURNS):
        for name, side in sides.items():
            site = f"{'over' if over else 'empty'}-{n}-{[*sides].index(name)}"
            if over:
                await scene.put(site, second)
            if over and side is ours:  # as the bot does when a release is registered
                await seen(scene, site)
            scene.approved.clear()
            await scene.measured(taken[name], side, site)
            approved += scene.approved if side is ours else []
            taken[name].wrong = await scene.wrong(site, first)
    mine = median(taken["ours"].wall)
    for name, goal in (("aws s3 sync", 0.3), ("s5cmd sync", 0.4), ("s5cmd cp", None)):
        if name in taken:
            report(f"{what}, beside {name}", mine, median(taken[name].wall), "s", goal, of="ratio")
    aws = taken["aws s3 sync"].wall
    report(f"{what}, once approved, beside aws s3 sync", median(approved), median(aws), "s", None)
    if over:
        report(
            f"{what}, first seen, beside aws s3 sync", median(taken["ours, first seen"].wall), median(aws), "s", None
        )
    for name, t in taken.items():
        own, server = median(t.own), median(t.server)
        print(f"  {name}: {t.wrong[0]} objects wrong, {t.wrong[1]} headers wrong; of the processors {own:.2f} s, "
              f"and {server:.2f} s of the server's", flush=True)  # fmt: skip
    return aws


async def seen(scene: Scene, site: str) -> None:
    """Until everything that is published is known, which takes it to be two seconds old."""
    sites = S3Sites({"www": scene.bucket.target(site)}, memory=scene.memory)
    while await sites.look_over("www", [scene.good, scene.bad]):
        await asyncio.sleep(0.5)
    await sites.close()


async def switched(scene: Scene) -> tuple[float, int]:
    """The same by an origin path: seconds, and how many objects were written."""
    access = Access("us-east-1", scene.at.url, key="S3_KEY", secret="S3_SECRET")
    id = scene.at.distribution(path="/builds/bad")
    edges = EdgesClient({"cdn": EdgeEndpoint("http://shop.example", cloudfront=id, access=access)})
    target = scene.bucket.target(switch="cdn")
    seen = S3Sites({"www": target}, memory=scene.memory)
    await seen.look_over("www", [scene.good])
    await seen.close()
    before, start = stamps(scene.bucket), time.perf_counter()
    await acted(S3Sites({"www": target}, memory=scene.memory), edges, scene.good, scene.bad)
    took = time.perf_counter() - start
    return took, len(stamps(scene.bucket) ^ before)


def stamps(bucket: Bucket) -> set[tuple[str, str]]:
    """Each object's key and last change."""
    pages = bucket.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    return {(item["Key"], str(item["LastModified"])) for page in pages for item in page.get("Contents", ())}


async def many(scene: Scene) -> None:
    """A build of 20,000 files: how long the loop is held at most, and what it takes of memory."""
    rng = random.Random(3)
    files = {f"assets/chunk {n}+%é-{n:08x}f.js": rng.randbytes(64) for n in range(MANY - 1)} | {"index.html": b"many"}
    scene.good = await scene.put("builds/many", files)
    before = _resident()
    most = before

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, _resident())
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    own, server, start = _own_cpu(), _cpu(scene.at.pid), time.perf_counter()
    async with longest_turn() as turns:
        await _ours(scene, "many", None)
    took = time.perf_counter() - start
    watching.cancel()
    grown = most - before
    left = await scene.wrong("many", files)
    report("20,000 files into an empty place", took, 0, "s", None)
    report("20,000 files: the loop's longest turn, of the processor", turns[0], 0, "s", 0.1)
    report("20,000 files: memory", grown, 0, "MB", 150)
    print(f"  {left[0]} objects wrong, {left[1]} headers wrong; of the processors {_own_cpu() - own:.1f} s, and "
          f"{_cpu(scene.at.pid) - server:.1f} s of the server's", flush=True)  # fmt: skip


async def main() -> None:
    """Every side in turns."""
    os.environ |= {"S3_KEY": KEYS["aws_access_key_id"], "S3_SECRET": KEYS["aws_secret_access_key"]}
    compileall.compile_dir(made() / "lib", quiet=2)  # the yardsticks start as fast as installed ones do
    first, second = builds()
    with cloud() as at:
        scene = Scene(at, bucket_on(at.url, "bench"), Build("", ""), Build("", ""))
        scene.good, scene.bad = await scene.put("builds/good", first), await scene.put("builds/bad", second)
        await compared(scene, over=True)
        copying = await compared(scene, over=False)
        turns = [await switched(scene) for _ in range(TURNS)]
        seconds = median([seconds for seconds, _ in turns])
        report("origin path switch, beside copying by aws s3 sync", seconds, median(copying), "s", None)
        print(f"  {max(objects for _, objects in turns)} objects copied", flush=True)
        await many(scene)


if __name__ == "__main__":
    asyncio.run(main())
