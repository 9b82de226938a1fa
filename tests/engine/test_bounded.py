"""Nothing that a target says is too long to go on with; nothing that people approve is too long to be kept whole."""

from __future__ import annotations

from bot.contract import Change, Edit, Status, Verdict
from bot.engine import bounded
from bot.run import events as ev
from bot.run.events import decode, encode
from bot.telling.by_hand import by_hand, in_words
from tests.run.played import Play, act, gate, plan

CLUSTERS = [f"eu-{i}" for i in range(8)]


def image(letter: str, n: int) -> str:
    return f"registry.example.com/shop/service-{n:03}@sha256:{letter * 64}"


def test_an_endless_text_is_cut_and_says_how_long_it_was() -> None:
    assert bounded.text("short") == "short"
    cut = bounded.text("x" * 40_000)
    assert len(cut) < 2100 and cut.endswith("… (40000 characters)")


def test_a_check_that_found_too_much_knows_nothing() -> None:
    fine = Verdict(Status.PASS, "200", "200", {"release": "2.4.0"})
    assert bounded.verdict(fine) == fine
    found = bounded.verdict(Verdict(Status.PASS, "x" * 40_000, "200", {"release": "x" * 40_000}))
    assert found.status is Status.UNKNOWN and not found.data and "not kept" in found.observed
    assert len(encode(ev.Checked("one", 1, found))[1]) < 8_000


def test_four_hundred_images_in_each_of_eight_clusters_are_planned_recorded_and_read_by_hand() -> None:
    sets = {f"{c}/deployment/service-{n:03}/image/app": image("a", n) for c in CLUSTERS for n in range(400)}
    play = Play(plan(act("deploy", sets, decision="go"), decisions=[gate("go", "deploy")]))
    play.world = {target: value.replace("a" * 64, "b" * 64) for target, value in sets.items()}
    play.look()
    change = play.step("deploy").change
    assert change is not None and len(change.edits) == 3200 and play.run.asked["go"].opened is not None
    planned = ev.Planned("deploy", 1, change, change.fingerprint("doc.set"))
    assert decode(*encode(planned)) == planned
    text = by_hand(play.run, play.now, in_words)
    assert all(target in text for target in sets), "what is approved is never out of reach"


def test_one_edit_of_a_change_is_still_held_to_what_fits() -> None:
    huge = Change("too much", (Edit("eu/x", "", "x" * ev.BODY_LIMIT),))
    try:
        encode(ev.Planned("deploy", 1, huge, "f"))
    except ev.TooLarge as e:
        assert "large values belong into blobs" in str(e)
    else:
        raise AssertionError("it was taken")
