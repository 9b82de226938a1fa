"""An approval is for a place: another one is asked again, and where something of the run stands there is no other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bot.plan.model import Plan
from bot.ports import Where
from bot.run import events as ev
from bot.run.commands import Abort, Agree, Skip
from bot.run.where import changed, known, otherwise
from tests.run.played import ANA, CHO, Play, act, check, gate, plan


def at(address: str, port: str = "http") -> Where:
    """A place; its digest stands for its address."""
    return Where(address, f"digest of {address}" if address != "not known" else "", port)


API, CDN, EU = at("https://api.example"), at("https://cdn.example"), at("https://10.0.0.1", "kubernetes")
PINNED = {"api": API, "cdn": CDN, "eu": EU}
MOVED = {**PINNED, "api": at("https://other.example")}
LINE = "api now at https://other.example, approved for https://api.example"


def shop() -> Plan:
    """Something is looked at, then set, at HTTP targets; beside it something in a cluster, and something of neither."""
    return plan(
        check("looks", needs=("http",)),
        act("switch", {"api/release": "new"}, ["looks"], decision="switch", needs=("http",)),
        act("deploy", {"eu/shop": "new"}, decision="deploy", needs=("kubernetes",)),
        act("tell", {"chat": "told"}, needs=("notices",)),
        act("last", {"api/last": "new"}, ["switch", "deploy"], decision="last", needs=("http",)),
        decisions=[gate("switch"), gate("deploy"), gate("last")],
    )


def move(play: Play, places: Mapping[str, Where] = MOVED) -> str | None:
    """Every node's catalogue says these places by now."""
    return play.write(ev.Relocated(places, otherwise(play.run.places, places)))


def begun() -> Play:
    """A run in which everything that needs nobody is done."""
    play = Play(shop(), places=PINNED, world={"api/release": "old", "eu/shop": "old", "api/last": "old"})
    play.go("looks")
    play.look()
    play.go("tell")
    return play


def test_a_catalogue_edit_under_an_approval_drops_it_shows_the_difference_and_asks_again() -> None:
    play = begun()
    before = play.step("switch").fingerprint
    play.approve("switch", CHO)
    assert move(play) is None
    asked = play.run.asked["switch"]
    assert asked.decided is None and asked.dropped is not None and asked.dropped.differences == (LINE,)
    assert [g.by.id for g in asked.dropped.votes] == ["cho"]
    play.go("switch", "cancelled")  # it was about to begin
    play.go("looks")
    play.look()
    assert play.run.asked["switch"].opened is not None and play.step("switch").fingerprint != before
    play.approve("switch", CHO)
    play.go("switch")
    assert play.world["api/release"] == "new" and play.run.places == MOVED


def test_what_does_not_reach_the_place_is_not_disturbed() -> None:
    play = begun()
    play.approve("deploy", CHO)
    play.go("deploy")
    told, deployed = play.step("tell"), play.step("deploy")
    assert move(play) is None
    assert play.step("tell") == told and play.step("deploy") == deployed
    assert play.run.asked["deploy"].decided is not None
    assert play.step("looks").end is None, "it looked at the other place"


def test_a_click_on_the_card_of_the_former_place_counts_for_nothing() -> None:
    play = begun()
    card = play.run.fingerprints("switch")
    assert move(play) is None
    play.go("looks")
    play.look()
    late = ev.Approved("switch", card, play.run.commander, "approver")  # type: ignore[arg-type]
    assert "look again" in (play.write(late) or "")


def test_where_something_of_the_run_stands_no_other_place_is_taken() -> None:
    play = begun()
    play.approve("switch", CHO)
    play.go("switch", "begin")
    for ending in ("well", ""):
        why = move(play)
        assert why == "something of this run stands at api: it is taken back there, or nowhere"
        if ending:
            play.go("switch")
    assert move(play, {**PINNED, "cdn": at("https://cdn2.example")}) is None, "nothing stands at the other target"


def test_what_was_found_done_at_the_former_place_is_looked_at_again() -> None:
    play = Play(shop(), places=PINNED, world={"api/release": "new"})
    play.go("looks")
    play.look()
    play.approve("switch", CHO)
    play.go("switch")
    assert play.step("switch").end == "done" and play.step("switch").made is None
    assert move(play) is None
    assert play.step("switch").end is None and play.run.asked["switch"].decided is None


def test_what_was_left_out_stays_left_out_and_an_end_is_an_end() -> None:
    play = begun()
    play.do(ANA, Skip("switch", "not needed tonight"))
    play.do(CHO, _agree(play))
    assert move(play) is None
    assert play.step("switch").end == "skipped"
    assert move(play) == "these are its places"
    play.do(ANA, Abort("called off"))
    assert move(play, PINNED)


def _agree(play: Play) -> Agree:
    return Agree(play.proposal)


def test_an_attempt_that_still_looks_at_the_former_place_says_nothing_any_more() -> None:
    play = Play(shop(), places=PINNED, world={"api/release": "old"})
    play.go("looks")
    n = play.step("switch").n
    change = play.fresh(play.step("switch"))[0]
    print_ = play.fingerprint(play.step("switch"), change)
    assert play.step("switch").attempt is not None
    assert move(play) is None
    assert "not the one in flight" in (play.write(ev.Planned("switch", n, change, print_)) or "")


def test_a_run_that_pinned_nothing_binds_what_it_always_did() -> None:
    play = Play(shop(), world={"api/release": "old"})
    play.go("looks")
    play.look()
    s = play.step("switch")
    assert s.change is not None and s.fingerprint == s.change.fingerprint("doc.set")
    body = ev.encode(play.run.created)[1]  # type: ignore[arg-type]
    assert ev.decode("created", body.replace(',"places":{}', "")) == play.run.created


@pytest.mark.parametrize(
    ("here", "lines"),
    [
        (PINNED, ()),
        (MOVED, (LINE,)),
        ({**PINNED, "eu": at("not known", "kubernetes")}, ()),
        ({"cdn": CDN, "eu": EU}, ("api now in no catalogue, approved for https://api.example",)),
        ({**PINNED, "us": at("https://10.0.0.2", "kubernetes")}, ("us now also, at https://10.0.0.2",)),
    ],
)
def test_in_which_ways_a_catalogue_says_otherwise(here: Mapping[str, Where], lines: tuple[str, ...]) -> None:
    assert otherwise(PINNED, here) == lines and bool(changed(PINNED, here)) == bool(lines)


def test_a_place_that_was_not_known_is_pinned_as_soon_as_it_is() -> None:
    unknown = {**PINNED, "eu": at("not known", "kubernetes")}
    play = Play(shop(), places=unknown, world={"eu/shop": "old"})
    play.look()
    play.approve("deploy", CHO)
    assert otherwise(unknown, PINNED) == ("eu now at https://10.0.0.1, approved for not known",)
    assert move(play, PINNED) is None and play.run.asked["deploy"].decided is None
    assert known(PINNED, unknown) == PINNED, "what is not known now stays as it was"
