"""A fix is let through while a freeze stands: the freeze is widened at once, and its undo still ends where it began."""

from __future__ import annotations

from bot.catalogue import Release
from bot.plan.model import REF
from bot.policy import Actor
from bot.ports.kubernetes import digest
from bot.run import events as ev
from bot.run.commands import Abort, Admit, Agree
from bot.run.fold import evolve
from bot.run.state import new_run
from tests.run.played import ANA, CHO, Play, act, ask, check, gate, plan, undo

DIGEST = "sha256:" + "2" * 64
FIX = Release("2.4.2", images={"api": f"registry.example/api@{DIGEST}"})


def frozen(*, up_to: str = "freeze") -> Play:
    """A run whose freeze stands."""
    freeze = act("freeze", {"guard": {REF: "run.admitted"}}, temporary=True)
    play = Play(
        plan(
            freeze, act("deploy", {"shop": {REF: "target.version"}}, after=["freeze"]), ask("thaw", after=["deploy"]),
            undo("lift", freeze, after=["thaw"]), check("verify", after=["lift"], phase="verify"),
            decisions=[gate("thaw")],
        ),
    )  # fmt: skip
    play.look()
    if up_to != "nothing":
        play.go("freeze")
    return play


def admit(play: Play, release: Release = FIX) -> None:
    play.do(ANA, Admit(release, "has the fix"))
    play.do(CHO, Agree(play.proposal))


def test_the_freeze_is_widened_at_once_and_the_work_beside_it_goes_on() -> None:
    play = frozen()
    assert play.world["guard"] == [] and play.step("deploy").attempt is not None
    admit(play)
    assert play.step("freeze").attempt is not None and play.step("deploy").attempt is not None
    play.go("freeze")
    assert play.world["guard"] == [DIGEST] and play.step("freeze").end == "done"


def test_its_undo_leads_to_what_was_there_before_the_run() -> None:
    play = frozen()
    play.go("deploy")
    admit(play)
    play.go("freeze")
    made = play.step("freeze").made
    assert made is not None and [(e.before, e.after) for e in made.edits] == [(None, [DIGEST])]
    play.approve("thaw", CHO)
    play.go_all()
    assert play.world["guard"] is None and not play.run.debts
    assert play.run.closed is not None and play.run.closed.outcome == "verified"


def test_nothing_is_lifted_before_the_freeze_has_been_widened() -> None:
    play = frozen()
    play.go("deploy")
    admit(play)
    play.approve("thaw", CHO)
    assert [s.spec.id for s in play.run.in_flight] == ["freeze"]
    play.go_all()
    assert play.world["guard"] is None


def test_a_freeze_that_is_being_lifted_is_not_put_up_again() -> None:
    play = frozen()
    play.go("deploy")
    play.approve("thaw", CHO)
    play.go("lift", "begin")
    admit(play)
    assert play.step("freeze").end == "done" and play.step("freeze").attempt is None
    play.go_all()
    assert play.world["guard"] is None and not play.run.debts


def test_a_freeze_in_the_middle_of_its_work_comes_to_rest_first() -> None:
    play = frozen(up_to="nothing")
    play.go("freeze", "begin")
    admit(play)
    assert play.step("freeze").reset
    play.go("freeze")
    play.go("freeze")
    assert play.world["guard"] == [DIGEST]


def test_an_aborted_run_widens_nothing() -> None:
    play = frozen()
    play.do(ANA, Abort("fire"))
    assert "being aborted" in play.refusal(ANA, Admit(FIX, "has the fix"))


def test_what_stays_out_is_what_was_removed_or_tried_and_not_what_the_target_has_as_well() -> None:
    shared, bad, tried = (f"registry.example/x@sha256:{c * 64}" for c in "abc")
    removed = Release("2.4.1", images={"api": bad, "proxy": shared})
    first, second = Release("2.4.0", images={"api": tried}), Release("2.3.9", images={"proxy": shared})
    created = ev.Created("shop", plan(act("one")), "", removed, first, "checkout fails", Actor("ana", "ana"))
    run = evolve(new_run("r1"), created, 1.0)
    assert run.value("run.banned") == {"2.4.1": [digest(shared), digest(bad)]}
    run = evolve(run, ev.Retargeted(second, "bad too", Actor("ana", "ana")), 2.0)
    assert run.value("run.banned") == {"2.4.1": [digest(bad)], "2.4.0": [digest(tried)]}
