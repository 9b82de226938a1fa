"""`ports.plots` by Pillow, which is the extra `plots`: imported in a thread of its own, when something is drawn.

Invariants:
- a picture is opaque and brings its own background, so that it reads the same in a light and in a dark client;
- every colour that means something is told by words too (the zone's label, the curve's), and stands out from whatever
  lies behind it by at least 3 to 1, text by 4.5 to 1;
- the same picture gives the same bytes with the same Pillow.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot.ports.plots import Curve, Panel, Picture, Zone

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH, HEIGHT, TOP, BOTTOM = 1000, 150, 58, 34
LEFT, RIGHT = 96, 24
SCALE = 2
"""Drawn at twice the size, then made smaller: Pillow draws no smooth lines."""
PANELS = 6
"""How many numbers are drawn."""
CURVES = 4
"""How many series of one number."""
PAPER, INK, FAINT, FRAME = "#ffffff", "#1d1c1d", "#5c5b5c", "#d5d5d5"
ZONES = {"before": "#eef7ee", "bad": "#fdecea", "after": "#e8f1fa"}
COLOURS = ("#1264a3", "#a33c12", "#156b42", "#7a3fa8")
LIMIT = "#b3261e"
_TICKS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


class PillowPlots:
    """Implements `bot.ports.plots.Plots`."""

    async def draw(self, picture: Picture) -> bytes | None:
        """See the port."""
        try:
            return await asyncio.to_thread(drawn, picture)
        except ModuleNotFoundError as error:
            if error.name == "PIL":
                return None
            raise


def drawn(picture: Picture) -> bytes:
    """The PNG, blocking. ModuleNotFoundError where Pillow is not installed."""
    from PIL import Image, ImageDraw

    panels = picture.panels[:PANELS]
    size = (WIDTH, TOP + HEIGHT * len(panels) + BOTTOM)
    image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
    sheet = _Sheet(ImageDraw.Draw(image), picture)
    sheet.text(12, 8, picture.title, 17, INK)
    for n, panel in enumerate(panels):
        sheet.panel(panel, TOP + n * HEIGHT, first=n == 0)
    sheet.times(TOP + len(panels) * HEIGHT)
    sheet.pen.rectangle((0, 0, size[0] * SCALE - 1, size[1] * SCALE - 1), outline=FAINT, width=SCALE)
    out = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).quantize(128).save(out, "PNG", optimize=True)
    return out.getvalue()


@dataclass
class _Sheet:
    """What is drawn on; places are in pixels of the finished picture."""

    pen: ImageDraw
    picture: Picture

    def panel(self, panel: Panel, top: float, *, first: bool) -> None:
        """One number below another."""
        low, high = _bounds(panel)
        upper, lower = top + 22, top + HEIGHT - 12

        def y(value: float) -> float:
            return lower - (value - low) / (high - low) * (lower - upper)

        for zone in self.picture.zones:
            self.zone(zone, top, top + HEIGHT - 4, named=first)
        for value in _levels(low, high):
            self.line([(LEFT, y(value)), (WIDTH - RIGHT, y(value))], FRAME, 1)
            self.text(LEFT - 8, y(value) - 7, _shown(value), 12, FAINT, right=True)
        self.text(LEFT + 4, top + 3, f"{panel.title}{f', {panel.unit}' if panel.unit else ''}", 14, INK)
        if panel.limit is not None and low <= panel.limit <= high:
            self.dashes(y(panel.limit), LIMIT)
            self.text(WIDTH - RIGHT - 4, y(panel.limit) - 15, f"limit {_shown(panel.limit)}", 12, LIMIT, right=True)
        for n, curve in enumerate(panel.curves[:CURVES]):
            for run in _runs(curve, panel.step):
                self.line([(self.x(at), y(value)) for at, value in run], COLOURS[n], 2)
            if curve.label:
                self.text(WIDTH - RIGHT - 4, top + 3 + 13 * n, curve.label[:40], 12, COLOURS[n], right=True)

    def zone(self, zone: Zone, top: float, bottom: float, *, named: bool) -> None:
        """The time in which something served."""
        left, right = (min(max(self.x(at), LEFT), WIDTH - RIGHT) for at in (zone.start, zone.end))
        if right - left < 1:
            return
        self.pen.rectangle(_scaled(left, top, right, bottom), fill=ZONES[zone.kind])
        if named:
            self.text(left + 4, top - 18, zone.label, 13, INK)
            self.line([(left, top - 18), (left, top)], FAINT, 1)

    def times(self, top: float) -> None:
        """The scale below all of them."""
        begin, end = self.picture.start, self.picture.end
        step = next((t for t in _TICKS if (end - begin) / t <= 9), _TICKS[-1])
        at = math.ceil(begin / step) * step
        while at <= end:
            self.line([(self.x(at), top - 4), (self.x(at), top + 2)], FAINT, 1)
            self.text(self.x(at), top + 4, f"{datetime.fromtimestamp(at, UTC):%H:%M}", 12, FAINT, middle=True)
            at += step
        self.text(12, top + 4, "UTC", 12, FAINT)

    def x(self, at: float) -> float:
        """Where a moment is."""
        share = (at - self.picture.start) / max(1e-9, self.picture.end - self.picture.start)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: int) -> None:
        """A line; a single point is a dot."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        if len(scaled) == 1:
            (x, y), r = scaled[0], width * SCALE
            self.pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
            return
        self.pen.line(scaled, fill=colour, width=width * SCALE, joint="curve")

    def dashes(self, y: float, colour: str) -> None:
        """From left to right."""
        for x in range(LEFT, WIDTH - RIGHT, 12):
            self.line([(x, y), (min(x + 7, WIDTH - RIGHT), y)], colour, 1)

    def text(
        self, x: float, y: float, text: str, size: int, colour: str, *, right: bool = False, middle: bool = False
    ) -> None:
        """One line of text, by its left end, its right end or its middle."""
        font = _font(size * SCALE)
        width = self.pen.textlength(text, font=font)
        begin = x * SCALE - (width if right else width / 2 if middle else 0)
        self.pen.text((max(0.0, begin), y * SCALE), text, font=font, fill=colour)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _scaled(*edges: float) -> tuple[float, ...]:
    return tuple(edge * SCALE for edge in edges)


def _bounds(panel: Panel) -> tuple[float, float]:
    """From where to where a panel goes: from 0 where nothing is below, and to the limit where that is near."""
    values = [v for c in panel.curves[:CURVES] for _, v in c.points if math.isfinite(v)] or [0.0]
    high, low = max(values), min(0.0, *values)
    if panel.limit is not None and low <= panel.limit <= 2 * max(high, 0.0):
        high = max(high, panel.limit)
    return low, high + (high - low) * 0.08 if high > low else low + 1.0


def _levels(low: float, high: float) -> Iterator[float]:
    """Three or four round values between."""
    rough = (high - low) / 3
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= rough * 0.8)
    at = math.ceil(low / step) * step
    while at <= high:
        yield at
        at += step


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _runs(curve: Curve, step: float) -> Iterator[list[tuple[float, float]]]:
    """Parts without a gap."""
    run: list[tuple[float, float]] = []
    for at, value in curve.points:
        if not math.isfinite(value):
            continue
        if run and at - run[-1][0] > 2.5 * step:
            yield run
            run = []
        run.append((at, value))
    if run:
        yield run
