"""The listening half, over real sockets: what people type and press, and what they are told."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bot import wiring
from bot.catalogue import Release
from bot.playground.workspace import Fault, Post
from bot.policy import Refusal
from bot.run.commands import Approve
from bot.settings import Settings
from bot.slack.draw.press import Press
from bot.slack.hear.app import PATH
from bot.slack.hear.places import Places
from tests.fixtures.lone_shop import Fault as Broken
from tests.run.rewording import WORDS, reworded
from tests.slack.acting import opened, press, started, told
from tests.slack.conftest import HERE, HERE_ID, IDS, OPENING, Desk, both

FORM = {"content-type": "application/x-www-form-urlencoded"}


# -- opening -----------------------------------------------------------------------------------------------------------

TOLD = ("What customers notice", "What works all the same")
"""What the form asks for stakeholders."""


@both
async def test_words_open_a_rollback_and_its_card_is_in_the_channel(desk: Desk) -> None:
    seen = await desk.slash("ana", OPENING)
    assert "Rollback of shop: 2.4.1 → 2.4.0, opened as" in seen.text
    run = await desk.run()
    assert run.created is not None and run.created.by.via == "slack" and run.created.by.id == IDS["ana"]
    assert run.created.reason == "checkout fails" and run.created.channel == HERE_ID
    await desk.card("2.4.1 → 2.4.0")


@both
async def test_nothing_typed_opens_a_form_that_opens_a_rollback(desk: Desk) -> None:
    await desk.slash("ana")
    form = await desk.form("ana", "Reason")
    assert form.inputs == ("Service", "Back to", "Plan", "Reason", *TOLD)  # the channel is shop's own
    assert "2.4.0: " in form.plain and "2.3.9" in form.plain
    said = {"Reason": "checkout fails", "Back to": "2.3.9", TOLD[0]: "Paying fails", TOLD[1]: "Carts are kept."}
    seen = await desk.workspace.driver.submit("ana", said, patience=60)
    assert seen.ok and seen.modal is None and "2.4.1 → 2.3.9" in seen.text
    run = await desk.run()
    assert run.target is not None and run.target.version == "2.3.9"
    assert run.created is not None
    assert (run.created.impact, run.created.workaround) == ("Paying fails", "Carts are kept.")


async def test_the_commander_tells_stakeholders_in_a_form_that_begins_with_what_they_read_now(desk: Desk) -> None:
    await opened(desk)
    typed = await desk.slash("ana", "tell that Paying fails; Carts are kept.")
    assert "Stakeholders read it in #status" in typed.text
    await desk.slash("ana", "tell")
    form = await desk.form("ana", "It replaces what was said before")
    assert form.inputs == TOLD
    seen = await desk.workspace.driver.submit("ana", {TOLD[0]: "x"})
    assert "in plain words" in seen.errors["impact"]
    assert (await desk.workspace.driver.submit("ana", {TOLD[0]: "Paying by card fails"}, patience=60)).ok
    run = await desk.run()
    assert (run.impact, run.workaround, len(run.told)) == ("Paying by card fails", "Carts are kept.", 2)


@both
async def test_the_form_shows_the_releases_of_the_service_that_is_picked(desk: Desk) -> None:
    await desk.slash("ana")
    form = await desk.form("ana", "Reason")
    await desk.workspace.driver.select("ana", form, "Service", "other")
    other = await desk.form("ana", "I do not know which release serves now")
    assert other.inputs == ("Service", "Plan", "Reason", *TOLD)
    await desk.workspace.driver.select("ana", other, "Service", "shop")
    assert "Back to" in (await desk.form("ana", "2.4.0")).inputs


@both
async def test_a_form_is_corrected_and_sent_again_and_opens_once(desk: Desk) -> None:
    await desk.slash("ana", "shop")
    await desk.form("ana", "Reason")
    wrong = await desk.workspace.driver.submit("ana", {"Reason": "no"})
    assert "needs a reason" in wrong.errors["reason"] and await desk.bot.store.heads() == []
    assert (await desk.workspace.driver.submit("ana", {"Reason": "checkout fails"})).ok
    assert len(await desk.bot.store.heads()) == 1


@both
async def test_a_form_delivered_twice_opens_one_run_and_is_answered_once(desk: Desk) -> None:
    await desk.slash("ana", "shop")
    await desk.form("ana", "Reason")
    desk.workspace.faults.add(Fault("duplicate", hits="interactive"))
    seen = await desk.workspace.driver.submit("ana", {"Reason": "checkout fails"}, patience=60)
    await desk.workspace.driver.idle()
    assert seen.ok and len(await desk.bot.store.heads()) == 1
    assert [w.plain.split(",")[0] for w in desk.workspace.driver.whispers("ana")] == ["Rollback of shop: 2.4.1 → 2.4.0"]


@both
async def test_what_is_wrong_in_a_form_is_said_where_its_answer_comes_too_late(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.hear.app.FORM", 0.0)
    await desk.slash("ana", "shop")
    await desk.form("ana", "Reason")
    seen = await desk.workspace.driver.submit("ana", {"Reason": "no"}, patience=60)
    assert seen.modal is None and "needs a reason" in "".join(w.plain for w in desk.workspace.driver.whispers("ana"))


async def test_a_service_without_a_reason_gets_a_form_with_what_was_said(desk: Desk) -> None:
    await desk.slash("ana", "shop to 2.3.9")
    form = await desk.form("ana", "Reason")
    assert form.values["service"]["do:pick-service"]["selected_option"]["value"] == "shop"
    assert form.values["to.shop"]["value"]["selected_option"]["value"] == "2.3.9"


async def test_a_form_shows_that_the_service_has_an_open_run(desk: Desk) -> None:
    await opened(desk)
    await desk.slash("dee", "shop")
    await desk.form("dee", "Reason")
    seen = await desk.workspace.driver.submit("dee", {"Reason": "checkout fails"})
    assert "has an open run already" in seen.errors["service"]


async def test_what_nobody_could_decide_is_asked_about_before_it_is_opened(desk: Desk) -> None:
    (desk.folder / "plans" / "standard.yaml").write_text(desk.plan("standard").replace("approver: 1", "approver: 9"))
    await desk.slash("ana", OPENING)
    asked = await desk.form("ana", "Nobody can pass 1 of the plan's decisions")
    assert asked.inputs == ("Service", "Back to", "Plan", "Reason", *TOLD, "All the same?")
    assert await desk.bot.store.heads() == []
    everything = {"All the same?": "Open it; those decisions need broken glass"}
    assert (await desk.workspace.driver.submit("ana", everything, modal=asked, patience=60)).ok
    run = await desk.until(lambda r: r.created)
    assert [*run.impossible] == ["backend"] and run.created is not None and run.created.reason == "checkout fails"
    assert "Break-glass is possible" in (await desk.card("Nobody can pass at the moment")).text


async def test_a_form_for_what_nobody_could_decide_comes_back_and_asks(desk: Desk) -> None:
    (desk.folder / "plans" / "standard.yaml").write_text(desk.plan("standard").replace("approver: 1", "approver: 9"))
    await desk.slash("ana")
    form = await desk.form("ana", "Reason")
    await desk.workspace.driver.submit("ana", {"Reason": "checkout fails"}, modal=form, patience=60)
    again = await desk.form("ana", "Nobody can pass 1 of the plan's decisions")
    assert await desk.bot.store.heads() == []
    await desk.workspace.driver.submit(
        "ana", {"All the same?": "Open it; those decisions need broken glass"}, modal=again, patience=60
    )
    assert (await desk.until(lambda r: r.created)).impossible


@both
async def test_who_may_not_open_a_rollback_hears_who_can(desk: Desk) -> None:
    for text in ("", "shop", OPENING):
        seen = await desk.slash("fay", text)
        assert "Not yours to open: this needs a commander. Who can: @ana, @dee." in seen.text and seen.modal is None
    assert await desk.bot.store.heads() == []


@pytest.mark.parametrize(("who", "why", "channel"), [
    ("gus", "guests may read", HERE), ("ci", "bots do not decide", HERE), ("sam", "not a member", "shared-acme"),
])  # fmt: skip
async def test_people_who_are_no_members_are_refused_whatever_they_say(
    desk: Desk, who: str, why: str, channel: str
) -> None:
    for text in (OPENING, "status", "token", "help", ""):
        seen = await desk.slash(who, text, channel=channel)
        assert why in seen.text and seen.modal is None
    assert await desk.bot.store.heads() == []


@both
async def test_somebody_deactivated_is_refused_at_the_click(desk: Desk) -> None:
    card = await started(desk)
    desk.workspace.driver.change_user("cho", deleted=True)
    await desk.holds(lambda: _gone(desk, IDS["cho"]))
    assert "deactivated" in (await desk.click("cho", card, "Bring the backend back")).text
    assert "approved" not in await desk.events_since("start")


def _gone(desk: Desk, id: str) -> bool:
    slack = desk.bot.slack
    account = slack.people._seen.accounts.get(id) if slack is not None else None
    return account is not None and account.kind == "deactivated"


async def test_a_channel_without_the_bot_sends_the_card_where_incidents_are_handled(desk: Desk) -> None:
    seen = await desk.slash("ana", OPENING, channel="leads")
    assert "Its card is in #inc-4211" in seen.text
    run = await desk.run()
    assert run.created is not None and run.created.channel == HERE_ID


async def test_a_shared_channel_is_warned_of(desk: Desk) -> None:
    seen = await desk.slash("ana", OPENING, channel="shared-acme")
    assert "shared with another organisation" in seen.text


# -- words -------------------------------------------------------------------------------------------------------------


async def test_unknown_words_get_a_guess(desk: Desk) -> None:
    assert "Did you mean `/rollback status`?" in (await desk.slash("ana", "stauts")).text
    assert "Did you mean `/rollback shop`?" in (await desk.slash("ana", "shp to 2.4.0 because x")).text
    assert "Services are other, shop" in (await desk.slash("ana", "§§§")).text


async def test_looking_is_answered_for_who_asked_alone(desk: Desk) -> None:
    await opened(desk)
    assert "waiting for a commander" in (await desk.slash("fay", "status")).text
    assert "Rollback of shop" in (await desk.slash("fay", "history")).text
    assert "verified" in (await desk.slash("fay", "audit")).text
    assert "api/release: 2.4.1 → 2.4.0" in (await desk.slash("fay", "preview")).text
    assert "api/release: 2.4.1 → 2.3.9" in (await desk.slash("fay", "preview shop to 2.3.9")).text
    assert "/rollback stop" in (await desk.slash("fay", "help")).text
    assert all(p.only_for is None for p in desk.workspace.driver.read(HERE))


async def test_a_token_is_for_one_person_and_opens_the_command_line(desk: Desk) -> None:
    said = (await desk.slash("ben", "token")).text
    token = next(w.removeprefix("ROLLBACK_TOKEN=") for w in said.split() if w.startswith("ROLLBACK_TOKEN="))
    assert "Good until" in said and "stands for you alone" in said
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as web:
        me = await (await web.get(f"{desk.url}/v1/me")).json()
        assert (me["id"], me["roles"]) == (IDS["ben"], ["dba"])
        assert "1 of your tokens" in (await desk.slash("ben", "token revoke")).text
        assert (await web.get(f"{desk.url}/v1/me")).status == 401
    assert all(token not in p.plain for p in desk.workspace.driver.read(HERE))


async def test_a_person_is_told_of_a_token_that_somebody_else_issued_for_them(desk: Desk) -> None:
    await desk.bot.tokens.issue(IDS["ben"], "os:root")
    await desk.slash("cho", "token")
    await desk.bot.tokens.record()
    driver = desk.workspace.driver

    def told() -> list[str]:
        rooms = [c for c in desk.workspace.state.channels.values() if c.kind == "im"]
        return [p.plain for c in rooms for p in driver.read(c.id)]

    async with asyncio.timeout(60):
        while not told():  # noqa: ASYNC110 - a task of the bot posts it
            await asyncio.sleep(0.05)
    (text,) = told()
    assert "was issued for you, by `os:root`" in text and "/rollback token revoke" in text


async def test_a_command_means_the_run_of_its_channel(desk: Desk) -> None:
    await started(desk)
    assert "Stopped" in (await desk.slash("ana", "stop because I want to look")).text
    assert "Going on" in (await desk.slash("cho", "resume")).text
    assert "Stopped" in (await desk.slash("ana", "stop shop", channel="inc-4212")).text
    assert [k for k in await desk.events() if k in ("stopped", "resumed")] == ["stopped", "resumed", "stopped"]


async def test_what_a_command_lacks_is_asked_in_a_form(desk: Desk) -> None:
    await started(desk)
    await desk.slash("ana", "abort")
    form = await desk.form("ana", "Nothing more is done")
    seen = await desk.workspace.driver.submit("ana", {form.inputs[0]: "the fix is out"}, patience=60)
    assert seen.ok and "Aborting" in seen.text
    assert (await desk.run()).abort_reason == "the fix is out"


async def test_a_form_is_not_shown_to_who_may_not(desk: Desk) -> None:
    await started(desk)
    seen = await desk.slash("cho", "abort")
    assert "@ana commands this run" in seen.text and seen.modal is None


async def test_command_is_handed_over_by_name_or_mention(desk: Desk) -> None:
    await started(desk)
    assert "Offered. @dee takes command" in (await desk.slash("ana", f"offer <@{IDS['dee']}|dee>")).text
    assert "You are in command" in (await desk.slash("dee", "take")).text
    assert "Offered. @ana" in (await desk.slash("dee", "offer @ana")).text


# -- clicks ------------------------------------------------------------------------------------------------------------


@both
async def test_two_clicks_bring_the_shop_back(desk: Desk) -> None:
    card = await started(desk)
    seen = await desk.click("cho", card, "Bring the backend back")
    assert "Approved: Bring the backend back." in seen.text
    run = await desk.until(lambda r: not r.open)
    assert run.closed is not None and run.closed.outcome == "verified"
    given = run.asked["backend"].votes[0]
    assert (given.by.id, given.by.via, given.by.roles) == (IDS["cho"], "slack", ("approver",))


@both
async def test_who_may_not_decide_hears_who_can_and_nothing_changes(desk: Desk) -> None:
    card = await started(desk)
    before = (await desk.run()).seq
    assert "Not yours to decide" in (await desk.click("fay", card, "Bring the backend back")).text
    assert "On call: @cho" in (await desk.click("ben", card, "Bring the backend back")).text
    assert "you asked for this run" in (await desk.click("ana", card, "Bring the backend back")).text
    assert (await desk.run()).seq == before


@both
async def test_a_double_click_counts_once(desk: Desk) -> None:
    card = await started(desk)
    both = await asyncio.gather(*(desk.click("cho", card, "Bring the backend back") for _ in range(2)))
    assert sum("Approved" in s.text for s in both) >= 1
    await desk.until(lambda r: not r.open)
    assert (await desk.events()).count("approved") == 2  # start, and this


@both
@pytest.mark.parametrize("kind", ["duplicate", "lose_ack"])
async def test_a_click_delivered_twice_or_unacknowledged_is_one_click(desk: Desk, kind: Any) -> None:
    card = await started(desk)
    desk.workspace.faults.add(Fault(kind, hits="interactive"))
    await desk.click("cho", card, "Bring the backend back")
    await desk.until(lambda r: not r.open)
    assert (await desk.events()).count("approved") == 2
    told = [w.plain for w in desk.workspace.driver.whispers("cho")]
    assert told == ["Approved: Bring the backend back."]


@both
async def test_words_delivered_twice_open_one_run_and_are_answered_once(desk: Desk) -> None:
    desk.workspace.faults.add(Fault("duplicate", hits="slash_commands"))
    await desk.slash("ana", OPENING)
    await desk.workspace.driver.idle()
    await asyncio.sleep(0.2)
    assert len(await desk.bot.store.heads()) == 1
    assert len(desk.workspace.driver.whispers("ana")) == 1


@both
async def test_a_repeated_delivery_after_a_restart_says_and_does_nothing(desk: Desk) -> None:
    await desk.slash("ana", OPENING)
    again = copy.deepcopy(next(d for d in desk.workspace.delivered if d["type"] == "slash_commands"))
    await desk.restart()
    await desk.workspace.deliver("slash_commands", again["payload"], answerable=True)
    await asyncio.sleep(0.3)
    assert len(await desk.bot.store.heads()) == 1
    assert len(desk.workspace.driver.whispers("ana")) == 1


async def test_a_stale_card_is_refused_and_drawn_again(desk: Desk) -> None:
    card = await started(desk)
    run = await desk.run()
    old = Press("approve", run.id, "backend", "0" * 12)
    seen = await press(desk, "cho", card, old)
    assert "has changed since you looked" in seen.text
    assert (await desk.run()).asked["backend"].votes == ()


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


@pytest.mark.parametrize(("value", "block"), [
    ("approve|backend|x", "somewhere"), ("nonsense", "a|shop-1"), ("fly|to|moon", "root|RUN"), ("||", "root|RUN"),
    ("approve|backend|card", "root|shop-ffffff"), ("ask-approve|nothing|card", "root|RUN"), ("skip-of|x|", "root|RUN"),
])  # fmt: skip
async def test_a_press_that_is_none_of_ours_is_answered_politely_and_writes_nothing(
    desk: Desk, value: str, block: str
) -> None:
    card = await started(desk)
    before = await desk.run()
    button = {"type": "button", "action_id": "do:x", "value": value, "text": _plain("Old")}
    row = {"type": "actions", "block_id": block.replace("RUN", before.id), "elements": [button]}
    shown = Post(**{**{f: getattr(card, f) for f in card.__dataclass_fields__}, "blocks": (row,)})
    seen = await desk.workspace.driver.click("cho", shown, "Old", patience=60)
    assert seen.ok and seen.text and "Something broke" not in seen.text
    assert (await desk.run()).seq == before.seq


@both
async def test_a_phrase_is_typed_in_a_form_that_says_when_it_is_wrong(desk: Desk) -> None:
    (desk.folder / "plans" / "standard.yaml").write_text(desk.plan("typed").replace("typed", "standard", 1))
    card = await started(desk)
    refused = await desk.click("fay", card, _label(card, "Bring the backend back"))
    assert "Not yours to decide" in refused.text and refused.modal is None
    seen = await desk.click("cho", card, _label(card, "Bring the backend back"))
    assert seen.modal is not None and 'Type "backend shop"' in seen.modal.inputs
    wrong = await desk.workspace.driver.submit("cho", {seen.modal.inputs[0]: "backend"})
    assert "Type" in wrong.errors["phrase"]
    assert (await desk.workspace.driver.submit("cho", {seen.modal.inputs[0]: "Backend Shop"})).ok
    run = await desk.until(lambda r: r.asked["backend"].decided)
    assert run.asked["backend"].votes[0].by.id == IDS["cho"]


def _label(card: Post, text: str) -> str:
    return next(b for b in card.buttons if b.startswith(text))


async def test_a_step_is_skipped_with_a_reason_and_an_approvers_word(desk: Desk) -> None:
    await started(desk)
    await desk.slash("ana", "skip serves")
    form = await desk.form("ana", "left out")
    assert (await desk.workspace.driver.submit("ana", {form.inputs[0]: "we look ourselves"})).ok
    run = await desk.until(lambda r: r.proposals)
    (proposal,) = run.proposals
    assert "Done: skip Serves the target release" in (await desk.slash("cho", f"agree {proposal}")).text
    assert (await desk.run()).steps["serves"].end == "skipped"


async def test_another_release_is_chosen_from_those_in_the_ledger(desk: Desk) -> None:
    await started(desk)
    await desk.slash("ana", "retarget")
    form = await desk.form("ana", "brings another release")
    values = {"release": "2.3.9", "reason": "2.4.0 is no better"}
    seen = await desk.workspace.driver.submit("ana", values, modal=form, patience=60)
    assert seen.ok and "go back to 2.3.9" in seen.text
    proposal = next(iter((await desk.run()).proposals.values()))
    assert proposal.release is not None and proposal.release.images != {} and proposal.release != Release("2.3.9")


async def test_a_smaller_plan_is_chosen_while_nothing_has_begun_and_not_after(desk: Desk) -> None:
    await desk.slash("ana", OPENING)
    first = (await desk.run()).id
    await desk.click("ana", await desk.button("Smaller plan"), "Smaller plan…")
    form = await desk.form("ana", "Nothing has begun yet")
    values = {"plan": "typed", "reason": "only the api"}
    assert (await desk.workspace.driver.submit("ana", values, modal=form, patience=60)).ok
    run = await desk.until(lambda r: r.plan.name == "typed")
    assert run.created is not None and run.created.instead_of == first and run.created.channel == HERE_ID
    assert (await desk.bot.store.load(first)).closed is not None
    await desk.click("ana", await desk.button("Start the rollback"), "Start the rollback")
    await desk.until(lambda r: r.asked["start"].decided)
    assert "Too late for another plan" in await told(
        desk, "ana", desk.slash("ana", "replan standard because all of it is bad")
    )


async def test_a_service_is_frozen_without_a_rollback_and_its_card_lifts_that(desk: Desk) -> None:
    assert "needs a commander" in (await desk.slash("cho", "freeze shop because of the audit")).text
    assert "Which service, and why?" in (await desk.slash("ana", "freeze shop")).text
    assert "New releases of shop are refused from now on" in await told(
        desk, "ana", desk.slash("ana", "freeze because of the audit")
    )
    card = await desk.button("Lift the freeze")
    assert card.text.startswith("*Freeze of shop*") and "Another release…" not in card.buttons
    assert (await desk.bot.rollbacks.freeze("shop")).locked
    await desk.slash("ana", OPENING)
    slack = desk.bot.slack
    assert slack is not None
    meant = await Places(desk.bot, slack.channels).run(HERE_ID, "")
    assert meant == (await desk.run()).id, "the freeze stands in nobody's way"
    await desk.click("dee", card, "Lift the freeze")
    await desk.card("Freeze of shop: closed")
    assert not (await desk.bot.rollbacks.freeze("shop")).locked


async def test_words_lift_a_freeze_as_well(desk: Desk) -> None:
    await desk.slash("ana", "freeze shop because of the audit")
    await desk.button("Lift the freeze")
    assert "The freeze of shop is being lifted" in await told(
        desk, "dee", desk.slash("dee", "thaw shop because it is over")
    )
    await desk.until(lambda r: not r.open)
    assert not (await desk.bot.rollbacks.freeze("shop")).locked


async def test_the_postmortem_is_held_when_the_form_says_and_that_begins_two_working_days_on(desk: Desk) -> None:
    card = await started(desk)
    assert "is still open" in (await desk.slash("ana", "postmortem")).text
    await desk.click("cho", card, "Bring the backend back")
    run = await desk.until(lambda r: not r.open)
    await desk.slash("ana", f"postmortem {run.id}")
    form = await desk.form("ana", "Everybody gets a new invitation")
    (picker,) = [b["element"] for b in form.blocks if b["type"] == "input"]
    proposed = datetime.fromtimestamp(picker["initial_date_time"], UTC)
    ended = datetime.fromtimestamp(run.restored or 0.0, UTC).date()
    days = [ended + timedelta(days=n) for n in range(1, 8)]
    assert proposed.date() == [d for d in days if d.weekday() < 5][1] and proposed.hour == 10
    seen = await desk.workspace.driver.submit("ana", {"at": str(int(desk.bot.clock()) - 60)}, modal=form, patience=60)
    assert not seen.ok and "within the coming year" in str(seen.errors)
    chosen = picker["initial_date_time"] + 86400
    seen = await desk.workspace.driver.submit("ana", {"at": str(chosen)}, modal=form, patience=60)
    assert seen.ok and f"The postmortem of {run.id} is moved to" in seen.text
    (later,) = [h.run for h in await desk.bot.store.heads() if h.kind == "postmortem"]
    created = (await desk.bot.store.load(later)).created
    assert created is not None and created.follows == run.id
    assert datetime.fromisoformat(created.meeting).timestamp() == chosen
    said = await desk.slash("ana", f"postmortem {run.id} at tomorrow")
    assert "is no time" in said.text


async def test_a_debt_is_handed_to_a_person_until_a_time(desk: Desk) -> None:
    card = await started(desk)
    desk.shop.break_next(Broken(next=99, method="PUT", path="/release", status=422, serve=False))
    await desk.click("cho", card, "Bring the backend back")
    await desk.until(lambda r: r.debts and r.halted)
    await desk.slash("ana", "abort because it does not work")
    await desk.until(lambda r: r.aborted)
    await desk.slash("ana", "hand-over quiesce")
    form = await desk.form("ana", "becomes somebody's")
    seen = await desk.workspace.driver.submit(
        "ana", {"to": IDS["cho"], "reason": "after lunch"}, modal=form, patience=60
    )
    assert seen.ok, seen
    run = await desk.until(lambda r: r.debts["quiesce"].owner)
    assert run.debts["quiesce"].owner == IDS["cho"]
    said = (await desk.slash("cho", "debts")).text
    assert "Go read-only is in place" in said and "@cho sees to it until" in said and IDS["cho"] not in said
    assert f"/rollback restore {run.id} quiesce because ..." in said and "rollback-bot" not in said
    assert "Nothing is in place" in (await desk.slash("cho", "debts billing")).text


async def test_what_is_wrong_with_a_form_stands_under_its_field_whatever_the_words_are(desk: Desk) -> None:
    card = await started(desk)
    desk.shop.break_next(Broken(next=99, method="PUT", path="/release", status=422, serve=False))
    await desk.click("cho", card, "Bring the backend back")
    await desk.until(lambda r: r.debts and r.halted)
    submit = desk.workspace.driver.submit
    with reworded():
        await desk.slash("ana", "shop to 2.4.0")
        form = await desk.form("ana", "Reason")
        assert (await submit("ana", {"Reason": "no"}, modal=form)).errors == {"reason": WORDS}
        await desk.slash("ana", "skip")
        form = await desk.form("ana", "left out")
        assert (await submit("ana", {form.inputs[0]: "Switch the release", "reason": "-"}, modal=form)).errors == {
            "reason": WORDS
        }
        await desk.slash("ana", "offer")
        form = await desk.form("ana", "command once they take it")
        assert (await submit("ana", {"to": IDS["fay"]}, modal=form)).errors == {"to": WORDS}


# -- trouble -----------------------------------------------------------------------------------------------------------


async def test_a_form_that_slack_refuses_to_open_says_what_to_type(desk: Desk) -> None:
    desk.workspace.faults.add(Fault("error", hits="views.open", error="expired_trigger_id"))
    seen = await desk.slash("ana")
    assert "Type it instead: `/rollback shop to 2.4.0 because checkout fails`" in seen.text


@both
async def test_a_fault_of_ours_is_told_with_a_number_that_the_log_has(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(type(desk.bot.rollbacks), "find", broken)
    seen = await desk.slash("ana", "status")
    ref = seen.text.split("under ")[1].split(".")[0]
    assert "Something broke" in seen.text and f"fault {ref}" in caplog.text and "oops" not in seen.text


async def test_words_that_are_too_long_are_refused(desk: Desk) -> None:
    assert "at most 2000 are read" in (await desk.slash("ana", "shop because " + "x" * 3000)).text
    assert await desk.bot.store.heads() == []


@both
async def test_what_was_heard_is_answered_before_the_bot_goes(desk: Desk) -> None:
    card = await started(desk)
    click = asyncio.create_task(desk.click("cho", card, "Bring the backend back"))
    await desk.workspace.driver.wait_for(lambda: any(d["type"] == "interactive" for d in desk.workspace.delivered[-1:]))
    await desk.restart()
    await click
    assert (await desk.until(lambda r: not r.open)).asked["backend"].votes


async def test_the_command_line_decides_beside_slack(desk: Desk) -> None:
    await started(desk)
    run = await desk.run()
    cho = await desk.bot.people.person(IDS["cho"])
    said = await desk.bot.rollbacks.command(run.id, Approve("backend", run.card("backend")), cho, "cli")
    assert not isinstance(said, Refusal)
    await desk.until(lambda r: not r.open)


@both
async def test_a_bot_starts_while_slack_is_away_and_the_command_line_goes_on(desk: Desk) -> None:
    await started(desk)
    desk.workspace.faults.add(Fault("outage"))
    await desk.restart()
    assert (await desk.ready())["slack"]
    async with aiohttp.ClientSession() as web:
        assert (await web.get(f"{desk.url}/readyz")).status == 200  # a Slack that is away makes nobody unready
    token = await desk.bot.tokens.issue(IDS["cho"], "os:test")
    run = await desk.run()
    command = {"do": "approve", "decision": "backend", "card": run.card("backend")}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as web:
        assert (await web.post(f"{desk.url}/v1/runs/{run.id}/commands", json=command)).status == 200
    run = await desk.until(lambda r: not r.open)
    assert run.asked["backend"].votes[0].by.roles == ("approver",)
    desk.workspace.faults.clear()
    await desk.card("2.4.0 and is verified")


async def test_what_slack_last_said_is_known_without_a_bot(desk: Desk) -> None:
    settings = desk.settings
    await desk.down()
    async with wiring.offline(settings) as host:
        found = {p.name: sorted(p.roles) for p in await host.people.everyone()}
    assert found["cho"] == ["approver"] and found["ana"] == ["commander"]


# -- HTTP mode ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["http"], indirect=False)
async def test_only_what_slack_signed_lately_is_heard(desk: Desk) -> None:
    signed = desk.workspace.signed
    body = urlencode({"command": "/rollback", "text": OPENING, "user_id": IDS["ana"], "channel_id": HERE_ID,
                      "team_id": "T0PLAYGRND", "trigger_id": "1.2.3", "response_url": ""})  # fmt: skip
    assert (await signed.post(body, FORM, secret="another"))[0] == 401
    assert (await signed.post(body, FORM, skew=-301.0))[0] == 401
    assert (await signed.post(body, FORM, skew=301.0))[0] == 401
    async with aiohttp.ClientSession() as web:
        url = desk.url + PATH
        assert (await web.post(url, data=body)).status == 401
        odd = {"X-Slack-Request-Timestamp": "٣", "X-Slack-Signature": "v0=é"}
        assert (await web.post(url, data=body, headers=odd)).status == 401
        now = {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=é"}
        assert (await web.post(url, data=body, headers=now)).status == 401
        assert (await web.post(url, data=b"\xff\xfe", headers=now | {"X-Slack-Signature": "v0=e"})).status == 401
        assert (await web.post(url, data=io.BytesIO(b"x" * 2_000_000))).status == 413
        assert (await web.get(url)).status == 405
    assert await desk.bot.store.heads() == []
    assert (await signed.post(body, FORM))[0] == 200
    await desk.until(lambda r: r.open)


BAD: list[tuple[str, str]] = [
    ("application/json", "{"), ("application/json", "[]"), ("application/json", "null"), ("application/json", ""),
    ("application/json", json.dumps({"type": "event_callback"})),
    ("application/json", json.dumps({"type": "event_callback", "event": "x"})),
    ("application/json", json.dumps({"type": "event_callback", "event": {"type": ["x"]}})),
    (FORM["content-type"], "payload={"), (FORM["content-type"], "payload=[]"), (FORM["content-type"], "%ff=%fe"),
    (FORM["content-type"], urlencode({"payload": json.dumps({"type": "block_actions", "actions": 3})})),
    (FORM["content-type"], urlencode({"payload": json.dumps({"type": "block_actions", "actions": [{}]})})),
    (FORM["content-type"], urlencode({"payload": json.dumps({"type": "view_submission", "view": {}})})),
    (FORM["content-type"], urlencode({"payload": json.dumps({"type": "view_submission", "view": {"callback_id": 3}})})),
    (FORM["content-type"], urlencode({"command": "/rollback", "text": "x\x00y", "user_id": "U1", "trigger_id": "1"})),
    (FORM["content-type"], urlencode({"command": "/rollback"})),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["http"], indirect=False)
async def test_what_cannot_be_read_is_no_fault_and_writes_nothing(desk: Desk) -> None:
    for kind, body in BAD:
        status, _, _ = await desk.workspace.signed.post(body, {"Content-Type": kind})
        assert status < 500, (kind, body)
    assert await desk.bot.store.heads() == [] and "opened" in (await desk.slash("ana", OPENING)).text


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "lacks"), [
    ({"slack": "socket"}, "ROLLBACK_SLACK_BOT_TOKEN"),
    ({"slack": "socket", "slack_bot_token": "xoxb-1"}, "ROLLBACK_SLACK_APP_TOKEN"),
    ({"slack": "http", "slack_bot_token": "xoxb-1"}, "ROLLBACK_SLACK_SIGNING_SECRET"),
])  # fmt: skip
def test_a_mode_names_the_secret_that_it_lacks(changes: dict[str, Any], lacks: str) -> None:
    with pytest.raises(ValueError, match=lacks):
        Settings(**changes)
