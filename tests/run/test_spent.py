"""Where the time until the service was back went: work, waiting for people, standing still. The parts add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.run.commands import Abort, Resume, Retry, Stop
from bot.telling.view import status, took
from tests.run.played import ANA, CHO, COMMANDER, Play, act, ask, check, gate, plan, watch
from tests.run.stories import Story, moves, stories


def rollback() -> Play:
    """The commander starts it, one approver decides, two steps side by side, a check, then a watch."""
    return Play(
        plan(
            ask("start"),
            act("one", after=["start"], decision="g"),
            act("two", after=["start"], decision="g"),
            check("health", ["one", "two"], phase="verify", within=600.0, every=30.0),
            watch("watch", ["health"], 900.0, every=900.0),
            decisions=[gate("start", by=COMMANDER), gate("g", "one", "two")],
        )
    )


def test_the_storyboard_ends_as_it_is_written() -> None:
    play = rollback()
    play.look()
    play.wait(15)
    play.approve("start", ANA)
    play.wait(300)
    play.approve("g", CHO)
    play.wait(60)
    play.go("one")
    play.wait(240)  # side by side counts once
    play.go("two")
    play.wait(5)
    play.go("health", "bad")
    play.wait(30)  # nothing runs, but it is looked at again
    play.wait(30)
    assert took(play.run, play.now) == "11 min 20 s (6 min 5 s work, 5 min 15 s waiting for decisions)"
    play.go("health")
    assert play.run.restored == play.now
    assert status(play.run, play.now + 60).startswith("back after 11 min 20 s (6 min 5 s work, 5 min 15 s waiting for ")
    play.go("watch")
    play.wait(900)
    play.go("watch")
    back = "back after 11 min 20 s (6 min 5 s work, 5 min 15 s waiting for decisions)"
    assert status(play.run, play.now + 9999) == f"verified after 26 min 20 s: {back}, then watched for 15 min"


def test_what_stands_still_is_neither_work_nor_waiting() -> None:
    play = rollback()
    play.approve("start", ANA)
    play.approve("g", CHO)
    play.wait(10)
    play.go("one", "broken")
    play.go("two")
    play.wait(20)  # halted: people must say how to go on
    play.do(ANA, Retry("one"))
    play.do(ANA, Stop())
    play.go("one", "cancelled")
    play.wait(30)
    play.do(ANA, Resume())
    play.wait(5)
    assert took(play.run, play.now) == "1 min 5 s (15 s work, 50 s stopped)"
    play.do(ANA, Abort("it is not the release"))
    play.go("one", "cancelled")
    play.go_all()  # what was given up half-way is looked at once more
    assert status(play.run, play.now + 9999) == "aborted after 1 min 5 s (15 s work, 50 s stopped); stays changed: Two"


def test_one_kind_of_time_needs_no_parts() -> None:
    play = rollback()
    play.wait(90)
    assert took(play.run, play.now) == "1 min 30 s"


@given(stories(), st.floats(0, 1000))
def test_every_second_is_counted_at_most_once(story: Story, later: float) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers):
        pass
    run = play.run
    spent = run.spent_until(run.at + later)
    assert spent.work >= 0 and spent.waiting >= 0
    assert spent.work + spent.waiting <= run.at + later - run.created_at + 1e-6
    if run.closed is not None:
        assert spent == run.spent
