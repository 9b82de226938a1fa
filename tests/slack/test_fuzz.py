"""Whatever is typed, pressed or sent: never a 500, never a hang, never a row that nobody asked for.

Payloads are made from true ones by wounding them (a part missing, of another type, far too long, full of signs that
nobody can show), and from nothing. Each is sent signed, over HTTP, to the whole bot, and by Socket Mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.run.commands import TABLE
from bot.slack.draw.press import ASKS, NotOurs, Press, block_id, pressed
from bot.slack.hear import payloads, slash
from bot.slack.hear.modals import Form
from bot.words import Unclear
from tests.fixtures.own_time import own_time
from tests.slack.acting import BACKEND, opened, started
from tests.slack.conftest import HERE_ID, IDS, Desk

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
TEAM = "T0PLAYGRND"
QUICK = 3.0
"""Seconds in which Slack wants an answer."""

WORDS = [
    "shop", "other", "to", "2.4.0", "because", "stop", "resume", "abort", "retarget", "skip", "accept", "undo", "agree",
    "offer", "take", "status", "preview", "history", "audit", "token", "revoke", "help", "close", "forward", "admit",
    "hand-over", "restore", "adopt", "retry", "until", "18:00", "@ben", f"<@{IDS['ben']}|ben>", "switch", "serves",
    "backend", "RUN", "<!channel>", "*", "`x`", "&amp;", "'", '"', "{}", "%s", "../..", "\u202e", "\x00", "\n", "|",
    "tell", "that", ";",
]  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), st.text(max_size=60))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


# -- the pure half, by the thousand ------------------------------------------------------------------------------------


@given(TEXTS)
@example("because")
@example("hand-over to until because")
def test_any_words_are_understood_or_refused_with_a_guess(text: str) -> None:
    try:
        found = slash.said(text, ("shop", "other"))
    except Unclear as e:
        assert "/rollback" in str(e) or "Services are" in str(e)
        assert len(str(e)) < 600
        return
    assert found.do == "open" or found.do in slash._TYPED


@given(JUNK)
def test_any_payload_is_read_or_none_of_ours(junk: Any) -> None:
    body: Mapping[str, Any] = junk if isinstance(junk, dict) else {"actions": junk, "view": junk, "user": junk}
    for read in (payloads.typed, payloads.clicked, payloads.picked, payloads.submitted, payloads.acted):
        with contextlib.suppress(NotOurs):
            read(body)
    payloads.whoever(body)
    payloads.is_link(body)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_value_of_a_button_reads_back_or_is_none_of_ours(value: str, block: str) -> None:
    for read in (lambda: pressed(value, block), lambda: Form.of(value)):
        with contextlib.suppress(NotOurs):
            read()


@given(
    st.sampled_from([*TABLE, *(f"{ASKS}{do}" for do in TABLE)]), st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
)
def test_every_press_of_ours_reads_back(do: str, subject: str) -> None:
    press = Press(do, "shop-587df8", subject, "0" * 12)
    assert pressed(press.value, block_id("root", press.run)) == press
    assert Form.of(Form(press, HERE_ID, "1.2").metadata) == Form(press, HERE_ID, "1.2")


# -- the whole bot -----------------------------------------------------------------------------------------------------


def true_payloads(run: str, card: str) -> list[dict[str, Any]]:
    """One of each kind that Slack sends; nothing that fay, who has no role, may do."""
    who = {"id": IDS["fay"], "team_id": TEAM, "username": "fay"}
    base = {"team": {"id": TEAM}, "user": who, "trigger_id": "1.2.3", "api_app_id": "A0PLAYGRND", "token": "x"}
    channel = {"id": HERE_ID, "name": "inc-4211"}
    press = Press("approve", run, "backend", card)
    button = {"type": "button", "action_id": press.action, "block_id": block_id("decision.backend", run),
              "value": press.value, "action_ts": "1.5", "text": {"type": "plain_text", "text": BACKEND}}  # fmt: skip
    menu = {**button, "type": "overflow", "action_id": "do:more",
            "selected_option": {"value": Press("ask-skip", run, "switch").value}}  # fmt: skip
    view = {"id": "V1", "hash": "h", "type": "modal", "callback_id": "ask", "state": {"values": {}},
            "private_metadata": Form(Press("abort", run), HERE_ID).metadata}  # fmt: skip
    typed = {"reason": {"value": {"type": "plain_text_input", "value": "a reason that is long enough"}}}
    opening = {**view, "callback_id": "rollback", "private_metadata": HERE_ID, "state": {"values": typed}}
    message = {"ts": "1.4", "thread_ts": "1.3", "text": "x", "blocks": []}
    clicked = {**base, "type": "block_actions", "channel": channel, "message": message, "response_url": "",
               "container": {"type": "message", "channel_id": HERE_ID, "message_ts": "1.4"}}  # fmt: skip
    return [
        {**clicked, "actions": [button]},
        {**clicked, "actions": [menu]},
        {**base, "type": "block_actions", "view": opening, "container": {"type": "view", "view_id": "V1"},
         "actions": [{"action_id": "do:pick-service", "block_id": "service", "selected_option": {"value": "shop"}}]},
        {**base, "type": "view_submission", "view": {**view, "state": {"values": typed}}},
        {**base, "type": "view_submission", "view": opening},
        {**base, "type": "view_closed", "view": view},
        {**base, "type": "shortcut", "callback_id": "x"},
        {**base, "type": "block_suggestion", "action_id": "x", "block_id": "y", "value": "z", "view": view},
    ]  # fmt: skip


@st.composite
def wounds(draw: st.DrawFn) -> Callable[[Any], Any]:
    """What is done to a payload: one of its parts, somewhere, is another thing, or is not there."""
    path, how = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5)), draw(st.integers(0, 5))
    junk = draw(JUNK)

    def wound(body: Any) -> Any:
        body = copy.deepcopy(body)
        at = body
        for i, step in enumerate(path):
            keys: list[Any] = list(at) if isinstance(at, dict) else list(range(len(at))) if isinstance(at, list) else []
            if not keys:
                return body
            key = keys[step % len(keys)]
            if i < len(path) - 1 and isinstance(at[key], dict | list) and at[key]:
                at = at[key]
                continue
            odd = [junk, None, "x" * 5000, "\x00|\u202e", [at[key]], {"id": at[key]}]
            at[key] = odd[how]
            if how == 1 and isinstance(at, dict):
                del at[key]
            return body
        return body

    return wound


async def written(desk: Desk) -> tuple[int, int]:
    """How much the log holds: runs, and events of the newest."""
    return len(await desk.bot.store.heads()), (await desk.run()).seq


async def sent(desk: Desk, kind: str, body: str) -> None:
    """Over signed HTTP: answered in time, with no 500."""
    with own_time() as took:
        status, _, _ = await desk.workspace.signed.post(body, {"Content-Type": kind})
        assert status in (200, 400, 401, 404, 413), (status, kind, body[:300])
        assert took.seconds < QUICK, body[:300]


Wound = Callable[[Any], Any]


@dataclass(frozen=True)
class Drawn:
    """What is sent. Drawn before a bot runs in this process, and the same everywhere."""

    wounds: list[Wound]
    texts: list[str]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn(samples(wounds(), 500), samples(TEXTS, 150))


def samples(strategy: st.SearchStrategy[Any], n: int) -> list[Any]:
    """That many examples."""
    found: list[Any] = []

    @settings(max_examples=n, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


@pytest.mark.parametrize("mode", ["http"])
async def test_wounded_payloads_get_no_500_and_write_nothing(
    drawn: Drawn, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await started(desk)
    run = await desk.run()
    before = await written(desk)
    true = true_payloads(run.id, run.card("backend"))
    for wound, payload in zip(drawn.wounds, cycle(true), strict=False):
        await sent(desk, FORM, urlencode({"payload": json.dumps(wound(payload))}))
    command = {"command": "/rollback", "text": "", "user_id": IDS["fay"], "channel_id": HERE_ID, "team_id": TEAM,
               "response_url": ""}  # fmt: skip
    for n, text in enumerate(drawn.texts):
        form = {**command, "text": text.replace("RUN", run.id), "trigger_id": f"f.{n}"}
        await sent(desk, FORM, urlencode(form))
    for wound in drawn.wounds[:60]:
        await sent(desk, FORM, urlencode(wound({**command, "text": "stop", "trigger_id": "w.1"})))
    event = {"type": "event_callback", "team_id": TEAM, "event_id": "E1", "event": {"type": "user_change", "user": {}}}
    for wound in drawn.wounds[:60]:
        await sent(desk, JSON, json.dumps(wound(event)))
    await quiet(desk)
    assert await written(desk) == before
    assert "fault " not in caplog.text, [r.getMessage() for r in caplog.records if "fault " in r.getMessage()]
    assert BACKEND in (await desk.button(BACKEND)).buttons, "and it still works"


async def quiet(desk: Desk) -> None:
    """Until the bot has answered everything it heard."""
    slack = desk.bot.slack
    assert slack is not None and slack.app is not None
    heard = slack.app
    await desk.holds(lambda: not heard._tasks)


@pytest.mark.parametrize("mode", ["http"])
async def test_bytes_that_are_no_payload_get_no_500(desk: Desk) -> None:
    await opened(desk)
    before = await written(desk)
    for kind in (FORM, JSON, "text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", ""):
        for body in ("", "{", "payload=", "payload=%00", "payload=" + "[" * 5000, "=&=&=", "\ufeff{}", "null", "1e999",
                     '{"type":"event_callback","event":{"type":"app_mention"}}', '{"type":"url_verification"}',
                     '{"a":' * 900 + "1" + "}" * 900, "command=%2Frollback&command=x&user_id=U&trigger_id=1",
                     ):  # fmt: skip
            await sent(desk, kind, body)
    await quiet(desk)
    assert await written(desk) == before


@pytest.mark.parametrize("mode", ["http"])
async def test_many_large_bodies_at_once_are_all_answered(desk: Desk) -> None:
    text = urlencode({"command": "/rollback", "user_id": IDS["ana"], "text": "shop because " + "x" * 900_000})
    async with asyncio.timeout(60):
        found = await asyncio.gather(*(desk.workspace.signed.post(text, {"Content-Type": FORM}) for _ in range(10)))
    assert {status for status, _, _ in found} <= {200, 400}
    await quiet(desk)
    assert await desk.bot.store.heads() == []


@pytest.mark.parametrize("mode", ["socket"])
async def test_wounded_envelopes_of_a_socket_harm_nothing(
    drawn: Drawn, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await started(desk)
    run = await desk.run()
    before = await written(desk)
    true = true_payloads(run.id, run.card("backend"))
    cases = [wound(payload) for wound, payload in zip(drawn.wounds[:80], cycle(true), strict=False)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(desk.workspace.deliver("interactive", payload) for payload in cases))
    await quiet(desk)
    assert await written(desk) == before
    assert "fault " not in caplog.text
    assert (await desk.ready())["slack"] == ""
    assert "Not yours" in (await desk.click("fay", await desk.button(BACKEND), BACKEND)).text
