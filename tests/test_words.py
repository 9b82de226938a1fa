"""What people type is read as they meant it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cli.output import plain
from bot.words import Sentence, Unclear, because, moment, sentence

NOW = datetime(2026, 11, 23, 14, 2, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["shop"], Sentence("shop")),
        (["shop", "to", "2.4.0"], Sentence("shop", "2.4.0")),
        (["shop", "because", "checkout", "fails"], Sentence("shop", None, "checkout fails")),
        (["shop", "TO", "2.4.0", "Because", "it fails"], Sentence("shop", "2.4.0", "it fails")),
        (["shop plan small because it fails"], Sentence("shop", None, "it fails", "small")),
        (["shop", "plan", "small", "to", "2.4.0"], Sentence("shop", "2.4.0", plan="small")),
        (["shop to 2.4.0 because it fails because of us"], Sentence("shop", "2.4.0", "it fails because of us")),
    ],
)
def test_a_rollback_in_words(words: list[str], meant: Sentence) -> None:
    assert sentence(words) == meant


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["because", "x"],
        ["shop", "2.4.0"],
        ["shop", "to"],
        ["shop", "to", "1", "2"],
        ["shop", "plan"],
        ["shop", "to", "1", "to", "2"],
    ],
)
def test_words_that_mean_nothing_get_an_example(words: list[str]) -> None:
    with pytest.raises(Unclear, match=r"For example: shop to 2\.4\.0 because"):
        sentence(words)


@pytest.mark.parametrize(
    ("word", "then"),
    [
        ("2h", "2026-11-23T16:02:30+01:00"),
        ("30min", "2026-11-23T14:32:30+01:00"),
        ("3d", "2026-11-26T14:02:30+01:00"),
        ("18:00", "2026-11-23T18:00:00+01:00"),
        ("9:05", "2026-11-24T09:05:00+01:00"),
        ("2026-12-01 18:00", "2026-12-01T18:00:00+01:00"),
        ("2026-12-01T18:00Z", "2026-12-01T18:00:00+00:00"),
        ("1795000000.5", "2026-11-18T11:06:40.500000+00:00"),
    ],
)
def test_a_time_to_come(word: str, then: str) -> None:
    assert moment(word, NOW) == datetime.fromisoformat(then).timestamp()


@pytest.mark.parametrize(
    ("word", "then"),
    [
        ("2h", "2026-11-23T12:02:30+01:00"),
        ("18:00", "2026-11-22T18:00:00+01:00"),
        ("9:05", "2026-11-23T09:05:00+01:00"),
    ],
)
def test_a_time_that_has_been(word: str, then: str) -> None:
    assert moment(word, NOW, past=True) == datetime.fromisoformat(then).timestamp()


@pytest.mark.parametrize(
    "word", ["", "soon", "25:00", "-3h", "2026-13-01", "99999d", "\N{FULLWIDTH DIGIT ONE}h", "2h 30min"]
)
def test_what_is_no_time_is_said_to_be_none(word: str) -> None:
    with pytest.raises(Unclear, match="is no time; write 2h, 18:00"):
        moment(word, NOW)


@given(st.lists(st.text()))
def test_any_words_are_split_or_refused_and_never_break(words: list[str]) -> None:
    before, reason = because(words)
    assert " ".join([*before, *(["because", reason] if reason else [])]).split()[: len(before)] == before
    try:
        sentence(words)
    except Unclear as e:
        assert str(e)


@given(st.text(max_size=30))
def test_any_word_is_a_moment_or_unclear(word: str) -> None:
    with contextlib.suppress(Unclear):
        assert isinstance(moment(word, datetime(2026, 1, 1, tzinfo=UTC)), float)


@given(st.text())
def test_nothing_printed_can_steer_a_terminal(text: str) -> None:
    assert all(c.isprintable() or c in "\n\t" for c in plain(text))
