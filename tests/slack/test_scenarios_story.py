"""Whole rollbacks as people live through them, over real sockets; at the end Slack shows each, once."""

from __future__ import annotations

from bot.playground.workspace import Post
from tests.fixtures.lone_shop import Fault as Broken
from tests.slack.acting import BACKEND, by_command_line, copies, opened, shown, started, told
from tests.slack.conftest import HERE, IDS, Desk, both


def thread(desk: Desk) -> list[str]:
    """The first line of everything in the channel, in order, replies indented."""
    posts = [p for p in desk.workspace.driver.read(HERE)]
    return [f"{'  ' if p.is_reply else ''}{p.plain.splitlines()[0]}" for p in posts]


async def halted(desk: Desk) -> Post:
    """A run whose switch stopped, with something temporary in place; the card of the halt."""
    card = await started(desk)
    desk.shop.break_next(Broken(next=99, method="PUT", path="/release", status=422, serve=False))
    await desk.click("cho", card, BACKEND)
    await desk.until(lambda r: r.debts and r.halted)
    return await desk.button("Try again")


# -- straight through --------------------------------------------------------------------------------------------------


@both
async def test_from_the_first_word_to_verified_the_thread_reads_as_a_story(desk: Desk) -> None:
    card = await started(desk)
    assert "`api/release` 2.4.1 → 2.4.0" in card.plain and "Asked: an approver, not @ana." in card.plain
    assert card.buttons[:2] == (BACKEND, "Not now") and card.is_reply
    await desk.click("cho", card, BACKEND)
    await desk.until(lambda r: r.closed)
    run = await shown(desk)
    assert run.closed is not None and run.closed.outcome == "verified"
    said = thread(desk)
    assert said[0].startswith("Rollback of shop: 2.4.1 → 2.4.0 · verified after")
    assert any(line.startswith("  Bring the backend back · approved by @cho (approver) at") for line in said)
    assert "  Verification: 1 of 1 pass." in said
    (end,) = copies(desk, run.id)["end"]
    assert end.plain.startswith("shop runs 2.4.0 and is verified.") and not end.is_reply
    assert "Nothing is paused or held any more." in end.plain and "shop runs 2.4.0 again." not in said
    assert {"audit.md", "timeline.html"} <= {f for p in desk.workspace.driver.read(HERE) for f in p.files} | {
        s.partition("/")[2] for s in await desk.bot.store.slots(run.id)
    }
    status = [p.plain for p in desk.workspace.driver.read("status")]
    assert status and "2.4.0" in status[0]
    open_buttons = {b for p in desk.workspace.driver.read(HERE) for b in p.buttons}
    assert open_buttons == {"Roll forward again…"}, "what is over has no buttons but the way forward"


@both
async def test_slack_and_the_command_line_drive_one_run_together(desk: Desk) -> None:
    await opened(desk)
    run = await desk.run()
    said = await by_command_line(desk, "ana", "approve", decision="start", card=run.card("start"))
    assert "Approved" in said["text"]
    card = await desk.button(BACKEND)
    assert "Stopped" in await told(desk, "ana", desk.slash("ana", "stop"))
    assert "Going on" in (await by_command_line(desk, "cho", "resume"))["text"]
    await desk.until(lambda r: r.asked["backend"].opened)
    refused = await by_command_line(desk, "ana", "approve", decision="backend", card=run.card("backend"))
    assert "you asked for this run" in refused["text"]
    await desk.click("cho", await desk.button(BACKEND), BACKEND)
    late = await told(desk, "eli", desk.click("eli", card, BACKEND))
    assert "decided" in late and "@cho" in late
    run = await desk.until(lambda r: r.closed)
    assert {v.by.via for a in run.asked.values() for v in a.votes} == {"slack", "http"}
    await shown(desk)


# -- command -----------------------------------------------------------------------------------------------------------


async def test_command_is_handed_over_and_taken_after_silence(desk: Desk) -> None:
    await started(desk)
    seen = await told(desk, "dee", desk.slash("dee", "take"))
    assert "@ana was active" in seen and "Ask for a hand-over" in seen
    assert "Offered" in await told(desk, "ana", desk.slash("ana", "offer @dee"))
    offer = await desk.button("Take command")
    assert "only a commander can take command" in await told(desk, "cho", desk.click("cho", offer, "Take command"))
    assert "You are in command" in await told(desk, "dee", desk.click("dee", offer, "Take command"))
    assert "dee commands" in await told(desk, "ana", desk.slash("ana", "abort because I want to"))
    await desk.later(301)
    assert "You are in command" in await told(desk, "ana", desk.slash("ana", "take"))
    run = await shown(desk)
    assert run.commander is not None and run.commander.name == "ana"
    assert {IDS["ana"], IDS["dee"]} <= run.barred
    card = await desk.button(BACKEND)
    assert "not @ana or @dee" in card.plain
    said = thread(desk)
    assert any("@dee commands since" in line and "from @ana" in line for line in said)
    assert any("@ana commands since" in line and "after @dee was silent" in line for line in said)


# -- decisions that wait -----------------------------------------------------------------------------------------------


async def test_a_decision_that_waits_is_reminded_of_then_paged_and_never_made(desk: Desk) -> None:
    await started(desk)
    await desk.later(61)
    reminder = await desk.card("waits for an approver since")
    assert "@oncall" in reminder.plain and not reminder.is_reply
    await desk.later(300)
    page = await desk.card("still waits for an approver since")
    assert "@approvers" in page.plain
    run = await desk.until(lambda r: r.asked["backend"].paged)
    assert not run.asked["backend"].votes
    await shown(desk)
    await desk.click("cho", await desk.button(BACKEND), BACKEND)
    await desk.until(lambda r: r.closed)
    await shown(desk)


async def test_not_now_is_kept_and_the_decision_stays_open(desk: Desk) -> None:
    card = await started(desk)
    assert "stays open" in await told(desk, "eli", desk.click("eli", card, "Not now"))
    card = await desk.shown(lambda: desk.workspace.driver.find(HERE, "said not now"), "who said not now")
    assert "@eli said not now" in card.plain and BACKEND in card.buttons
    await desk.click("eli", card, BACKEND)
    run = await desk.until(lambda r: r.closed)
    assert run.asked["backend"].votes[0].by.id == IDS["eli"]


@both
async def test_the_glass_is_broken_by_one_and_everybody_hears_it(desk: Desk) -> None:
    card = await started(desk)
    await desk.click("ana", card, "Break glass…")
    form = await desk.form("ana", "You decide this alone")
    seen = await desk.workspace.driver.submit("ana", {form.inputs[0]: "nobody answers, checkout is down"}, patience=60)
    assert seen.ok and "Glass broken" in seen.text
    run = await desk.until(lambda r: r.closed)
    assert run.asked["backend"].glass is not None and run.asked["backend"].glass.id == IDS["ana"]
    await shown(desk)
    call = desk.workspace.driver.find(HERE, "@ana opened Bring the backend back alone")
    assert call is not None and not call.is_reply and call.plain.startswith("Break-glass")
    assert "Nobody answers" in call.plain and "@approvers" in call.plain and "reviewed" in call.plain


# -- stop, and other ways on -------------------------------------------------------------------------------------------


async def test_stopped_by_button_nothing_starts_until_resumed(desk: Desk) -> None:
    await started(desk)
    root = await desk.button("Stop")
    assert "Stopped" in await told(desk, "cho", desk.click("cho", root, "Stop"))
    root = await desk.button("Resume")
    assert "stopped by @cho: nothing new starts" in root.plain and "Abort…" in root.buttons
    await desk.click("cho", await desk.button(BACKEND), BACKEND)
    await desk.later(5)
    assert desk.shop.serving == "2.4.1" and not desk.shop.log
    assert "Going on" in await told(desk, "ana", desk.click("ana", root, "Resume"))
    await desk.until(lambda r: r.closed)
    await shown(desk)


async def test_another_release_is_proposed_and_agreed_to_by_button(desk: Desk) -> None:
    old = await started(desk)
    await desk.slash("ana", "retarget 2.3.9 because 2.4.0 loses carts")
    card = await desk.button("Agree")
    assert "Proposed: go back to 2.3.9 instead by @ana" in card.plain and "2.4.0 loses carts" in card.plain
    again = await told(desk, "ana", desk.click("ana", card, "Agree"))
    assert "decided this already" in again and "@cho" in again
    assert "Not yours to decide" in await told(desk, "ben", desk.click("ben", card, "Agree"))
    assert "Done: go back to 2.3.9" in await told(desk, "eli", desk.click("eli", card, "Agree"))
    run = await desk.until(lambda r: r.target is not None and r.target.version == "2.3.9" and r.asked["backend"].opened)
    assert "has changed since you looked" in await told(desk, "cho", desk.click("cho", old, BACKEND))
    assert not (await desk.run()).asked["backend"].votes
    card = await desk.shown(lambda: desk.workspace.driver.find(HERE, "2.4.1 → 2.3.9"), "the new target")
    await shown(desk)
    card = await desk.button(BACKEND)
    assert "2.3.9" in card.plain and "2.4.1 → 2.4.0" not in card.plain
    await desk.click("cho", card, BACKEND)
    run = await desk.until(lambda r: r.closed)
    assert desk.shop.serving == "2.3.9" and [r.version for r, _ in run.tried] == ["2.4.0"]
    await shown(desk)
    assert desk.workspace.driver.find(HERE, "shop runs 2.3.9 and is verified") is not None


@both
async def test_a_halt_is_retried_by_button_and_the_run_goes_on(desk: Desk) -> None:
    card = await halted(desk)
    assert "Switch the release stopped at" in card.plain and "Still in place: Go read-only" in card.plain
    call = await desk.card("It waits for a decision: the card")
    assert not call.is_reply and "@ana" in call.plain
    assert f"/archives/C0INC04211/p{card.ts.replace('.', '')}" in str(call.blocks), "it links its card"
    assert "Not yours to decide" in await told(desk, "fay", desk.click("fay", card, "Try again"))
    desk.shop.break_next(Broken(next=0))
    assert "Trying Switch the release again" in await told(desk, "ana", desk.click("ana", card, "Try again"))
    await desk.until(lambda r: r.closed)
    await shown(desk)
    after = desk.workspace.driver.now(card)
    assert after is not None and after.buttons == () and "tried again by @ana" in after.plain


async def test_a_check_that_fails_is_accepted_with_a_reason_by_an_approver(desk: Desk) -> None:
    plan = desk.folder / "plans" / "standard.yaml"
    head, _, check = plan.read_text().rpartition('"${target.version}"')
    plan.write_text(f"{head}'2.4.1'{check}")
    await desk.click("cho", await started(desk), BACKEND)
    await desk.until(lambda r: r.steps["serves"].verdict is not None)
    await desk.later(25)
    await desk.until(lambda r: r.halted)
    halt = await desk.button("Accept")
    await desk.click("ana", halt, "Accept…")
    form = await desk.form("ana", "as if this were well")
    short = await desk.workspace.driver.submit("ana", {form.inputs[0]: "ok"})
    assert "needs a reason" in " ".join(short.errors.values())
    assert (await desk.workspace.driver.submit("ana", {form.inputs[0]: "payments pass, health is ours"})).ok
    asked = await desk.button("Agree")
    assert "accept Serves the target release as it is" in asked.plain
    await desk.click("eli", asked, "Agree")
    run = await desk.until(lambda r: r.closed or all(not s.open for s in r.steps.values()))
    assert run.steps["serves"].end == "accepted"
    await shown(desk)
    note = desk.workspace.driver.find(HERE, "accepted: fail") or desk.workspace.driver.find(HERE, "accepted: unknown")
    assert note is not None and "payments pass, health is ours" in note.plain


async def test_an_abort_ends_with_every_debt_restored(desk: Desk) -> None:
    await halted(desk)
    said = await told(desk, "ana", desk.slash("ana", "abort because the fix is out"))
    assert "Aborting. Still in place: Go read-only" in said
    card = await desk.button("Restore")
    assert "Aborted by @ana: the fix is out" in card.plain
    desk.shop.break_next(Broken(next=0))
    await desk.click("ana", card, "Restore…")
    form = await desk.form("ana", "undone now")
    assert (await desk.workspace.driver.submit("ana", {form.inputs[0]: "we serve again"})).ok
    run = await desk.until(lambda r: r.closed)
    assert run.closed is not None and run.closed.outcome == "aborted" and not run.debts
    assert (await desk.shop.world())["maintenance/read_only"] is False
    await shown(desk)
    (end,) = copies(desk, run.id)["end"]
    assert "aborted" in end.plain and "verified" not in end.plain.splitlines()[0]


async def test_an_abort_ends_with_its_debt_handed_over_by_button(desk: Desk) -> None:
    await halted(desk)
    await desk.slash("ana", "abort because the fix is out")
    card = await desk.button("Hand over")
    await desk.click("ana", card, "Hand over…")
    form = await desk.form("ana", "becomes somebody's")
    values = {"to": IDS["cho"], "reason": "after lunch"}
    assert (await desk.workspace.driver.submit("ana", values, modal=form, patience=60)).ok
    run = await desk.until(lambda r: r.closed)
    assert run.debts["quiesce"].owner == IDS["cho"]
    await shown(desk)
    text = desk.workspace.driver.transcript(HERE)
    assert "@cho sees to it until" in text
    assert "Nothing is paused or held any more" not in text
