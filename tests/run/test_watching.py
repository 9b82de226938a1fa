"""Being back has to stay true: what goes wrong while it is watched, and what was fine before and is not fine now."""

from __future__ import annotations

from bot.catalogue import Release
from bot.plan.model import REF
from bot.run.commands import Accept, Agree, Retarget, Retry
from bot.run.possible import Possible, possible
from bot.run.state import Step
from tests.run.played import ANA, CHO, Play, act, check, plan, watch

CHECKS = tuple(f"v{n}" for n in range(1, 9))
MINUTES = 60.0
SOUND = Release("2.3.9", images={"api": f"registry.example/api@sha256:{'3' * 64}"})


def restored() -> Play:
    """A release that was brought back and verified by eight checks, from here on watched for 15 minutes."""
    checks = [check(v, ["deploy"], phase="verify") for v in CHECKS]
    play = Play(plan(act("deploy"), *checks, watch("watch", CHECKS, lasting=15 * MINUTES, passes=20, every=30)))
    play.go("deploy")
    for v in CHECKS:
        play.go(v)
    assert play.run.restored is not None
    return play


def watched(play: Play, seconds: float) -> None:
    """Time passes, and all is well."""
    until = play.now + seconds
    while play.now < until:
        play.go("watch")
        play.wait(30)


def ways_out(play: Play, step: Step) -> set[str]:
    """What can be asked of a step that stopped, or of its run."""
    return {p.do for p in possible(play.run) if p in (Possible(p.do, step.spec.id), Possible(p.do))}


def test_what_goes_wrong_four_minutes_into_the_watch_keeps_the_run_from_verified() -> None:
    play = restored()
    watched(play, 4 * MINUTES)
    assert play.step("watch").open and play.step("watch").halt is None
    play.go("watch", "bad")
    play.wait(30)
    assert play.step("watch").halt is None, "once is looked at again"
    play.go("watch", "bad")
    assert play.halt("watch").cause == "check" and play.run.open
    play.wait(30 * MINUTES)
    assert play.run.open, "no time makes it verified"
    assert ways_out(play, play.step("watch")) >= {"retry", "accept", "skip", "retarget", "abort"}


def test_a_watch_that_is_tried_again_after_a_cure_has_to_last_anew() -> None:
    play = restored()
    watched(play, 4 * MINUTES)
    for _ in range(2):
        play.go("watch", "bad")
        play.wait(30)
    play.do(CHO, Retry("watch"))
    watched(play, 14 * MINUTES)
    assert play.step("watch").open, "the 15 minutes begin anew"
    watched(play, 2 * MINUTES)
    assert play.run.closed is not None and play.run.closed.outcome == "verified"


def test_what_is_accepted_in_the_watch_is_so_with_a_reason_and_by_whom_the_record_says() -> None:
    play = restored()
    watched(play, 4 * MINUTES)
    for _ in range(2):
        play.go("watch", "bad")
        play.wait(30)
    proposed = play.do(ANA, Accept("watch", "the partner is down, not we"))
    assert "Still needed: an approver" in proposed
    play.do(CHO, Agree(next(iter(play.run.proposals))))
    s = play.step("watch")
    assert (s.end, s.why, s.by and s.by.name) == ("accepted", "the partner is down, not we", "ana")


def test_a_release_that_was_fine_before_and_is_not_fine_now_gives_way_to_another() -> None:
    checks = [check(v, ["deploy"], phase="verify") for v in CHECKS]
    deploy = act("deploy", {"release": {REF: "target.version"}})
    play = Play(plan(deploy, *checks, watch("watch", CHECKS, lasting=15 * MINUTES, passes=20, every=30)))
    play.go("deploy")
    for v in CHECKS:
        play.go(v, "bad" if v == "v2" else "well")
    assert play.halt("v2").cause == "check" and play.run.restored is None
    assert ways_out(play, play.step("v2")) >= {"retry", "accept", "retarget", "abort"}
    play.do(ANA, Retarget(SOUND, "2.4.0 fails as well"))
    play.do(CHO, Agree(next(iter(play.run.proposals))))
    assert play.run.target == SOUND and [r.version for r, _ in play.run.tried] == ["2.4.0"]
    play.go_all()
    assert play.run.restored is not None and all(play.step(v).end == "done" for v in CHECKS)
    watched(play, 16 * MINUTES)
    assert play.run.closed is not None and play.run.closed.outcome == "verified"
