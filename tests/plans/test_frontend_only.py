"""The plan for a frontend alone, carried out by the whole bot: a bad build stands published and cached, and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import wiring
from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.run.answering import Answer
from bot.run.commands import Approve
from bot.run.state import Run
from tests.fixtures.frontend_bucket import GOOD, Bucket
from tests.fixtures.frontend_published import Front, front
from tests.fixtures.lone_shop import Shop
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.s3 import objects_url as objects_url
from tests.fixtures.whole_bot import House, until, upgraded

PLAN = Path(wiring.__file__).parent / "plans" / "frontend-only.yaml"
LONG, SHORT = "for: 5m, every: 30s, passes: 6", "for: 1s, every: 1s, passes: 1"


@pytest.fixture
async def shop(bucket: Bucket) -> AsyncIterator[Front]:
    async with front(bucket) as found:
        yield found


def house_of(folder: Path, api: str, f: Front) -> House:
    """A bot whose service has a site and an edge; the watch of its plan is a short one."""
    house = House(folder, api)
    text = PLAN.read_text()
    assert LONG in text
    (folder / "plans" / "frontend-only.yaml").write_text(text.replace(LONG, SHORT))
    at = f.bucket
    targets = f"""targets:
      api: {{http: "{api}"}}
      www:
        site: "s3://{at.name}/www"
        endpoint: "{at.url}"
        region: eu-central-1
        key: S3_KEY
        secret: S3_SECRET
        acl: public-read
      cdn:
        edge: "http://shop.example"
        purge: "{f.edge.url}"
        probes: "{f.edge.address}"
        headers: {{X-Purge-Token: PURGE}}
    channels: {{cdn: ["#edge"]}}
"""
    path = folder / "rollback.yaml"
    before = f"  shop: {{targets: {{api: {{http: {api}}}}}, floor: 2.3.0}}\n"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, f"  shop:\n    floor: 2.3.0\n    {targets}"))
    return upgraded(house)


async def test_the_previous_build_is_back_everywhere_and_the_run_is_verified(
    shop: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PURGE", "letmein")
    async with Shop("2.4.1") as api:
        house = await asyncio.to_thread(house_of, tmp_path, api.url, shop)
        async with wiring.running(house.settings) as bot:
            for version, build in (("2.4.0", shop.good), ("2.4.1", shop.bad)):
                release = Release(version, "c", {"shop-api": f"r/shop@sha256:{'a' * 64}"}, str(build))
                await bot.releases.record("shop", release, by="ci", serving_since=bot.clock() - 10)
            wanted = Wanted("shop", "the page stays white", "2.4.0", plan="frontend-only")
            run = await bot.rollbacks.open(wanted, await bot.people.person("ana"), "test")
            assert isinstance(run, Run), run
            for who, name in (("ana", "start"), ("cho", "frontend")):
                asked = await until(bot, run.id, lambda r, name=name: r.asked[name].opened is not None)  # type: ignore[misc]
                command = Approve(name, asked.card(name))
                said = await bot.rollbacks.command(run.id, command, await bot.people.person(who), "test")
                assert isinstance(said, Answer), said
            over = await until(bot, run.id, lambda r: r.closed is not None or r.halted)
    assert over.closed is not None and over.closed.outcome == "verified", over.halted
    assert shop.bucket.whole(GOOD) == []
    assert {s.body for s in await shop.edges.served("cdn", ["/"])} == {GOOD["index.html"]}
