"""What a rollback takes, people's time out, beside the same work in one shell script.

    make bench BENCH=demo

- from an approver's yes to a backend that serves the target in both clusters with its workers back: the bot, with its
  checks between; yardstick: the commands of the by-hand file that it left in the thread, one after another, as an
  administrator.
- the bot's own share of that time: CPU of its process.

Both work on the demo's world: two clusters, a shop with customers. People's time is not in it: the click is the start.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import median, report
from bot.playground.demo import without_bot
from bot.playground.demo.live import Live
from bot.playground.demo.people import People
from bot.playground.demo.stage import HERE, Stage
from bot.playground.demo.story import BACKEND, REASON, bad_release
from bot.playground.shop.truth import Truth

TURNS = 3
GOOD = "2.4.0"
PATIENCE = 240.0
"""Seconds for either side, on a busy machine too."""
_TICKS = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def decided() -> AsyncIterator[tuple[Stage, People]]:
    """A rollback that waits for the approver of its backend."""
    async with Stage(watch="for: 2s, every: 1s, passes: 2") as stage, Live(stage, lambda _: None) as live:
        await bad_release(stage, live, look=1.0)
        people = People(stage, live)
        await people.open("ana", f"shop because {REASON}")
        await people.press("ana", "Start rollback")
        await people.card(BACKEND)
        await people.reads("Prepare: 5 of 5")
        await stage.workspace.driver.wait_for(
            lambda: any("rollback-freeze" in text for text in without_bot.texts(stage)), 60
        )
        yield stage, people


def back(truth: Truth) -> bool:
    """Whether the target serves everywhere and its workers work; auto-sync stays paused until Git says the target."""
    return truth.serves(GOOD) and all("/application/" in place for place in truth.paused)


async def until_back(stage: Stage) -> float:
    """The moment."""
    end = time.monotonic() + PATIENCE
    while not back(await stage.shop.truth(1.0)):
        if time.monotonic() > end:
            raise TimeoutError(f"not back: {await stage.shop.truth(1.0)}\n{stage.log_end()}")
        await asyncio.sleep(0.1)
    return time.monotonic()


def cpu(stage: Stage) -> float:
    """Seconds of CPU that the bot has used. LookupError where none runs."""
    if stage.bot is None:
        raise LookupError("no bot runs")
    fields = Path(f"/proc/{stage.bot.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def by_the_bot() -> tuple[float, float]:
    """Seconds, and those of its CPU."""
    async with decided() as (stage, _):
        begun, used = time.monotonic(), cpu(stage)
        post = next(p for p in reversed(stage.workspace.driver.read(HERE)) if BACKEND in p.buttons)
        pressed = asyncio.create_task(stage.workspace.driver.click("cho", post, BACKEND, patience=10))
        ended = await until_back(stage)
        found = ended - begun, cpu(stage) - used
        await pressed
        return found


async def by_the_script() -> float:
    """Seconds. The bot is gone."""
    async with decided() as (stage, _):
        await stage.kill()
        finish = without_bot.texts(stage)[-1].split("## To take it back instead")[0]
        begun = time.monotonic()
        await without_bot.typed(stage, "\n".join(without_bot.commands(finish)), within=PATIENCE)
        return await until_back(stage) - begun


async def main() -> None:
    """In turns."""
    ours: list[tuple[float, float]] = []
    theirs: list[float] = []
    for _ in range(TURNS):
        ours.append(await by_the_bot())
        theirs.append(await by_the_script())
    took = median([seconds for seconds, _ in ours])
    report("from a yes to the backend back, workers too", took, median(theirs), "s", 0.5, of="ratio")
    report("CPU of the bot in it", median([used for _, used in ours]), took, "s", 0.1, of="ratio")


if __name__ == "__main__":
    asyncio.run(main())
