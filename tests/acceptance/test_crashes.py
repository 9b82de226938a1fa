"""kill -9 of the bot in the middle of the demo: it ends right, and nothing is done twice, whenever it dies.

Ten moments, spread over the whole story from a fixed seed. A run of the tests takes `SAMPLE` of them and says which;
ROLLBACK_MOMENTS=all takes all ten.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence

from bot.playground.demo.stage import DemoFailed, Stage
from bot.playground.demo.story import STORIES
from tests.acceptance.stage import faults, incident

SEED, LASTS = 4211, 22.0
"""Seconds from the first word to the end where nothing is killed."""
_RANDOM = random.Random(SEED)
MOMENTS = [round((i + _RANDOM.random()) * LASTS / 10, 1) for i in range(10)]
SAMPLE = (1, 4, 7)
TOGETHER = 3
"""Stories at the same time."""


def chosen() -> Sequence[float]:
    """The moments of this run of the tests, in seconds."""
    return MOMENTS if os.environ.get("ROLLBACK_MOMENTS") == "all" else [MOMENTS[i] for i in SAMPLE]


async def _killed_at(moment: float) -> list[str]:
    """What went wrong in a story whose bot dies at this moment and is started again."""
    story = STORIES["rollback"]
    async with incident() as (stage, people, told):
        killing = asyncio.create_task(_kill(stage, moment))
        try:
            await story.tell(stage, people.live)
            await killing
            found = await faults(stage, story.serves)
        except DemoFailed as error:
            found = [str(error)]
        finally:
            killing.cancel()
        return [f"killed after {moment:.1f} s: {fault}" for fault in found] + (["", *told] if found else [])


async def _kill(stage: Stage, moment: float) -> None:
    await asyncio.sleep(moment)
    await stage.kill()
    await stage.serve()


async def test_it_ends_right_and_nothing_is_done_twice_whenever_the_bot_is_killed(
    record_property: Callable[[str, object], None],
) -> None:
    moments, found = [*chosen()], list[str]()
    for i in range(0, len(moments), TOGETHER):
        for faults_ in await asyncio.gather(*map(_killed_at, moments[i : i + TOGETHER])):
            found += faults_
    assert not found, "\n".join(found)
    rest = "" if len(moments) == len(MOMENTS) else "; ROLLBACK_MOMENTS=all kills at all of them"
    when = ", ".join(f"{m:.1f} s" for m in moments)
    record_property("sample", f"killed at {len(moments)} of {len(MOMENTS)} moments ({when}){rest}")
