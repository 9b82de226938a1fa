"""The demo's stage, as acceptance tests use it: quick, and silent until something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.playground.demo import verdict
from bot.playground.demo.live import Live
from bot.playground.demo.people import People
from bot.playground.demo.stage import Stage
from bot.playground.demo.story import BAD, bad_release

WATCH = "for: 2s, every: 1s, passes: 2"


@asynccontextmanager
async def incident() -> AsyncIterator[tuple[Stage, People, list[str]]]:
    """2.4.1 serves in both clusters and payments fail; people are there; and what is told, line by line."""
    told: list[str] = []
    async with Stage(watch=WATCH) as stage, Live(stage, told.append) as live:
        await bad_release(stage, live, look=1.0)
        yield stage, People(stage, live), told


async def faults(stage: Stage, version: str, deploys: int = 1) -> list[str]:
    """Everything that did not end right."""
    truth = await verdict.settled(stage, version)
    found = [*verdict.faults(truth, version), *verdict.twice(stage, deploys), *verdict.posted_twice(stage)]
    said = await verdict.chain(stage)
    found += [] if "verified" in said else [f"the record: {said}"]
    found += await verdict.kept_out(stage, BAD)
    return found + [f"afterwards: {x}" for x in verdict.faults(await stage.shop.truth(verdict.LATE), version)]
