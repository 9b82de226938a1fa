"""Slack's faults, crashes and absences, one after the other: at the end nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

import pytest

from bot.playground.workspace import Fault, Post
from bot.run.state import Run
from tests.slack.acting import BACKEND, START, by_command_line, copies, opened, process, shown, started, told
from tests.slack.conftest import HERE, MODES, OPENING, Desk, both, desk_in

# -- every fault of the workspace, while a run walks to its end --------------------------------------------------------

CALLS = {
    "answers lost": [Fault("lose_answer", hits="chat.*", next=4)],
    "answers cut in the middle": [Fault("cut", hits="chat.*", next=4)],
    "connections refused": [Fault("refuse", hits="*", next=5)],
    "slow": [Fault("delay", hits="chat.*", next=3, seconds=1.5)],
    "a storm of 429": [Fault("ratelimited", hits="chat.*", next=6, retry_after=2)],
    "errors inside Slack": [Fault("error", hits="chat.*", next=3, error="internal_error")],
    "files fail": [Fault("lose_answer", hits="files.*", next=1), Fault("refuse", hits="upload", next=1)],
    "answers to people fail": [Fault("refuse", hits="response_url", next=2)],
}
DELIVERIES = {
    "delivered twice": [Fault("duplicate", hits="*", next=6)],
    "acknowledgements lost": [Fault("lose_ack", hits="*", next=3)],
    "late": [Fault("late", hits="interactive", next=1, seconds=0.5)],
    "sockets dropped": [Fault("drop_socket", hits="interactive", next=1)],
}


EACH = [
    *(("socket" if i % 2 else "http", what) for i, what in enumerate(CALLS)),  # the same whichever way Slack calls us
    *((mode, what) for mode in MODES for what in DELIVERIES),
]


@pytest.mark.parametrize(("mode", "what"), EACH)
async def test_a_rollback_ends_verified_and_is_shown_once_whatever_goes_wrong(desk: Desk, what: str) -> None:
    for fault in {**CALLS, **DELIVERIES}[what]:
        desk.workspace.faults.add(fault)
    await desk.slash("ana", OPENING)
    await desk.until(lambda r: r.asked["start"].opened)
    await _clicked(desk, "ana", START)
    await desk.until(lambda r: r.asked["backend"].opened)
    await _clicked(desk, "cho", BACKEND)
    run = await desk.until(lambda r: r.closed)
    desk.workspace.faults.clear()
    await shown(desk)
    events = await desk.events()
    assert (events.count("created"), events.count("approved"), events.count("closed")) == (1, 2, 1)
    assert run.closed is not None and run.closed.outcome == "verified"
    assert len([line for line in desk.shop.log if line["path"] == "/release"]) == 1
    assert len(await desk.bot.store.heads()) == 1


async def _clicked(desk: Desk, who: str, label: str) -> None:
    """As somebody does who presses again when Slack says that it did not work."""
    for _ in range(5):
        card = await desk.button(label)
        if not (await desk.click(who, card, label)).error:
            return
        await asyncio.sleep(0.3)
        if not any(label in p.buttons for p in desk.workspace.driver.read(HERE)):
            return


# -- the bot goes away -------------------------------------------------------------------------------------------------


@both
async def test_open_gates_survive_a_restart_and_the_old_buttons_work(desk: Desk) -> None:
    card = await started(desk)
    before = {slot: [p.ts for p in posts] for slot, posts in copies(desk, (await desk.run()).id).items()}
    await desk.restart()
    assert "Approved" in await told(desk, "cho", desk.click("cho", card, BACKEND))
    await desk.until(lambda r: r.closed)
    run = await shown(desk)
    after = {slot: [p.ts for p in posts] for slot, posts in copies(desk, run.id).items()}
    assert before.items() <= after.items(), "the same messages, edited in place"


async def test_a_post_whose_answer_was_lost_is_found_again_after_a_restart(desk: Desk) -> None:
    await opened(desk)
    await shown(desk)
    desk.workspace.faults.add(Fault("lose_answer", hits="chat.postMessage", next=1))
    await desk.click("ana", await desk.button(START), START)
    await desk.button(BACKEND)
    slots = await desk.bot.store.slots((await desk.run()).id)
    await desk.restart()
    assert "decision.backend" in slots
    await shown(desk)
    await desk.click("cho", await desk.button(BACKEND), BACKEND)
    await desk.until(lambda r: r.closed)
    await shown(desk)


@both
async def test_a_click_while_the_bot_is_down_fails_visibly_and_works_when_pressed_again(desk: Desk) -> None:
    card = await started(desk)
    await desk.down()
    assert (await desk.click("cho", card, BACKEND)).error
    await desk.up()
    assert not (await desk.run()).asked["backend"].votes
    await desk.click("cho", card, BACKEND)
    await desk.until(lambda r: r.closed)
    await shown(desk)


# -- Slack goes away ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "status"), [("socket", 503), ("http", 0)])
async def test_slack_is_gone_for_ten_minutes_while_the_command_line_ends_the_run(desk: Desk, status: int) -> None:
    card = await started(desk)
    before = (await desk.run()).id
    desk.workspace.faults.add(Fault("outage", seconds=600, status=status))
    assert (await desk.click("cho", card, BACKEND)).error
    await desk.later(120)
    assert "Stopped" in (await by_command_line(desk, "ana", "stop"))["text"]
    await desk.later(120)
    assert "Going on" in (await by_command_line(desk, "ana", "resume"))["text"]
    run = await desk.until(lambda r: r.asked["backend"].opened)
    said = await by_command_line(desk, "cho", "approve", decision="backend", card=run.card("backend"))
    assert "Approved" in said["text"]
    run = await desk.until(lambda r: r.closed)
    assert "slack" in await desk.ready() and (await desk.ready())["slack"]
    assert desk.workspace.faults.outage and desk.workspace.driver.find(HERE, "and is verified") is None
    await desk.later(400)
    run = await shown(desk)
    assert run.id == before and not desk.workspace.faults.outage
    posts = desk.workspace.driver.read(HERE)
    said = [p.plain.splitlines()[0] for p in posts[1:]]
    assert said.count("shop runs 2.4.0 and is verified.") == 1 and "shop runs 2.4.0 again." not in said
    assert not any("waits for an approver" in p.plain for p in posts), "a reminder of what is over helps nobody"
    await desk.holds(lambda: _heard(desk))


async def _heard(desk: Desk) -> bool:
    return "verified" in (await desk.slash("fay", "history")).text


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_refresh_of_the_socket_loses_nothing(desk: Desk) -> None:
    card = await started(desk)
    for warn in (True, False, True):
        refresh = asyncio.create_task(desk.workspace.sockets.refresh(warn=warn))
        seen = await desk.click("fay", card, BACKEND)
        assert "Not yours to decide" in seen.text or (seen.error and not warn), "said, or visibly not heard"
        while not refresh.done():
            await desk.later(2)
            await asyncio.sleep(0.05)
        await desk.workspace.driver.wait_for(lambda: len(desk.workspace.sockets) > 0, 60)
    await desk.click("cho", card, BACKEND)
    await desk.until(lambda r: r.closed)
    await shown(desk)


# -- kill -9 -----------------------------------------------------------------------------------------------------------


async def test_a_bot_killed_with_gates_open_and_work_under_way_goes_on_where_it_was(tmp_path: Path) -> None:
    async with desk_in(tmp_path, "socket", start=False) as desk:
        driver = desk.workspace.driver
        async with process(desk):
            await desk.slash("ana", OPENING)
            await driver.wait_for(lambda: _offering(desk, START), 60)
            await desk.click("ana", _offering(desk, START)[0], START)
            await driver.wait_for(lambda: _offering(desk, BACKEND), 60)
            card = _offering(desk, BACKEND)[0]
        async with process(desk):
            assert "Approved" in await told(desk, "cho", desk.click("cho", card, BACKEND))
        await desk.up()
        run: Run = await desk.until(lambda r: r.closed)
        assert run.closed is not None and run.closed.outcome == "verified"
        await shown(desk)
        assert len([line for line in desk.shop.log if line["path"] == "/release"]) == 1


def _offering(desk: Desk, label: str) -> list[Post]:
    return [p for p in desk.workspace.driver.read(HERE) if label in p.buttons]


# -- long ago ----------------------------------------------------------------------------------------------------------


@both
async def test_a_click_delivered_again_after_a_restart_does_and_says_nothing(desk: Desk) -> None:
    card = await started(desk)
    await told(desk, "cho", desk.click("cho", card, BACKEND))
    await desk.until(lambda r: r.closed)
    again = [copy.deepcopy(d) for d in desk.workspace.delivered if d["type"] == "interactive"]
    words = len(desk.workspace.driver.whispers("cho"))
    await desk.restart()
    seq = (await desk.run()).seq
    for d in again:
        await desk.workspace.deliver("interactive", d["payload"])
    await asyncio.sleep(0.3)
    assert (await desk.run()).seq == seq and len(desk.workspace.driver.whispers("cho")) == words
    await shown(desk)
