"""People in the workspace: what they can do and read, in this process, over HTTP, and from the command line."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.playground.workspace import Cast, Channel, User, Workspace
from bot.playground.workspace.plaintext import mrkdwn, plain
from tests.playground.workspace_bot import HERE, actions, asks, bolt, button, client, modal, running, section
from tests.playground.workspace_bot import plain as words

Body = dict[str, Any]


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace() as workspace:
        yield workspace


# -- who and where ---------------------------------------------------------------------------------------------------


async def test_nobody_acts_where_they_are_not(slack: Workspace) -> None:
    with pytest.raises(PermissionError, match="sam is not in inc-4211"):
        await slack.driver.say("sam", "inc-4211", "hi")
    with pytest.raises(KeyError, match="eve"):
        await slack.driver.say("eve", "inc-4211", "hi")
    with pytest.raises(KeyError, match="inc-1"):
        slack.driver.read("inc-1")
    with pytest.raises(LookupError, match="no such modal"):
        await slack.driver.submit("ana")
    slack.driver.join("sam", "inc-4211")
    assert (await slack.driver.say("sam", "inc-4211", "hi")).by == "sam"


async def test_what_is_not_there_cannot_be_pressed(slack: Workspace) -> None:
    twice = [actions(button("Go", "a"), block_id="one"), actions(button("Go", "a"), block_id="two")]
    said = await client(slack).chat_postMessage(channel=HERE, text="x", blocks=twice)
    for name, match in [("Stop", "there are"), ("Go", "say in which block")]:
        with pytest.raises(LookupError, match=match):
            await slack.driver.click("ana", said["ts"], name)
    with pytest.raises(LookupError, match="no menu offers"):
        await slack.driver.overflow("ana", said["ts"], "Abort")
    with pytest.raises(LookupError, match="nothing here is called"):
        await slack.driver.click("ana", "1.000001", "Go")
    assert slack.delivered == []


async def test_a_workspace_can_have_another_cast() -> None:
    cast = Cast(
        [User("U0ROLLBACK", "bot", "Bot", is_bot=True), User("U0KIM00001", "kim", "Kim")],
        [],
        [Channel("C0ONE00001", "one", ["U0KIM00001", "U0ROLLBACK"])],
    )
    async with Workspace(cast=cast) as small:
        await small.driver.say("kim", "one", "hello")
        assert (await client(small).conversations_history(channel="C0ONE00001"))["messages"][0]["user"] == "U0KIM00001"


async def test_a_stopped_workspace_comes_back_with_everything(slack: Workspace) -> None:
    await slack.driver.say("ana", "inc-4211", "kept")
    before = slack.url
    await slack.stop()
    await slack.start()
    assert (
        slack.url == before
        and (await client(slack).conversations_history(channel=HERE))["messages"][0]["text"] == "kept"
    )


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_a_transcript_reads_like_the_thread(slack: Workspace) -> None:
    web = client(slack)
    head = await slack.driver.say("ana", "inc-4211", "checkout <fails> & burns, @rollback")
    blocks = [
        section("*Rollback of shop: 2.4.1 → 2.4.0* · waiting for <@U0ANA00001> · <https://x.example|record>"),
        {"type": "plan", "title": "Backend", "tasks": [{"task_id": "1", "title": "Deploy", "status": "in_progress"}]},
        actions(
            button("Start", "go"),
            {"type": "overflow", "action_id": "o", "options": [{"text": words("Abort"), "value": "a"}]},
        ),
    ]
    await web.chat_postMessage(channel=HERE, text="card", blocks=blocks, thread_ts=head.ts)
    await web.chat_postEphemeral(channel=HERE, user="U0BEN00001", text="only you", thread_ts=head.ts)
    told = re.sub(r"\d\d:\d\d ", "", slack.driver.transcript("inc-4211", head, reader="ben"))
    assert [line.strip() for line in told.splitlines()] == [
        "ana",
        "checkout <fails> & burns, @rollback",
        "rollback",
        "Rollback of shop: 2.4.1 → 2.4.0 · waiting for @ana · record",
        "Backend",
        "[under way] Deploy",
        "[ Start ] ( ⋯ Abort )",
        "rollback (only for ben)",
        "only you",
    ]
    assert "only you" not in slack.driver.transcript("inc-4211", head)


def test_markup_reads_as_people_read_it() -> None:
    names = {"U1": "ana", "S1": "dbas", "C1": "inc"}.__getitem__
    assert mrkdwn("*a* _b_ ~c~ 2*3*4 snake_case_name `x`", names) == "a b c 2*3*4 snake_case_name `x`"
    assert mrkdwn("<@U1> <#C1> <!subteam^S1> <!here> <!date^1^{time}|14:02> &lt;b&gt; &amp;", names) == (
        "@ana #inc @dbas @here 14:02 <b> &"
    )


def test_every_kind_of_block_has_words() -> None:
    def cell(text: str) -> Body:
        return {"type": "raw_text", "text": text}

    leaves: list[Body] = [
        {"type": "text", "text": "see "},
        {"type": "user", "user_id": "U1"},
        {"type": "link", "url": "https://x"},
    ]
    part = {"type": "rich_text_section", "elements": leaves}
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "ordered", "elements": [part, part]}]}
    blocks: list[Body] = [
        {"type": "header", "text": words("Head")},
        {"type": "section", "fields": [words("a"), words("b"), words("c")]},
        {"type": "table", "rows": [[cell("check"), cell("now")], [cell("edges"), cell("20 of 20")]]},
        rich,
        {"type": "context", "elements": [words("x"), words("y")]},
        {"type": "divider"},
        {"type": "task_card", "task_id": "1", "title": "Freeze", "status": "complete", "output": rich},
        {"type": "alert", "level": "warning", "text": words("careful")},
        asks("Reason", "r"),
        {"type": "image", "alt_text": "a plot", "image_url": "https://x"},
        {"type": "card", "title": words("T"), "actions": [button("Go", "g")]},
        {"type": "container", "title": words("Box"), "child_blocks": [section("inside")]},
        {"type": "markdown", "text": "# md"},
    ]
    assert plain(blocks, lambda _: "ana").splitlines() == [
        "Head",
        "a  |  b",
        "c",
        "check | now",
        "edges | 20 of 20",
        *["1. see @anahttps://x", "2. see @anahttps://x"],
        "x · y",
        "---",
        "  [done] Freeze",
        *["      1. see @anahttps://x", "      2. see @anahttps://x"],
        "warning: careful",
        "Reason: ( plain_text_input ▾ )",
        "[image: a plot]",
        *["T", "[ Go ]"],
        *["Box", "inside"],
        "# md",
    ]


async def test_waiting_says_what_stands_there_instead(slack: Workspace) -> None:
    await slack.driver.say("ana", "inc-4211", "something else")
    with pytest.raises(TimeoutError, match=r"(?s)nobody said 'done'.*something else"):
        await slack.driver.wait_for_text("inc-4211", "done", timeout=0.05)
    later = asyncio.create_task(slack.driver.wait_for_text("inc-4211", "done"))
    await asyncio.sleep(0)
    await slack.driver.say("ben", "inc-4211", "done")
    assert (await later).by == "ben"


# -- over HTTP -------------------------------------------------------------------------------------------------------


async def test_the_driver_works_over_http(slack: Workspace) -> None:
    app = bolt(slack)

    @app.command("/rollback")
    async def rollback(ack: Any, body: Body, client: Any) -> None:
        await ack("on it")
        await client.views_open(trigger_id=body["trigger_id"], view=modal(asks("Why", "why")))

    @app.view("m")
    async def submitted(ack: Any) -> None:
        await ack()

    async with running(slack, app), aiohttp.ClientSession() as session:

        async def drive(verb: str, **arguments: Any) -> Any:
            async with session.post(f"{slack.url}/_driver/{verb}", json=arguments) as answer:
                body = await answer.json()
                assert (answer.status == 200) == body["ok"]
                return body["result"] if body["ok"] else body["error"]

        seen = await drive("slash", user="ana", channel="inc-4211", command="/rollback", text="shop")
        assert [w["text"] for w in seen["whispers"]] == ["on it"]
        await slack.driver.wait_for(lambda: slack.driver.modal("ana"))
        assert (await drive("modal", user="ana"))["inputs"] == ["Why"]
        assert (await drive("submit", user="ana"))["errors"] == {"why_block": "Please complete this required field."}
        assert (await drive("submit", user="ana", values={"Why": "slow"}))["errors"] == {}
        post = await drive("say", user="ana", channel="inc-4211", text="hello")
        assert [p["ts"] for p in await drive("read", channel="inc-4211")] == [post["ts"]]
        assert "hello" in await drive("transcript", channel="inc-4211")
        before = slack.clock.time()
        await drive("advance", seconds=3600)
        assert slack.clock.time() - before >= 3600
        assert await drive("dance") == await drive("dance")
        assert "there is no dance" in await drive("dance")
        assert "KeyError" in await drive("read", channel="nowhere")
        assert "TypeError" in await drive("say", user="ana")


# -- the command line ------------------------------------------------------------------------------------------------


async def test_it_runs_by_itself_and_says_how_to_reach_it(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(json.dumps({"oauth_config": {"scopes": {"bot": ["chat:write"]}}}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.playground.workspace", "--manifest", str(manifest)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = dict([(await process.stdout.readline()).decode().split(maxsplit=1) for _ in range(5)])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {lines['bot_token'].strip()}"}) as session:
        assert (await (await session.post(f"{lines['api'].strip()}auth.test")).json())["ok"]
        missing = await (await session.post(f"{lines['api'].strip()}users.list")).json()
        assert missing["error"] == "missing_scope"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    await process.stdout.read()


async def test_a_missing_manifest_is_said_on_one_line() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.playground.workspace", "--manifest", "/nowhere.yaml"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 1 and told.decode().startswith("workspace: ") and told.count(b"\n") == 1
