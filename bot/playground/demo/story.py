"""The stories of the demo (`titles.TITLES` says what happens in each), as people live them.

Invariant: people type and press in the workspace, and the world changes under the bot; nothing is asked of the bot
beside what an operator would ask.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.playground.demo.live import Live, payments
from bot.playground.demo.people import People
from bot.playground.demo.stage import HERE, DemoFailed, Stage

REASON = "checkout fails since 14:02"
BACKEND, FRONTEND = "Bring the backend back", "Bring the frontend back"
BAD = "2.4.1"
SLOW = 180.0
"""Seconds in which what a busy machine takes its time for must be done."""


@dataclass(frozen=True)
class Story:
    """serves: what runs at the end; tell: plays it, and returns when the run has ended; before: how it came to it; bad:
    the release that must stay out afterwards, empty where none; deploys: releases that the bot puts into the clusters;
    runs: of the bot; second: the shop has its second half; paged: it has a frontend in any case; revision: its schema;
    whole: the last run carries out all duties that this shop has; plan: what it goes by."""

    serves: str
    tell: Callable[[Stage, Live], Awaitable[None]]
    before: Callable[[Stage, Live], Awaitable[None]]
    bad: str = BAD
    deploys: int = 1
    runs: int = 1
    second: bool = False
    revision: str = "0042"
    whole: bool = True
    paged: bool = False
    plan: str = "standard"


async def _has_served(stage: Stage, live: Live, look: float) -> None:
    """2.3.9 and 2.4.0 have, and customers can pay."""
    for version in ("2.3.9", "2.4.0"):
        await stage.release(version)
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.0 serves: {payments(stage, 3)}")


def _from_here_on(stage: Stage) -> None:
    """What clusters were asked before the bot is at work is nobody's matter."""
    for cluster in stage.shop.clusters.values():
        cluster.requests.clear()


async def bad_release(stage: Stage, live: Live, look: float = 3.0) -> None:
    """2.3.9 and 2.4.0 have served; CI deploys 2.4.1, and customers cannot pay. look: seconds to look at each."""
    await _has_served(stage, live, look)
    live.tell("CI", "deploys 2.4.1 to eu-1 and us-1")
    await stage.release("2.4.1")
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.1 serves: {payments(stage, 3)}")
    _from_here_on(stage)


async def bad_release_and_backups(stage: Stage, live: Live) -> None:
    """The same, and every backup is cut off: the disk was full."""
    await bad_release(stage, live)
    if stage.shop.data is not None:
        for dump in stage.shop.data.backups.glob("*.dump"):
            whole = dump.stat()
            dump.write_bytes(dump.read_bytes()[: whole.st_size // 2])
            os.utime(dump, (whole.st_atime, whole.st_mtime))
    live.tell("the disk", "was full: every backup is cut off")


async def lost_certificate(stage: Stage, live: Live, look: float = 3.0) -> None:
    """2.4.0 serves, until the provider takes none of its payments. look: seconds to look at each."""
    await _has_served(stage, live, look)
    await stage.shop.expire("2.4.0")
    live.tell("provider", "refuses payments of 2.4.0: its certificate has run out")
    await asyncio.sleep(look)
    live.tell("customers", f"2.4.0 serves: {payments(stage, 3)}")
    _from_here_on(stage)


async def bad_pages(stage: Stage, live: Live, look: float = 3.0) -> None:
    """2.4.0 serves; CI publishes pages that are made for the settings of 2.4.1. look: seconds to look at each."""
    await _has_served(stage, live, look)
    live.tell("CI", f"publishes the pages of {BAD}; the backend stays as it is")
    await stage.pages(BAD, of="2.4.0")
    _from_here_on(stage)


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
    await people.reads(f"shop runs {version} again.", SLOW)
    await people.reads(f"shop runs {version} and is verified.", SLOW)
    await people.reads(f"{way} of shop: {removed} → {version} · verified after")


async def _rollback(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    if not stage.second:
        await end(people, "2.4.0")
        return
    await people.press("ben", "Keep")
    await _aside(people)


async def _down(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    refused = await people.reads("Restore · refused:")
    if "is cut off" not in refused.plain:
        raise DemoFailed(f"it is not said why there is no restoring:\n{refused.plain}")
    await _agreed(people, "Down…", "down shop")
    await _aside(people)


async def _restore(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    await _agreed(people, "Restore…", "restore shop")
    await _aside(people)


async def _agreed(people: People, button: str, phrase: str) -> None:
    """A dba and an approver say so."""
    for who in ("ben", "cho"):
        await people.confirm(who, button, phrase)


async def _aside(people: People) -> None:
    """The frontend, and then until the end; what only 2.4.1 can read is somebody's from then on."""
    await people.press("cho", FRONTEND)
    await people.reads("shop runs 2.4.0 again.", SLOW)
    await people.type("ana", "hand-over park to @ben until 2d because ben looks at what the coupons promised")
    await end(people, "2.4.0")


async def _bad_target(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await begin(people)
    await stage.shop.expire("2.4.0")
    live.tell("provider", "refuses payments of 2.4.0: its certificate has run out")
    await people.reads("at work: Health")
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


async def away_between(stage: Stage) -> None:
    """us-1 goes as soon as the bot has put its first image into eu-1."""
    clusters = stage.shop.clusters

    def begun() -> bool:
        return any(r.resource == "deployments" for r in clusters["eu-1"].requests.writes("bot"))

    await clusters["eu-1"].until(begun, 60)
    await clusters["us-1"].disconnect()


async def _half_done(people: People) -> None:
    """Ana's rollback is carried out in eu-1, and us-1 goes away before its turn."""
    await people.open("ana", f"shop because {REASON}")
    await people.press("ana", "Start rollback")
    await people.card(BACKEND)
    going = asyncio.create_task(away_between(people.stage))
    said = await people.press("ana", BACKEND)
    if "Not yours to decide" not in said:
        raise DemoFailed(f"ana was not refused at her own gate, but told: {said or 'nothing'}")
    await people.press("cho", BACKEND)
    await going
    people.live.tell("us-1", "does not answer any more")
    await people.reads("Deploy stopped at")


async def _partial(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await _half_done(people)
    await people.type("ana", "without us-1 because its provider is down")
    await people.press("cho", "Agree")
    live.tell("dee", "has Git say 2.4.0, in both clusters' folders")
    stage.shop.push("2.4.0")
    await people.reads("eu-1 restored, us-1 unknown")
    await people.reads("Close: 5 of 5")
    truth = await stage.shop.truth()
    if set(truth.running["eu-1"].values()) != {("2.4.0",)} or set(truth.running["us-1"].values()) != {("2.4.1",)}:
        raise DemoFailed(f"not what it is said to be: {truth.running}")
    if "is verified" in stage.workspace.driver.transcript(HERE):
        raise DemoFailed("it is called verified although us-1 is unknown")
    await stage.shop.clusters["us-1"].connect()
    live.tell("us-1", "answers again")
    await people.press("cho", BACKEND)
    await people.reads("shop runs 2.4.0 and is verified.")
    await people.reads("Rollback of shop: 2.4.1 → 2.4.0 · verified after")


async def _abort(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await _half_done(people)
    await stage.shop.clusters["us-1"].connect()
    live.tell("us-1", "answers again")
    await stage.shop.renew("2.4.0")
    live.tell("provider", "has a new certificate for 2.4.0")
    await people.type("ana", "abort because the certificate was the cause, and there is a new one")
    await people.reads("Stays changed: Deploy was given up half-way")
    await people.type("ana", "undo deploy because 2.4.0 was not the cause")
    await people.press("cho", "Undo: Deploy")
    await people.reads("Deploy: undone")
    for step, left in (("pause-workers", 2), ("git", 1)):
        await people.type("ana", f"restore {step} because 2.4.0 stays")
        await people.reads(f"{left} to be restored or handed over")
    await people.type("ana", "hand-over freeze to @ben until 2h because ben looks at payments first")
    await people.reads("aborted, debts handed over")
    await people.type("ben", "debts")
    run = await stage.last_run()
    await people.type("ben", f"restore {run} freeze because payments are fine")
    await people.reads("Prepare: 5 of 5")
    await people.gone(run)


async def _pages(stage: Stage, live: Live) -> None:
    people = People(stage, live)
    await people.open("ana", "shop plan frontend-only because the page asks a payment provider that we do not use")
    await _decided(people, "Start rollback", FRONTEND)
    await people.reads(f"Rollback of shop: {BAD} → 2.4.0 · verified after", SLOW)


STORIES: dict[str, Story] = {
    "rollback": Story("2.4.0", _rollback, bad_release, second=True),
    "schema-keep": Story("2.4.0", _rollback, bad_release, second=True),
    "schema-down": Story("2.4.0", _down, bad_release_and_backups, second=True, revision="0041"),
    "schema-restore": Story("2.4.0", _restore, bad_release, second=True, revision="0041"),
    "bad-target": Story("2.3.9", _bad_target, bad_release, deploys=2),
    "forward": Story("2.4.0", _forward, lost_certificate, "", deploys=2, runs=2),
    "partial": Story("2.4.0", _partial, bad_release),
    "frontend-only": Story("2.4.0", _pages, bad_pages, "", whole=False, paged=True, plan="frontend-only"),
    "abort": Story("2.4.0", _abort, lost_certificate, "", deploys=2, whole=False),
}
"""What is played, by the names of `titles.TITLES`."""
