"""`evidence.plot`: one picture of before, bad and after from a real Prometheus, with the same in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actions.evidence_plot import EvidencePlot, EvidencePlotParams
from bot.adapters.plots import PillowPlots
from bot.adapters.prometheus import Prometheus
from bot.contract import Outgoing, Receipt
from bot.ports import Ports, Record
from bot.ports.metrics import Watched
from bot.ports.plots import Picture
from bot.ports.releases import Served
from bot.store.blobs import FileBlobs
from bot.testing import MemoryReleases, TestCtx, assert_lifecycle, ports
from tests.fixtures.prometheus import Past, Server, adapter, prometheus

NOW = datetime(2026, 11, 25, 14, 10, tzinfo=UTC)
ERRORS = Watched("errors", "errors", "%", limit=1.0)


def minutes(before: float) -> datetime:
    return NOW - timedelta(minutes=before)


LEDGER = MemoryReleases(
    **{
        "2.4.0": [Served(minutes(9000), minutes(40)), Served(minutes(15))],
        "2.4.1": [Served(minutes(40), minutes(17))],
    }
)


def errors(at: float) -> float:
    return 4.0 if minutes(41).timestamp() < at < minutes(16).timestamp() else 0.02


class NoPlots:
    """What a bot without the extra has."""

    async def draw(self, picture: Picture) -> bytes | None:
        return None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    past: Past = [("errors", errors, minutes(120), NOW)]
    with prometheus(tmp_path_factory.mktemp("past"), past) as server:
        yield server


async def plot(there: Prometheus, folder: Path, plots: Any = None, began: str = "") -> Receipt:
    def bound(_: Record) -> Ports:
        return ports(metrics=there, releases=LEDGER, blobs=FileBlobs(folder), plots=plots or PillowPlots())

    outgoing = [Outgoing(version="2.4.1", commit="", settings=None)]
    action, params = EvidencePlot(), EvidencePlotParams(release="2.4.0", outgoing=outgoing, began=began)
    change = await action.plan(TestCtx(bound, action.needs, now=NOW), params)
    try:
        return await action.apply(TestCtx(bound, action.needs, acting=True, now=NOW), params, change)
    finally:
        await there.close()


async def test_it_only_reads_and_can_be_done_again(server: Server, tmp_path: Path) -> None:
    there = adapter(server.url, ERRORS)

    def bound(_: Record) -> Ports:
        return ports(metrics=there, releases=LEDGER, blobs=FileBlobs(tmp_path), plots=PillowPlots())

    async def world() -> dict[str, Any]:
        return {"rules": len(await there.rules("prom"))}

    await assert_lifecycle(EvidencePlot(), bound, EvidencePlotParams(), world=world, drift=None)
    await there.close()


async def test_one_picture_shows_before_bad_and_after(server: Server, tmp_path: Path) -> None:
    receipt = await plot(adapter(server.url, ERRORS), tmp_path, began=minutes(70).isoformat())
    kept = receipt.evidence["before-and-after.png"]
    assert isinstance(kept, dict)
    said = r"Before, under and after\. errors: 0\.\d+ % with 2\.4\.0, [34]\S* % with 2\.4\.1, 0\.\d+ % with .* again"
    assert re.fullmatch(said, str(kept["alt"]))
    assert receipt.detail == kept["alt"]
    assert [p.name for p in (tmp_path / "sha256").rglob("*") if p.is_file()] == [str(kept["digest"])[9:]]


async def test_where_it_cannot_be_drawn_it_is_told_in_words(server: Server, tmp_path: Path) -> None:
    receipt = await plot(adapter(server.url, ERRORS), tmp_path, NoPlots())
    assert receipt.evidence == {}
    assert receipt.detail.startswith("Before, under and after. errors: ")
    assert receipt.detail.endswith("not drawn: the bot's extra `plots` is not installed")


async def test_what_does_not_answer_is_named_and_stops_nothing(tmp_path: Path) -> None:
    receipt = await plot(adapter("http://127.0.0.1:9", ERRORS), tmp_path)
    assert receipt.detail.startswith("no number was measured: nothing to draw; prom cannot be reached")


async def test_without_numbers_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert (await plot(Prometheus(), tmp_path)).detail.startswith("nothing to draw")
