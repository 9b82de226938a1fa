"""`evidence.capture` over real processes and a real Prometheus: kept once, bounded, without secrets."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actions.evidence_capture import EvidenceCapture, EvidenceCaptureOutput, EvidenceCaptureParams
from bot.adapters.kubernetes import Clusters
from bot.adapters.plots import PillowPlots
from bot.adapters.prometheus import Prometheus
from bot.contract import Change, Outgoing, Receipt
from bot.observed.exceptions import fingerprint
from bot.playground.cluster import Fault
from bot.ports import Json, Ports, Record, Unreachable
from bot.ports.metrics import Watched
from bot.ports.plots import Picture
from bot.ports.releases import Served
from bot.redaction.redactor import Redactor
from bot.store.blobs import FileBlobs
from bot.store.evidence import KeptEvidence
from bot.testing import MemoryReleases, PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.cluster import client, connected
from tests.fixtures.clusters_logging import DECLINED, SERVED, Talking, talking
from tests.fixtures.prometheus import Past, Server, adapter, prometheus

Kept = tuple[Receipt, EvidenceCaptureOutput]
HOUR = timedelta(hours=1)
SECRET = "INFO token ghp_0123456789abcdefghijABCDEFGHIJ012345"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    now = datetime.now(UTC)
    start, end = now - HOUR, now + HOUR
    bad = (now - HOUR / 2).timestamp()

    past: Past = [("errors", lambda at: 4.0 if at > bad else 0.02, start, end), ("flat", lambda at: 1.0, start, end)]
    with prometheus(tmp_path_factory.mktemp("past"), past) as server:
        yield server


class NoPlots:
    """What a bot without the extra has."""

    async def draw(self, picture: Picture) -> bytes | None:
        return None


class World:
    """A shop in the middle of a bad release, and everything that keeps evidence of it."""

    def __init__(self, shop: Talking, prom: Prometheus, folder: Path) -> None:
        self.shop, self.prom = shop, prom
        self.blobs = FileBlobs(folder)
        self.evidence = KeptEvidence(self.blobs, Redactor().text)
        self.plots: Any = PillowPlots()
        now = datetime.now(UTC)
        self.ledger = MemoryReleases(**{"2.4.1": [Served(now - HOUR / 2)]})

    @property
    def params(self) -> EvidenceCaptureParams:
        images = {"api": self.shop.images["api 2.4.1"]}
        outgoing = [Outgoing(version="2.4.1", commit="", images=images, settings=None)]
        return EvidenceCaptureParams(outgoing=outgoing, back_to="2.4.0", minutes=50.0)

    @property
    def ports_for(self) -> PortsFor:
        def bound(record: Record) -> Ports:
            return ports(
                kubernetes=self.shop.adapter.bind(record), metrics=self.prom, releases=self.ledger,
                evidence=self.evidence, blobs=self.blobs, plots=self.plots,
            )  # fmt: skip

        return bound

    async def capture(
        self, memo: dict[str, Json] | None = None, **params: Any
    ) -> tuple[Receipt, EvidenceCaptureOutput]:
        action, p = EvidenceCapture(), self.params.model_copy(update=params)
        reading = TestCtx(self.ports_for, action.needs, now=datetime.now(UTC))
        change = await action.plan(reading, p)
        ctx = TestCtx(self.ports_for, action.needs, acting=True, now=datetime.now(UTC), memo=memo)
        receipt = await action.apply(ctx, p, change)
        return receipt, EvidenceCaptureOutput.model_validate(receipt.output)

    def text(self, output: EvidenceCaptureOutput, name: str) -> str:
        [kept] = [k for k in output.kept if k.name == name]
        return self.evidence.read(kept.digest) or ""

    async def objects(self) -> Mapping[str, Json]:
        """All that somebody could have changed out there."""
        deployments = self.shop.cluster.all("Deployment", "shop")
        return {d["metadata"]["name"]: json.dumps(d["spec"]) for d in deployments}


@pytest.fixture
async def world(server: Server, tmp_path: Path) -> AsyncIterator[World]:
    watched = Watched("errors", "errors", "%", limit=1.0), Watched("flat", "flat")
    prom = adapter(server.url, *watched)
    async with talking() as shop:
        await shop.run("api", "2.4.1", SERVED, DECLINED, SECRET)
        await shop.run("worker", "2.4.0", SERVED, "ERROR queue is slow")
        made = World(shop, prom, tmp_path / "files")
        yield made
    await prom.close()
    await made.prom.close()


async def test_it_changes_nothing_out_there_and_can_be_done_again(world: World) -> None:
    change = await assert_lifecycle(EvidenceCapture(), world.ports_for, world.params, world=world.objects, drift=None)
    assert not change.edits
    assert change.summary == "keep events and logs of eu-1 and 2 numbers of the last 50 min, for 30 days"


async def test_events_logs_and_numbers_are_kept_without_secrets_and_handed_on(world: World) -> None:
    receipt, output = await world.capture()
    assert [k.name for k in output.kept] == ["events of eu-1", "logs of eu-1", "numbers of prom"]
    assert output.failed == {}
    assert "deployment/api" in world.text(output, "events of eu-1")
    logs = world.text(output, "logs of eu-1")
    assert "PaymentDeclined: card 0 declined" in logs
    assert "[redacted:github-token]" in logs
    assert "ghp_" not in logs
    numbers = json.loads(world.text(output, "numbers of prom"))
    assert numbers["errors"][0]["points"][-1][1] == 4.0
    assert output.bad == {"prom/errors": pytest.approx(4.0, rel=0.1), "prom/flat": 1.0}
    assert output.raised.keys() == {fingerprint("PaymentDeclined: card … declined")}
    assert output.before.keys() == {fingerprint("queue is slow")}
    assert output.seen
    assert "log lines and 3 files of the last 50 min, for 30 days" in receipt.detail


async def test_the_picture_is_posted_and_the_logs_are_not(world: World) -> None:
    receipt, _ = await world.capture()
    shown = {name: value for name, value in receipt.evidence.items() if isinstance(value, dict)}
    assert [*shown] == ["numbers.png"]
    picture = shown["numbers.png"]
    png = next((world.blobs.folder / "sha256").rglob(str(picture["digest"])[9:])).read_bytes()
    assert png.startswith(b"\x89PNG")
    words = r"Before the rollback\. errors: 0\.\d+ % with 2\.4\.0, [34]\S* % with 2\.4\.1; flat: 1 with .*"
    assert re.fullmatch(words, str(picture["alt"]))


async def test_a_bot_that_cannot_draw_says_so_and_goes_on(world: World) -> None:
    world.plots = NoPlots()
    receipt, output = await world.capture()
    assert output.failed == {"the picture": "the bot's extra `plots` is not installed"}
    assert "numbers.png" not in receipt.evidence
    assert len(output.kept) == 3


async def test_what_is_away_is_named_and_holds_nothing_up(world: World) -> None:
    world.prom = adapter("http://127.0.0.1:9", Watched("errors", "errors"))
    world.shop.cluster.faults.add(Fault("refuse", resource="events", next=None))
    receipt, output = await world.capture()
    assert [k.name for k in output.kept] == ["logs of eu-1"]
    assert {*output.failed} == {"events of eu-1", "numbers of prom"}
    assert "not kept: " in receipt.detail
    assert "no connection" in receipt.detail


async def test_after_its_time_it_goes_with_what_it_has(world: World) -> None:
    world.shop.cluster.faults.add(Fault("hang", resource="pods/log", seconds=60, next=None))
    _, output = await world.capture(within=1.0)
    assert [k.name for k in output.kept] == ["events of eu-1"]
    assert output.failed == {"the rest": "not there within 1 s"}


async def test_what_there_is_no_room_for_is_named(world: World) -> None:
    _, output = await world.capture(megabytes=0.00001)
    assert "(not at all: no room)" in output.failed["logs of eu-1"]
    assert len(world.text(output, "logs of eu-1")) < 100


async def test_what_was_kept_before_a_crash_is_not_lost_when_it_is_gone_out_there(world: World) -> None:
    memo: dict[str, Json] = {}
    _, first = await world.capture(memo)
    async with connected(world.shop.cluster) as api:
        for name in ("api", "worker"):
            await client.AppsV1Api(api).delete_namespaced_deployment(name, "shop")
    async with asyncio.timeout(90):
        while world.shop.cluster.all("Pod", "shop"):  # noqa: ASYNC110 - the simulator tells nobody
            await asyncio.sleep(0.05)
    _, again = await world.capture(memo)
    assert again.kept == first.kept
    assert again.raised == first.raised


async def test_where_nothing_is_catalogued_there_is_nothing_to_do(world: World) -> None:
    def bound(_: Record) -> Ports:
        return ports(kubernetes=Clusters([]), metrics=Prometheus())

    action = EvidenceCapture()
    change: Change = await action.plan(TestCtx(bound, action.needs), EvidenceCaptureParams())
    assert change.is_noop
    assert "no cluster and no monitor" in change.summary


def test_evidence_is_deleted_once_its_day_is_past(tmp_path: Path) -> None:
    kept = KeptEvidence(FileBlobs(tmp_path), str.upper)
    data = gzip.compress(b"text")
    name = FileBlobs.digest(data)
    digest, path = f"sha256:{name}", kept.folder / "2026-11-25" / "sha256" / name[:2] / name[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert kept.read(digest) == "text"
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        kept.read(digest)
    assert kept.prune(datetime(2026, 11, 25, 23, tzinfo=UTC)) == 0
    assert kept.prune(datetime(2026, 11, 26, tzinfo=UTC)) == 1
    assert kept.read(digest) is None
    assert kept.read("../../etc/passwd") is None


async def test_a_bucket_is_no_place_for_evidence_and_that_is_said() -> None:
    with pytest.raises(Unreachable, match="ROLLBACK_BLOBS_URL is a bucket"):
        await KeptEvidence(FileBlobs(Path("s3:") / "bucket"), str).keep("text", datetime.now(UTC))
