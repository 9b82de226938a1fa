"""Everybody who may not, and everything that cannot be: each hears why and who can, and not a row is written."""

from __future__ import annotations

import asyncio

import pytest

from bot.playground.workspace import Post
from bot.slack.draw.press import Press
from tests.slack.acting import BACKEND, START, opened, press, shown, started, told
from tests.slack.conftest import HERE, IDS, OPENING, Desk, both


async def seq(desk: Desk) -> int:
    """How long the newest run's log is."""
    return (await desk.run()).seq


async def test_an_approver_whose_home_is_another_workspace_of_the_organisation_decides(desk: Desk) -> None:
    desk.workspace.driver.change_user("cho", team_id="T0HOMEWSPC", org_teams=("T0PLAYGRND", "T0HOMEWSPC"))
    card = await started(desk)
    await desk.click("cho", card, BACKEND)
    run = await desk.until(lambda r: r.asked["backend"].decided)
    assert [v.by.id for v in run.asked["backend"].votes] == [IDS["cho"]]


@both
async def test_whoever_may_not_press_start_or_approve_hears_who_can(desk: Desk) -> None:
    root = await opened(desk)
    run = await desk.run()
    before = await seq(desk)
    for who, why in (("fay", "Who can: @ana, @dee"), ("cho", "Who can: @ana, @dee"), ("gus", "guests may read")):
        assert why in await told(desk, who, desk.click(who, root, START)), who
    assert "bots do not decide" in await told(desk, "ci", desk.click("ci", root, START))
    assert await seq(desk) == before
    await desk.click("ana", root, START)
    await desk.until(lambda r: r.asked["backend"].opened)
    card = await desk.button(BACKEND)
    before = await seq(desk)
    for who, why in (
        ("fay", "this needs an approver. On call: @cho"), ("ben", "this needs an approver. On call: @cho"),
        ("ana", "you asked for this run or commanded it. This needs an approver. On call: @cho"),
        ("dee", "this needs an approver. On call: @cho"), ("gus", "guests may read, not decide"),
    ):  # fmt: skip
        assert why in await told(desk, who, desk.click(who, card, BACKEND)), who
    for who, button, why in (
        ("fay", "Not now", "this is decided by an approver"), ("fay", "Break glass…", "Not yours to decide"),
        ("cho", "Abort…", "@ana commands this run"), ("dee", "Abort…", "`take` takes command"),
        ("fay", "Skip one of them…", ""),
    ):  # fmt: skip
        said = await desk.click(who, card, button)
        assert why in said.text and (said.modal is None or not why), (who, button)
    again = await told(desk, "ana", press(desk, "ana", root, Press("approve", run.id, "start", "0" * 12)))
    assert "decided already, by @ana" in again
    assert await seq(desk) == before, await desk.events()


async def test_strangers_are_refused_at_a_button_in_a_shared_channel(desk: Desk) -> None:
    await desk.slash("ana", OPENING, channel="shared-acme")
    card = await desk.button(START, channel="shared-acme")
    before = await seq(desk)
    assert "not a member of this workspace" in await told(desk, "sam", desk.click("sam", card, START))
    assert "not a member" in await told(desk, "sam", desk.slash("sam", "stop", channel="shared-acme"))
    assert await seq(desk) == before


@both
async def test_a_role_counts_as_it_is_at_the_click(desk: Desk) -> None:
    card = await started(desk)
    desk.workspace.driver.set_group("approvers", ["eli"])
    await desk.holds(lambda: _lacks(desk, "cho", "approver"))
    assert "this needs an approver. Who can: @eli" in await told(desk, "cho", desk.click("cho", card, BACKEND))
    await desk.click("eli", card, BACKEND)
    assert (await desk.until(lambda r: r.asked["backend"].decided)).asked["backend"].votes[0].by.name == "eli"


async def _lacks(desk: Desk, who: str, role: str) -> bool:
    return role not in (await desk.bot.people.person(IDS[who])).roles


@both
async def test_two_approvers_at_the_same_moment_are_one_decision_and_both_are_answered(desk: Desk) -> None:
    card = await started(desk)
    said = await asyncio.gather(*(told(desk, w, desk.click(w, card, BACKEND)) for w in ("cho", "eli")))
    won = [s for s in said if s == "Approved: Bring the backend back."]
    lost = [s for s in said if "decided already, by @" in s]
    assert (len(won), len(lost)) == (1, 1), said
    run = await desk.until(lambda r: r.closed)
    assert len(run.asked["backend"].votes) == 1
    assert len([line for line in desk.shop.log if line["path"] == "/release"]) == 1
    await shown(desk)


async def test_a_card_that_drifted_since_it_was_drawn_is_refused_and_shows_what_differs(desk: Desk) -> None:
    card = await started(desk)
    await desk.shop.edit("release", release="2.3.9")
    said = await told(desk, "cho", desk.click("cho", card, BACKEND))
    changed = await desk.shown(lambda: _saying(desk, "Changed since it was looked at"), "the drift")
    assert "2.3.9 → 2.4.0" in changed.plain and not (await desk.run()).asked["backend"].decided
    if "Approved" in said:  # counted, and dropped before anything was done
        assert "No longer valid: the approval of @cho" in changed.plain
    assert not [line for line in desk.shop.log if line["path"] == "/release"]
    old = await told(desk, "eli", desk.click("eli", card, BACKEND))
    assert "has changed since you looked" in old
    await shown(desk)
    await desk.click("cho", await desk.button(BACKEND), BACKEND)
    await desk.until(lambda r: r.closed)
    await shown(desk)


def _saying(desk: Desk, text: str) -> Post | None:
    return desk.workspace.driver.find(HERE, text)


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_command_that_means_no_run_or_several_says_what_to_name(desk: Desk) -> None:
    driver = desk.workspace.driver
    assert "no open" in (await desk.slash("ana", "stop")).text.lower()
    await opened(desk)
    assert "There is no step" in (await desk.slash("ana", "retry nothing")).text
    assert "There is no open proposal 'x'" in (await desk.slash("cho", "agree x")).text
    assert "cannot command. Who can: @dee" in (await desk.slash("ana", "offer @cho")).text
    assert "nosuch" in (await desk.slash("ana", "stop nosuch")).text
    assert all(p.only_for is None for p in driver.read(HERE))
    assert await desk.events() == [k for k in await desk.events() if k not in ("stopped", "command offered")]


async def test_a_reason_with_a_secret_is_refused_with_a_hint_and_never_repeated(desk: Desk) -> None:
    secret = "rbt_" + "aB3" * 12
    said = (await desk.slash("ana", f"shop to 2.4.0 because the log says {secret}")).text
    assert "looks like a secret (rollback-token)" in said and "Say it without the value" in said and secret not in said
    await opened(desk)
    before = await seq(desk)
    said = (await desk.slash("ana", f"stop because {secret}")).text
    assert "looks like a secret" in said and secret not in said
    assert await seq(desk) == before


@pytest.mark.parametrize("mode", ["http"])
async def test_a_bot_that_can_post_nowhere_says_how_to_invite_it_and_opens_nothing(desk: Desk) -> None:
    desk.workspace.driver.archive("ana", HERE)
    seen = await desk.slash("ana", OPENING, channel="leads")
    assert "I am not in this channel" in seen.text and "/invite" in seen.text and "Nothing was opened" in seen.text
    assert await desk.bot.store.heads() == []


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_bot_that_was_put_out_of_a_public_channel_comes_back_with_the_card(desk: Desk) -> None:
    desk.workspace.driver.leave("rollback", HERE)
    assert "Its card is in #inc-4211" in (await desk.slash("ana", OPENING, channel="leads")).text
    await desk.button(START)
