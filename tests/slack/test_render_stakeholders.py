"""What stakeholders, and those who talk to customers, read in each state. After a wanted change: pytest
--inline-snapshot=fix."""

# ruff: noqa: E501 - the lines are those that people read

from __future__ import annotations

from dataclasses import replace

from inline_snapshot import snapshot

from bot.playground.workspace.plaintext import plain
from bot.run import commands as c
from bot.run import events as ev
from bot.slack.draw import ends, stakeholders
from bot.slack.draw.phrases import Scene
from bot.slack.draw.screen import screen
from bot.telling.eta import Eta
from tests.run import played
from tests.run.played import COMMANDER, Play, act, ask, check, gate, plan, watch
from tests.slack import scenes
from tests.slack.scenes import Tape, read


def test_stakeholders_read_plain_words_and_no_promise_of_return() -> None:
    assert read(scenes.asked_backend(), "stakeholders") == snapshot("""\
Shop
Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works. We are going back to the previous version, 2.4.0. We cannot say yet when it will work again.
Next update by 14:17 UTC.\
""")


def briefed(tape: Tape, slot: str = "support") -> str:
    """What those read who talk to customers."""
    told = replace(scenes.CHANNELS, support=("#support",))
    shown = screen(tape.run, now=tape.now, eta=tape.eta, channels=told, roles=scenes.ROLES, links=tape.links)
    (found,) = [p for p in shown.posts if p.slot == slot]
    assert found.channel == "#support" and "<@" not in str(found.message.blocks), "no update calls anybody"
    return plain([dict(b) for b in found.message.blocks], lambda i: i)


def test_those_who_talk_to_customers_read_what_they_may_say_and_what_not_to_promise() -> None:
    tape = scenes.asked_backend()
    assert briefed(tape) == snapshot("""\
Shop, for those who talk to customers
What customers notice: Checkout has failed for some customers since 14:02.
What helps them meanwhile: Carts are kept, paying by invoice works.
What you may say: we know of it and are working on it. No time is known yet: promise none.
Questions: @ana.
Next update by 14:17 UTC.\
""")
    tape = scenes.deploying()
    tape.eta = Eta(240.0, 660.0, 0, 3, "expected between 14:07 and 14:15 UTC", (tape.now + 240, tape.now + 660))
    assert "We expect it to work again between 14:07 UTC and 14:15 UTC." in briefed(tape)
    assert briefed(scenes.watching(), "support.restored") == snapshot("""\
Shop, for those who talk to customers
What customers noticed: Checkout has failed for some customers since 14:02.
What you may say: it works again since 14:04 UTC. We are still watching it.
Who still sees it: ask when it was and what they did, and tell @ana.\
""")
    assert "Promise no time" in briefed(scenes.abort_ended(), "support.end")


def test_stakeholders_hear_that_it_runs() -> None:
    assert read(scenes.watching(), "stakeholders.restored") == snapshot("""\
Shop
Shop is back on the previous version, 2.4.0, since 14:04 UTC. We are watching it. The problem was: Checkout has failed for some customers since 14:02.\
""")


def test_a_part_that_is_left_out_is_told_to_those_who_know_nothing_of_clusters_and_so_is_that_it_was_made_up() -> None:
    steps = ask("start"), act("deploy", {"eu/shop": "new", "us/shop": "new"}, ["start"]), check("runs", ["deploy"],
            phase="verify"), watch("watch", ["runs"], lasting=60.0, passes=2, every=10.0)  # fmt: skip
    play = Play(plan(*steps, decisions=[gate("start", by=COMMANDER)]))
    play.away.add("us")
    play.look()
    play.do(played.ANA, c.Without("us", "its provider is down"))
    play.do(played.CHO, c.Agree(play.proposal))
    play.approve("start", played.ANA)
    play.go("deploy")
    play.go("runs")

    def told() -> dict[str, str]:
        found, _ = stakeholders.posts(Scene(play.run), ("#status",), play.now)
        return {p.slot: plain([dict(b) for b in p.message.blocks], str).strip() for p in found}

    assert told()["stakeholders"] == (
        "Shop\nShop is on the previous version, 2.4.0, but not everywhere: one of the places that serve it cannot be reached "
        "(us). Whoever is served from there may still have the problem. We go on there as soon as we can."
    )
    play.wait(30)
    play.away.clear()
    assert play.write(ev.PartBack("us")) is None
    play.go("deploy")
    play.go("runs")
    (news,) = [text for slot, text in told().items() if ".everywhere." in slot]
    assert (
        news
        == told()["stakeholders"]
        == "Shop\nShop is back on the previous version, 2.4.0, everywhere now. We are watching it."
    )
    assert "us was left out" in plain([dict(b) for b in ends.end(Scene(play.run)).blocks], str)


def test_stakeholders_hear_the_end() -> None:
    assert read(scenes.verified(), "stakeholders.end") == snapshot("""\
Shop
Resolved: Shop is back on the previous version, 2.4.0. We have watched it, and it works. The problem was: Checkout has failed for some customers since 14:02.\
""")


def test_stakeholders_hear_that_it_was_called_off() -> None:
    assert read(scenes.aborted(), "stakeholders.aborted") == snapshot("""\
Shop
Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works. We have called off going back to the previous version, 2.4.0. What we had prepared for it is being put back.
Next update by 14:17 UTC.\
""")


def test_what_the_commander_tells_is_posted_once_more_and_replaces_what_was_said() -> None:
    tape = scenes.asked_backend()
    tape.now += 60
    tape.do(scenes.ANA, c.Tell("nobody can pay by card", "Invoices work."))
    assert read(tape, "stakeholders.told.1") == snapshot("""\
Shop
Nobody can pay by card. Invoices work. We are going back to the previous version, 2.4.0. We cannot say yet when it will work again.
Next update by 14:17 UTC.\
""")
    assert read(tape, "stakeholders") == read(tape, "stakeholders.told.1")
    assert "Customers: Nobody can pay by card. Invoices work." in read(tape, "root")
    assert tape.post("stakeholders.told.1").fixed and tape.post("stakeholders.told.1").urgency == "news"
    tape.do(scenes.ANA, c.Tell("paying works again, slowly"))
    slots = [p.slot for p in tape.screen().posts]
    assert "stakeholders.told.2" in slots and "stakeholders.told.1" not in slots, "the older one is posted, or moot"


def test_what_is_told_before_the_start_stands_on_the_first_card_alone() -> None:
    tape = scenes.preflight()
    tape.do(scenes.ANA, c.Tell("nobody can pay by card"))
    assert "Customers: Nobody can pay by card." in read(tape, "root")
    tape.now += 20
    tape.approve("start", scenes.ANA)
    slots = [p.slot for p in tape.screen().posts if p.slot.startswith("stakeholders")]
    assert slots == ["stakeholders"] and "Nobody can pay by card." in read(tape, "stakeholders")


def test_a_promised_update_is_posted_at_its_time_and_says_the_next_one() -> None:
    tape = scenes.asked_backend()
    due = tape.screen().again
    assert due is not None
    tape.now = due
    assert read(tape, "stakeholders.1") == snapshot("""\
Shop
Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works. We are going back to the previous version, 2.4.0. We cannot say yet when it will work again.
Next update by 14:32 UTC.\
""")
    assert tape.screen().again == due + 900


def test_a_return_time_is_given_only_once_nothing_is_to_be_decided() -> None:
    tape = scenes.deploying()
    tape.eta = Eta(240.0, 660.0, 0, 3, "expected between 14:07 and 14:15 UTC", (tape.now + 240, tape.now + 660))
    assert read(tape, "stakeholders") == snapshot("""\
Shop
Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works. We are going back to the previous version, 2.4.0. We expect it to work again between 14:07 UTC and 14:15 UTC.
Next update by 14:17 UTC.\
""")
    assert "Expected between" in read(tape, "root")


def test_stakeholders_never_read_the_reason() -> None:
    for scene in scenes.SCENES:
        for post in scene().screen().posts:
            if post.slot.startswith("stakeholders"):
                assert "since 14:02; " not in post.message.text
                assert "checkout fails" not in post.message.text, (scene.__name__, post.slot)
                assert "last post" not in post.message.text
