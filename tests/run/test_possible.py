"""What is offered is what is taken: `possible` against the answers that people really get, over random stories."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings

from bot.catalogue import Release
from bot.run.answering import Answer, Asking, answer
from bot.run.commands import TABLE, VALUES, Command
from bot.run.declared import PLAIN, TEXTS
from bot.run.possible import _EVENTS, _OPENS, _SUBJECTS, Possible, possible, why_not
from bot.run.state import Run
from tests.run.played import NAMED, PEOPLE, Play
from tests.run.stories import Story, commands, moves, stories


def said(run: Run, p: Possible, now: float) -> list[Command]:
    """The command with everything that a form would have asked, once for each person whom it may name."""
    declared = TABLE[p.do]
    have = {declared.subject: p.subject, "until": now + 60, **dict.fromkeys((*TEXTS, *PLAIN), "because of this")}
    have |= {"card": run.card(p.subject), "phrase": run.phrase(p.subject)} if p.subject in run.asked else {}
    have |= {"release": Release("9.9")} if declared.subject == "release" else {}
    return [VALUES[p.do](**{f.name: {**have, "to": to}[f.name] for f in declared.fields}) for to in NAMED]


def taken(run: Run, command: Command, now: float) -> bool:
    """Whether anybody is answered other than by a refusal."""
    return any(isinstance(answer(run, command, Asking(p, "test", PEOPLE, now, "p99")), Answer) for p in PEOPLE)


def test_every_command_of_a_run_says_what_it_appends_and_what_it_may_be_about() -> None:
    assert _EVENTS.keys() == VALUES.keys()
    assert _SUBJECTS.keys() == VALUES.keys() | _OPENS.keys()
    assert all(TABLE[do].title for do in _OPENS)


@settings(max_examples=60)
@given(stories())
def test_whatever_is_possible_is_answered_for_somebody(story: Story) -> None:
    play = Play(story.plan)
    for i, _ in enumerate(moves(play, story.numbers)):
        if i % 5 == 0:
            must_be_taken(play.run, play.now)
    must_be_taken(play.run, play.now)


def must_be_taken(run: Run, now: float) -> None:
    for p in possible(run):
        if TABLE[p.do].of_run:
            assert any(taken(run, c, now) for c in said(run, p, now)), f"{p} is refused to everybody"


@settings(max_examples=60)
@given(stories())
def test_whatever_is_answered_for_somebody_is_possible(story: Story) -> None:
    play = Play(story.plan)
    for i, _ in enumerate(moves(play, story.numbers)):
        if i % 5 == 0:
            could = {(p.do, p.subject) for p in possible(play.run)}
            for command in commands(play.run, Random(i), play.now):
                field = TABLE[command.do].subject
                subject = getattr(command, field) if field in ("decision", "step", "proposal", "part") else ""
                if taken(play.run, command, play.now):
                    assert why_not(play.run, command.do, subject) is None, command
                    named = command.do not in ("take", "without")  # after silence; of a part that nobody has missed
                    assert not named or (command.do, subject) in could, command
