"""Places that are away, on a real engine: told by name, left out by a decision, and looked for until they are back."""

from __future__ import annotations

import pytest

from bot.engine import reconciler
from bot.ports import Unreachable
from bot.run.commands import Agree, Without
from tests.engine.conftest import Desk
from tests.engine.documents import ANA, BEN, gate, plan, put

AWAY = {"us-1": "no answer within 5 s"}


async def test_a_step_says_which_places_are_away_whether_it_was_looking_or_acting(bot: Desk) -> None:
    bot.world.docs["eu"] = "old"
    bot.world.fail["get eu"] = [Unreachable.of(AWAY) for _ in range(2)]
    run = await bot.open(plan(put("looks", "eu", failures=1)))
    step = await bot.step(run, "looks", lambda s: s.halt is not None)
    assert step.halt is not None and step.halt.parts == AWAY and step.halt.cause == "retryable"
    bot.world.fail["acts"] = [Unreachable.of(AWAY)]
    run = await bot.open(plan(put("acts")), service="other")
    step = await bot.step(run, "acts", lambda s: s.halt is not None)
    assert step.halt is not None and step.halt.parts == AWAY and "us-1" in step.halt.error


async def test_what_a_run_goes_on_without_is_looked_for_and_told_when_it_is_back(
    bot: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = {"us-1": "no answer", "eu-1": ""}
    asked: list[str] = []

    async def ping(run: object) -> dict[str, str]:
        asked.append(str(run))
        return dict(faults)

    bot.engine.ping = ping
    monkeypatch.setattr(reconciler, "LOOK_FOR", 0.05)
    run = await bot.open(plan(put("one", decision="one"), decisions=[gate("one", "one")]))
    assert asked == [], "nothing is asked while nothing is left out"
    await bot.say(run, ANA, Without("us-1", "its provider is down"))
    proposal = next(iter((await bot.until(run, lambda r: r.proposals)).proposals))
    await bot.say(run, BEN, Agree(proposal))
    assert (await bot.until(run, lambda r: len(asked) > 2)).left_out == {"us-1"}
    faults["us-1"] = ""
    assert not (await bot.until(run, lambda r: not r.left_out)).owed_parts, "nothing was done without it"
    assert (await bot.kinds(run)).count("part back") == 1
