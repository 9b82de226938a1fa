"""The Web API as the Python SDK calls it, and what it refuses: codes and words as Slack has them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Clock, Workspace
from tests.playground.workspace_bot import HERE, client, modal, plain, section

Body = dict[str, Any]
ELSEWHERE, SECRET, OLD, SHARED = "C0RANDOM01", "C0LEADS001", "C0OLDINC01", "C0SHARED01"


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(rates=False) as workspace:
        yield workspace


@pytest.fixture
def web(slack: Workspace) -> AsyncWebClient:
    return client(slack)


async def ask(slack: Workspace, method: str, verb: str = "POST", token: str | None = "", **request: Any) -> Body:
    """A call without the SDK. token: the bot's where empty, none where None."""
    headers = request.pop("headers", {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token or slack.app.bot_token}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, slack.api_url + method, headers=headers, **request) as answer,
    ):
        assert answer.status == 200
        body: Body = await answer.json()
        return body


async def refused(call: Any) -> Body:
    """What a call of the SDK was refused with."""
    with pytest.raises(SlackApiError) as caught:
        await call
    body: Body = caught.value.response.data
    assert body["ok"] is False
    return body


# -- how arguments come ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_arguments_are_taken_from_the_query(slack: Workspace, verb: str) -> None:
    told = {"channel": HERE, "text": "hi", "blocks": json.dumps([section("hi")])}
    assert (await ask(slack, "chat.postMessage", verb, params=told))["message"]["blocks"][0]["type"] == "section"


async def test_arguments_are_taken_from_forms_json_and_multipart(slack: Workspace) -> None:
    told = {"channel": HERE, "text": "hi", "blocks": json.dumps([section("hi")])}
    form = aiohttp.FormData(quote_fields=False)
    for name, value in told.items():
        form.add_field(name, value, content_type="text/plain")
    for body in ({"data": told}, {"json": told | {"blocks": [section("hi")]}}, {"json": told}, {"data": form}):
        assert (await ask(slack, "chat.postMessage", **body))["ok"]
    assert (await ask(slack, "chat.postMessage", params={"channel": HERE}, data={"text": "merged"}))["ok"]
    assert len(slack.driver.read("inc-4211")) == 5


async def test_a_body_that_cannot_be_read_is_refused_by_name(slack: Workspace) -> None:
    kind = {"Content-Type": "application/json"}
    assert (await ask(slack, "chat.postMessage", data=b"{", headers=kind))["error"] == "invalid_json"
    assert (await ask(slack, "chat.postMessage", data=b"[]", headers=kind))["error"] == "json_not_object"
    assert (await ask(slack, "chat.postMessage", data=b"x", headers={"Content-Type": "text/csv"}))[
        "error"
    ] == "invalid_post_type"
    assert (await ask(slack, "chat.postMessage", json={"bad name!": 1}))["error"] == "invalid_arg_name"


async def test_wrong_arguments_are_named(slack: Workspace) -> None:
    answer = await ask(slack, "conversations.history", params={"limit": "many"})
    assert answer["error"] == "invalid_arguments"
    assert answer["response_metadata"]["messages"] == [
        "[ERROR] missing required field: channel",
        "[ERROR] must provide a number [json-pointer:/limit]",
    ]
    answer = await ask(slack, "chat.postMessage", json={"channel": [HERE], "text": "x"})
    assert answer["response_metadata"]["messages"] == ["[ERROR] must provide a string [json-pointer:/channel]"]


async def test_unknown_arguments_are_ignored_and_logged(slack: Workspace) -> None:
    assert (await ask(slack, "auth.test", params={"colour": "red", "team_id": "T1"}))["ok"]
    assert slack.web_api.log[-1].ignored == ("colour",)


# -- tokens and scopes -----------------------------------------------------------------------------------------------


async def test_tokens_are_checked(slack: Workspace) -> None:
    assert (await ask(slack, "auth.test", token=None))["error"] == "not_authed"
    assert (await ask(slack, "auth.test", token="xoxb-other"))["error"] == "invalid_auth"
    assert (await ask(slack, "auth.test", token=slack.app.app_token))["error"] == "not_allowed_token_type"
    assert (await ask(slack, "apps.connections.open"))["error"] == "not_allowed_token_type"
    assert (await ask(slack, "auth.test", token=None, data={"token": slack.app.bot_token}))["ok"]
    unknown = await ask(slack, "chat.postMesage")
    assert (unknown["error"], unknown["req_method"]) == ("unknown_method", "chat.postMesage")


async def test_a_missing_scope_says_which() -> None:
    async with Workspace(app=App(scopes=frozenset({"users:read"}))) as slack:
        body = await refused(client(slack).chat_postMessage(channel=HERE, text="x"))
        assert (body["error"], body["needed"], body["provided"]) == ("missing_scope", "chat:write", "users:read")
        user = (await client(slack).users_info(user="U0ANA00001"))["user"]
        assert "email" not in user["profile"]
        answer = await client(slack).auth_test()
        assert answer.headers["x-oauth-scopes"] == "users:read"


# -- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("C0NOWHERE1", "channel_not_found"),
        ("nowhere", "channel_not_found"),
        (SECRET, "channel_not_found"),
        (OLD, "is_archived"),
    ],
)
async def test_posting_is_refused_where_the_app_cannot(web: AsyncWebClient, channel: str, error: str) -> None:
    assert (await refused(web.chat_postMessage(channel=channel, text="x")))["error"] == error


async def test_posting_outside_needs_the_scope_for_it(web: AsyncWebClient) -> None:
    assert (await web.chat_postMessage(channel="#random", text="x"))["channel"] == ELSEWHERE
    async with Workspace(app=App(scopes=frozenset({"chat:write"}))) as strict:
        assert (await refused(client(strict).chat_postMessage(channel=ELSEWHERE, text="x")))[
            "error"
        ] == "not_in_channel"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"text": " "}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": "x", "blocks": "no json"}, "invalid_blocks_format"),
        ({"text": "x", "blocks": [1]}, "invalid_blocks_format"),
        ({"text": "x", "attachments": "no json"}, "invalid_attachments"),
        ({"text": "x", "attachments": [{}] * 101}, "too_many_attachments"),
        ({"text": "x", "markdown_text": "y"}, "markdown_text_conflict"),
        ({"text": "x", "metadata": "no json"}, "invalid_metadata_format"),
        ({"text": "x", "metadata": {"event_type": "e"}}, "invalid_metadata_schema"),
        ({"text": "x", "metadata": {"event_type": "e", "event_payload": {"x": "y" * 16_000}}}, "metadata_too_large"),
        ({"text": "x", "thread_ts": "1.000001"}, "cannot_reply_to_message"),
        ({"text": "x", "thread_ts": "then"}, "invalid_arguments"),
    ],
)
async def test_a_message_that_slack_does_not_take(slack: Workspace, more: Body, error: str) -> None:
    answer = await ask(slack, "chat.postMessage", json={"channel": HERE, **more})
    assert answer["error"] == error and slack.driver.read("inc-4211") == []


async def test_blocks_are_refused_with_their_pointers(web: AsyncWebClient) -> None:
    body = await refused(web.chat_postMessage(channel=HERE, text="x", blocks=[section("x" * 3001)]))
    lines = [
        "failed to match all allowed schemas [json-pointer:/blocks/0/text]",
        "must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
    ]
    assert (body["error"], body["errors"]) == ("invalid_blocks", lines)
    assert body["response_metadata"]["messages"] == [f"[ERROR] {line}" for line in lines]
    long = [section("x" * 2900, f"b{i}") for i in range(5)]
    assert (await refused(web.chat_postMessage(channel=HERE, text="x", blocks=long)))["error"] == "msg_blocks_too_long"


async def test_only_own_messages_are_changed(slack: Workspace, web: AsyncWebClient) -> None:
    theirs = await slack.driver.say("ana", "inc-4211", "mine")
    assert (await refused(web.chat_update(channel=HERE, ts=theirs.ts, text="x")))["error"] == "cant_update_message"
    assert (await refused(web.chat_delete(channel=HERE, ts=theirs.ts)))["error"] == "cant_delete_message"
    assert (await refused(web.chat_update(channel=HERE, ts="1.000001", text="x")))["error"] == "message_not_found"
    own = await web.chat_postMessage(channel=HERE, text="x")
    assert (await refused(web.chat_update(channel=HERE, ts=own["ts"], text="x" * 4001)))["error"] == "msg_too_long"
    assert (await refused(web.chat_update(channel="inc-4211", ts=own["ts"], text="x")))["error"] == "channel_not_found"


async def test_text_alone_removes_blocks_and_marks_as_edited(slack: Workspace, web: AsyncWebClient) -> None:
    own = await web.chat_postMessage(channel=HERE, text="x", blocks=[section("one")])
    await web.chat_update(channel=HERE, ts=own["ts"], text="y", blocks=[section("two")])
    seen = slack.driver.read("inc-4211")[0]
    assert (seen.plain, seen.edited) == ("two", False)
    await web.chat_update(channel=HERE, ts=own["ts"], text="z")
    seen = slack.driver.read("inc-4211")[0]
    assert (seen.plain, seen.blocks, seen.edited, seen.revision) == ("z", (), True, 2)


async def test_a_whisper_is_out_of_the_web_apis_reach(slack: Workspace, web: AsyncWebClient) -> None:
    said = await web.chat_postEphemeral(channel=HERE, user="U0ANA00001", text="psst")
    ts = said["message_ts"]
    assert (await refused(web.chat_update(channel=HERE, ts=ts, text="x")))["error"] == "message_not_found"
    assert (await refused(web.chat_delete(channel=HERE, ts=ts)))["error"] == "message_not_found"
    assert (await web.conversations_history(channel=HERE))["messages"] == []
    assert [w.text for w in slack.driver.whispers("ana")] == ["psst"]
    stranger = web.chat_postEphemeral(channel=HERE, user="U0SAM00001", text="psst")
    assert (await refused(stranger))["error"] == "user_not_in_channel"


async def test_metadata_is_kept_and_found_again_only_when_asked_for(web: AsyncWebClient) -> None:
    mark = {"event_type": "slot", "event_payload": {"key": "run-1/root"}}
    own = await web.chat_postMessage(channel=HERE, text="x", metadata=mark)
    await web.chat_update(channel=HERE, ts=own["ts"], text="y")
    shown = (await web.conversations_history(channel=HERE))["messages"][0]
    assert "metadata" not in shown and shown["text"] == "y"
    full = (await web.conversations_history(channel=HERE, include_all_metadata=True))["messages"][0]
    assert full["metadata"] == mark
    await web.chat_update(channel=HERE, ts=own["ts"], text="y", metadata={})
    assert "metadata" not in (await web.conversations_history(channel=HERE, include_all_metadata=True))["messages"][0]


async def test_threads_and_history(slack: Workspace, web: AsyncWebClient) -> None:
    head = (await web.chat_postMessage(channel=HERE, text="head"))["ts"]
    tss = [(await web.chat_postMessage(channel=HERE, text=f"reply {i}", thread_ts=head))["ts"] for i in range(3)]
    await web.chat_postMessage(channel=HERE, text="loud", thread_ts=head, reply_broadcast=True)
    under = await refused(web.chat_postMessage(channel=HERE, text="x", thread_ts=tss[0]))
    assert under["error"] == "cannot_reply_to_message"
    told = (await web.conversations_history(channel=HERE))["messages"]
    assert [m["text"] for m in told] == ["loud", "head"]
    assert (told[1]["reply_count"], told[1]["reply_users"]) == (4, [slack.app.bot_user])
    thread = (await web.conversations_replies(channel=HERE, ts=head))["messages"]
    assert [m["text"] for m in thread] == ["head", "reply 0", "reply 1", "reply 2", "loud"]
    assert thread[1]["thread_ts"] == head and thread[1]["parent_user_id"] == slack.app.bot_user
    first = await web.conversations_replies(channel=HERE, ts=head, limit=2)
    assert first["has_more"] and len(first["messages"]) == 2
    rest = await web.conversations_replies(channel=HERE, ts=head, cursor=first["response_metadata"]["next_cursor"])
    assert [m["text"] for m in rest["messages"]] == ["reply 1", "reply 2", "loud"]
    later = await web.conversations_history(channel=HERE, oldest=head)
    assert [m["text"] for m in later["messages"]] == ["loud"]
    exact = await web.conversations_history(channel=HERE, oldest=head, latest=head, inclusive=True)
    assert [m["text"] for m in exact["messages"]] == ["head"]
    assert (await refused(web.conversations_replies(channel=HERE, ts="1.000001")))["error"] == "thread_not_found"
    assert (await refused(web.conversations_history(channel=ELSEWHERE)))["error"] == "not_in_channel"
    assert (await refused(web.conversations_history(channel=HERE, cursor="x")))["error"] == "invalid_cursor"
    link = await web.chat_getPermalink(channel=HERE, message_ts=tss[0])
    assert link["permalink"].endswith(f"?thread_ts={head}&cid={HERE}")


async def test_a_scheduled_message_appears_when_its_time_has_come() -> None:
    clock = Clock(frozen=True)
    async with Workspace(clock=clock) as slack:
        now, web = int(clock.time()), client(slack)
        assert (await refused(web.chat_scheduleMessage(channel=HERE, text="x", post_at=now - 1)))[
            "error"
        ] == "time_in_past"
        far = web.chat_scheduleMessage(channel=HERE, text="x", post_at=now + 121 * 86_400)
        assert (await refused(far))["error"] == "time_too_far"
        await web.chat_scheduleMessage(channel=HERE, text="later", post_at=now + 60)
        assert slack.driver.find("inc-4211", "later") is None
        clock.advance(60)
        await slack.driver.wait_for_text("inc-4211", "later")


# -- people and places -----------------------------------------------------------------------------------------------


async def test_channels_are_shown_as_the_app_may_see_them(web: AsyncWebClient) -> None:
    shared = (await web.conversations_info(channel=SHARED, include_num_members=True))["channel"]
    assert shared["is_ext_shared"] and shared["connected_team_ids"] == ["T0STRANGER"] and shared["num_members"] == 8
    assert (await refused(web.conversations_info(channel=SECRET)))["error"] == "channel_not_found"
    both = await web.conversations_list(types="public_channel,private_channel", exclude_archived=True)
    names = {c["name"] for c in both["channels"]}
    assert "shop-private" in names and not names & {"leads", "old-inc"}
    with pytest.raises(SlackApiError, match="invalid_limit"):
        await web.conversations_list(limit=1000)
    pages = [c["name"] async for page in await web.conversations_list(limit=3) for c in page["channels"]]
    assert len(pages) == len(set(pages)) == 7
    mine = {c["name"] for c in (await web.users_conversations())["channels"]}
    assert "inc-4211" in mine and "random" not in mine
    assert "U0SAM00001" in (await web.conversations_members(channel=SHARED))["members"]
    assert (await refused(web.conversations_list(types="all")))["error"] == "invalid_types"


async def test_coming_in_bringing_in_and_making_channels(slack: Workspace, web: AsyncWebClient) -> None:
    assert (await web.conversations_join(channel=ELSEWHERE))["channel"]["is_member"]
    assert (await web.conversations_join(channel=ELSEWHERE))["warning"] == "already_in_channel"
    assert (await refused(web.conversations_join(channel=OLD)))["error"] == "is_archived"
    made = (await web.conversations_create(name="inc-9", is_private=True))["channel"]
    assert made["is_private"] and made["is_member"]
    await web.conversations_invite(channel=made["id"], users=["U0ANA00001", "U0BEN00001"])
    assert slack.state.channel("inc-9").members == [slack.app.bot_user, "U0ANA00001", "U0BEN00001"]
    for users, error in [
        ("U0ANA00001", "already_in_channel"),
        ("U0ZOE00001", "user_not_found"),
        ("U1", "user_not_found"),
    ]:
        assert (await refused(web.conversations_invite(channel=made["id"], users=users)))["error"] == error
    assert (await refused(web.conversations_create(name="inc-9")))["error"] == "name_taken"
    assert (await refused(web.conversations_create(name="Inc 9")))["error"] == "invalid_name_specials"
    direct = (await web.conversations_open(users="U0ANA00001"))["channel"]["id"]
    assert direct == (await web.conversations_open(users="U0ANA00001", return_im=True))["channel"]["id"]
    assert (await web.chat_postMessage(channel="U0ANA00001", text="to you"))["channel"] == direct
    assert (await refused(web.conversations_open(users="U0ZOE00001")))["error"] == "user_disabled"


async def test_people_and_groups(web: AsyncWebClient) -> None:
    users = {u["name"]: u for u in (await web.users_list())["members"]}
    assert users["gus"]["is_restricted"] and users["sam"]["team_id"] == "T0STRANGER" and users["zoe"]["deleted"]
    assert users["ci"]["is_bot"] and users["rollback"]["is_bot"]
    assert (await web.users_lookupByEmail(email="ben@shop.example"))["user"]["id"] == "U0BEN00001"
    assert (await refused(web.users_lookupByEmail(email="zoe@shop.example")))["error"] == "users_not_found"
    assert (await refused(web.users_info(user="U0NOBODY01")))["error"] == "user_not_found"
    groups = {g["handle"]: g for g in (await web.usergroups_list(include_users=True))["usergroups"]}
    assert (await web.usergroups_users_list(usergroup=groups["dbas"]["id"]))["users"] == groups["dbas"]["users"]
    assert (await refused(web.usergroups_users_list(usergroup="S1")))["error"] == "no_such_subteam"
    me = await web.auth_test()
    assert me["user_id"] == "U0ROLLBACK" and me["team_id"] == (await web.team_info())["team"]["id"]


# -- files, marks, views ---------------------------------------------------------------------------------------------


async def test_files_are_uploaded_in_three_steps(slack: Workspace, web: AsyncWebClient) -> None:
    head = (await web.chat_postMessage(channel=HERE, text="head"))["ts"]
    told = await web.files_upload_v2(
        file_uploads=[{"filename": "a.md", "content": "# a"}, {"filename": "b.html", "content": "<b>", "title": "B"}],
        channel=HERE,
        thread_ts=head,
        initial_comment="Record",
    )
    post = slack.driver.read("inc-4211", head)[-1]
    assert post.files == ("a.md", "B") and post.plain == "Record\n[file: a.md]\n[file: B]"
    body = (await web.files_info(file=told["files"][1]["id"]))["file"]
    assert (body["mimetype"], body["size"], body["shares"]["public"][HERE][0]["ts"]) == ("text/html", 3, post.ts)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {slack.app.bot_token}"}) as session:
        assert await (await session.get(body["url_private"])).read() == b"<b>"
    async with aiohttp.ClientSession() as session:
        assert (await session.get(body["url_private"])).status == 404


async def test_what_an_upload_may_not_be(slack: Workspace, web: AsyncWebClient) -> None:
    body = await refused(web.files_getUploadURLExternal(filename="x", length=0))
    assert body["response_metadata"]["messages"] == ["[ERROR] must be greater than 1 [json-pointer:/length]"]
    ticket = await web.files_getUploadURLExternal(filename="x", length=3)
    early = web.files_completeUploadExternal(files=[{"id": ticket["file_id"]}])
    assert (await refused(early))["error"] == "file_not_found"
    async with aiohttp.ClientSession() as session:
        assert (await session.post(ticket["upload_url"], data=b"four")).status == 400
        assert (await session.post(ticket["upload_url"], data=b"abc")).status == 200
        assert (await session.post(ticket["upload_url"], data=b"abc")).status == 404
    named = await refused(web.files_completeUploadExternal(files=[{"id": ticket["file_id"]}], channel_id="#inc-4211"))
    assert named["response_metadata"]["messages"] == [
        "[ERROR] input must match regex pattern: ^[CGDZ][A-Z0-9]{8,}$ [json-pointer:/channel_id]"
    ]
    away = web.files_completeUploadExternal(files=[{"id": ticket["file_id"]}], channel_id=ELSEWHERE)
    assert (await refused(away))["error"] == "not_in_channel"
    assert slack.driver.read("random") == []


async def test_reactions_pins_and_bookmarks(slack: Workspace, web: AsyncWebClient) -> None:
    ts = (await web.chat_postMessage(channel=HERE, text="x"))["ts"]
    await web.reactions_add(channel=HERE, timestamp=ts, name="eyes")
    assert (await refused(web.reactions_add(channel=HERE, timestamp=ts, name="eyes")))["error"] == "already_reacted"
    shown = (await web.reactions_get(channel=HERE, timestamp=ts))["message"]["reactions"]
    assert shown == [{"name": "eyes", "users": [slack.app.bot_user], "count": 1}]
    await web.reactions_remove(channel=HERE, timestamp=ts, name="eyes")
    assert (await refused(web.reactions_remove(channel=HERE, timestamp=ts, name="eyes")))["error"] == "no_reaction"
    assert (await refused(web.reactions_add(channel=HERE, timestamp=ts, name="!!")))["error"] == "invalid_name"
    await web.pins_add(channel=HERE, timestamp=ts)
    assert (await refused(web.pins_add(channel=HERE, timestamp=ts)))["error"] == "already_pinned"
    assert [i["message"]["ts"] for i in (await web.pins_list(channel=HERE))["items"]] == [ts]
    await web.pins_remove(channel=HERE, timestamp=ts)
    assert (await refused(web.pins_remove(channel=HERE, timestamp=ts)))["error"] == "no_pin"
    assert (await refused(web.pins_add(channel=HERE)))["error"] == "no_item_specified"
    mark = await web.bookmarks_add(channel_id=HERE, title="Record", type="link", link="https://x.example")
    key = mark["bookmark"]["id"]
    await web.bookmarks_edit(channel_id=HERE, bookmark_id=key, title="The record")
    assert [b["title"] for b in (await web.bookmarks_list(channel_id=HERE))["bookmarks"]] == ["The record"]
    await web.bookmarks_remove(channel_id=HERE, bookmark_id=key)
    assert (await refused(web.bookmarks_remove(channel_id=HERE, bookmark_id=key)))["error"] == "bookmark_not_found"
    bad = web.bookmarks_add(channel_id=HERE, title="x", type="link", link="ftp://x")
    assert (await refused(bad))["error"] == "invalid_link"
    wrong = web.bookmarks_add(channel_id=HERE, title="x", type="folder")
    assert (await refused(wrong))["error"] == "invalid_bookmark_type"


async def test_views_are_checked_before_their_trigger_is_used(slack: Workspace, web: AsyncWebClient) -> None:
    body = await refused(web.views_open(trigger_id="1.2.x", view=modal(title=plain("x" * 25))))
    assert body["error"] == "invalid_arguments"
    assert body["response_metadata"]["messages"] == [
        "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"
    ]
    assert (await refused(web.views_open(trigger_id="1.2.x", view=modal())))["error"] == "invalid_trigger_id"
    assert (await refused(web.views_update(view_id="V1", view=modal())))["error"] == "not_found"
    home = {"type": "home", "blocks": [section("hello")]}
    told = (await web.views_publish(user_id="U0ANA00001", view=home))["view"]
    stale = web.views_publish(user_id="U0ANA00001", view=home, hash="old")
    assert (await refused(stale))["error"] == "hash_conflict"
    assert (await web.views_publish(user_id="U0ANA00001", view=home, hash=told["hash"]))["view"]["id"] == told["id"]
    wrong = await refused(web.views_publish(user_id="U0ANA00001", view=modal()))
    assert "must match the `type` of the root view" in wrong["response_metadata"]["messages"][0]


async def test_blocks_validate_judges_without_posting(slack: Workspace, web: AsyncWebClient) -> None:
    assert (await web.blocks_validate(blocks=[section("fine")]))["ok"]
    body = await refused(web.blocks_validate(blocks=[{"type": "section", "text": {"type": "invalid", "text": "x"}}]))
    assert (body["error"], body["errors"]) == (
        "invalid_blocks",
        [
            {
                "code": "failed_constraint",
                "message": "unsupported type: invalid",
                "pointer": "/0/text/type",
                "constraint": {"type": "enum", "expected": ["plain_text", "mrkdwn"]},
            }
        ],
    )
    body = await refused(web.blocks_validate(view=modal(title=plain(""))))
    assert (body["error"], body["errors"][0]["pointer"]) == ("invalid_view", "/title/text")
    body = await refused(web.blocks_validate(message={"blocks": [{}]}))
    assert (body["error"], body["errors"][0]["code"]) == ("invalid_message", "missing_field")
    assert (await refused(web.blocks_validate()))["error"] == "invalid_arguments"
    assert slack.driver.read("inc-4211") == []


async def test_channels_end(slack: Workspace, web: AsyncWebClient) -> None:
    ts = (await web.chat_postMessage(channel=HERE, text="x"))["ts"]
    slack.driver.archive("ana", "inc-4211")
    assert (await refused(web.chat_update(channel=HERE, ts=ts, text="y")))["error"] == "is_inactive"
    assert (await refused(web.chat_postMessage(channel=HERE, text="y")))["error"] == "is_archived"
    slack.driver.leave("rollback", "status")
    assert (await refused(web.conversations_history(channel="C0STATUS01")))["error"] == "not_in_channel"
