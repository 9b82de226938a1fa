"""Clocks that are wrong: one that was ahead strands nothing, one that jumps ahead ends nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bot.plan.model import StepSpec
from bot.run import events as ev
from bot.run.deadlines import deadline
from bot.run.decide import decide
from bot.run.fold import evolve
from bot.run.moments import AHEAD, set_right
from bot.run.state import Jump
from bot.steady.clock import LEAST, Steady
from tests.run.played import CHO, T0, Outcome, Play, act, ask, check, gate, plan, watch

HOUR, YEAR = 3600.0, 365 * 86400.0


def play(*steps: StepSpec, now: float) -> Play:
    """Written while the clock showed `now`."""
    return Play(plan(*steps), now=now)


@pytest.mark.parametrize("ahead", [HOUR, YEAR])
@pytest.mark.parametrize("outcome", ["wait", "flaky"])
def test_a_wait_that_was_written_ahead_comes_as_soon_as_it_was_to_come(ahead: float, outcome: Outcome) -> None:
    wrong = play(act("one"), now=T0 + ahead)
    wrong.go("one", outcome)
    wait = wrong.step("one").wake - wrong.now
    assert 0 < wait < 600 and decide(wrong.run, T0).due == T0, "as soon as anybody looks"
    wrong.wait(-ahead)
    assert wrong.step("one").wake == T0 + wait == decide(wrong.run, T0).due
    wrong.wait(wait)
    assert wrong.step("one").attempt is not None
    assert [e.by for e in wrong.events(ev.ClockJumped)] == [-ahead], "it is said once"


def test_a_step_that_began_ahead_has_its_time_from_now_on_and_not_more() -> None:
    wrong = play(act("one", timeout=600.0), now=T0 + YEAR)
    wrong.go("one", "begin")
    wrong.wait(-YEAR)
    assert deadline(wrong.step("one")) == T0 + 600 and wrong.run.at == T0
    wrong.wait(601)
    assert "one" in decide(wrong.run, wrong.now).stop


def test_a_watch_that_began_ahead_ends() -> None:
    watched = check("one", passes=1, every=30.0)
    wrong = play(watched, watch("watch", ["one"], 900.0, ["one"], every=300.0, passes=2), now=T0 + YEAR)
    wrong.go_all()
    wrong.wait(-YEAR)
    for _ in range(5):
        wrong.wait(300)
        wrong.go_all()
    assert wrong.step("watch").end == "done"


def test_people_are_reminded_by_the_clock_that_is_right() -> None:
    wrong = Play(plan(ask("start"), decisions=[gate("start")]), now=T0 + YEAR)
    spec = wrong.run.asked["start"].spec.gate
    assert spec is not None and wrong.run.asked["start"].opened == T0 + YEAR
    wrong.wait(-YEAR)
    wrong.wait(spec.remind)
    assert wrong.run.asked["start"].reminded == wrong.now


def test_clocks_that_differ_by_seconds_change_nothing() -> None:
    right = play(act("one"), now=T0 + AHEAD)
    assert set_right(right.run, T0) is right.run


def test_setting_right_twice_is_setting_right_once() -> None:
    wrong = play(act("one"), check("two", ["one"]), now=T0 + YEAR)
    wrong.go("one", "wait")
    once = set_right(wrong.run, T0)
    assert set_right(once, T0) == once


def test_a_jump_ahead_ends_no_step_no_watch_and_no_yes() -> None:
    steps = act("one", timeout=600.0), act("two", decision="go")
    right = Play(plan(*steps, decisions=[gate("go", "two")]))
    right.look()
    right.go("one", "begin")
    right.approve("go", CHO)
    right.go("two", "begin")
    assert right.write(ev.ClockJumped(HOUR * 5)) is None
    after = decide(right.run, right.now + 5 * HOUR)
    assert (after.record, after.stop) == ((), ())
    assert deadline(right.run.steps["one"]) == T0 + 5 * HOUR + 600
    late = decide(right.run, right.now + 5 * HOUR + 601)
    assert "one" in late.stop, "its own time still ends it"


def test_a_jump_is_held_back_until_the_runs_were_told_and_what_is_old_stays_as_old() -> None:
    wall, passed = 1000.0, 0.0
    clock = Steady(lambda: wall, lambda: passed)
    wall, passed = wall + 7, passed + 7
    assert clock() == 1007.0 and clock.held == 0
    wall, passed = wall + HOUR + 1, passed + 1
    assert clock() == 1008.0 and clock.held == HOUR
    clock.show(clock.held)
    assert clock() == 1008.0 + HOUR and clock.old() == 1008.0
    wall -= HOUR
    assert clock() == 1008.0, "back is believed at once"
    wall += LEAST / 2
    assert clock() == 1008.0 + LEAST / 2 and clock.held == 0, "small steps pass"


def test_a_jump_that_is_taken_back_before_it_was_shown_never_was() -> None:
    wall = 1000.0
    clock = Steady(lambda: wall, lambda: 0.0)
    wall += HOUR
    assert clock() == 1000.0
    wall -= HOUR
    assert clock() == 1000.0 and clock.held == 0


def test_a_run_that_is_right_again_says_so_in_its_record() -> None:
    told = evolve(play(act("one"), now=T0).run, ev.ClockJumped(HOUR, "n"), T0 + 1)
    assert told.jumped == Jump(T0 + 1, HOUR, "n") and replace(told, jumped=None).steps == told.steps
    back = evolve(replace(told, at=T0 + HOUR), ev.ClockJumped(1 - HOUR, "n"), T0 + 1)
    assert back.jumped is None, "whatever comes after that is another jump"


@dataclass
class Hosts:
    """A node's clock and the one of its database, in seconds; while the latter answers it takes `slow`."""

    wall: float = 1000.0
    common: float = 1000.0
    passed: float = 0.0
    slow: float = 0.0

    async def asked(self) -> float:
        self.passed, self.wall, self.common = self.passed + self.slow, self.wall + self.slow, self.common + self.slow
        return self.common

    def clock(self) -> Steady:
        return Steady(lambda: self.wall, lambda: self.passed, self.asked)


async def test_a_node_that_starts_with_a_wrong_clock_goes_by_the_databases() -> None:
    for wrong in (HOUR, -HOUR):
        hosts = Hosts(wall=1000.0 + wrong)
        clock = hosts.clock()
        await clock.refer()
        assert (clock(), clock.held) == (1000.0, 0) and f"{HOUR:.0f} s" in clock.fault
        hosts.wall -= wrong
        assert clock() == 1000.0, "set right: it does not show before the database was asked"
        await clock.refer()
        assert (clock(), clock.held, clock.ahead, clock.fault) == (1000.0, 0, 0, "")


async def test_a_jump_of_one_machine_alone_is_nobodys_time_and_one_of_all_is_held_until_it_was_told() -> None:
    for by in (HOUR, -HOUR):
        hosts = Hosts()
        clock = hosts.clock()
        await clock.refer()
        hosts.wall += by
        assert clock() == 1000.0
        await clock.refer()
        assert (clock(), clock.held, clock.ahead) == (1000.0, 0, by)
    hosts = Hosts()
    clock = hosts.clock()
    await clock.refer()
    hosts.wall = hosts.common = 1000.0 + HOUR
    await clock.refer()
    assert (clock(), clock.held, clock.fault) == (1000.0, HOUR, "")
    clock.show(HOUR)
    hosts.wall = hosts.common = 1000.0
    await clock.refer()
    assert (clock(), clock.held) == (1000.0, 0), "where all go back there is nothing to wait for"


async def test_a_database_that_answers_late_or_not_at_all_proves_nothing_about_a_clock() -> None:
    hosts = Hosts(wall=1000.0 + HOUR, slow=60.0)
    clock = hosts.clock()
    await clock.refer()
    assert clock() == hosts.wall
    hosts.slow = 0.0
    await clock.refer()
    assert clock() == hosts.common

    async def away() -> float:
        raise ConnectionError

    clock = Steady(lambda: hosts.wall, lambda: hosts.passed, away)
    hosts.wall += HOUR
    with pytest.raises(ConnectionError):
        await clock.refer()
    assert clock.held == HOUR, "a jump that nobody knows the reason of is held on"
