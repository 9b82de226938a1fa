"""The stories of the demo, as people live them.

`rollback`: 2.4.1 is bad, ana asks for 2.4.0 back, may not approve her own wish, cho does, and it comes back.
`bad_target`: 2.4.0 turns out to be bad too, in the middle; ana asks for 2.3.9 instead, and cho agrees.
`forward`: 2.4.0 is rolled back for what was not its fault, and is brought forward again, in a run of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.playground.demo.live import Live, payments
from bot.playground.demo.people import People
from bot.playground.demo.stage import DemoFailed, Stage

REASON = "checkout fails since 14:02"
BACKEND = "Bring the backend back"
BAD = "2.4.1"


@dataclass(frozen=True)
class Story:
    """title: for people; serves: what runs at the end; tell: plays it, and returns when the run has ended; before: how
    it came to it; bad: the release that must stay out afterwards, empty where none; deploys: releases that the bot
    puts into the clusters; runs: of the bot."""

    title: str
    serves: str
    tell: Callable[[Stage, Live], Awaitable[None]]
    before: Callable[[Stage, Live], Awaitable[None]]
    bad: str = BAD
    deploys: int = 1
    runs: int = 1


async def bad_release(stage: Stage, live: Live, look: float = 3.0) -> None:
    """2.3.9 and 2.4.0 have served; CI deploys 2.4.1, and customers cannot pay. look: seconds to look at each."""
    for version in ("2.3.9", "2.4.0"):
        await stage.release(version)
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.0 serves: {payments(stage, 3)}")
    live.tell("CI", "deploys 2.4.1 to eu-1 and us-1")
    await stage.release("2.4.1")
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.1 serves: {payments(stage, 3)}")
    for cluster in stage.shop.clusters.values():
        cluster.requests.clear()


async def lost_certificate(stage: Stage, live: Live, look: float = 3.0) -> None:
    """2.4.0 serves, until the provider takes none of its payments. look: seconds to look at each."""
    for version in ("2.3.9", "2.4.0"):
        await stage.release(version)
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.0 serves: {payments(stage, 3)}")
    await stage.shop.expire("2.4.0")
    live.tell("provider", "refuses payments of 2.4.0: its certificate has run out")
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.0 serves: {payments(stage, 3)}")
    for cluster in stage.shop.clusters.values():
        cluster.requests.clear()


async def begin(people: People) -> None:
    """Ana opens and starts it, tries to approve it herself, and cho does."""
    await people.open("ana", f"shop because {REASON}")
    await _decided(people, "Start rollback", BACKEND)


async def _decided(people: People, start: str, backend: str) -> None:
    await people.press("ana", start)
    said = await people.press("ana", backend)
    if "Not yours to decide" not in said:
        raise DemoFailed(f"ana was not refused at her own gate, but told: {said or 'nothing'}")
    await people.press("cho", backend)


async def end(people: People, version: str, removed: str = BAD, way: str = "Rollback") -> None:
    """Somebody puts Git right; then the rest goes by itself."""
    people.live.tell("dee", f"has Git say {version}, in both clusters' folders")
    people.stage.shop.push(version)
    await people.reads(f"shop runs {version} again.")
    await people.reads(f"shop runs {version} and is verified.")
    await people.reads(f"{way} of shop: {removed} → {version} · verified after")


async def _rollback(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    await end(people, "2.4.0")


async def _bad_target(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    await stage.shop.expire("2.4.0")
    live.tell("provider", "refuses payments of 2.4.0: its certificate has run out")
    await people.reads("Backend · Health: at work")
    await asyncio.sleep(4)  # of looking at payments that fail
    await people.type("ana", "retarget 2.3.9 because 2.4.0 cannot pay either, its certificate has run out")
    await people.press("cho", "Agree")
    await people.press("cho", BACKEND)
    await end(people, "2.3.9")


async def _forward(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    await end(people, "2.3.9", "2.4.0")
    allowed, why = await stage.may_deploy("2.4.0")
    live.tell("CI", f"asks whether it may deploy 2.4.0: {why}")
    if allowed:
        raise DemoFailed("CI may deploy 2.4.0, which was rolled back")
    await stage.shop.renew("2.4.0")
    live.tell("provider", "has a new certificate for 2.4.0")
    await people.open(
        "ana", "forward because the certificate was the cause, and there is a new one", "Start roll forward"
    )
    await _decided(people, "Start roll forward", "Bring the backend forward")
    await end(people, "2.4.0", "2.3.9", "Roll forward")


STORIES = {
    "rollback": Story("a bad release, and the previous one comes back", "2.4.0", _rollback, bad_release),
    "bad-target": Story(
        "the previous one is bad too, and another is chosen", "2.3.9", _bad_target, bad_release, deploys=2
    ),
    "forward": Story(
        "the release was not the cause, and is brought forward again", "2.4.0", _forward, lost_certificate, "",
        deploys=2, runs=2,
    ),
}  # fmt: skip
