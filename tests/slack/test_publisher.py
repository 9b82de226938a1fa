"""Slack looks like the screens, whatever Slack does: each claim over real sockets, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Channel, Clock, Fault, Workspace
from bot.playground.workspace.app import SCOPES
from bot.run import events as ev
from bot.slack.draw.post import Message, Post, Upload
from bot.slack.publish.calls import EVENT_TYPE, LATE, Calls, quiet_client
from bot.slack.publish.publisher import CROWD, HISTORY
from bot.slack.publish.trouble import LONGEST, RETRY, SOON
from bot.store.lease import FileLease
from bot.store.log import Notice, Slot, Store
from tests.fixtures.stores import store as store
from tests.slack.publishing import ANA, HERE, ROOM, Board, at_work, decision, message, news, root, saying

AT = 1_763_900_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock(AT, frozen=True)


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[Workspace]:
    async with Workspace(clock=clock) as workspace:
        yield workspace


@pytest.fixture
async def board(slack: Workspace, clock: Clock, store: Store, tmp_path: Path) -> AsyncIterator[Board]:
    lease = FileLease(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}")
    found = Board(slack, clock, store, lease)
    yield found
    await found.publisher.close()
    lease.close()


# -- ordinary days ---------------------------------------------------------------------------------------------------


async def test_what_is_missing_is_posted_and_what_differs_is_updated(board: Board) -> None:
    await board.open("r1", root(), decision())
    await board.after(3)
    card, asked = board.slack.driver.read(HERE)
    assert (card.text, asked.text, asked.thread_ts) == ("root", "decide", card.ts)
    assert card.metadata == {"event_type": EVENT_TYPE, "event_payload": {"run": "r1", "slot": "root"}}
    await board.happen("r1", root("root 2"), saying(decision(), "decided"))
    await board.after(3)
    assert board.texts() == ["root 2", "decided"]
    assert not any(p.edited for p in board.slack.driver.read(HERE)), "blocks go along"


async def test_posts_come_in_the_order_of_the_screen_and_a_decision_s_thread_before_other_news(board: Board) -> None:
    await board.open("r1", root(), news("one", "1"), news("two", "2"), news("end", "3"))
    await board.open("r2", root("root 2"), decision())
    await board.after(10)
    said = board.texts()
    assert [t for t in said if t in ("root", "1", "2", "3")] == ["root", "1", "2", "3"]
    assert said.index("decide") < said.index("1")


async def test_what_looks_the_same_is_not_posted_again_and_a_restart_posts_nothing(board: Board) -> None:
    await board.open("r1", root(), decision())
    await board.after(3)
    before = len(board.calls())
    await board.happen("r1")
    await board.after(5)
    board.publisher = board.another()
    drawn = board.drawn["r1"]
    await board.after(5)
    assert len(board.calls()) == before
    assert board.drawn["r1"] == drawn + 1, "compared once"
    assert await board.store.unshown() == []


async def test_a_fixed_post_stays_as_it_was_first(board: Board) -> None:
    await board.open("r1", root(), news("said", "once"))
    await board.after(3)
    await board.happen("r1", root(), saying(news("said", "once"), "twice"))
    await board.after(3)
    assert board.texts() == ["root", "once"]


async def test_how_a_run_ended_is_never_told_before_its_card_is_there(board: Board) -> None:
    end = Post("end", f"#{HERE}", message("the end"), urgency="decision")
    board.slack.faults.add(Fault("lose_answer", hits="chat.postMessage"))  # the card's, which is then looked for
    await board.open("r1", root("card"), end)
    await board.after(1, 0.1)
    assert board.texts() in ([], ["card"])
    await board.after(20)
    assert board.texts() == ["card", "the end"]
    await board.open("r2", root("wrong"), end)
    board.draw("r2", replace(root("wrong"), message=Message("x", ({"type": "nonsense"},))), end)
    await board.after(10)
    assert board.texts()[-1] == "the end" and len(board.texts()) == 3, "a card that Slack refuses holds up nothing"


async def test_what_another_node_appended_is_found_without_a_hint(board: Board) -> None:
    await board.settle()
    await board.open("r1", root())
    await board.after(2)
    await board.happen("r1", root("later"), hint=False)
    await board.after(3)
    assert board.texts() == ["later"]


async def test_a_notice_is_found_without_an_event(board: Board) -> None:
    await board.open("r1", root())
    await board.after(3)
    board.draw("r1", root(), news("notice.cdn", "purged"))
    await board.store.put_notice(Notice("r1", "cdn", f"#{HERE}", "purged", AT))
    await board.after(3)
    assert board.texts() == ["root", "purged"]
    assert await board.store.unshown() == []


async def test_a_screen_says_when_it_will_look_different_by_itself(board: Board) -> None:
    await board.open("r1", root())
    board.draw("r1", root(), again=AT + 60)
    await board.after(3)
    board.draw("r1", root(), decision("x", "a minute later"))
    await board.after(50, 5)
    assert board.texts() == ["root"]
    await board.after(15)
    assert board.texts() == ["root", "a minute later"]


async def test_a_reminder_of_a_run_that_has_ended_comes_at_its_time_after_a_restart_too(board: Board) -> None:
    due = AT + 2 * HISTORY
    await board.open("r1", root())
    board.draw("r1", root(), again=due)
    await board.happen("r1", event=ev.Closed("closed", ANA), hint=False)
    board.draw("r1", root(), again=due)
    await board.after(5)
    board.clock.advance(HISTORY + 60)
    board.publisher = board.another()
    await board.after(5)
    assert board.texts() == ["root"] and [u.run for u in await board.store.unshown()] == ["r1"]
    drawn = board.drawn["r1"]
    await board.after(60, 5)
    assert board.drawn["r1"] - drawn <= 1, "it is not drawn again and again meanwhile"
    board.draw("r1", root(), news("notice.remind", "it begins"))
    board.clock.advance(due - board.clock.time())
    await board.after(5)
    assert board.texts() == ["root", "it begins"]
    assert await board.store.unshown() == []


async def test_a_closed_run_is_shown_to_its_end_and_history_is_left_alone(board: Board) -> None:
    for run in ("old", "new"):
        await board.open(run, root(f"{run} root"), news("end", f"{run} end"))
        await board.happen(run, event=ev.Closed("closed", ANA), hint=False)
        if run == "old":
            board.clock.advance(HISTORY + 1)
    await board.after(5)
    assert board.texts() == ["new root", "new end"]
    assert await board.store.unshown() == []


async def test_files_are_uploaded_once_in_the_thread(board: Board) -> None:
    files = (Upload("audit.md", "Record", "audit.md"), Upload("timeline.html", "Timeline", "timeline.html", "a line"))
    end = replace(news("end", "done"), files=files)
    await board.open("r1", root(), end)
    await board.after(5)
    posted = board.slack.driver.read(HERE)
    assert [(p.files, p.is_reply) for p in posted if p.files] == [(("Record",), True), (("Timeline",), True)]
    assert {p.thread_ts for p in posted if p.files} == {posted[1].ts}
    assert [f.data for f in board.slack.state.files.values()] == [b"audit.md of r1", b"timeline.html of r1"]
    assert [f.alt for f in board.slack.state.files.values()] == ["", "a line"]
    await board.happen("r1")
    board.publisher = board.another()
    await board.after(5)
    assert len(board.slack.driver.read(HERE)) == 4


async def test_only_text_needs_no_blocks_and_a_broadcast_is_seen_in_the_channel_too(board: Board) -> None:
    hand = Post("by-hand", f"#{HERE}", Message("curl ..."), "root")
    shout = replace(decision(), broadcast=True)
    await board.open("r1", root(), hand, shout)
    await board.after(5)
    told = (await quiet_client(board.slack.app.bot_token, board.slack.api_url).conversations_history(channel=ROOM))[
        "messages"
    ]
    assert [m["text"] for m in told] == ["decide", "root"]
    await board.happen("r1", root(), replace(hand, message=Message("kubectl ...")), shout)
    await board.after(3)
    assert "kubectl ..." in board.texts()


# -- pacing ----------------------------------------------------------------------------------------------------------


async def test_a_decision_never_waits_behind_progress(board: Board) -> None:
    for i in range(12):
        await board.open(f"r{i}", root(f"{i}"))
    await board.after(40)
    for round_ in range(4):
        for i in range(12):
            await board.happen(f"r{i}", root(f"{i} at {round_}"))
        await board.settle()
    assert "chat.update" in board.calls()[-6:]
    asked = board.clock.time()
    await board.happen("r3", root("3 waits"), decision())
    await board.settle()
    (sent,) = [c for c in board.slack.web_api.log if c.args.get("text") == "decide"]
    assert sent.at == asked
    await board.after(60)
    assert {p.text for p in board.slack.driver.read(HERE)} >= {"3 waits", *(f"{i} at 3" for i in range(12) if i != 3)}
    assert not any(c.error for c in board.slack.web_api.log)


async def test_a_live_card_shows_the_first_change_at_once_and_the_last_for_certain(board: Board) -> None:
    await board.open("r1", root("0"))
    await board.after(3)
    for n in range(1, 30):
        await board.happen("r1", root(str(n)))
        await board.settle()
        assert n > 1 or board.texts() == ["1"]
        board.clock.advance(0.1)
    await board.after(3)
    assert board.texts() == ["29"]
    sent = [c.at for c in board.slack.web_api.log if c.method == "chat.update"]
    assert all(b - a >= 1.2 - 1e-6 for a, b in pairwise(sent)) and len(sent) == 4


async def test_progress_is_looked_at_while_few_runs_are_at_work_and_left_out_in_a_crowd(board: Board) -> None:
    for i in range(CROWD):
        await board.open(f"r{i}", root(f"r{i}"))
        await board.happen(f"r{i}", event=at_work(), hint=False)
    await board.after(20)
    before = board.drawn["r0"]
    board.draw("r0", root("half"))
    await board.after(6)
    assert "half" in board.texts() and board.drawn["r0"] > before
    await board.open("r8", root("r8"))
    await board.happen("r8", event=at_work())
    await board.after(5)
    before = board.drawn["r0"]
    await board.after(10)
    assert board.drawn["r0"] == before
    await board.happen("r0", root("done"))
    await board.after(5)
    assert "done" in board.texts()


async def test_in_a_storm_of_429_nobody_insists_and_afterwards_the_last_state_is_shown(board: Board) -> None:
    await board.open("r1", root("0"))
    await board.after(3)
    board.slack.faults.add(Fault("ratelimited", "chat.update", next=None, seconds=20, retry_after=10))
    begun = len(board.slack.web_api.log)
    for n in range(1, 6):
        await board.happen("r1", root(str(n)))
        await board.after(5)
    assert board.texts() == ["5"]
    assert len(board.slack.web_api.log) - begun <= 2
    assert not board.publisher.faults()


# -- answers that are lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lose_answer", "cut", "refuse"])
@pytest.mark.parametrize("slot", ["root", "decision.backend"])
async def test_a_post_whose_answer_was_lost_is_there_once(board: Board, kind: str, slot: str) -> None:
    await board.open("r1", root())
    if slot != "root":
        await board.after(3)
    board.slack.faults.add(Fault(kind, "chat.postMessage"))  # type: ignore[arg-type]  # one of its kinds
    await board.happen("r1", root(), decision())
    await board.after(10)
    assert board.slots() == {("r1", "root"): 1, ("r1", "decision.backend"): 1}
    assert {n: bool(s.ts) for n, s in (await board.store.slots("r1")).items()} == {
        "root": True, "decision.backend": True,
    }  # fmt: skip


@pytest.mark.parametrize("error", ["internal_error", "fatal_error"])
async def test_an_answer_that_says_perhaps_is_looked_into(board: Board, error: str) -> None:
    await board.open("r1", root())
    board.slack.faults.add(Fault("error", "chat.postMessage", error=error))
    await board.after(5)
    assert board.texts() == ["root"] and "conversations.history" in board.calls()


async def test_a_post_that_comes_late_is_not_doubled(board: Board) -> None:
    await board.open("r1", root())
    board.slack.faults.add(Fault("delay", "chat.postMessage", seconds=LATE - 5))
    await board.after(LATE - 6, 2)
    assert board.texts() == []
    await board.after(10)
    assert board.texts() == ["root"]
    assert board.calls("chat.postMessage") == ["chat.postMessage"]
    assert len(board.calls("conversations.history")) < 10


async def test_a_post_that_never_came_is_posted_again_when_it_cannot_come_any_more(board: Board) -> None:
    await board.open("r1", root())
    board.slack.faults.add(Fault("delay", "chat.postMessage", seconds=1e6))
    await board.after(LATE - 2, 2)
    assert board.texts() == []
    await board.after(6)
    assert board.texts() == ["root"]


async def test_a_crash_between_posting_and_storing_leaves_nothing_doubled(board: Board) -> None:
    await board.open("r1", root(), decision())
    mark = {"event_type": EVENT_TYPE, "event_payload": {"run": "r1", "slot": "root"}}
    client = quiet_client(board.slack.app.bot_token, board.slack.api_url)
    sent = await client.chat_postMessage(channel=ROOM, text="root", metadata=mark)
    await board.store.put_slot(Slot("r1", "root", ROOM, "", root().message.digest, AT))
    await board.store.put_slot(Slot("r1", "decision.backend", ROOM, "", "", AT))  # this one never went out
    await board.after(LATE + 5, 1)
    assert board.slots() == {("r1", "root"): 1, ("r1", "decision.backend"): 1}
    assert (await board.store.slots("r1"))["root"].ts == sent["ts"]


async def test_a_file_whose_answer_was_lost_is_there_once(board: Board) -> None:
    end = replace(news("end", "done"), files=(Upload("audit.md", "Record", "audit.md"),))
    for kind in ("lose_answer", "cut"):
        board.slack.faults.add(Fault(kind, "files.completeUploadExternal"))
        await board.open(kind, root(kind), end)
        await board.after(8)
    board.slack.faults.add(Fault("refuse", "upload"))
    await board.open("r3", root("r3"), end)
    await board.after(8)
    shared = [f.shared for f in board.slack.state.files.values() if f.complete]
    assert [len(s) for s in shared] == [1, 1, 1]


async def test_an_update_whose_answer_was_lost_is_made_again(board: Board) -> None:
    await board.open("r1", root())
    await board.after(3)
    board.slack.faults.add(Fault("lose_answer", "chat.update"))
    await board.happen("r1", root("new"))
    await board.after(5)
    assert board.texts() == ["new"]
    assert await board.store.unshown() == []


async def test_what_could_not_be_stored_is_found_again(board: Board) -> None:
    await board.open("r1", root())
    await board.settle()
    await board.store.db.write(lambda c: c.execute(sa.text("ALTER TABLE slot RENAME TO away")))
    await board.happen("r1", root(), decision())
    await board.after(3)
    await board.store.db.write(lambda c: c.execute(sa.text("ALTER TABLE away RENAME TO slot")))
    await board.after(LATE + 10, 1)
    assert board.slots() == {("r1", "root"): 1, ("r1", "decision.backend"): 1}


# -- Slack gone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [503, 0])
async def test_after_ten_minutes_without_slack_all_is_there_once_and_as_it_is_now(board: Board, status: int) -> None:
    await board.open("r1", root("0"))
    await board.after(3)
    board.slack.faults.add(Fault("outage", seconds=600, status=status))
    said = []
    for n in range(1, 6):
        said.append(news(f"news.{n}", f"news {n}"))
        await board.happen("r1", root(str(n)), *said, *([decision("gone", "remind")] if n == 3 else []))
        await board.open(f"other{n}", root(f"other {n}"))
        await board.after(100, 5)
    assert "Slack does not answer" in board.publisher.faults()["slack"]
    await board.after(100 + LONGEST + 5, 5)
    await board.after(15)
    assert board.texts()[0] == "5"
    assert [t for t in board.texts() if "news" in t] == [f"news {n}" for n in range(1, 6)], "in order"
    assert set(board.texts()[1:]) == {f"{what} {n}" for n in range(1, 6) for what in ("news", "other")}, "no reminder"
    assert len(board.texts()) == 11 and set(board.slots().values()) == {1}
    assert not board.publisher.faults()
    assert await board.store.unshown() == []


# -- trouble that does not pass by itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "code", "then"),
    [("#nowhere", "channel_not_found", "in the catalogue"), ("#old-inc", "is_archived", "unarchive")],
)
async def test_trouble_with_one_channel_is_told_and_holds_up_no_other(
    board: Board, channel: str, code: str, then: str
) -> None:
    await board.open("bad", root("bad", channel))
    await board.open("good", root("good"), decision())
    await board.after(10)
    assert board.texts() == ["good", "decide"]
    (fault,) = board.publisher.faults().values()
    assert channel in fault and code in fault and then in fault
    tried = len(board.calls())
    await board.after(2 * RETRY, 5)
    assert len(board.calls()) - tried <= 3, "slowly"


async def test_after_a_repair_it_goes_on_within_a_minute_and_after_a_hint_at_once(board: Board) -> None:
    place = board.slack.state.channel("old-inc")
    for wait, run in ((RETRY + 2, "r1"), (SOON + 1, "r2")):
        place.archived = True
        await board.open(run, root(run, "#old-inc"))
        await board.after(10)
        assert board.publisher.faults()
        place.archived = False
        if run == "r2":
            board.publisher.hint(run)
        await board.after(wait)
        assert run in board.texts("old-inc")
        assert not board.publisher.faults()


@pytest.mark.parametrize("code", ["cant_update_message", "update_failed", "edit_window_closed"])
async def test_a_card_that_cannot_be_changed_any_more_is_posted_anew_once(board: Board, code: str) -> None:
    await board.open("r1", root("first"), decision())
    await board.after(3)
    board.slack.faults.add(Fault("error", hits="chat.update", error=code))
    await board.happen("r1", root("second"), decision())
    await board.after(5)
    assert sorted(board.texts()) == ["decide", "first", "second"] and not board.publisher.faults()
    board.slack.faults.add(Fault("error", hits="chat.update", next=None, error=code))
    for n in range(5):
        await board.happen("r1", root(f"more {n}"), decision())
        await board.after(3)
    assert len(board.texts()) == 3, "not a new card for every change"
    assert "once a minute" in board.publisher.faults()["r1/root"] or "keep one" in board.publisher.faults()["r1/root"]
    board.slack.faults.clear()
    await board.after(RETRY + 10)
    assert "more 4" in board.texts() and not board.publisher.faults()


async def test_where_admins_close_the_edit_window_the_newest_card_is_true(board: Board) -> None:
    board.slack.state.edit_window = 300.0
    await board.open("r1", root("at first"), decision())
    await board.after(3)
    board.clock.advance(400)
    await board.happen("r1", root("much later"), decision())
    await board.after(5)
    assert "much later" in board.texts() and not board.publisher.faults()
    assert len(await board.store.unshown()) == 0


@pytest.mark.parametrize("code", [
    "restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel",
    "restricted_action_non_threadable_channel", "restricted_action_thread_locked", "posting_to_channel_denied",
    "no_permission", "external_channel_migrating", "message_limit_exceeded", "two_factor_setup_required",
    "enterprise_is_restricted",
])  # fmt: skip
async def test_what_admins_forbid_is_told_in_words_with_who_can_change_it(board: Board, code: str) -> None:
    board.slack.faults.add(Fault("error", hits="chat.postMessage", next=None, error=code))
    await board.open("r1", root())
    await board.after(5)
    (told,) = board.publisher.faults().values()
    assert "can change it" in told and code in told and "fault of the bot" not in told
    board.slack.faults.clear()
    await board.after(RETRY + 5)
    assert board.texts() == ["root"] and not board.publisher.faults()


@pytest.mark.parametrize("code", ["file_type_not_allowed", "file_uploads_except_images_disabled"])
async def test_a_file_that_admins_forbid_holds_up_nothing_and_says_who_can_allow_it(board: Board, code: str) -> None:
    board.slack.faults.add(Fault("error", hits="files.completeUploadExternal", next=None, error=code))
    await board.open("r1", root(), replace(news("end", "done"), files=(Upload("a.md", "A", "a"),)), decision())
    await board.after(5)
    assert sorted(board.texts()) == ["decide", "done", "root"]
    assert "a workspace admin can change it" in board.publisher.faults()["r1/end/a.md"]


async def test_a_channel_of_a_large_workspace_is_found_at_the_pace_of_its_method(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.publish.calls.PAGE", 2)  # pages are what counts, and these are quickly made
    own = dict(board.slack.state.channels)
    board.slack.state.channels.clear()
    for i in range(30):
        board.slack.state.add_channel(Channel(f"C1{i:08}", f"team-{i}", ["U0ANA00001"]))
    board.slack.state.channels.update(own)
    await board.open("r1", root())
    await board.after(60)
    assert board.texts() == ["root"]
    listed = [c for c in board.slack.web_api.log if c.method == "conversations.list"]
    assert len(listed) == 17 and not [c for c in listed if c.error], "each page once, and never too fast"


async def test_a_bot_that_is_not_in_a_public_channel_joins_it(tmp_path: Path, store: Store, clock: Clock) -> None:
    async with Workspace(clock=clock, app=App(scopes=SCOPES - {"chat:write.public"})) as slack:
        lease = FileLease(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}")
        board = Board(slack, clock, store, lease)
        await board.open("r1", root("hello", "#general"))
        await board.open("r2", root("secret", "C0LEADS001"))
        await board.after(5)
        assert board.texts("general") == ["hello"]
        (fault,) = board.publisher.faults().values()
        assert "C0LEADS001" in fault and "/invite" in fault
        await board.publisher.close()
        lease.close()


async def test_a_refused_post_holds_up_no_other_and_may_be_mended_by_a_change(board: Board) -> None:
    wrong = replace(news("wrong", "x"), message=Message("x", ({"type": "nonsense"},)))
    await board.open("r1", root(), wrong, news("right", "right"), decision())
    await board.after(5)
    assert sorted(board.texts()) == ["decide", "right", "root"]
    assert "invalid_blocks" in board.publisher.faults()["r1/wrong"]
    await board.happen("r1", root(), news("wrong", "mended"), news("right", "right"), decision())
    await board.after(2)
    assert "mended" in board.texts() and not board.publisher.faults()


async def test_a_bad_token_is_told_once_and_tried_once_a_minute(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    board.slack.faults.add(Fault("error", next=None, error="invalid_auth"))
    for i in range(5):
        await board.open(f"r{i}", root(f"r{i}"))
    await board.after(10)
    assert "ROLLBACK_SLACK_BOT_TOKEN" in board.publisher.faults()["slack"]
    tried = len(board.slack.web_api.log)
    await board.after(RETRY * 3, 5)
    assert len(board.slack.web_api.log) - tried <= 4
    assert sum("invalid_auth" in r.message for r in caplog.records) == 1
    board.slack.faults.clear()
    await board.after(RETRY + 10)
    assert len(board.texts()) == 5 and not board.publisher.faults()


async def test_a_message_that_somebody_deleted_is_posted_again(board: Board) -> None:
    await board.open("r1", root(), decision())
    await board.after(5)
    for post in board.slack.driver.read(HERE):
        board.slack.driver.delete(post)
    await board.happen("r1", root("again"), decision(), decision("two", "decide 2"))
    await board.after(5)
    card, asked = board.slack.driver.read(HERE)
    assert (card.text, asked.text, asked.thread_ts) == ("again", "decide 2", card.ts)


async def test_a_file_that_cannot_be_made_holds_up_nothing_else(board: Board) -> None:
    async def broken(run: str, what: str) -> bytes:
        raise OSError("disk gone")

    good, board.contents = board.contents, broken
    await board.open("r1", root(), replace(news("end", "done"), files=(Upload("a.md", "A", "a"),)), decision())
    await board.after(5)
    assert sorted(board.texts()) == ["decide", "done", "root"]
    assert "disk gone" in board.publisher.faults()["r1/end/a.md"]
    board.contents = good
    board.publisher.hint("r1")
    await board.after(2)
    assert not board.publisher.faults() and len(board.texts()) == 4


async def test_a_run_that_cannot_be_drawn_holds_up_no_other(board: Board) -> None:
    await board.open("bad", root("bad"))
    screen = board.screens.pop("bad")
    await board.open("good", root("good"))
    await board.after(3)
    assert board.texts() == ["good"]
    board.screens["bad"] = screen
    await board.after(8)
    assert board.texts() == ["good", "bad"]


async def test_a_run_that_never_could_be_shown_is_given_up_a_day_after_its_end(board: Board) -> None:
    await board.open("r1", root("x", "#nowhere"))
    await board.happen("r1", event=ev.Closed("closed", ANA))
    await board.after(5)
    assert len(await board.store.unshown()) == 1
    board.clock.advance(HISTORY)
    await board.happen("r1")
    await board.after(RETRY + 10, 5)
    assert await board.store.unshown() == []


# -- being one of many -----------------------------------------------------------------------------------------------


def test_a_client_that_tries_again_by_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="quiet_client"):
        Calls(AsyncWebClient("xoxb-1"), 1.0)


async def test_who_is_not_elected_calls_nothing_and_keeps_no_faults(board: Board) -> None:
    await board.open("r1", root("x", "#nowhere"))
    await board.after(3)
    assert board.publisher.elected and board.publisher.faults()
    board.lease.close()
    before = len(board.calls())
    await board.happen("r1", root("x"))
    await board.after(20, 2)
    assert not board.publisher.elected and not board.publisher.faults() and len(board.calls()) == before


async def test_five_thousand_waiting_runs_cost_no_scan(board: Board) -> None:
    await board.open("r1", root())
    await board.after(3)
    rows = [
        {"run": f"w{i}", "service": f"s{i}", "kind": "rollback", "open": True, "seq": 3, "created": 0, "shown": 3}
        for i in range(5000)
    ]
    await board.store.db.write(lambda c: c.execute(sa.text(
        "INSERT INTO head (run, service, kind, open, seq, created, shown) "
        "VALUES (:run, :service, :kind, :open, :seq, :created, :shown)"), rows))  # fmt: skip
    plan = await board.store.db.read(lambda c: c.execute(sa.text(
        "EXPLAIN QUERY PLAN SELECT run, seq, shown FROM head WHERE shown < seq")).all())  # fmt: skip
    assert "head_unshown" in plan[0][3]
    await board.happen("r1", root("new"))
    await board.after(3)
    assert board.texts() == ["new"] and await board.store.unshown() == []
    assert message("new").digest == (await board.store.slots("r1"))["root"].digest
