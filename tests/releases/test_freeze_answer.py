"""What CI is told: open, locked and banned, worked out from runs and ledger alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.catalogue import Release
from bot.policy import Actor
from bot.releases.freeze_answer import Admitted, Banned, Freeze, ban_is_over, bans, frozen_since
from bot.releases.ledger import Entry, Ledger, learned, marked, registered
from bot.run import events as ev
from bot.run.commands import Abort, Close, HandOver, Skip
from tests.run.played import ANA, CHO, T0, Play, act, ask, check, gate, plan, undo

SHARED, GOOD, BAD, FIX = (f"sha256:{c * 64}" for c in "abcd")


def release(version: str, digest: str) -> Release:
    return Release(version, images={"api": f"x/api@{digest}", "proxy": f"x/proxy@{SHARED}"})


def ledger(*versions: tuple[str, str]) -> Ledger:
    found: Ledger = {}
    for at, (version, digest) in enumerate(versions):
        found = registered(found, "shop", release(version, digest), Entry(float(at), "registered", "ci"))
    return found


def ban(found: Ledger, by: str) -> Ledger:
    return marked(found, "2.4.1", Entry(10.0, "banned", by, "payments fail"))


def newer(found: Ledger) -> Ledger:
    return registered(found, "shop", release("2.4.2", FIX), Entry(11.0, "registered", "ci"))


BY = Actor("ana", "ana", ("commander",))
TWO = ledger(("2.4.0", GOOD), ("2.4.1", BAD))


def frozen() -> Play:
    """A run with a freeze, a question, and the end of the freeze."""
    freeze = replace(
        act("freeze", {"guard": "on"}, temporary=True, decision="go"), uses="deploys.freeze", duties=("freeze", "hold")
    )
    lift = undo("lift", freeze, ("thaw",))
    play = Play(plan(freeze, ask("thaw", ("freeze",)), lift, check("verify", ("lift",), phase="verify"),
                     decisions=[gate("go", "freeze"), gate("thaw")]))  # fmt: skip
    play.look()
    return play


# -- frozen ------------------------------------------------------------------------------------------------------------


def test_it_is_locked_from_the_first_moment_of_the_freeze_until_it_is_given_back() -> None:
    play = frozen()
    assert frozen_since(play.run) is None, "nobody has let it pass"
    play.approve("go", CHO)
    assert frozen_since(play.run) is not None, "it is at work"
    play.go("freeze")
    assert frozen_since(play.run) == T0
    play.approve("thaw", CHO)
    assert frozen_since(play.run) is not None, "it is being lifted"
    play.go("lift")
    assert frozen_since(play.run) is None


def test_a_freeze_that_found_nothing_to_freeze_locks_ci_all_the_same() -> None:
    play = frozen()
    play.world["guard"] = "on"
    play.approve("go", CHO)
    play.go("freeze")
    assert not play.run.debts and frozen_since(play.run) is not None
    play.approve("thaw", CHO)
    play.go_all()
    assert frozen_since(play.run) is None


def test_a_freeze_that_was_left_out_locks_nothing() -> None:
    play = frozen()
    assert play.write(ev.Skipped("freeze", BY, "no cluster")) is None
    assert frozen_since(play.run) is None


def test_a_debt_of_an_aborted_run_that_was_handed_over_still_locks() -> None:
    play = frozen()
    play.approve("go", CHO)
    play.go("freeze")
    play.do(ANA, Abort("enough"))
    play.do(ANA, HandOver("freeze", "cho", T0 + 3600, "tomorrow"))
    assert play.run.closed is not None and frozen_since(play.run) is not None
    freeze = Freeze.of("shop", [play.run], bans(TWO))
    assert (freeze.locked, freeze.run, freeze.who, freeze.why) == (True, "r1", "ana", "checkout fails")


def test_a_thaw_lifts_what_an_ended_run_has_left_and_nothing_that_came_later() -> None:
    play = frozen()
    play.approve("go", CHO)
    play.go("freeze")
    play.do(ANA, Abort("enough"))
    play.do(ANA, HandOver("freeze", "cho", T0 + 3600, "tomorrow"))
    lifting = Play(plan(replace(act("thaw"), uses="deploys.thaw", duties=("thaw",))), now=T0 + 100)
    assert Freeze.of("shop", [lifting.run, play.run], bans(TWO)).locked, "not yet"
    lifting.go_all()
    assert not Freeze.of("shop", [lifting.run, play.run], bans(TWO)).locked
    later = frozen()
    later.approve("go", CHO)
    assert Freeze.of("shop", [later.run, lifting.run, play.run], bans(TWO)).locked


def test_a_service_without_a_freeze_is_open() -> None:
    assert not Freeze.of("shop", [Play(plan(act("one"))).run], bans(TWO)).locked


# -- banned ------------------------------------------------------------------------------------------------------------


def test_a_digest_that_a_good_release_has_as_well_is_not_refused() -> None:
    (found,) = bans(ban(TWO, "run r1"))
    assert (found.version, found.digests, found.reason, found.by) == ("2.4.1", (BAD,), "payments fail", "run r1")


@pytest.mark.parametrize(("by", "over"), [("run r1", True), ("ana", False)])
def test_a_newer_release_ends_the_ban_of_a_run_and_not_that_of_a_person(by: str, over: bool) -> None:
    found = newer(ban(TWO, by))
    assert (bans(found) == ()) is over and ban_is_over(found["2.4.1"]) is over
    assert found["2.4.1"].state == "banned", "it is not gone back to either way"


def test_a_ban_that_a_person_puts_on_top_of_a_runs_stays() -> None:
    found = marked(ban(TWO, "run r1"), "2.4.1", Entry(10.5, "banned", "ana", "leaks"))
    assert not ban_is_over(newer(found)["2.4.1"])


def test_a_ban_of_a_run_on_top_of_a_persons_does_not_make_it_end_by_itself() -> None:
    found = marked(ban(TWO, "ana"), "2.4.1", Entry(10.5, "banned", "run r1", "removed by run r1"))
    assert not ban_is_over(newer(found)["2.4.1"])


def test_a_lifted_ban_is_over_and_one_that_never_was_is_not() -> None:
    found = marked(ban(TWO, "ana"), "2.4.1", Entry(12.0, "lifted", "ana", "was the network"))
    assert bans(found) == () and ban_is_over(found["2.4.1"]) and not ban_is_over(found["2.4.0"])


def removing() -> Play:
    """A rollback with its deploy, and something after it."""
    deploy = replace(
        act("deploy", {"eu-1/deployment/api/image/api": GOOD}, decision="go"),
        uses="release.deploy",
        duties=("replace", "return"),
    )
    rest = act("rest", after=("deploy",), decision="rest")
    play = Play(plan(deploy, rest, decisions=[gate("go", "deploy"), gate("rest")]))
    play.look()
    return play


def banned_by(play: Play, found: Ledger) -> list[str]:
    return [b.version for b in Freeze.of("shop", [play.run], bans(found)).banned]


def test_what_a_rollback_removes_is_banned_from_its_first_effect_on_without_a_gap() -> None:
    play = removing()
    removed = play.run.created.removed if play.run.created else Release("")
    found = registered({}, "shop", removed, Entry(0.0, "registered", "ci"))
    assert banned_by(play, found) == [], "nothing is removed yet"
    play.approve("go", CHO)
    play.go("deploy", "begin")
    assert banned_by(play, found) == [removed.version]
    answer = Freeze.of("shop", [play.run], bans(found)).answer(removed.version, ())
    assert (answer.allowed, answer.reason) == (
        False,
        f"shop {removed.version} is banned: removed by run r1: checkout fails",
    )
    play.go("deploy")
    assert banned_by(play, found) == [removed.version]
    play.do(CHO, Skip("rest", "it is late"))
    play.do(ANA, Close("done by hand"))
    assert play.run.closed is not None
    after = learned(found, play.run, forward=False)
    assert banned_by(play, after) == [removed.version], "for ever, also where a person has closed the run"


def test_a_run_that_was_closed_before_it_removed_anything_bans_nothing() -> None:
    play = removing()
    for step in ("deploy", "rest"):
        play.do(CHO, Skip(step, "false alarm"))
    play.do(ANA, Close("false alarm"))
    assert play.run.closed is not None and play.run.created is not None
    found = registered({}, "shop", play.run.created.removed, Entry(0.0, "registered", "ci"))
    assert banned_by(play, learned(found, play.run, forward=False)) == []


# -- asked -------------------------------------------------------------------------------------------------------------

OPEN = Freeze("shop", bans(ban(TWO, "run r1")))
LOCKED = replace(OPEN, run="r1", who="ana", why="checkout fails", since=1.0)
FIXED = replace(LOCKED, admitted=(Admitted("2.4.2", (FIX, SHARED)),))


@pytest.mark.parametrize(
    ("freeze", "version", "digests", "allowed"),
    [
        (OPEN, "2.4.2", [], True),
        (OPEN, "", [FIX, SHARED], True),
        (OPEN, "2.4.1", [], False),
        (OPEN, "", [SHARED, BAD], False),
        (LOCKED, "2.4.2", [], False),
        (LOCKED, "", [FIX], False),
        (LOCKED, "", [], False),
        (FIXED, "2.4.2", [], True),
        (FIXED, "", [FIX, SHARED], True),
        (FIXED, "", [FIX, GOOD], False),
        (FIXED, "2.4.2", [GOOD], False),
        (FIXED, "2.4.1", [], False),
    ],
)
def test_what_may_be_deployed(freeze: Freeze, version: str, digests: list[str], allowed: bool) -> None:
    assert freeze.answer(version, digests).allowed is allowed


def test_a_no_says_why_and_who() -> None:
    assert LOCKED.answer("2.4.2", []).reason == "shop is frozen by r1 (@ana): checkout fails"
    assert OPEN.answer("2.4.1", []).reason == "shop 2.4.1 is banned: payments fail"


def test_a_question_by_digest_is_told_that_it_cannot_find_a_ban_without_images() -> None:
    bare = Freeze("shop", (Banned("2.4.1", (), "settings only", "run r1"),))
    found = bare.answer("", ["sha256:" + "3" * 64])
    assert found.allowed and "2.4.1 is banned and has no image of its own: ask by version" in found.reason
    assert bare.answer("2.4.2", ["sha256:" + "3" * 64]).reason == "shop is open for releases"
    assert not bare.answer("2.4.1", []).allowed
