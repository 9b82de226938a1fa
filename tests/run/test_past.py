"""What waited for people is kept with how it ended."""

from __future__ import annotations

from bot.catalogue import Release
from bot.run import commands as c
from tests.run import played as h
from tests.run.played import ANA, BEN, CHO, DAN, KIM, Play, act, check, gate, plan, undo


def test_a_halt_is_kept_with_who_resolved_it_and_how() -> None:
    play = Play(plan(act("one")))
    play.go("one", "broken")
    (open_,) = play.run.halts
    assert open_.over is None and open_.halt is play.halt("one")
    play.wait(5)
    play.do(ANA, c.Retry("one"))
    (over,) = play.run.halts
    assert over.over is not None and over.over.by is not None
    assert (over.over.kind, over.over.by.id, over.over.at) == ("retried", "ana", play.now)
    play.go("one", "broken")
    assert [x.over is None for x in play.run.halts] == [False, True]


def test_a_proposal_is_kept_with_whether_it_was_done() -> None:
    play = Play(plan(check("pre"), act("one", after=["pre"])))
    play.go("pre", "bad")
    play.do(ANA, c.Accept("pre", "good enough"))
    play.do(ANA, c.Skip("one", "not needed"))
    play.do(CHO, c.Agree(next(iter(play.run.proposals))))
    (accepted,) = play.run.past
    assert accepted.done and accepted.proposal.what == "accept" and [a.id for a in accepted.proposal.votes] == ["cho"]


def test_another_release_voids_what_else_was_proposed() -> None:
    play = Play(plan(check("pre"), act("one", after=["pre"])))
    play.do(ANA, c.Retarget(Release("2.3.9"), "bad too"))
    play.do(ANA, c.Retarget(Release("2.3.8"), "or this"))
    play.do(CHO, c.Agree(list(play.run.proposals)[1]))
    assert [(p.proposal.release, p.done) for p in play.run.past] == [
        (Release("2.3.9"), False),
        (Release("2.3.8"), True),
    ]


def test_dropped_approvals_are_kept_with_what_differs_until_it_is_decided_again() -> None:
    play = Play(plan(check("pre"), act("one", {"a": "new"}, ["pre"], decision="one"), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    assert play.run.asked["one"].waited == 0.0
    play.world["a"] = "theirs"
    play.go("pre")
    play.go("one")
    dropped = play.run.asked["one"].dropped
    assert dropped is not None and [v.by.id for v in dropped.votes] == ["cho"]
    assert dropped.differences == ("a: is theirs now, was absent when approved",)
    play.wait(7)
    play.approve("one", DAN)
    assert play.run.asked["one"].dropped is None and play.run.asked["one"].waited == 7.0


def test_who_offered_command_and_who_took_it_is_kept() -> None:
    play = Play(plan(act("one")))
    play.do(ANA, c.Offer("kim"))
    assert [(s.to, s.taken) for s in play.run.successions] == [("kim", None)]
    play.do(KIM, c.Take())
    (taken,) = play.run.successions
    assert taken.by is not None and taken.by.id == "ana" and taken.taken is not None and taken.taken.by.id == "kim"
    play.wait(301)
    play.do(ANA, c.Take())
    assert [s.to for s in play.run.successions] == ["kim", "ana"]


def test_what_is_given_back_because_the_run_ends_asks_nobody() -> None:
    one = act("one", temporary=True)
    play = Play(plan(one, check("then", ["one"]), undo("back", one, ["then"])))
    play.go("one")
    play.do(ANA, c.Abort("give up"))
    play.go("then", "cancelled")
    play.do(ANA, c.Restore("one", "put it back"))
    play.go("one")
    assert play.run.halts == () and not play.run.debts


def test_a_decision_opened_alone_remembers_how_long_it_waited() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=h.APPROVER)]))
    play.look()
    play.wait(30)
    play.do(BEN, c.BreakGlass("one", play.run.card("one"), "nobody here"))
    assert play.run.asked["one"].waited == 30.0 and play.run.asked["one"].shown
