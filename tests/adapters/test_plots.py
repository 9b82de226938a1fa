"""The picture of the numbers: opaque, legible on light and dark, the same each time, and told in words."""

from __future__ import annotations

import io
import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from bot.adapters import plots
from bot.adapters.plots import CURVES, HEIGHT, PANELS, WIDTH, PillowPlots, drawn
from bot.observed.pictures import LONGEST, Measured, picture, zones
from bot.observed.times import Window
from bot.ports.metrics import TimeSeries, Watched
from bot.ports.plots import Curve, Panel, Picture, Zone
from bot.ports.releases import Served
from tests.checks.test_metrics_steady import NOW, minutes

T = NOW.timestamp()
POINTS = [(T + 15 * n, 0.02 if n < 40 else 4.0) for n in range(120)]
ZONES = [Zone(T, T + 600, "2.4.0", "before"), Zone(T + 600, T + 1785, "2.4.1", "bad")]
SHOWN = Picture("Before the rollback", T, T + 1785, [Panel("errors", "%", [Curve("", POINTS)], 1.0)], ZONES, "words")


def image(shown: Picture) -> Image.Image:
    return Image.open(io.BytesIO(drawn(shown)))


async def test_it_is_a_small_opaque_png_with_a_panel_for_each_number() -> None:
    png = await PillowPlots().draw(SHOWN)
    assert png is not None
    assert len(png) < 100_000
    found = Image.open(io.BytesIO(png))
    assert (found.format, found.mode, found.info.get("transparency")) == ("PNG", "P", None)
    several = image(replace(SHOWN, panels=[*SHOWN.panels] * 3))
    assert several.size == (WIDTH, found.size[1] + 2 * HEIGHT)
    assert image(replace(SHOWN, panels=[*SHOWN.panels] * 99)).size == (WIDTH, found.size[1] + (PANELS - 1) * HEIGHT)


def test_the_same_picture_is_the_same_bytes() -> None:
    assert drawn(SHOWN) == drawn(SHOWN)


def luminance(colour: str) -> float:
    parts = [c / 255 for c in ImageColor.getrgb(colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("behind", [plots.PAPER, *plots.ZONES.values()])
def test_whatever_means_something_stands_out_from_what_is_behind_it(behind: str) -> None:
    for colour in (plots.INK, plots.FAINT, plots.LIMIT, *plots.COLOURS):  # all of them are used for text
        one, other = sorted((luminance(colour), luminance(behind)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, colour


def test_what_the_bad_release_did_is_seen() -> None:
    def blue(shown: Picture, rows: slice) -> int:
        found = image(shown).convert("RGB")
        box = found.crop((plots.LEFT, plots.TOP + rows.start, WIDTH - plots.RIGHT, plots.TOP + rows.stop))
        return sum(n for n, c in box.getcolors(1 << 20) or () if isinstance(c, tuple) and c[2] - c[0] > 80)

    flat = replace(SHOWN, panels=[Panel("errors", "%", [Curve("", [(t, 0.02) for t, _ in POINTS])], 1.0)])
    assert blue(SHOWN, slice(25, 60)) > 0
    assert blue(flat, slice(60, 90)) == 0


@pytest.mark.parametrize(
    "panels",
    [
        [],
        [Panel("nothing", "", [])],
        [Panel("one", "", [Curve("", [(T, 0.0)])])],
        [Panel("odd", "", [Curve("", [(T, math.nan), (T + 15, math.inf), (T + 30, -5.0), (T + 4000, 1e15)])])],
        [Panel("many", "x" * 200, [Curve("漢字" * 40, POINTS)] * (CURVES + 3), limit=-1e300)],
        [Panel("tiny", "", [Curve("", [(T, 1e-12), (T + 15, 2e-12)])])],
        [Panel("same", "", [Curve("", [(T, 1e9), (T + 15, 1e9)])])],
    ],
)  # fmt: skip
def test_any_numbers_can_be_drawn(panels: list[Panel]) -> None:
    assert image(replace(SHOWN, panels=panels)).size[0] == WIDTH


def test_a_bot_without_the_extra_cannot_draw_and_says_so() -> None:
    code = (
        "import asyncio, sys; sys.modules['PIL'] = None\n"
        "from bot.adapters.plots import PillowPlots\nfrom bot.ports.plots import Picture\n"
        "assert asyncio.run(PillowPlots().draw(Picture('t', 0, 1, []))) is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_bot_that_draws_nothing_does_not_import_it() -> None:
    code = "import sys, bot.wiring; assert not [m for m in sys.modules if m.partition('.')[0] == 'PIL']"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_before_bad_and_after_are_told_apart_by_the_ledger_and_in_words() -> None:
    served = {"2.4.1": [Served(minutes(40), minutes(10))]}
    window = Window(minutes(60), NOW)
    found = zones(window, "2.4.0", "2.4.1", served, minutes(10))
    assert [(z.label, z.kind, round(z.end - z.start)) for z in found] == [
        ("2.4.0", "before", 1200), ("2.4.1", "bad", 1800), ("2.4.0 again", "after", 600),
    ]  # fmt: skip
    assert [z.end for z in found[:-1]] == [z.start for z in itertools.islice(found, 1, None)]
    points = tuple((minutes(m).timestamp(), v) for m, v in ((50, 1.0), (30, 5.0), (5, 2.0)))
    measured = [Measured("prom", Watched("errors", "x", "%"), [TimeSeries({}, points)])]
    said = picture("shop", window, measured, found, 15).words
    assert said == "shop. errors: 1 % with 2.4.0, 5 % with 2.4.1, 2 % with 2.4.0 again"
    assert len(picture("shop", window, measured * 100, found, 15).words) <= LONGEST + 100
    assert zones(window, "2.4.0", "2.4.1", {}, None) == [Zone(window.start.timestamp(), T, "before", "before")]
