"""Every command has an answer: what is done, or who can and what to do instead. Nothing is written here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest

from bot.catalogue import Release
from bot.policy import Actor, Person, Refusal, Why
from bot.run import commands as c
from bot.run import events as ev
from bot.run.answering import COMMANDS, Answer, Asking, answer
from bot.run.commands import Command
from bot.run.fold import evolve
from bot.run.state import new_run
from bot.telling.sentences import Names, sentence
from bot.words import meant
from tests.run.played import ANA, BEN, CHO, GUS, KIM, PEOPLE, T0, ZED, Play, act, check, gate, plan

EXAMPLES: tuple[Command, ...] = (
    c.Approve("one", "0123456789ab", "one shop"),
    c.Decline("one", "later"),
    c.BreakGlass("one", "0123456789ab", "everybody sleeps"),
    c.Stop("wait"),
    c.Resume(),
    c.Abort("wrong service"),
    c.Retry("one"),
    c.Skip("one", "no need"),
    c.Accept("one", "known"),
    c.Undo("one", "go back"),
    c.Restore("one", "at once"),
    c.HandOver("one", "cho", 1_003_600.0, "tomorrow"),
    c.Adopt("one", "by hand"),
    c.Retarget(Release("2.3.9", images={"api": "sha256:1"}), "bad too"),
    c.Admit(Release("2.4.2"), "has the fix"),
    c.Agree("p1"),
    c.Offer("kim"),
    c.Take(),
    c.Close("done"),
    c.Tell("Paying by card fails", "Invoices work"),
    c.Review("one", "nobody else was awake"),
    c.Without("us-1", "its provider is down"),
    c.Back("us-1"),
)


def asking(person: Person = ANA, now: float = T0) -> Asking:
    return Asking(person, "cli", PEOPLE, now, "p1")


@pytest.fixture
def play() -> Play:
    """One gated step, planned; one check."""
    found = Play(plan(act("one", decision="one"), check("c"), decisions=[gate("one")]))
    found.look()
    return found


def test_every_command_is_told_apart_by_its_word() -> None:
    assert {type(e) for e in EXAMPLES} == set(get_args(Command))
    assert len({e.do for e in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda e: e.do)
def test_a_command_survives_its_way_as_json(command: Command) -> None:
    assert COMMANDS.validate_json(COMMANDS.dump_json(command)) == command
    assert json.loads(COMMANDS.dump_json(command))["do"] == command.do


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda e: e.do)
@pytest.mark.parametrize("person", [GUS, ZED], ids=["guest", "stranger"])
def test_who_is_no_member_is_refused_before_anything_is_looked_at(play: Play, command: Command, person: Person) -> None:
    found = answer(play.run, command, asking(person))
    assert isinstance(found, Refusal) and found.why is Why.NOT_YOURS and found.text.endswith("Nothing was changed.")


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda e: e.do)
def test_a_run_that_is_not_there_is_said_to_be_unknown(command: Command) -> None:
    found = answer(new_run("r9"), command, asking())
    assert found == Refusal(Why.UNKNOWN, "There is no run r9. `history` lists the runs.")


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda e: e.do)
def test_every_command_on_a_run_that_is_over_is_refused_in_words(play: Play, command: Command) -> None:
    play.do(ANA, c.Abort("wrong service"))
    play.go("c", "cancelled")
    assert play.run.closed is not None
    for person in (ANA, KIM, CHO, BEN):
        found = answer(play.run, command, asking(person, T0 + 1000))
        assert isinstance(found, Refusal) and len(found.text) > 20


@pytest.mark.parametrize("command", [e for e in EXAMPLES if getattr(e, "step", "") or getattr(e, "decision", "")])
def test_what_is_not_in_the_run_is_said_to_be_unknown(command: Command) -> None:
    play = Play(plan(act("two", decision="two"), decisions=[gate("two")]))
    play.look()
    found = answer(play.run, command, asking())
    assert isinstance(found, Refusal) and found.why is Why.UNKNOWN
    assert found.text.startswith(("There is no step 'one'. Possible now: ", "There is no open decision 'one'."))
    assert found.text.endswith("Possible now: two. Nothing was changed.") or "step" in found.text


@pytest.mark.parametrize(
    "command",
    [
        c.Abort("  no "),
        c.Skip("one", ""),
        c.Accept("one", "ok"),
        c.Restore("one", "x"),
        c.HandOver("one", "cho", T0 + 60, ""),
        c.Adopt("one", "-"),
        c.Retarget(Release("1"), "bad"),
        c.Admit(Release("1"), ""),
        c.BreakGlass("one", "x", "!"),
        c.Review("one", "ok"),
        c.Without("us-1", "-"),
    ],
    ids=lambda e: e.do,
)
def test_what_others_will_ask_about_needs_a_reason(play: Play, command: Command) -> None:
    found = answer(play.run, command, asking())
    assert isinstance(found, Refusal) and found.why is Why.BAD_INPUT and "needs a reason" in found.text


def test_a_refusal_says_who_can(play: Play) -> None:
    found = answer(play.run, c.Approve("one", play.run.card("one")), asking(BEN))
    assert isinstance(found, Refusal) and found.why is Why.NOT_YOURS
    assert found.who_can == ("cho", "dan", "kim") and "an approver" in found.text and "@cho" in found.text
    found = answer(play.run, c.Abort("enough of it"), asking(KIM))
    assert isinstance(found, Refusal) and found.who_can == ("ana",)
    assert "@ana commands this run" in found.text and "after five minutes of silence" in found.text
    found = answer(play.run, c.Take(), asking(CHO))
    assert isinstance(found, Refusal) and set(found.who_can) == {"ana", "kim"}, "a guest cannot"


def test_what_stakeholders_read_is_said_by_the_commander_short_and_replaces_what_was_said(play: Play) -> None:
    found = answer(play.run, c.Tell("  Paying by\ncard fails ", "Invoices work"), asking())
    assert isinstance(found, Answer)
    assert found.events == (ev.Told("Paying by card fails", "Invoices work", asking().actor),)
    assert found.text == "No channel of stakeholders is catalogued, and it stands on the card."
    run = evolve(play.run, found.events[0], T0 + 5)
    assert (run.impact, run.workaround, run.told) == ("Paying by card fails", "Invoices work", (T0 + 5,))
    again = answer(run, c.Tell("All of it fails"), asking())
    assert isinstance(again, Answer)
    run = evolve(run, again.events[0], T0 + 9)
    assert (run.impact, run.workaround, run.told) == ("All of it fails", "", (T0 + 5, T0 + 9))
    long = "x" * 301
    for impact, workaround, field in (("x", "", "impact"), (long, "", "impact"), ("it fails", long, "workaround")):
        no = answer(play.run, c.Tell(impact, workaround), asking())
        assert isinstance(no, Refusal) and no.why is Why.BAD_INPUT and no.field == field
    no = answer(play.run, c.Tell("it fails"), asking(CHO))
    assert isinstance(no, Refusal) and no.who_can == ("ana",)


def test_an_old_card_is_stale_and_a_closed_one_is_not_yet(play: Play) -> None:
    found = answer(play.run, c.Approve("one", "0123456789ab"), asking(CHO))
    assert isinstance(found, Refusal) and found.why is Why.STALE and "look again" in found.text
    found = answer(play.run, c.BreakGlass("one", "0123456789ab", "no time"), asking(CHO))
    assert isinstance(found, Refusal) and found.why is Why.STALE
    waiting = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    found = answer(waiting.run, c.Approve("one", ""), asking(CHO))
    assert isinstance(found, Refusal) and found.why is Why.NOT_NOW
    assert found.text == "This cannot be decided yet: what one would do is not known yet. Nothing was changed."


def test_an_answer_holds_the_events_and_who_with_which_roles(play: Play) -> None:
    found = answer(play.run, c.Approve("one", play.run.card("one")), asking(KIM))
    assert isinstance(found, Answer)
    kim = Actor("kim", "kim", ("approver", "commander"), "cli")
    assert found.events == (ev.Approved("one", play.run.fingerprints("one"), kim, "approver", False),)
    assert found.text == "Approved: One."


def test_a_yes_says_how_new_the_role_is_on_which_it_rests(play: Play) -> None:
    new = replace(CHO, young={"approver": 240})
    found = answer(play.run, c.Approve("one", play.run.card("one")), asking(new))
    assert isinstance(found, Answer)
    event = found.events[0]
    assert isinstance(event, ev.Approved) and event.young == {"approver": 240}
    assert ev.decode(*ev.encode(event)) == event
    kind, body = ev.encode(ev.Approved("one", {}, event.by, "approver"))
    older = {k: v for k, v in json.loads(body).items() if k != "young"}
    assert ev.decode(kind, json.dumps(older)) == ev.Approved("one", {}, event.by, "approver"), "as stored before"
    glass = c.BreakGlass("one", play.run.card("one"), "nobody is up")
    found = answer(play.run, glass, asking(replace(KIM, young={"commander": 5})))
    assert isinstance(found, Answer)
    event = found.events[0]
    assert isinstance(event, ev.BrokeGlass) and event.young == {"commander": 5}


def test_who_agrees_and_who_takes_command_says_how_new_the_role_is_too(play: Play) -> None:
    new, names = {"approver": 240}, Names.of(play.run.plan)
    play.do(ANA, c.Retarget(Release("2.3.9"), "bad as well"))
    (proposal,) = play.run.proposals
    found = answer(play.run, c.Agree(proposal), asking(replace(CHO, young=new)))
    assert isinstance(found, Answer)
    agreed = found.events[0]
    assert isinstance(agreed, ev.Agreed) and agreed.young == new and ev.decode(*ev.encode(agreed)) == agreed
    assert sentence(agreed, names).endswith("as approver, first seen as one 4 min before")
    play.do(ANA, c.Offer("kim"))
    found = answer(play.run, c.Take(), asking(replace(KIM, young={"commander": 5})))
    assert isinstance(found, Answer)
    (taken,) = found.events
    assert isinstance(taken, ev.CommandTaken) and taken.young == {"commander": 5}
    assert sentence(taken, names) == "kim took command after it was offered (commander, first seen as one 5 s before)"


def test_a_proposal_that_is_enough_by_itself_is_carried_out_at_once(play: Play) -> None:
    found = answer(play.run, c.Skip("one", "no need"), asking(CHO))
    assert isinstance(found, Answer) and found.text == "Done: skip One."
    assert [e.kind for e in found.events] == ["proposed", "skipped"]
    found = answer(play.run, c.Skip("one", "no need"), asking(ANA))
    assert isinstance(found, Answer) and [e.kind for e in found.events] == ["proposed"]
    assert found.text == "Proposed: skip One. Still needed: an approver (`agree p1`)."


def test_a_step_may_be_called_by_its_title_or_by_the_beginning_of_either() -> None:
    titles = {"deploy": "Deploy 2.4.0", "resume-workers": "Resume workers", "resume-jobs": "Jobs go on"}
    steps = [replace(act(i, after=["first"]), title=t) for i, t in titles.items()]
    run = Play(plan(act("first"), *steps)).run
    for word in ("deploy", "Deploy 2.4.0", "deploy-2.4.0", "DEPL", "shop deploy 2.4.0"):
        found = answer(run, c.Skip(word, "no need"), asking(CHO))
        assert isinstance(found, Answer) and found.text == "Done: skip Deploy 2.4.0.", word
    found = answer(run, c.Skip("Resume", "no need"), asking(CHO))
    assert isinstance(found, Refusal) and found.why is Why.UNKNOWN
    assert found.text == ("'Resume' may be resume-workers, resume-jobs (Jobs go on): say which. Nothing was changed.")
    found = answer(run, c.Skip("resume jobs", "no need"), asking(CHO))
    assert isinstance(found, Answer) and found.text == "Done: skip Jobs go on."
    found = answer(run, c.Undo("frobnicate"), asking())
    assert isinstance(found, Refusal)
    assert found.text == "There is no step 'frobnicate'. Possible now: none. Nothing was changed."
    found = answer(run, c.Skip("frobnicate", "no need"), asking(CHO))
    assert isinstance(found, Refusal) and "Possible now: deploy (Deploy 2.4.0), resume-workers, resume-j" in found.text
    assert "first" not in found.text, "it is at work"


def test_a_step_of_a_choice_may_be_called_by_the_last_part_of_its_id() -> None:
    known = {
        "way.down.quiesce": "Refuse writes",
        "way.down.down": "Take it down",
        "way.restore.quiesce": "Refuse writes",
    }
    assert meant("down", known) == ["way.down.down"]
    assert meant("quiesce", known) == ["way.down.quiesce", "way.restore.quiesce"]
    assert meant("take", known) == ["way.down.down"] and meant("way", known) == [*known]


def test_a_proposal_may_be_called_by_what_it_wants(play: Play) -> None:
    proposed = answer(play.run, c.Skip("one", "no need"), asking(ANA))
    assert isinstance(proposed, Answer)
    run = evolve(play.run, proposed.events[0], T0)
    for word in ("p1", "skip one", "skip"):
        found = answer(run, c.Agree(word), asking(CHO))
        assert isinstance(found, Answer) and found.text == "Done: skip One.", word
    found = answer(run, c.Agree("p9"), asking(CHO))
    assert isinstance(found, Refusal)
    assert found.text == "There is no open proposal 'p9'. Possible now: p1 (skip One). Nothing was changed."


def test_what_the_rules_refuse_is_a_sentence_and_keeps_names_as_they_are_typed(play: Play) -> None:
    found = answer(play.run, c.Retry("one"), asking())
    assert found == Refusal(Why.NOT_NOW, "one is not waiting for a decision. Nothing was changed.")
    found = answer(play.run, c.Resume(), asking())
    assert found == Refusal(Why.NOT_NOW, "It is not stopped. Nothing was changed.")
    found = answer(play.run, c.Close(), asking())
    assert isinstance(found, Refusal) and found.text == "c is at work. Nothing was changed."


def test_asking_changes_nothing(play: Play) -> None:
    before = play.run
    for command in EXAMPLES:
        for person in PEOPLE:
            answer(play.run, command, asking(person))
    assert play.run is before
