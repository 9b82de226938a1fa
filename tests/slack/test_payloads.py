"""Payloads that Slack sends, and whatever else may arrive: read into values, or refused; never an accident."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.draw.press import NotOurs, Press
from bot.slack.hear import modals, payloads
from bot.slack.hear.modals import Form

_KEYS = st.sampled_from([
    "id", "user", "team", "team_id", "user_id", "channel", "channel_id", "container", "message", "actions", "action_id",
    "action_ts", "block_id", "value", "selected_option", "view", "state", "values", "callback_id", "private_metadata",
    "hash", "trigger_id", "response_url", "text", "thread_ts", "url",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(_KEYS, JSON, max_size=8)
CLICK: dict[str, Any] = {
    "user": {"id": "U1", "team_id": "T1"}, "channel": {"id": "C1"}, "trigger_id": "1.2", "response_url": "http://x/",
    "message": {"ts": "1.0", "thread_ts": "0.9"},
    "actions": [{"type": "button", "action_id": "do:stop", "block_id": "root|shop-1", "value": "stop||",
                 "action_ts": "2.0"}],
}  # fmt: skip


@given(BODIES)
def test_any_payload_is_read_or_refused(body: dict[str, Any]) -> None:
    for read in (payloads.typed, payloads.clicked, payloads.picked, payloads.submitted, payloads.acted):
        try:
            assert read(body) is not None
        except NotOurs as e:
            assert len(str(e)) < 200
    payloads.whoever(body)
    payloads.is_link(body)


@given(st.text())
def test_any_metadata_is_a_form_or_refused(text: str) -> None:
    with contextlib.suppress(NotOurs):
        assert Form.of(text).metadata == text


def test_a_click_says_who_what_and_where_and_has_a_key_of_its_own() -> None:
    found = payloads.clicked(CLICK)
    assert found.press == Press("stop", "shop-1")
    act = found.act
    assert (act.user, act.team, act.channel, act.thread) == ("U1", "T1", "C1", "0.9")
    assert act.key == "click:T1:U1:2.0:do:stop"


@pytest.mark.parametrize("text", ["x" * 2001, "a\x00b", "\ud800"])
def test_what_cannot_be_stored_or_shown_is_refused(text: str) -> None:
    with pytest.raises(NotOurs):
        payloads.typed({"user_id": "U1", "trigger_id": "1", "text": text})


@pytest.mark.parametrize("do", ["fly", "", "__class__", "preview"])
def test_there_is_no_command_but_those_of_a_run(do: str) -> None:
    with pytest.raises(NotOurs):
        modals.build(do)


@pytest.mark.parametrize(("do", "given", "complete"), [
    ("stop", {}, True), ("take", {}, True), ("decline", {"subject": "backend"}, True), ("close", {}, True),
    ("abort", {}, False), ("abort", {"reason": "over"}, True), ("skip", {"reason": "x"}, False),
    ("skip", {"subject": "a", "reason": "x"}, True), ("retry", {}, False), ("offer", {"to": "U1"}, True),
    ("tell", {}, False), ("tell", {"impact": "it fails"}, True),
    ("hand-over", {"subject": "a", "reason": "x", "to": "U1"}, False), ("undo", {"subject": "a"}, True),
])  # fmt: skip
def test_what_is_missing_decides_whether_a_form_is_shown(do: str, given: dict[str, str], complete: bool) -> None:
    assert modals.complete(do, **given) is complete


def test_spaces_of_other_keyboards_are_spaces_and_what_nobody_sees_is_gone() -> None:
    text = "shop\u3000to\u202f2.4.0\u200b\u202e because\ufeff \U0001f468\u200d\U0001f527"
    assert (
        payloads.typed({"trigger_id": "1.2", "user_id": "U1", "text": text}).text
        == "shop to 2.4.0 because \U0001f468\u200d\U0001f527"
    )
