"""The limits, at the limits; and nothing that anybody wrote means something to Slack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contract import Json
from bot.playground.workspace.blockkit import refuse_message
from bot.slack.draw import blocks as b
from bot.slack.draw.blocks import Mrkdwn, Piece, Unsendable, mark
from bot.slack.draw.post import Message
from bot.slack.draw.press import NotOurs, Press, carried, pressed

PRESS = Press("approve", "r1", "backend", "0123456789ab")


def taken(message: Message) -> bool:
    """Whether Slack takes it."""
    return refuse_message([dict(x) for x in message.blocks]) is None


def short(n: int) -> Mrkdwn:
    """Text of n characters."""
    return Mrkdwn("x" * n)


# -- text --------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=200))
def test_what_came_from_outside_has_no_meaning_for_slack(text: str) -> None:
    made = mark("*{}* by {}", text, b.person("UANA"))
    inside = made.removesuffix(" by <@UANA>")
    assert "<" not in inside and ">" not in inside
    assert inside.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == f"*{text}*"


def test_markup_of_ours_is_kept_and_never_escaped_twice() -> None:
    assert mark("{} {}", mark("{}", "a & b"), "c & d") == "a &amp; b c &amp; d"


def test_a_person_without_an_id_of_slack_is_named() -> None:
    assert b.person("U0AB12") == "<@U0AB12>" and b.person("ana", "Ana <x>") == "@Ana &lt;x&gt;"


def test_a_moment_is_in_the_readers_zone_with_utc_to_fall_back_on() -> None:
    assert b.when(1_795_615_320.9) == "<!date^1795615320^{time}|14:02 UTC>"
    assert b.when(1_795_615_320, day=True) == "<!date^1795615320^{date_short_pretty} {time}|2026-11-25 14:02 UTC>"


@given(st.text("ab<>&` \n", max_size=80), st.integers(20, 60))
def test_a_cut_leaves_no_half_of_anything(text: str, most: int) -> None:
    text_ = mark("{} {} {}", text, b.person("UANA"), b.code(text))
    cut = b.fit(text_, most)
    assert len(cut) <= most
    if cut != text_:
        assert cut.count("`") % 2 == 0 and cut.count("<") == cut.count(">")
        assert all(x.split(";")[0] in ("amp", "lt", "gt") for x in cut.split("&")[1:])


def test_lines_are_cut_as_wholes_and_the_rest_is_counted() -> None:
    assert b.fit_lines(["one", "two", "three"], 100) == "one\ntwo\nthree"
    assert b.fit_lines(["a" * 30, "b" * 30, "c" * 30], 60, "and {} more") == "a" * 30 + "\nand 2 more"
    assert len(b.fit_lines(["a" * 500, "b"], 60)) <= 60


# -- limits ------------------------------------------------------------------------------------------------------------

AT_THE_LIMIT: dict[str, Callable[[], list[Piece]]] = {
    "blocks": lambda: [b.section(short(10))] * b.BLOCKS,
    "section": lambda: [b.section(short(b.SECTION))],
    "context": lambda: [b.context(*[short(100)] * b.CONTEXTS)],
    "label": lambda: b.actions("x", "r1", b.button("x" * b.LABEL, PRESS)),
    "options": lambda: b.actions("x", "r1", b.menu([(f"{i}", Press("skip", "r1", f"s{i}")) for i in range(b.OPTIONS)])),
    "option": lambda: b.actions("x", "r1", b.menu([("x" * 75, Press("ask-skip", "r1", "s" * 140))])),
    "buttons": lambda: b.actions(
        "x", "r1", *(b.button("x", Press("retry", "r1", f"s{i}")) for i in range(b.BUTTONS))
    ),
    "tasks": lambda: [b.plan("x" * 150, [b.task(f"t{i}", "x" * 60, "pending", "y" * 60) for i in range(b.TASKS)])],
    "rows": lambda: [b.table(("a", "b"), [("x", "y")] * (b.ROWS - 1))],
    "columns": lambda: [b.table(["a"] * b.COLUMNS, [["x"] * b.COLUMNS])],
    "cells": lambda: [b.table(("a", "b"), [("x" * 60, "y" * 60)] * 80)],
    "text": lambda: [b.section(short(3_000)) for _ in range(4)],
}  # fmt: skip


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_slack_takes_a_message_at_the_limit(name: str) -> None:
    made = b.message(*AT_THE_LIMIT[name]())
    assert taken(made)


BEYOND: dict[str, Callable[[], list[Piece]]] = {
    "section": lambda: [b.section(short(b.SECTION + 1))],
    "context": lambda: [b.context(*[short(100)] * (b.CONTEXTS + 1))],
    "label": lambda: b.actions("x", "r1", b.button("x" * 300, PRESS)),
    "options": lambda: b.actions("x", "r1", b.menu([(f"{i}", Press("skip", "r1", f"s{i}")) for i in range(9)])),
    "option": lambda: [*b.actions("x", "r1", b.menu([("x", Press("ask-skip", "r1", "s" * 200))])), b.section(short(1))],
    "rows": lambda: [b.table(("a", "b"), [("x", "y")] * 300)],
    "columns": lambda: [b.table(["a"] * 30, [["x"] * 30])],
    "cells": lambda: [b.table(("a", "b"), [("x" * 3000, "y" * 3000)] * 90)],
    "text": lambda: [b.section(short(3_000)) for _ in range(40)],
    "task": lambda: [b.plan("x" * 900, [b.task("t" * 900, "x" * 900, "pending")])],
    "nothing": lambda: [b.section(Mrkdwn("")), b.table(("",), [("",)])],
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_goes_beyond_a_limit_is_cut(name: str) -> None:
    assert taken(b.message(*BEYOND[name]()))


FAULTS: dict[str, Callable[[], list[Piece]]] = {
    "51 blocks": lambda: [b.section(short(1))] * (b.BLOCKS + 1),
    "0 blocks": lambda: [],
    "block id": lambda: [p for x in (PRESS, Press("stop")) for p in b.actions("x", "r1", b.button("a", x))],
    "action id": lambda: [*b.actions("x", "r1", b.button("a", PRESS)), *b.actions("y", "r1", b.button("b", PRESS))],
    "two plans": lambda: [b.plan("a", []), b.plan("b", [])],
    "an id is too long": lambda: b.actions("x" * 300, "r1", b.button("a", PRESS)),
    "characters": lambda: [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
        {"type": "text", "text": "x" * 13_000}]}]}],
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_message_that_slack_would_not_take_is_refused(what: str) -> None:
    with pytest.raises(Unsendable):
        b.message(*FAULTS[what]())


def test_a_row_without_buttons_is_no_row() -> None:
    assert b.actions("x", "r1", None, b.menu([])) == []


def test_a_label_says_that_something_is_asked_first_only_where_it_is() -> None:
    made = b.message(*b.actions("x", "r1", b.button("y" * 200, PRESS), b.button("z" * 200 + "…", Press("ask-abort"))))
    first, second = [label for label, _, _ in b.buttons_of(made)]
    assert not first.endswith("…") and second.endswith("…") and len(second) <= b.LABEL


def test_the_text_is_cut_where_slack_would_refuse_an_update() -> None:
    made = b.message(*(b.section(short(2_900)) for _ in range(4)))
    assert len(made.text) <= b.FALLBACK and made.text.endswith("(more in the message)")


def test_every_piece_of_a_message_is_in_its_text() -> None:
    steps = b.plan("steps", [b.task("t", "Deploy", "error", "why")])
    checks = b.table(("check",), [("<ok>",)])
    go = b.actions("x", "r1", b.button("Go", PRESS))
    made = b.message(b.section(mark("{}", "a & b")), b.context(mark("small")), steps, checks, *go)
    assert made.text.splitlines() == [
        "a &amp; b", "small", "steps", "Deploy · why", "check", "&lt;ok&gt;", "To press: Go",
    ]  # fmt: skip


# -- presses -----------------------------------------------------------------------------------------------------------


@given(st.builds(Press, *[st.text("abc-._0", min_size=1, max_size=20)] * 4))
def test_a_press_reads_back(press: Press) -> None:
    made = b.message(*b.actions("slot", press.run, b.button("x", press)))
    ((_, value, block),) = b.buttons_of(made)
    assert pressed(value, block) == press and carried(press.whole) == press


@pytest.mark.parametrize("value", ["", "approve", "a|b", "a|b|c|d", "|b|c"])
def test_what_does_not_read_back_is_none_of_ours(value: str) -> None:
    with pytest.raises(NotOurs):
        pressed(value, "slot|r1")


def test_the_same_message_has_the_same_digest_and_another_has_another() -> None:
    one, same, other = (b.message(b.section(mark("{}", x))) for x in ("a", "a", "b"))
    assert one.digest == same.digest != other.digest
    block: Json = one.blocks[0]["block_id"]
    assert block == "b0"
