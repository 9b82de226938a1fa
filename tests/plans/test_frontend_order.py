"""The frontend goes back before or after the backend, by what builds call: the standard plan's steps, carried out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot import wiring
from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.run.answering import Answer
from bot.run.commands import Approve
from bot.run.state import Run
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket, manifest_of
from tests.fixtures.frontend_published import Front, front
from tests.fixtures.lone_shop import Shop
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.whole_bot import House, until, upgraded

STANDARD = Path(wiring.__file__).parent / "plans" / "standard.yaml"
FIRST = ("publish-first", "invalidate-first", "converged-first")


@pytest.fixture
async def shop(bucket: Bucket) -> AsyncIterator[Front]:
    async with front(bucket) as found:
        yield found


def house_of(folder: Path, api: str, f: Front) -> House:
    """A bot whose service has a site and an edge."""
    house = House(folder, api)
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


def ordered() -> str:
    """What the standard plan says of the frontend, around a backend that is switched by HTTP."""
    tracks = yaml.safe_load(STANDARD.read_text())["tracks"]
    steps = [step for item in tracks["prepare"] for step in (item if isinstance(item, list) else [item])]
    kept = {step["id"]: step for step in steps}
    frontend: list[dict[str, Any]] = [
        {**step, "after": ["start" if name == "freeze" else name for name in step["after"]]}
        if "after" in step
        else step
        for step in tracks["frontend"]
    ]
    deploy = {
        "id": "deploy", "uses": "release.switch", "title": "Deploy", "after": ["start", "converged-first"],
        "gate": {"group": "backend", "title": "Bring the backend back", "by": {"approver": 1}},
        "with": {"target": "api", "release": "${target.version}"},
    }  # fmt: skip
    serves = {
        "id": "serves", "uses": "health.serving", "title": "Serves", "phase": "verify", "after": ["converged"],
        "within": "20s", "with": {"target": "api", "release": "${target.version}"},
    }  # fmt: skip
    said = {"prepare": [kept["calls"], kept["start"]], "backend": [deploy], "frontend": frontend, "verify": [serves]}
    return yaml.safe_dump({"name": "ordered", "tracks": said}, sort_keys=False)


@pytest.mark.parametrize(
    ("calls", "first"), [(["GET /v1/cart", "GET /v2/coupons"], True), (["GET /v1/cart"], False)], ids=["first", "last"]
)
async def test_pages_that_call_what_the_backend_may_lack_are_gone_before_it_is(
    shop: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Sequence[str], first: bool
) -> None:
    monkeypatch.setenv("PURGE", "letmein")
    good = shop.bucket.build("2.4.0", GOOD, replace(manifest_of(GOOD), calls=("GET /v1/cart",)))
    bad = shop.bucket.build("2.4.1", BAD, replace(manifest_of(BAD), calls=tuple(calls)))
    async with Shop("2.4.1") as api:
        house = await asyncio.to_thread(house_of, tmp_path, api.url, shop)
        (tmp_path / "plans" / "ordered.yaml").write_text(ordered())
        async with wiring.running(house.settings) as bot:
            for version, build in (("2.4.0", good), ("2.4.1", bad)):
                release = Release(version, "c", {"shop-api": f"r/shop@sha256:{'a' * 64}"}, str(build))
                await bot.releases.record("shop", release, by="ci", serving_since=bot.clock() - 10)
            wanted = Wanted("shop", "coupons fail", "2.4.0", plan="ordered")
            run = await bot.rollbacks.open(wanted, await bot.people.person("ana"), "test")
            assert isinstance(run, Run), run
            decisions = ["frontend-first", "backend"] if first else ["backend", "frontend"]
            for who, name in (("ana", "start"), *(("cho", name) for name in decisions)):
                asked = await until(bot, run.id, lambda r, name=name: r.asked[name].opened is not None)  # type: ignore[misc]
                said = await bot.rollbacks.command(
                    run.id, Approve(name, asked.card(name)), await bot.people.person(who), "test"
                )
                assert isinstance(said, Answer), said
            over = await until(bot, run.id, lambda r: r.closed is not None or r.halted)
    assert over.closed is not None and over.closed.outcome == "verified", over.halted
    began = {name: step.began for name, step in over.steps.items()}
    deployed, published = began["deploy"], began["publish-first" if first else "publish"]
    assert deployed is not None and published is not None and (published < deployed) is first
    converged = over.steps["converged-first" if first else "converged"].ended
    assert converged is not None and (converged <= deployed) is first
    skipped = ("publish", "invalidate") if first else FIRST
    assert {over.steps[name].end for name in skipped} == {"not needed"}
    assert shop.bucket.whole(GOOD) == []
