"""Random worlds and random decisions: a run is verified only if every workload that should run the target runs it.

Two clusters or three with a few workloads each; some are away at random moments, somebody else writes third values,
deletes workloads or puts the old release back, people leave parts out, skip, accept, undo and go on. Judged by the
world, never by the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bot.plan.model import Plan
from bot.policy import Refusal
from bot.run import commands as c
from bot.run import events as ev
from bot.run.decide import finished
from tests.run import played as h
from tests.run.played import ANA, CHO, NAMED, Play
from tests.run.stories import voters

OLD, NEW = "2.4.1", "2.4.0"


@dataclass(frozen=True)
class Clusters:
    """A world by its seed: cluster -> workloads."""

    seed: int

    @property
    def targets(self) -> list[str]:
        r = Random(self.seed)
        clusters = r.sample(("eu", "us", "ap"), r.choice((2, 3)))
        return [f"{k}/{w}" for k in clusters for w in r.sample(("api", "worker", "cron"), r.choice((1, 2, 3)))]

    @property
    def clusters(self) -> list[str]:
        return list(dict.fromkeys(t.split("/")[0] for t in self.targets))

    def plan(self) -> Plan:
        """Workers paused, all of it deployed, workers back, looked at everywhere, the old release banned."""
        pause = h.act("pause", {f"{k}/pause": "on" for k in self.clusters}, temporary=True)
        deploy = h.act("deploy", dict.fromkeys(self.targets, NEW), ["pause"], decision="go")
        steps = (pause, deploy, h.undo("resume", pause, ["deploy"]), h.check("runs", ["resume"], phase="verify"),
                 h.act("ban", {f"{k}/ban": OLD for k in self.clusters}, ["runs"]))  # fmt: skip
        return h.plan(*steps, decisions=[h.gate("go", "deploy")])


def story(world: Clusters, r: Random, moves: int) -> Play:
    """One run in such a world; the check fails where it would see that something is wrong."""
    play = Play(world.plan())
    play.world |= dict.fromkeys(world.targets, OLD)
    for _ in range(moves):
        if not play.run.open:
            break
        if r.random() < 0.25:
            disturb(play, world, r)
        elif play.run.in_flight:
            go(play, world, r)
        elif not decide(play, r):
            play.wait(max((play.due or play.now) - play.now, 1.0))
    return play


def disturb(play: Play, world: Clusters, r: Random) -> None:
    """What others do."""
    match r.randrange(5):
        case 0:
            play.away ^= {r.choice(world.clusters)}
        case 1 if play.run.restored is None:  # what is changed when it was seen to be well is watched by others
            play.world[r.choice(world.targets)] = r.choice(("2.4.1", "2.3.9", "tag:stable"))
        case 2 if play.run.restored is None:
            play.world[r.choice(world.targets)] = None
        case 3:
            answering = sorted(p for p in play.run.left_out if p not in play.away)
            if answering and play.run.open and not play.run.aborted:
                assert play.write(ev.PartBack(r.choice(answering))) is None
        case _:
            play.say(ANA, c.Without(r.choice(world.clusters), "it is away"))


def go(play: Play, world: Clusters, r: Random) -> None:
    """Something at work goes on. Its end is looked at before it counts, as the engine does (bot/engine/attempt.py)."""
    s = r.choice(play.run.in_flight)
    if s.spec.kind == "check":
        seen = [t for t in world.targets if not any(t.startswith(f"{p}/") for p in play.run.left_out)]
        away = any(t.split("/")[0] in play.away for t in seen)
        well = all(play.world.get(t) == NEW for t in seen)
        play.go(s.spec.id, "unclear" if away else "well" if well else "bad")
    else:
        play.go(s.spec.id, r.choice(("well", "well", "well", "begin", "write", "wait", "flaky", "lost", "odd")))


def decide(play: Play, r: Random) -> bool:
    """What people say, clever or not."""
    run = play.run
    for p in run.proposals.values():
        by = next(voters(p.gate, p.ballots, run), None)
        if by is not None and r.random() < 0.7:
            return not isinstance(play.say(by, c.Agree(p.id)), Refusal)
    for name, a in run.asked.items():
        if a.opened is not None:
            return not isinstance(play.say(CHO, c.Approve(name, run.card(name))), Refusal)
    for s in run.halted:
        ways: list[c.Command] = [c.Retry(s.spec.id)] * 4
        ways += [c.Skip(s.spec.id, "go on"), c.Accept(s.spec.id, "known"), c.Adopt(s.spec.id, "did it by hand")]
        ways += [c.Without(p, "it is away") for p in (s.halt.parts if s.halt else ())] * 3
        return not isinstance(play.say(ANA if r.random() < 0.7 else CHO, r.choice(ways)), Refusal)
    if run.stopped:
        return not isinstance(play.say(ANA, c.Resume()), Refusal)
    if run.owed_parts and r.random() < 0.5:
        part = r.choice(run.owed_parts).name
        return not isinstance(
            play.say(ANA, r.choice((c.Back(part), c.HandOver(part, "cho", play.now + 60, "later")))), Refusal
        )
    if finished(run) and r.random() < 0.5:
        return not isinstance(play.say(NAMED[run.commander.id if run.commander else "ana"], c.Close("done")), Refusal)
    return False


def wrong(world: Clusters, play: Play) -> list[str]:
    """What of the world is not as a verified run says. What people have left out knowingly is not said."""
    left_out = {i for i, s in play.run.steps.items() if s.end in ("skipped", "accepted")}
    found = [f"{t} runs {play.world.get(t)}" for t in world.targets if play.world.get(t) != NEW]
    if not left_out:
        found += [f"{k} is paused" for k in world.clusters if play.world.get(f"{k}/pause") == "on"]
        found += [f"{k} has no ban" for k in world.clusters if play.world.get(f"{k}/ban") != OLD]
    return found


@given(st.integers(0, 2**24), st.integers(0, 2**32), st.sampled_from((20, 60, 120)))
def test_a_run_is_verified_only_if_every_workload_runs_the_target_everywhere(seed: int, luck: int, moves: int) -> None:
    world = Clusters(seed)
    play = story(world, Random(luck), moves)
    if play.run.closed is not None and play.run.closed.outcome == "verified":
        assert wrong(world, play) == []


def test_such_runs_are_verified_now_and_then_with_a_part_that_was_away_in_between() -> None:
    ended = [story(Clusters(i), Random(i), 140) for i in range(60)]
    verified = [p for p in ended if p.run.closed is not None and p.run.closed.outcome == "verified"]
    assert len(verified) > 5
    assert any(p.events_of("went without") and p.events_of("part back") for p in verified)
