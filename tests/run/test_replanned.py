"""What was planned before an earlier step acted is planned again, and says why an approval no longer counts."""

from __future__ import annotations

from bot.plan.model import Choice, Plan
from bot.run import events as ev
from bot.run.commands import Approve
from tests.run.played import CHO, DAN, TWO, Play, act, gate, plan


def over_one_field(**second: object) -> Plan:
    """First one thing is set, then the same one again, each decided for itself."""
    return plan(
        act("first", {"field": "new"}, decision="first"),
        act("second", {"field": "old"}, ["first"], decision="second"),
        decisions=[gate("first"), gate("second", **second)],  # type: ignore[arg-type]
    )


def test_a_preview_that_found_nothing_to_do_is_looked_at_again_once_the_step_before_has_acted() -> None:
    play = Play(over_one_field(), world={"field": "old"})
    play.look()
    seen = play.step("second").change
    assert seen is not None and seen.is_noop
    play.approve("first", CHO)
    play.go_all()
    assert play.world == {"field": "new"}
    change = play.step("second").change
    assert change is not None and [(e.before, e.after) for e in change.edits] == [("new", "old")]
    play.approve("second", CHO)
    play.go_all()
    assert play.world == {"field": "old"} and not play.events_of("drifted"), "what the card showed is what was done"


def test_an_approval_of_what_an_earlier_step_has_overtaken_is_void_and_says_why_before_its_turn() -> None:
    play = Play(over_one_field(by=TWO), world={"field": "old"})
    play.look()
    play.approve("second", CHO)
    play.approve("first", CHO)
    play.go_all()
    asked = play.run.asked["second"]
    assert asked.opened is not None and asked.votes == () and asked.dropped is not None
    assert [g.by.id for g in asked.dropped.votes] == [CHO.id]
    assert asked.dropped.differences == ("field: now also new -> old",)
    assert not play.events_of("drifted"), "our own step is no other writer"


def test_an_approved_step_is_looked_at_again_before_its_turn_comes() -> None:
    third = act("third", {"field": "old"}, ["second"], decision="third")
    play = Play(
        plan(
            act("first", {"field": "new"}, decision="first"),
            act("second", {"other": "new"}, ["first"], decision="second"),
            third,
            decisions=[gate("first"), gate("second"), gate("third")],
        ),
        world={"field": "old"},
    )
    play.look()
    play.approve("third", CHO)
    assert play.run.asked["third"].decided is not None
    play.approve("first", CHO)
    play.go_all()
    assert play.step("second").open, "it is not third's turn yet"
    asked = play.run.asked["third"]
    assert asked.decided is None and asked.opened is not None and asked.dropped is not None
    assert asked.dropped.differences == ("field: now also new -> old",)


def test_what_was_seen_while_the_step_before_acted_is_looked_at_again_at_once() -> None:
    """What meets its targets is not shown at all."""
    for there, shown in (("old", True), ("other", False)):
        play = Play(over_one_field(), world={"field": there})
        play.go("first")
        before, _ = play.fresh(play.step("second"))
        play.do(CHO, Approve("first", play.run.card("first")))
        play.go("first")
        assert play.world == {"field": "new"}
        n = play.step("second").n
        assert play.write(ev.Planned("second", n, before, before.fingerprint("doc.set"))) is None
        step = play.step("second")
        assert step.attempt is not None and step.attempt.doing == "plan" and step.n == n + 1
        assert (step.change is not None, play.run.asked["second"].opened is not None) == (shown, shown)
        play.look()
        change = play.step("second").change
        assert change is not None and [(e.before, e.after) for e in change.edits] == [("new", "old")]


def test_a_way_that_no_longer_holds_gives_the_other_ways_back() -> None:
    play = Play(
        plan(
            act("first", {"field": "new"}, decision="first"),
            act("keep", {}, ["first"], decision="c.keep"),
            act("down", {"field": "old"}, ["first"], decision="c.down"),
            act("last", {"end": "new"}, ["keep", "down"]),
            decisions=[
                gate("first"),
                gate("c.keep", "keep", choice="c", option="keep"),
                gate("c.down", "down", choice="c", option="down"),
            ],
            choices=[Choice("c", "C", ("keep", "down"))],
        ),
        world={"field": "old"},
    )
    play.look()
    play.approve("c.down", CHO)
    assert play.step("keep").end == "not needed"
    play.approve("first", CHO)
    play.look()
    play.go("first")
    play.go("down")
    play.look()
    ways = [play.run.asked[n] for n in ("c.keep", "c.down")]
    assert all(a.opened is not None for a in ways), "nothing of the way that was taken had been done"
    play.approve("c.keep", DAN)
    play.go_all()
    assert play.world == {"field": "new", "end": "new"} and play.step("down").end == "not needed"
