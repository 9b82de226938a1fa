"""The app's home tab, and the shortcut on a message: what people see before they ask, and how they ask from there."""

from __future__ import annotations

import json

from bot.playground.workspace import Modal
from bot.slack.draw.home import MOST, Home, RunLine, Shut, home
from bot.slack.hear.app import SHORTCUT
from bot.slack.hear.payloads import REASON, pointed
from bot.telling.owing import Owed
from tests.slack.acting import started
from tests.slack.conftest import HERE, Desk, both

NOW = 1_800_000_000.0


async def tab(desk: Desk, who: str) -> Modal:
    """The tab as it is once the bot has drawn it."""
    before = len(desk.workspace.calls("views.publish"))
    await desk.workspace.driver.home(who, patience=0)
    driver = desk.workspace.driver
    await driver.wait_for(lambda: len(desk.workspace.calls("views.publish")) > before, 60, "a home tab")
    found = driver.home_of(who)
    assert found is not None
    return found


@both
async def test_it_shows_what_is_open_frozen_owed_and_past_and_is_drawn_anew_at_each_look(desk: Desk) -> None:
    seen = await tab(desk, "ana")
    for nothing in ("No rollback is open", "Nothing is frozen or banned", "Nothing is owed", "There are no runs yet"):
        assert nothing in seen.plain
    await started(desk)
    run = await desk.run()
    await desk.slash("ana", "abort because a false alarm")
    await desk.slash("dee", "freeze other because a try of it")
    seen = await tab(desk, "ana")
    assert "Rollback of shop: 2.4.1 → 2.4.0" in seen.plain and run.id in seen.plain
    assert "other is frozen by dee" in seen.plain


async def test_guests_and_strangers_see_nothing(desk: Desk) -> None:
    await started(desk)
    for who in ("gus", "zoe"):
        seen = await tab(desk, who)
        assert "shop" not in seen.plain and seen.plain, who


def test_of_links_and_mentions_in_an_alert_what_is_seen_is_taken_over() -> None:
    said = "<!here> shop &amp; more: <https://grafana.example/d/1|checkout>, <https://a.example/x>\u202e <@U0ANA00001>"
    body = {"user": {"id": "U1"}, "trigger_id": "t", "message": {"text": "", "attachments": [{"title": said}]}}
    assert pointed(body).text == "!here shop & more: checkout, https://a.example/x @U0ANA00001"
    assert pointed({**body, "message": {"text": "x" * 5000}}).text == "x" * (REASON - 1) + "…"
    assert pointed({**body, "message": {"attachments": "?"}}).text == ""


async def test_its_button_opens_the_form_of_a_rollback(desk: Desk) -> None:
    seen = await tab(desk, "ana")
    outcome = await desk.workspace.driver.click("ana", seen, "Roll a service back…", patience=10)
    assert outcome.modal is not None and outcome.modal.title == "Roll back"


async def test_an_alert_becomes_the_reason_in_the_form_and_names_the_service(desk: Desk) -> None:
    alert = await desk.workspace.driver.say("ben", HERE, "[FIRING] shop: checkout fails\nsince 14:02   <details>")
    await desk.workspace.driver.shortcut("ana", alert, SHORTCUT)
    driver = desk.workspace.driver
    form = await driver.wait_for(lambda: _form(driver.modal("ana")), 60, "a form")
    assert form is not None
    entered = {block: next(iter(value.values())) for block, value in form.values.items()}
    assert entered["reason"]["value"] == "[FIRING] shop: checkout fails since 14:02 <details>"
    assert entered["service"]["selected_option"]["value"] == "shop"
    sent = await driver.submit("ana", {}, patience=10)
    assert not sent.errors and (await desk.run()).created is not None


def _form(modal: Modal | None) -> Modal | None:
    """The form, once it is more than a word that it is being made."""
    return modal if modal is not None and "Reason" in modal.inputs else None


async def test_who_may_not_ask_is_told_so_and_gets_no_form(desk: Desk) -> None:
    alert = await desk.workspace.driver.say("ana", HERE, "shop fails")
    outcome = await desk.workspace.driver.shortcut("cho", alert, SHORTCUT, patience=10)
    assert outcome.modal is None and "commander" in outcome.text


def test_a_hundred_debts_keep_slacks_limits() -> None:
    owed = [
        Owed("debt", f"shop-{n:06x}", "shop", "freeze", "the freeze is in place " + "x" * 90, "ana", NOW)
        for n in range(100)
    ]
    lines = [RunLine(f"shop-{n:06x}", "Rollback of shop: 2.4.1 → 2.4.0", "verified", NOW) for n in range(20)]
    shut = [Shut("shop", "by ana: it <fails> & more", {f"2.4.{n}": "bad" for n in range(100)})]
    view = home(Home(NOW, lines, shut, owed, lines))
    texts = [b["text"]["text"] for b in view["blocks"] if b["type"] == "section"]
    assert all(len(t) <= MOST + 40 <= 3000 for t in texts) and len(view["blocks"]) <= 100
    assert "more: `/rollback debts`" in texts[2] and "&lt;fails&gt; &amp; more" in texts[1]
    assert len(json.dumps(view)) < 200_000
