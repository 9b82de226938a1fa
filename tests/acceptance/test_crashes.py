"""kill -9 of the bot in the middle of the demo: it ends right, and nothing is done twice, whenever it dies.

Ten moments, spread over the whole story from a fixed seed. A run of the tests takes `SAMPLE` of them and says which;
ROLLBACK_MOMENTS=all takes all ten.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence

import pytest

from bot.playground.demo.stage import DemoFailed, Stage
from bot.playground.demo.story import STORIES
from tests.acceptance.stage import faults, incident

SEED, LASTS = 4211, 22.0
"""Seconds from the first word to the end where nothing is killed."""
_RANDOM = random.Random(SEED)
MOMENTS = [round((i + _RANDOM.random()) * LASTS / 10, 1) for i in range(10)]
SAMPLE = (1, 4, 7)


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


@pytest.mark.parametrize("moment", chosen())
async def test_it_ends_right_and_nothing_is_done_twice_whenever_the_bot_is_killed(
    moment: float, record_property: Callable[[str, object], None]
) -> None:
    found = await _killed_at(moment)
    assert not found, "\n".join(found)
    if len(chosen()) < len(MOMENTS):
        left = f"one of {len(MOMENTS)} moments; ROLLBACK_MOMENTS=all kills at all of them"
        record_property("sample", f"killed after {moment:.1f} s, {left}")
