"""What later steps would do, planned beside the run: read only, never waited for, and never where it could lie."""

from __future__ import annotations

import asyncio

from bot.contract import Edit
from bot.engine.foresight import Foresight
from bot.redaction.redactor import Redactor
from bot.run.commands import Close
from bot.run.state import Run
from tests.engine.conftest import SECRET, Desk
from tests.engine.documents import ANA, plan, put, start


def foresight(bot: Desk) -> tuple[Foresight, asyncio.Queue[str]]:
    told: asyncio.Queue[str] = asyncio.Queue()
    seer = Foresight(bot.engine.registry, bot.engine.ports_of, Redactor([SECRET]), bot.engine.clock)

    async def then(run: Run) -> None:
        told.put_nowait(run.id)

    seer.then.append(then)
    return seer, told


async def test_before_anybody_has_started_it_what_each_step_would_do_is_known_and_nothing_is_written(bot: Desk) -> None:
    bot.world.docs["a"] = "old"
    run_id = await bot.open(plan(start(), put("a", after=["start"]), put("b", after=["a"])))
    run = await bot.until(run_id, lambda r: r.asked["start"].opened)
    seer, told = foresight(bot)
    assert seer.of(run) == {}, "nobody waits for it"
    async with asyncio.timeout(60):
        assert await told.get() == run_id
    found = seer.of(run)
    assert found["a"].edits == (Edit("a", "old", "new"),) and found["b"].edits
    assert bot.world.writes == [] and (await bot.store.load(run_id)).seq == run.seq
    await bot.approve(run_id, "start", ANA)
    done = await bot.step(run_id, "a", lambda s: s.end)
    assert done.end == "done"
    assert "a" not in seer.of(await bot.store.load(run_id)), "what the log says counts"
    await bot.step(run_id, "b", lambda s: s.end)
    await bot.say(run_id, ANA, Close())
    assert seer.of(await bot.until(run_id, lambda r: r.closed)) == {}
    await seer.close()


async def test_a_secret_is_never_foreseen_and_a_step_that_cannot_be_planned_spoils_no_other(bot: Desk) -> None:
    run_id = await bot.open(plan(start(), put("a", to=SECRET, after=["start"]), put("b", after=["start"])))
    run = await bot.until(run_id, lambda r: r.asked["start"].opened)
    seer, told = foresight(bot)
    seer.of(run)
    async with asyncio.timeout(60):
        await told.get()
    assert list(seer.of(run)) == ["b"]
    await seer.close()
