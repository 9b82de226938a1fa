"""Pacing in virtual time: against a model of Slack's limits, with up to twenty runs at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from bot.playground.workspace import Clock
from bot.playground.workspace.rates import CHANNEL, POST, TIER_3, Rates
from bot.playground.workspace.wire import SlackError
from bot.slack.publish.pacing import PENANCE, PER_MINUTE, POSTS_APART, UPDATES_APART, Ask, Pacer
from bot.slack.publish.publisher import CROWD, PROGRESS

TICK = 0.05


def update(message: str = "m", since: float = 0.0, **more: str) -> Ask:
    return Ask("chat.update", "live", since, message, UPDATES_APART)


def post(channel: str = "C1", since: float = 0.0) -> Ask:
    return Ask("chat.postMessage", "decision", since, channel, POSTS_APART)


def spend_all(pacer: Pacer, ask: Ask, now: float) -> int:
    """How many calls like this, each for another place, go out at once."""
    n = 0
    while pacer.wait(ask, now) <= 0 and n < 100:
        pacer.spend(Ask(ask.method, ask.urgency, ask.since), now)
        n += 1
    return n


def test_a_burst_of_eight_of_which_two_are_kept_for_decisions() -> None:
    pacer = Pacer()
    assert spend_all(pacer, Ask("chat.update", "live", 0), 0.0) == 6
    assert spend_all(pacer, Ask("chat.update", "decision", 0), 0.0) == 2
    assert pacer.wait(Ask("chat.update", "decision", 0), 0.0) == pytest.approx(60 / 45)
    assert spend_all(pacer, Ask("chat.update", "decision", 0), 60.0) == 8


def test_forty_five_a_minute_in_the_long_run() -> None:
    pacer, calls, now = Pacer(), 0, 0.0
    while now < 600:
        calls += spend_all(pacer, Ask("chat.update", "live", 0), now)
        now += 0.5
    assert calls == pytest.approx(6 + 45 * 10, abs=1)


def test_methods_do_not_share_a_bucket_so_decisions_never_wait_behind_progress() -> None:
    pacer = Pacer()
    spend_all(pacer, Ask("chat.update", "decision", 0), 0.0)
    assert pacer.wait(post(), 0.0) == 0


def test_pauses_between_updates_of_a_message_and_posts_in_a_channel() -> None:
    pacer = Pacer()
    for ask in (update("C1/1"), post("C1")):
        pacer.spend(ask, 100.0)
    assert pacer.wait(update("C1/1"), 100.0) == pytest.approx(1.2)
    assert pacer.wait(update("C1/2"), 100.0) == 0
    assert pacer.wait(post("C1"), 100.5) == pytest.approx(0.5)
    assert pacer.wait(post("C2"), 100.5) == 0


def test_the_most_urgent_goes_first_then_who_waited_longest() -> None:
    pacer = Pacer()
    old, new, urgent = update("a", 1.0), update("b", 2.0), Ask("chat.update", "decision", 9.0)
    assert pacer.first([new, old, urgent], 10.0) == (urgent, 0.0)
    assert pacer.first([new, old], 10.0) == (old, 0.0)
    assert pacer.first([], 10.0) == (None, float("inf"))
    pacer.spend(old, 10.0)
    chosen, wait = pacer.first([old], 10.4)
    assert chosen is None and wait == pytest.approx(0.8)


def test_after_a_429_the_method_rests_then_has_half_its_rate_for_five_minutes() -> None:
    pacer, ask = Pacer(), Ask("chat.update", "live", 0)
    spend_all(pacer, ask, 0.0)
    pacer.limited("chat.update", 30.0, 0.0)
    assert pacer.wait(ask, 10.0) >= 20.0
    assert pacer.wait(post(), 0.0) == 0, "only that method"

    def calls(start: float, seconds: float) -> int:
        return sum(spend_all(pacer, ask, start + s) for s in range(int(seconds)))

    calls(30.0, 60)
    assert calls(90.0, 120) == pytest.approx(45, abs=2)
    calls(210.0, 30 + PENANCE - 210)
    assert calls(30 + PENANCE, 120) == pytest.approx(90, abs=3)


@pytest.mark.parametrize("need", ["live", "decision"])
def test_the_wait_that_is_told_is_long_enough_and_no_longer(need: str) -> None:
    pacer, rng = Pacer(), random.Random(7)
    ask = Ask("chat.update", need, 0)  # type: ignore[arg-type]  # both are urgencies
    now = 0.0
    for i in range(400):
        wait = pacer.wait(ask, now)
        if wait > 0.01:
            assert pacer.wait(ask, now + wait - 0.01) > 0
        now += wait
        assert pacer.wait(ask, now) < 1e-6
        pacer.spend(ask, now)
        if i % 50 == 49:
            pacer.limited(ask.method, rng.randint(1, 30), now)


@dataclass
class Simulated:
    """N runs at work, for ten minutes: a card each that changes, and decisions to be posted."""

    runs: int
    channels: int
    refused: int = 0
    decisions: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)

    def go(self) -> None:
        """Plays it against Slack's limits."""
        rng, clock, pacer = random.Random(self.runs), Clock(0.0, frozen=True), Pacer()
        slack = Rates(clock)
        every = PROGRESS if self.runs <= CROWD else 12.0  # a step starts or ends
        change = {r: rng.uniform(0, every) for r in range(self.runs)}
        decide = {r: rng.uniform(0, 60) for r in range(self.runs)}
        wanted: dict[tuple[str, int], Ask] = {}
        for tick in range(int(600 / TICK)):
            now = tick * TICK
            clock.advance(TICK)
            for r in range(self.runs):
                if now >= change[r]:
                    change[r] = now + rng.uniform(0.5, 1.5) * every
                    wanted.setdefault(("card", r), update(f"m{r}", now))
                if now >= decide[r]:
                    decide[r] = now + rng.uniform(60, 180)
                    wanted.setdefault(("decision", r), post(f"C{r % self.channels}", now))
            while (ask := pacer.first(wanted.values(), now)[0]) is not None:
                key = next(k for k, a in wanted.items() if a is ask)
                del wanted[key]
                pacer.spend(ask, now)
                (self.decisions if key[0] == "decision" else self.updates).append(now - ask.since)
                limits = [(ask.method, POST), (ask.place, CHANNEL)] if key[0] == "decision" else [(ask.method, TIER_3)]
                try:
                    slack.spend(*limits)
                except SlackError:
                    self.refused += 1
                    pacer.limited(ask.method, 1, now)


def p95(of: list[float]) -> float:
    return sorted(of)[int(len(of) * 0.95)]


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("runs", [1, 3, 8, 9, 20])
def test_up_to_twenty_runs_meet_no_429_and_their_decisions_hardly_wait(runs: int, channels: int) -> None:
    simulated = Simulated(runs, channels)
    simulated.go()
    assert simulated.refused == 0
    assert len(simulated.decisions) >= 3 * runs
    assert p95(simulated.decisions) <= 1.0
    assert p95(simulated.updates) <= max(2.0, runs * 60 / PER_MINUTE), "each card has its turn"
