"""The playground's page: who is let in, what it is told, what may be done on it, and how it behaves in a browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import bot.playground.page
from bot.playground.page.site import Site
from bot.playground.workspace import Workspace
from tests.playground.browser import browsing, looking
from tests.playground.workspace_bot import HERE, actions, asks, bolt, button, client, modal, plain, running, section

Body = dict[str, Any]
STATIC = Path(bot.playground.page.__file__).parent / "static"


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace() as workspace:
        yield workspace


@pytest.fixture
async def site(slack: Workspace) -> AsyncIterator[Site]:
    async with Site(slack) as found:
        yield found


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def origin(site: Site) -> str:
    return site.url.rsplit("/", 2)[0]


async def do(http: aiohttp.ClientSession, site: Site, verb: str, **args: object) -> tuple[int, Body]:
    headers = {"Origin": origin(site)}
    async with http.post(f"{site.url}do/{verb}", json={"as": "ana", **args}, headers=headers) as answer:
        return answer.status, await answer.json()


async def told(http: aiohttp.ClientSession, site: Site, who: str = "ana") -> AsyncIterator[tuple[str, Body]]:
    """Events of the page's stream."""
    async with http.get(f"{site.url}stream?as={who}") as answer:
        name = ""
        async for line in answer.content:
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])


# -- who is let in ---------------------------------------------------------------------------------------------------


async def test_who_does_not_know_the_token_sees_nothing(http: aiohttp.ClientSession, site: Site) -> None:
    for path in ("/", "/x/", "/x/stream?as=ana", "/x/static/page.js", "//"):
        async with http.get(f"{origin(site)}{path}") as answer:
            assert answer.status == 403, path


async def test_a_name_that_was_bound_to_this_machine_is_refused(http: aiohttp.ClientSession, site: Site) -> None:
    async with http.get(site.url, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421


async def test_another_page_cannot_act_even_if_it_knew_the_token(http: aiohttp.ClientSession, site: Site) -> None:
    for headers in ({"Origin": "https://evil.example"}, {}):
        body = {"as": "ana", "channel": HERE, "text": "hi"}
        async with http.post(f"{site.url}do/say", json=body, headers=headers) as answer:
            assert answer.status == 403


async def test_nothing_is_loaded_from_outside_and_nothing_else_is_served(
    http: aiohttp.ClientSession, site: Site
) -> None:
    async with http.get(site.url) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "://" not in await answer.text()
    for name in ("../site.py", "..%2Fsite.py", "none.js"):
        async with http.get(f"{site.url}static/{name}") as answer:
            assert answer.status == 404, name


async def test_what_was_uploaded_is_saved_and_never_run(
    http: aiohttp.ClientSession, site: Site, slack: Workspace
) -> None:
    await client(slack).files_upload_v2(channel=HERE, filename="timeline.html", content="<script>1</script>")
    (file,) = slack.state.files.values()
    async with http.get(f"{site.url}files/{file.id}") as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="timeline.html"'
        assert "sandbox" in answer.headers["Content-Security-Policy"]


# -- what it is told, and does ---------------------------------------------------------------------------------------


async def test_one_is_told_what_one_could_see_in_slack_and_no_more(
    http: aiohttp.ClientSession, site: Site, slack: Workspace
) -> None:
    await client(slack).chat_postEphemeral(channel=HERE, user="U0CHO00001", text="for cho alone")
    await slack.driver.say("dee", "leads", "among leads")
    await slack.driver.say("ana", HERE, "hello")
    name, everything = await anext(told(http, site, "cho"))
    assert name == "everything"
    assert [m["text"] for m in everything["messages"]] == ["for cho alone", "hello"]
    assert "leads" not in {c["name"] for c in everything["channels"]}
    _, anas = await anext(told(http, site, "ana"))
    assert [m["text"] for m in anas["messages"]] == ["hello", "among leads"]


async def test_a_change_is_told_as_it_is_now_and_what_is_gone_is_told_as_gone(
    http: aiohttp.ClientSession, site: Site, slack: Workspace
) -> None:
    stream = told(http, site)
    await anext(stream)
    said = await client(slack).chat_postMessage(channel=HERE, text="one")
    assert (await anext(stream))[1]["text"] == "one"
    await client(slack).chat_update(channel=HERE, ts=said["ts"], text="two")
    assert (await anext(stream))[1]["text"] == "two"
    await client(slack).chat_delete(channel=HERE, ts=said["ts"])
    assert await anext(stream) == ("gone", {"channel": HERE, "ts": said["ts"]})


async def test_what_makes_no_sense_is_said_in_words_and_changes_nothing(
    http: aiohttp.ClientSession, site: Site, slack: Workspace
) -> None:
    for verb, args, why in [
        ("say", {"as": "sam", "channel": HERE, "text": "hi"}, "sam is not in inc-4211"),
        ("say", {"as": "eve", "channel": HERE, "text": "hi"}, "nobody here is called eve"),
        ("say", {"channel": HERE}, "text"),
        ("click", {"target": "1.1", "action": "a", "block": "b"}, "nothing here is called 1.1"),
        ("dance", {}, "nobody can 'dance' here"),
    ]:
        status, said = await do(http, site, verb, **args)
        assert status == 422 and why in said["error"], (verb, said)
    assert slack.delivered == []


async def test_an_app_that_is_away_is_told_as_slack_tells_it(http: aiohttp.ClientSession, site: Site) -> None:
    _, said = await do(http, site, "slash", channel=HERE, command="/rollback", text="shop")
    assert said == {"ok": False, "error": "The app could not be reached.", "errors": {}}


async def test_the_inspector_shows_both_ways_and_no_token(
    http: aiohttp.ClientSession, site: Site, slack: Workspace
) -> None:
    await client(slack).chat_postMessage(channel=HERE, text="one")
    async with http.get(f"{site.url}traffic?after=0") as answer:
        text = await answer.text()
        (line,) = json.loads(text)["lines"]
    assert (line["way"], line["what"]) == ("to Slack", "chat.postMessage")
    assert slack.app.bot_token not in text
    async with http.get(f"{site.url}traffic?after={line['n']}") as answer:
        assert (await answer.json())["lines"] == []


# -- in a browser ----------------------------------------------------------------------------------------------------


def test_the_renderers_do_what_their_own_tests_say() -> None:
    node = shutil.which("node")
    assert node, "node is missing: apt-get install nodejs"
    tests = Path(__file__).parent / "page" / "render.test.js"
    ran = subprocess.run(
        [node, "--test", tests], env={**os.environ, "PAGE": str(STATIC)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout


async def test_a_form_keeps_the_keyboard_inside_and_says_what_is_wrong_under_the_field(slack: Workspace) -> None:
    app, given = bolt(slack), asyncio.Queue[str]()

    @app.action("go")
    async def opens(ack: Any, body: Body, client: Any) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal(asks("Why", "why")))

    @app.view("m")
    async def reads(ack: Any, view: Body) -> None:
        value = view["state"]["values"]["why_block"]["why"]["value"]
        await ack(response_action="errors", errors={"why_block": "Say more."}) if len(value) < 5 else await ack()
        given.put_nowait(value)

    async with running(slack, app), Site(slack) as site, browsing() as browser:
        await client(slack).chat_postMessage(channel=HERE, text="x", blocks=[actions(button("Go on", "go"))])
        async with looking(browser, site.url) as page:
            await page.get_by_role("button", name="Go on").focus()
            await page.keyboard.press("Enter")
            dialog = page.get_by_role("dialog", name="A modal")
            field = dialog.get_by_label("Why")
            await field.wait_for()
            for _ in range(6):
                await page.keyboard.press("Tab")
                inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
                assert await page.evaluate(inside)
            await field.fill("no")
            await page.keyboard.press("Enter")
            await dialog.get_by_text("Say more.").wait_for()
            assert await field.get_attribute("aria-invalid") == "true"
            assert await field.evaluate("e => e === document.activeElement")
            assert await field.input_value() == "no"
            await field.fill("because")
            await page.keyboard.press("Enter")
            await dialog.wait_for(state="hidden")
    assert [given.get_nowait(), given.get_nowait()] == ["no", "because"]


async def test_what_is_new_is_said_aloud_and_leaves_the_focus_where_it_was(slack: Workspace) -> None:
    async with Site(slack) as site, browsing() as browser, looking(browser, site.url) as page:
        said = await client(slack).chat_postMessage(
            channel=HERE, text="x", blocks=[section("*One*"), actions(button("Press", "p"))]
        )
        press = page.get_by_role("button", name="Press")
        await press.focus()
        assert await page.locator("#news").text_content() == "rollback in inc-4211: One Press"
        again = [section("*Two*"), actions(button("Press", "p"))]
        await client(slack).chat_update(channel=HERE, ts=said["ts"], text="x", blocks=again)
        await page.get_by_text("Two").wait_for()
        assert await press.evaluate("e => e === document.activeElement")
        for role in ("banner", "navigation", "main"):
            assert await page.get_by_role(role).first.is_visible()
        await page.get_by_role("button", name="Reply in thread").dispatch_event("click")
        await page.get_by_label("Reply", exact=True).fill("seen")
        await page.keyboard.press("Enter")
        await page.get_by_role("complementary", name="Thread").get_by_text("seen").wait_for()
        assert [p.plain for p in slack.driver.read(HERE) if p.is_reply] == ["seen"]


async def test_a_message_has_its_shortcuts_a_menu_its_keys_and_the_app_a_home(slack: Workspace) -> None:
    app, heard = bolt(slack), asyncio.Queue[str]()

    @app.shortcut("rollback-of-message")
    async def taken(ack: Any, body: Body) -> None:
        await ack()
        heard.put_nowait(body["message"]["text"])

    @app.action("more")
    async def chosen(ack: Any, action: Body) -> None:
        await ack()
        heard.put_nowait(action["selected_option"]["value"])

    @app.event("app_home_opened")
    async def drawn(event: Body, client: Any) -> None:
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [section("At home")]})

    more = {
        "type": "overflow",
        "action_id": "more",
        "options": [{"text": plain(n), "value": n} for n in ("one", "two")],
    }
    async with running(slack, app), Site(slack) as site, browsing() as browser:
        await slack.driver.say("ben", HERE, "an alert for @ana")
        await client(slack).chat_postMessage(channel=HERE, text="x", blocks=[actions(more)])
        async with looking(browser, site.url) as page:
            said = page.locator("article", has_text="an alert for")
            assert await said.locator(".mention.mine").text_content() == "@ana"
            await said.hover()
            await said.get_by_role("button", name="More message actions").click()
            await page.get_by_role("menuitem", name="rollback-of-message").click()
            assert await heard.get() == f"an alert for <@{slack.state.user('ana').id}>"
            button_ = page.get_by_role("button", name="More actions")
            await button_.focus()
            for key in ("Enter", "Escape", "Enter", "ArrowDown", "Enter"):
                await page.keyboard.press(key)
            assert await heard.get() == "two"
            assert await button_.evaluate("e => e === document.activeElement")
            await page.get_by_role("navigation").get_by_role("button", name="Rollback", exact=True).click()
            await page.get_by_text("At home").wait_for()


def test_the_page_is_of_small_parts() -> None:
    for file in STATIC.iterdir():
        assert len(file.read_text().splitlines()) <= 320, file.name
