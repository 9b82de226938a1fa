"""No prose decides: with every message put in other words, everybody is answered as before but for the words."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings

from bot.policy import Refusal
from bot.run.answering import Answer, Asking, answer, may
from bot.run.commands import Command
from bot.run.possible import possible
from bot.run.rules import Objection
from bot.telling.view import view
from tests.run.played import PEOPLE, Play
from tests.run.rewording import WORDS, reworded
from tests.run.stories import Story, commands, moves, stories


def without_words(said: Answer | Refusal | None) -> object:
    return replace(said, text="") if said is not None else None


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_everybody_is_answered_as_before(story: Story) -> None:
    play = Play(story.plan)
    for i, _ in enumerate(moves(play, story.numbers)):
        if i % 10 == 0:
            asked = [(c, Asking(p, "test", PEOPLE, play.now, "p99")) for p in PEOPLE
                     for c in commands(play.run, Random(i), play.now)]  # fmt: skip
            before, could, shown = told(play, asked), possible(play.run), view(play.run, play.now)
            with reworded():
                after = told(play, asked)
                assert possible(play.run) == could
                assert view(play.run, play.now) == shown
            assert [*map(without_words, after)] == [*map(without_words, before)]


def told(play: Play, asked: list[tuple[Command, Asking]]) -> list[Answer | Refusal | None]:
    """What everybody is answered, and whether they may."""
    answers: list[Answer | Refusal | None] = [answer(play.run, c, a) for c, a in asked]
    return answers + [may(play.run, c.do, getattr(c, "step", ""), a) for c, a in asked]


def test_the_words_are_really_other_ones() -> None:
    with reworded():
        assert Objection("as it was").text == WORDS
    assert Objection("as it was").text == "as it was"
