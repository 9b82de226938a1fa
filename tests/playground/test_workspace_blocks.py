"""Block Kit's limits and surface rules: one bad payload each, and exactly what Slack says about it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.playground.workspace.blockkit import refuse_message, refuse_view
from tests.playground.workspace_bot import actions, asks, button, modal, plain, section

Body = dict[str, Any]


def mrkdwn(text: str) -> Body:
    return {"type": "mrkdwn", "text": text}


def option(text: str = "One", value: str = "1", **more: Any) -> Body:
    return {"text": plain(text), "value": value, **more}


def select(**more: Any) -> Body:
    return {"type": "static_select", "action_id": "s", "options": [option()], **more}


def rich(*leaves: Body) -> Body:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(leaves)}]}


def cell(text: str = "x") -> Body:
    return {"type": "raw_text", "text": text}


def table(rows: list[list[Body]], **more: Any) -> Body:
    return {"type": "table", "rows": rows, **more}


def task(number: int, **more: Any) -> Body:
    return {"task_id": f"t{number}", "title": f"Step {number}", **more}


def plan(*tasks: Body) -> Body:
    return {"type": "plan", "title": "Steps", "tasks": list(tasks)}


CONFIRM = {"title": plain("Sure"), "text": mrkdwn("Really?"), "confirm": plain("Yes"), "deny": plain("No")}
FINE: list[Body] = [
    {"type": "header", "text": plain("x" * 150)},
    section("x" * 3000),
    {
        "type": "section",
        "fields": [mrkdwn("x" * 2000)] + [mrkdwn("y")] * 9,
        "accessory": button("Go", "go", url="https://x"),
    },
    {"type": "context", "elements": [mrkdwn("x")] * 9 + [{"type": "image", "alt_text": "x", "image_url": "https://x"}]},
    {"type": "divider"},
    actions(
        *(button("x" * 75, f"b{i}", style="danger", confirm=CONFIRM) for i in range(23)),
        select(initial_option=option(), placeholder=plain("x" * 150)),
        {"type": "overflow", "action_id": "o", "options": [option(str(i), str(i)) for i in range(5)]},
        block_id="x" * 255,
    ),
    {"type": "image", "alt_text": "x", "slack_file": {"id": "F1"}, "title": plain("x")},
    rich({"type": "text", "text": "x", "style": {"bold": True}}, {"type": "user", "user_id": "U0ANA00001"}),
    plan(*(task(i, status="pending", details=rich({"type": "text", "text": "d"})) for i in range(50))),
    {"type": "task_card", "task_id": "1", "title": "x", "status": "complete", "output": rich()},
    {"type": "markdown", "text": "# x"},
    {"type": "card", "title": mrkdwn("x"), "actions": [button("Go", "go")]},
    {"type": "container", "title": plain("x"), "child_blocks": [section("x", "inner")]},
    {
        "type": "context_actions",
        "elements": [{"type": "icon_button", "icon": "trash", "text": plain("x"), "action_id": "i"}],
    },
    table(
        [[cell(), rich({"type": "text", "text": "x"}), {"type": "raw_number", "value": 1}]] * 100,
        column_settings=[None],
    ),
    table([[cell()] * 20], column_settings=[{"align": "right", "is_wrapped": True}] * 20),
    asks("Label", "a", multiline=True),
]


@pytest.mark.parametrize("block", FINE, ids=lambda b: b["type"])
def test_a_block_at_its_limits_is_taken_and_left_alone(block: Body) -> None:
    before = copy.deepcopy(block)
    assert refuse_message([block]) is None and block == before


BAD: list[tuple[Body, list[str]]] = [
    ({}, ["missing required field: type [json-pointer:/blocks/0]"]),
    ({"type": "sections"}, ["unsupported type: sections [json-pointer:/blocks/0/type]"]),
    (
        {"type": "file", "source": "remote", "external_id": "x"},
        ["unsupported type: file [json-pointer:/blocks/0/type]"],
    ),
    ({"type": "alert", "text": plain("x")}, ["unsupported type: alert [json-pointer:/blocks/0/type]"]),
    ({"type": "divider", "text": plain("x")}, ["invalid additional property: text [json-pointer:/blocks/0]"]),
    ({"type": "divider", "block_id": None}, ["must provide a string [json-pointer:/blocks/0/block_id]"]),
    (
        {"type": "divider", "block_id": "x" * 256},
        ["must be less than 256 characters [json-pointer:/blocks/0/block_id]"],
    ),
    ({"type": "header", "text": mrkdwn("x")}, ["unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"]),
    (
        {"type": "header", "text": plain("x" * 151)},
        ["must be less than 151 characters [json-pointer:/blocks/0/text/text]"],
    ),
    ({"type": "section"}, ["must define either `text` or `fields` [json-pointer:/blocks/0]"]),
    (
        section(""),
        [
            "failed to match all allowed schemas [json-pointer:/blocks/0/text]",
            "must be more than 0 characters [json-pointer:/blocks/0/text/text]",
        ],
    ),
    (
        {"type": "section", "fields": [mrkdwn("x" * 2001)]},
        ["must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"],
    ),
    (
        {"type": "section", "fields": [mrkdwn("x")] * 11},
        ["no more than 10 items allowed [json-pointer:/blocks/0/fields]"],
    ),
    (
        {"type": "section", "text": mrkdwn("x"), "accessory": {"type": "plain_text_input", "action_id": "x"}},
        ["unsupported type: plain_text_input [json-pointer:/blocks/0/accessory/type]"],
    ),
    (
        {"type": "context", "elements": [mrkdwn("x")] * 11},
        ["no more than 10 items allowed [json-pointer:/blocks/0/elements]"],
    ),
    (actions(), ["must provide at least 1 items [json-pointer:/blocks/0/elements]"]),
    (
        actions(*(button("x", f"b{i}") for i in range(26))),
        ["no more than 25 items allowed [json-pointer:/blocks/0/elements]"],
    ),
    (
        actions(button("x" * 76, "b")),
        ["must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"],
    ),
    (
        actions(button("x", "b") | {"value": "x" * 2001}),
        ["must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"],
    ),
    (
        actions(button("x", "b", style="red")),
        ["must be a valid enum value [json-pointer:/blocks/0/elements/0/style]"],
    ),
    (
        actions(button("x", "b", disabled=True)),
        ["invalid additional property: disabled [json-pointer:/blocks/0/elements/0]"],
    ),
    (
        actions(button("x", "b", confirm=CONFIRM | {"text": plain("x" * 301)})),
        ["must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]"],
    ),
    (
        actions(button("x", "b"), button("y", "b")),
        ['`action_id` "b" already exists [json-pointer:/blocks/0/elements/1/action_id]'],
    ),
    (
        actions(select(options=[option("x" * 76)])),
        ["must be less than 76 characters [json-pointer:/blocks/0/elements/0/options/0/text/text]"],
    ),
    (
        actions(select(options=[option(value="x" * 151)])),
        ["must be less than 151 characters [json-pointer:/blocks/0/elements/0/options/0/value]"],
    ),
    (
        actions(select(options=[option(str(i), str(i)) for i in range(101)])),
        ["no more than 100 items allowed [json-pointer:/blocks/0/elements/0/options]"],
    ),
    (
        actions(select(options=[option(url="https://x")])),
        ["invalid additional property: url [json-pointer:/blocks/0/elements/0/options/0]"],
    ),
    (
        actions(select(initial_option=option("Two", "2"))),
        ["must match one of the given options [json-pointer:/blocks/0/elements/0/initial_option]"],
    ),
    (
        actions({"type": "overflow", "action_id": "o", "options": [option()] * 6}),
        ["no more than 5 items allowed [json-pointer:/blocks/0/elements/0/options]"],
    ),
    (
        {"type": "task_card", "task_id": "1", "title": "x", "status": "pending"},
        ["must be a valid enum value [json-pointer:/blocks/0/status]"],
    ),
    (plan(task(1, status="done")), ["must be a valid enum value [json-pointer:/blocks/0/tasks/0/status]"]),
    (plan(task(1), task(1)), ['`task_id` "t1" already exists [json-pointer:/blocks/0/tasks/1/task_id]']),
    (plan(*map(task, range(51))), ["no more than 50 items allowed [json-pointer:/blocks/0/tasks]"]),
    (
        plan(task(1, details=mrkdwn("x"))),
        ["unsupported type: mrkdwn [json-pointer:/blocks/0/tasks/0/details/type]"],
    ),
    (table([[cell()]] * 101), ["no more than 100 items allowed [json-pointer:/blocks/0/rows]"]),
    (table([[cell()] * 21]), ["no more than 20 items allowed [json-pointer:/blocks/0/rows/0]"]),
    (table([[cell("")]]), ["must be more than 0 characters [json-pointer:/blocks/0/rows/0/0/text]"]),
    (table([[{"type": "raw_number"}]]), ["missing required field: value [json-pointer:/blocks/0/rows/0/0]"]),
    (table([[cell("x" * 101)] * 10] * 10), ["must be less than 10001 characters [json-pointer:/blocks]"]),
    (
        {"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "dots", "elements": []}]},
        [
            "must be a valid enum value [json-pointer:/blocks/0/elements/0/style]",
            "must provide at least 1 items [json-pointer:/blocks/0/elements/0/elements]",
        ],
    ),
    (
        {"type": "image", "alt_text": "x"},
        ["must define either `image_url` or `slack_file` [json-pointer:/blocks/0]"],
    ),
    (
        {"type": "container", "title": plain("x"), "child_blocks": [plan()]},
        ["unsupported type: plan [json-pointer:/blocks/0/child_blocks/0/type]"],
    ),
]


@pytest.mark.parametrize(("block", "lines"), BAD, ids=[lines[0].partition(" [")[0] for _, lines in BAD])
def test_a_bad_block_is_refused_in_slacks_words(block: Body, lines: list[str]) -> None:
    refusal = refuse_message([block])
    assert refusal is not None and refusal.error == "invalid_blocks"
    assert [str(p) for p in refusal.problems] == lines


@pytest.mark.parametrize(
    ("blocks", "error", "lines"),
    [
        ("no list", "invalid_blocks", ["must provide an array [json-pointer:/blocks]"]),
        (
            [section("x", f"b{i}") for i in range(51)],
            "invalid_blocks",
            ["no more than 50 items allowed [json-pointer:/blocks]"],
        ),
        (
            [section("x", "same"), section("y", "same")],
            "invalid_blocks",
            ['`block_id` "same" already exists [json-pointer:/blocks/1/block_id]'],
        ),
        ([plan(), plan()], "invalid_blocks", ["Cannot have more than 1 plan block [json-pointer:/blocks]"]),
        ([table([[cell()]])] * 2, "invalid_attachments", ["only_one_table_allowed [json-pointer:/blocks]"]),
        ([section("x" * 3000, f"b{i}") for i in range(4)] + [plan(task(1))], "msg_blocks_too_long", []),
        ([{"type": "markdown", "text": "x" * 12_000}, {"type": "markdown", "text": "y"}], "msg_blocks_too_long", []),
    ],
    ids=["array", "count", "block ids", "plans", "tables", "text", "markdown"],
)
def test_a_message_is_refused_as_a_whole(blocks: Any, error: str, lines: list[str]) -> None:
    refusal = refuse_message(blocks)
    assert refusal is not None and (refusal.error, [str(p) for p in refusal.problems]) == (error, lines)


def test_the_same_action_id_may_stand_in_two_blocks() -> None:
    assert refuse_message([actions(button("x", "b"), block_id="a"), actions(button("y", "b"), block_id="c")]) is None


@pytest.mark.parametrize(
    ("view", "lines"),
    [
        ("modal", ["must provide an object [json-pointer:/view]"]),
        (modal() | {"type": "popup"}, ["unsupported type: popup [json-pointer:/view/type]"]),
        (modal(title=plain("x" * 25)), ["must be less than 25 characters [json-pointer:/view/title/text]"]),
        (modal(submit=plain("x" * 25)), ["must be less than 25 characters [json-pointer:/view/submit/text]"]),
        (
            modal(private_metadata="x" * 3001),
            ["must be less than 3001 characters [json-pointer:/view/private_metadata]"],
        ),
        (modal(callback_id="x" * 256), ["must be less than 256 characters [json-pointer:/view/callback_id]"]),
        (modal(colour="red"), ["invalid additional property: colour [json-pointer:/view]"]),
        (modal(*[{"type": "divider"}] * 101), ["no more than 100 items allowed [json-pointer:/view/blocks]"]),
        (modal(plan(task(1))), ["unsupported type: plan [json-pointer:/view/blocks/0/type]"]),
        (modal(table([[cell()]])), ["unsupported type: table [json-pointer:/view/blocks/0/type]"]),
        (
            {k: v for k, v in modal(section("x"), asks("Why", "why")).items() if k != "submit"},
            ["must define `submit` to use an `input` block in modals [json-pointer:/view/blocks/1/input]"],
        ),
        (
            modal(asks("a", "a", focus_on_load=True), asks("b", "b", focus_on_load=True)),
            ["only one element may have `focus_on_load` [json-pointer:/view/blocks]"],
        ),
        (
            {"type": "home", "blocks": [{"type": "alert", "text": plain("x")}]},
            ["unsupported type: alert [json-pointer:/view/blocks/0/type]"],
        ),
        (
            {"type": "home", "title": plain("x"), "blocks": []},
            ["invalid additional property: title [json-pointer:/view]"],
        ),
    ],
)
def test_a_bad_view_is_refused_in_slacks_words(view: Any, lines: list[str]) -> None:
    assert [str(p) for p in refuse_view(view)] == lines


def test_alerts_belong_in_modals_and_a_hundred_blocks_too() -> None:
    assert (
        refuse_view(modal({"type": "alert", "level": "error", "text": mrkdwn("x")}, *[{"type": "divider"}] * 99)) == []
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                sorted(
                    {
                        "type",
                        "text",
                        "elements",
                        "options",
                        "accessory",
                        "rows",
                        "tasks",
                        "block_id",
                        "child_blocks",
                        "fields",
                    }
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from([b["type"] for b in FINE])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(lambda kind, body: {"type": kind, **body}, KINDS, JSON.filter(lambda v: isinstance(v, dict))),
        max_size=3,
    )
)
def test_nonsense_is_refused_and_never_breaks_the_judge(blocks: list[Any]) -> None:
    refusal = refuse_message(blocks)
    assert refusal is None or refusal.problems or refusal.error == "msg_blocks_too_long"


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_nonsense_is_no_view(view: Any) -> None:
    assert refuse_view(view)
