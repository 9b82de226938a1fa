"""Whether a node takes part in a run, by what its catalogue says of the places, and what other nodes do."""

from __future__ import annotations

import asyncio

import pytest

from bot.engine.attempt_id import AttemptId
from bot.engine.ground import Ground
from bot.run import events as ev
from bot.run.state import Run
from bot.run.where import otherwise
from tests.engine.conftest import Desk
from tests.engine.documents import plan, put
from tests.run.played import CHO, Play
from tests.run.test_where import LINE, MOVED, PINNED, begun

WRONG = otherwise(PINNED, MOVED)


def acted() -> Play:
    """A run of which something stands at the place that is another one by now."""
    play = begun()
    play.approve("switch", CHO)
    play.go("switch")
    return play


def test_a_node_that_stands_by_the_places_takes_part() -> None:
    assert Ground().why_not(begun().run) == "" and Ground().moves(begun().run) is None


def test_a_node_whose_catalogue_says_otherwise_takes_no_part_while_another_one_stands_by_the_places() -> None:
    for run in (begun().run, acted().run):
        ground = Ground(WRONG, able=True, alone=False, places=MOVED)
        assert ground.why_not(run) == LINE and ground.moves(run) is None


def test_where_no_node_stands_by_them_it_is_drift() -> None:
    run = begun().run
    ground = Ground(WRONG, able=True, alone=True, places=MOVED)
    moves = ground.moves(run)
    assert moves is not None and moves.places == MOVED and moves.differences == (LINE,)
    assert ground.why_not(run) == LINE, "nothing begins before people were asked"


def test_what_has_begun_goes_on_where_it_began_as_long_as_the_way_there_is_known() -> None:
    run = acted().run
    knows = Ground(WRONG, able=True, alone=True, places=MOVED)
    assert knows.moves(run) is None and knows.why_not(run) == ""
    restarted = Ground(WRONG, able=False, alone=True, places=MOVED)
    assert restarted.moves(run) is None and restarted.why_not(run) == LINE


def test_a_node_without_the_service_takes_no_part_and_makes_nothing_of_it() -> None:
    lacks = Ground(("the catalogue has no service shop",), able=True, alone=True, places=None)
    assert lacks.moves(begun().run) is None and lacks.why_not(begun().run) == "the catalogue has no service shop"
    assert lacks.why_not(acted().run) == "", "what stands is still given back by a process that knows the way"


class Elsewhere:
    """How a node stands to every run, set by a test."""

    now = Ground()

    async def ground(self, run: Run) -> Ground:
        """As set."""
        return self.now


async def test_a_node_that_may_not_begins_nothing_says_so_once_and_goes_on_when_it_may(
    bot: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    bot.engine.grounds = here = Elsewhere()
    here.now = Ground(WRONG)
    run_id = await bot.open(plan(put("one", "a")))
    for _ in range(3):
        await bot.engine.reconcile(run_id)
    assert await bot.kinds(run_id) == ["created"] and bot.world.docs == {}
    assert bot.engine.elsewhere == {run_id: LINE}
    assert caplog.text.count(f"Run {run_id} takes no part here: {LINE}") == 1
    here.now = Ground()
    await bot.step(run_id, "one", lambda s: s.end == "done", 60)
    assert bot.world.docs == {"a": "new"} and not bot.engine.elsewhere
    assert caplog.text.count("takes part here again") == 1


async def test_an_attempt_that_a_wrong_node_was_handed_is_given_back_at_once(bot: Desk) -> None:
    bot.engine.grounds = here = Elsewhere()
    bot.world.hold["a"] = asyncio.Event()
    run_id = await bot.open(plan(put("one", "a")))
    run = await bot.until(run_id, lambda r: bot.world.entered["a"])
    here.now = Ground(WRONG)
    n = run.steps["one"].n
    await bot.engine.run_pass(AttemptId(run_id, "one", 1, n))
    lost = [ev.decode(e.kind, e.body) for e in await bot.store.events(run_id) if e.kind == "lost"]
    assert lost == [ev.Lost("one", n, f"on {bot.engine.node}, {LINE}")]
    here.now = Ground()
    bot.world.hold["a"].set()
    one = await bot.step(run_id, "one", lambda s: s.end == "done", 60)
    assert one.n > n and bot.world.docs == {"a": "new"}
