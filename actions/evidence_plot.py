"""B2, again at the end: one picture of the numbers before, under and after the bad release.

It only reads and draws; the picture goes to the thread with the receipt. A monitor that does not answer is named.
"""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import Field

from bot.contract import Action, Change, Ctx, Effect, Json, Outgoing, Params, ReadCtx, Receipt, Value
from bot.observed.pictures import Measured, picture, zones
from bot.observed.times import Window
from bot.ports import Unreachable
from bot.ports.metrics import Monitor, QueryRefused

POINTS = 240
"""Points of a series that are drawn, about."""
LEAST, MOST = timedelta(minutes=10), timedelta(days=1)
"""How long a time is drawn."""


class EvidencePlotParams(Params):
    """What is drawn."""

    began: str = Field("", description="Beginning of the picture: ${steps.evidence.began}. Left out: two hours ago.")
    release: str = Field("", description="The version that serves again.")
    outgoing: list[Outgoing] = Field([], description="The releases that had to go.")


class EvidencePlot(Action[EvidencePlotParams]):
    """Draws the numbers before, under and after the bad release, for the thread."""

    name = "evidence.plot"
    needs = frozenset({"metrics", "releases", "blobs", "plots"})
    Params = EvidencePlotParams

    async def plan(self, ctx: ReadCtx, p: EvidencePlotParams) -> Change:
        numbers = sum(len(m.series) for m in ctx.ports.metrics.monitors)
        if not numbers:
            return Change("nothing to draw: the catalogue names no series of a monitor")
        return Change(f"draw {numbers} numbers", effects=(Effect(f"draw {numbers} numbers"),))

    async def observe(self, ctx: ReadCtx, p: EvidencePlotParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)

    async def apply(self, ctx: Ctx, p: EvidencePlotParams, change: Change) -> Receipt:
        if change.is_noop:
            return Receipt(change.summary)
        window = Window(_began(p, ctx.now), ctx.now)
        step = max(15.0, round(window.seconds / POINTS))
        found = await asyncio.gather(*(_measured(ctx, m, window, step) for m in ctx.ports.metrics.monitors))
        measured = [m for each in found if not isinstance(each, str) for m in each]
        lost = [each for each in found if isinstance(each, str)]
        removed = p.outgoing[-1].version if p.outgoing else ""
        versions = filter(None, (removed, p.release))
        served = {version: await ctx.ports.releases.served(version) for version in versions}
        again = served.get(p.release) or ()
        back = again[-1].since if again and again[-1].until is None and again[-1].since > window.start else None
        shown = picture(
            "Before, under and after",
            window,
            measured,
            zones(window, p.release or "before", removed, served, back),
            step,
        )
        if not shown.panels:
            return Receipt("; ".join(["no number was measured: nothing to draw", *lost]))
        png = await ctx.ports.plots.draw(shown)
        if png is None:
            return Receipt(f"{shown.words}; not drawn: the bot's extra `plots` is not installed")
        blob = await ctx.ports.blobs.put(png, "image/png")
        kept: dict[str, Json] = {"digest": blob.digest, "size": blob.size, "type": blob.type, "alt": shown.words}
        return Receipt("; ".join([shown.words, *lost]), {"before-and-after.png": kept})


def _began(p: EvidencePlotParams, now: datetime) -> datetime:
    try:
        began = datetime.fromisoformat(p.began)
    except ValueError:
        began = now - timedelta(hours=2)
    began = began if began.tzinfo is not None else began.replace(tzinfo=UTC)
    return min(max(began, now - MOST), now - LEAST)


async def _measured(ctx: ReadCtx, monitor: Monitor, window: Window, step: float) -> list[Measured] | str:
    """The numbers of a monitor; or why there are none."""
    series = [*monitor.series.values()]
    asked = (ctx.ports.metrics.range(monitor.name, s.query, window.start, window.end, step) for s in series)
    try:
        found = await asyncio.gather(*asked)
    except (Unreachable, QueryRefused) as error:
        return str(error)
    return [Measured(monitor.name, s, f.lines) for s, f in zip(series, found, strict=True)]
