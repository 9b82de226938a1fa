"""An unchanged slack-bolt app in the workspace, by Socket Mode and by signed HTTP: what people do arrives, what it
answers is seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError

from bot.playground.workspace import App, Post, Workspace
from bot.playground.workspace.app import EVENTS
from tests.playground.workspace_bot import (
    HERE,
    MODES,
    Mode,
    actions,
    asks,
    bolt,
    button,
    client,
    modal,
    plain,
    running,
    section,
)

Body = dict[str, Any]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(app=App(events=EVENTS)) as workspace:
        yield workspace


async def card(slack: Workspace, *blocks: Body, text: str = "card") -> Post:
    """A message of the app."""
    said = await client(slack).chat_postMessage(channel=HERE, text=text, blocks=list(blocks))
    found = slack.driver.find("inc-4211", text)
    assert found is not None and found.ts == said["ts"]
    return found


# -- slash commands --------------------------------------------------------------------------------------------------


async def test_a_command_is_answered_for_its_author_alone(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []

    @app.command("/rollback")
    async def rollback(ack: Any, body: Body) -> None:
        heard.append(body)
        await ack(f"on it: {body['text']}")

    async with running(slack, app, mode):
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback", "shop to 2.4.0 because it's slow & bad")
    assert seen.ok and seen.text == "on it: shop to 2.4.0 because it's slow & bad"
    assert slack.driver.read("inc-4211", reader="ben") == []
    body = heard[0]
    assert (
        body.items()
        >= {
            "command": "/rollback",
            "user_id": "U0ANA00001",
            "user_name": "ana",
            "channel_id": HERE,
            "channel_name": "inc-4211",
            "team_id": "T0PLAYGRND",
            "team_domain": "playground",
            "api_app_id": slack.app.app_id,
            "is_enterprise_install": "false",
        }.items()
    )
    assert body["trigger_id"] and body["response_url"].startswith(slack.url)


async def test_a_command_may_answer_everybody_and_may_answer_later(slack: Workspace, mode: Mode) -> None:
    app = bolt(slack)

    @app.command("/rollback")
    async def rollback(ack: Any, respond: Any) -> None:
        await ack({"response_type": "in_channel", "text": "card"})
        await respond("and only you")

    async with running(slack, app, mode):
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback")
        assert [p.text for p in seen.posts] == ["card"]
        await slack.driver.wait_for(lambda: slack.driver.whispers("ana"))
    assert [p.text for p in slack.driver.read("inc-4211")] == ["card"]


async def test_a_command_nobody_registered_never_reaches_the_app(slack: Workspace) -> None:
    assert (await slack.driver.slash("ana", "inc-4211", "/rolback")).error == "unknown_command"
    assert slack.delivered == []


async def test_a_command_without_an_app_is_shown_as_failed(slack: Workspace) -> None:
    assert (await slack.driver.slash("ana", "inc-4211", "/rollback")).error == "dispatch_failed"


async def test_an_answer_that_slack_cannot_show_is_a_failure(slack: Workspace, mode: Mode) -> None:
    app = bolt(slack)

    @app.command("/rollback")
    async def rollback(ack: Any) -> None:
        await ack(text="x", blocks=[section("x" * 3001)])

    async with running(slack, app, mode):
        assert (await slack.driver.slash("ana", "inc-4211", "/rollback")).error == "invalid_command_response"


# -- buttons and menus -----------------------------------------------------------------------------------------------


async def test_a_click_tells_who_where_and_what(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []

    @app.action("go")
    async def go(ack: Any, body: Body, client: Any) -> None:
        await ack()
        heard.append(body)
        done = [section("*Done* by <@U0BEN00001>")]
        await client.chat_update(channel=body["channel"]["id"], ts=body["message"]["ts"], text="done", blocks=done)

    async with running(slack, app, mode):
        post = await card(slack, section("Start?"), actions(button("Start", "go", style="primary")))
        seen = await slack.driver.click("ben", post, "Start")
    assert [p.plain for p in seen.posts] == ["Done by @ben"] and not seen.posts[0].edited
    body = heard[0]
    did = body["actions"][0]
    assert (did["type"], did["action_id"], did["block_id"], did["value"]) == ("button", "go", "actions", "start")
    assert did["text"] == {**plain("Start"), "emoji": True} and did["style"] == "primary" and did["action_ts"]
    assert body["user"] == {"id": "U0BEN00001", "username": "ben", "name": "ben", "team_id": "T0PLAYGRND"}
    assert body["channel"] == {"id": HERE, "name": "inc-4211"} and body["team"]["id"] == "T0PLAYGRND"
    told = {"type": "message", "message_ts": post.ts, "channel_id": HERE, "is_ephemeral": False}
    assert body["container"] == told and body["message"]["ts"] == post.ts and body["message"]["bot_id"]
    assert body["state"] == {"values": {}} and body["trigger_id"] and body["response_url"]


async def test_menus_and_pickers_say_what_was_chosen(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []
    choices = [{"text": plain(name), "value": name.lower()} for name in ("Preview", "Abort")]

    @app.action({"block_id": "actions"})
    async def chose(ack: Any, body: Body, respond: Any) -> None:
        await ack()
        heard.append(body)
        await respond("noted")

    async with running(slack, app, mode):
        menu = {"type": "overflow", "action_id": "more", "options": choices}
        pick = {"type": "static_select", "action_id": "pick", "placeholder": plain("Which"), "options": choices}
        day = {"type": "datepicker", "action_id": "day"}
        post = await card(slack, actions(menu, pick, day), asks("Note", "note"))
        assert (await slack.driver.select("ana", post, "Note", "tells nobody yet", patience=0)).ok and heard == []
        assert (await slack.driver.overflow("ana", post, "Abort")).text == "noted"
        assert (await slack.driver.select("ana", post, "Which", "preview")).ok
        assert (await slack.driver.select("ana", post, "day", "2026-11-25")).ok
    did = [body["actions"][0] for body in heard]
    assert did[0]["selected_option"] == {"text": {**plain("Abort"), "emoji": True}, "value": "abort"}
    assert did[1]["selected_option"]["value"] == "preview" and did[1]["placeholder"]["text"] == "Which"
    assert did[2]["selected_date"] == "2026-11-25"
    assert heard[2]["state"]["values"]["actions"]["pick"]["selected_option"]["value"] == "preview"
    assert heard[0]["state"]["values"]["note_block"]["note"]["value"] == "tells nobody yet"


async def test_a_whisper_is_replaced_and_removed_only_by_its_response_url(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []

    @app.action("yes")
    async def yes(ack: Any, body: Body, respond: Any) -> None:
        await ack()
        heard.append(body)
        await respond("sure?", blocks=[actions(button("Yes", "no"))], replace_original=True)

    @app.action("no")
    async def no(ack: Any, respond: Any) -> None:
        await ack()
        await respond(delete_original=True)

    async with running(slack, app, mode):
        await client(slack).chat_postEphemeral(
            channel=HERE, user="U0CHO00001", text="?", blocks=[actions(button("Yes", "yes"))]
        )
        first = slack.driver.whispers("cho")[0]
        seen = await slack.driver.click("cho", first, "Yes")
        assert [(w.text, w.revision) for w in seen.whispers] == [("sure?", 1)]
        await slack.driver.click("cho", seen.whispers[0], "Yes")
        await slack.driver.wait_for(lambda: not slack.driver.whispers("cho"))
    assert "message" not in heard[0] and heard[0]["container"]["is_ephemeral"] is True


async def test_a_button_that_is_gone_can_still_be_pressed_too_late(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []

    @app.action("go")
    async def go(ack: Any, body: Body, respond: Any) -> None:
        await ack()
        heard.append(body["actions"][0]["value"])
        await respond("too late")

    async with running(slack, app, mode):
        post = await card(slack, actions(button("Start", "go")))
        await client(slack).chat_update(channel=HERE, ts=post.ts, text="over", blocks=[section("over")])
        with pytest.raises(LookupError, match="Start"):
            await slack.driver.click("ana", post.ts, "Start")
        assert (await slack.driver.click("ana", post, "Start")).text == "too late"
        slack.driver.delete(post)
        assert (await slack.driver.click("ana", post, "Start")).ok
    assert heard == ["start", "start"]


async def test_a_confirmation_that_is_declined_sends_nothing(slack: Workspace) -> None:
    sure = {"title": plain("Sure"), "text": plain("Really?"), "confirm": plain("Yes"), "deny": plain("No")}
    post = await card(slack, actions(button("Abort", "abort", confirm=sure)))
    seen = await slack.driver.click("ana", post, "Abort", confirm=False)
    assert seen.question == "Sure: Really?" and slack.delivered == []


@pytest.mark.parametrize("who", ["gus", "sam", "ci", "fay"])
async def test_people_without_a_say_can_press_and_are_named_with_their_team(slack: Workspace, who: str) -> None:
    app, heard = bolt(slack), []

    @app.action("go")
    async def go(ack: Any, body: Body, respond: Any) -> None:
        await ack()
        heard.append(body["user"]["team_id"])
        await respond("not yours to decide")

    place = "C0SHARED01" if who == "sam" else HERE
    async with running(slack, app):
        said = await client(slack).chat_postMessage(channel=place, text="x", blocks=[actions(button("Go", "go"))])
        assert (await slack.driver.click(who, said["ts"], "Go")).text == "not yours to decide"
    assert heard == ["T0STRANGER" if who == "sam" else "T0PLAYGRND"]


# -- modals ----------------------------------------------------------------------------------------------------------


def opens(app: AsyncApp, view: Body) -> None:
    @app.command("/rollback")
    async def rollback(ack: Any, body: Body, client: Any) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=view)


async def test_a_modal_is_opened_filled_complained_of_and_submitted(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []
    services = {
        "type": "static_select",
        "options": [{"text": plain("Shop"), "value": "shop"}],
        "placeholder": plain("One"),
    }
    opens(
        app, modal(asks("Service", "service", **services), asks("Reason", "reason", min_length=5), private_metadata="p")
    )

    @app.view("m")
    async def submitted(ack: Any, body: Body) -> None:
        heard.append(body)
        reason = body["view"]["state"]["values"]["reason_block"]["reason"]["value"]
        if "because" in reason:
            await ack()
        else:
            await ack(response_action="errors", errors={"reason_block": "say because"})

    async with running(slack, app, mode):
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback")
        assert seen.modal is not None and seen.modal.inputs == ("Service", "Reason") and seen.modal.submit == "Go"
        assert (await slack.driver.submit("ana", {"Service": "Shop", "Reason": "x"})).errors == {
            "reason_block": "Please enter at least 5 characters."
        }
        assert heard == []
        assert (await slack.driver.submit("ana", {"Reason": "it is slow"})).errors == {"reason_block": "say because"}
        assert (await slack.driver.submit("ana", {"Reason": "because slow"})).ok
    assert slack.driver.modal("ana") is None
    body = heard[-1]
    assert body["type"] == "view_submission" and body["user"]["id"] == "U0ANA00001" and body["trigger_id"]
    view = body["view"]
    assert view["state"]["values"]["service_block"]["service"]["selected_option"]["value"] == "shop"
    assert (view["private_metadata"], view["callback_id"], view["type"]) == ("p", "m", "modal")
    assert view["root_view_id"] == view["id"] and view["previous_view_id"] is None and view["hash"]


async def test_an_update_keeps_what_was_entered_and_changes_the_hash(slack: Workspace, mode: Mode) -> None:
    app, hashes = bolt(slack), []
    opens(app, modal(asks("Reason", "reason"), actions(button("More", "more"))))

    @app.action("more")
    async def more(ack: Any, body: Body, client: Any) -> None:
        await ack()
        old = body["view"]
        hashes.append(old["hash"])
        grown = modal(asks("Reason", "reason"), asks("Phrase", "phrase"))
        await client.views_update(view_id=old["id"], hash=old["hash"], view=grown)

    async with running(slack, app, mode):
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback")
        assert seen.modal is not None
        await slack.driver.select("ana", seen.modal, "Reason", "slow", patience=0)
        after = (await slack.driver.click("ana", seen.modal, "More")).modal
    assert after is not None and after.inputs == ("Reason", "Phrase") and after.hash != hashes[0]
    assert after.values["reason_block"]["reason"]["value"] == "slow"


async def test_modals_are_pushed_cleared_and_closed(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), []
    opens(app, modal(section("one"), notify_on_close=True))

    @app.view("m")
    async def first(ack: Any) -> None:
        second = modal(section("two"), notify_on_close=True, callback_id="n")
        await ack(response_action="push", view=second)

    @app.view("n")
    async def second(ack: Any) -> None:
        await ack(response_action="clear")

    @app.view_closed("n")
    @app.view_closed("m")
    async def closed(ack: Any, body: Body) -> None:
        await ack()
        heard.append((body["view"]["callback_id"], body["is_cleared"]))

    async with running(slack, app, mode):
        await slack.driver.slash("ana", "inc-4211", "/rollback")
        pushed = (await slack.driver.submit("ana")).modal
        assert pushed is not None and pushed.plain == "two"
        assert (await slack.driver.submit("ana")).modal is None
        await slack.driver.slash("ana", "inc-4211", "/rollback")
        await slack.driver.submit("ana")
        back = (await slack.driver.close("ana")).modal
        assert back is not None and back.plain == "one"
        assert (await slack.driver.close("ana", everything=True)).modal is None
    assert heard == [("n", False), ("m", True)]


async def test_a_trigger_opens_one_modal(slack: Workspace) -> None:
    app = bolt(slack)

    @app.command("/rollback")
    async def rollback(ack: Any, body: Body, client: Any) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal(section("one")))
        with contextlib.suppress(SlackApiError):
            await client.views_open(trigger_id=body["trigger_id"], view=modal(section("two")))

    async with running(slack, app):
        seen = await slack.driver.slash("ana", "inc-4211", "/rollback")
        await slack.driver.wait_for(lambda: len(slack.calls("views.open")) == 2)
    assert seen.modal is not None and seen.modal.plain == "one"
    assert [c.error for c in slack.calls("views.open")] == ["", "exchanged_trigger_id"]


# -- events ----------------------------------------------------------------------------------------------------------


async def test_events_arrive_with_their_envelope(slack: Workspace, mode: Mode) -> None:
    app, heard = bolt(slack), asyncio.Queue[Body]()
    for kind in ("message", "app_mention", "member_joined_channel", "user_change", "subteam_updated", "reaction_added"):

        @app.event(kind)
        async def told(body: Body) -> None:
            await heard.put(body)

    async with running(slack, app, mode):
        post = await slack.driver.say("ana", "inc-4211", "@rollback it burns")
        kinds = {(await heard.get())["event"]["type"], (await heard.get())["event"]["type"]}
        assert kinds == {"message", "app_mention"}
        slack.driver.react("ben", post, "eyes")
        body = await heard.get()
        assert body["event"]["item"] == {"type": "message", "channel": HERE, "ts": post.ts}
        slack.driver.join("ci", "inc-4212", inviter="ana")
        body = await heard.get()
        assert body["event"]["inviter"] == "U0ANA00001" and body["event"]["channel_type"] == "C"
        slack.driver.change_user("fay", guest=True)
        assert (await heard.get())["event"]["user"]["is_restricted"] is True
        slack.driver.set_group("dbas", ["ben"])
        body = await heard.get()
        assert body["event"]["subteam"]["users"] == ["U0BEN00001"]
    assert body["type"] == "event_callback" and body["event_id"].startswith("Ev") and body["event_time"]
    assert body["authorizations"][0]["user_id"] == slack.app.bot_user and body["is_ext_shared_channel"] is False


async def test_deactivating_somebody_takes_them_out_of_their_groups(slack: Workspace) -> None:
    slack.driver.change_user("eli", deleted=True)
    groups = (await client(slack).usergroups_list(include_users=True))["usergroups"]
    assert all("U0ELI00001" not in g["users"] for g in groups)
    assert (await client(slack).users_info(user="U0ELI00001"))["user"]["deleted"] is True


async def test_a_home_tab_is_published_when_it_is_opened(slack: Workspace, mode: Mode) -> None:
    app = bolt(slack)

    @app.event("app_home_opened")
    async def opened(event: Body, client: Any) -> None:
        view = {"type": "home", "blocks": [section(f"Hello <@{event['user']}>")]}
        await client.views_publish(user_id=event["user"], view=view)

    async with running(slack, app, mode):
        home = await slack.driver.home("ana")
    assert home is not None and home.plain == "Hello @ana" and home.kind == "home"


async def test_the_app_hears_only_of_what_it_subscribed_to_and_where_it_is(slack: Workspace) -> None:
    async with Workspace(app=App(events=frozenset({"message.channels"}))) as quiet:
        await quiet.driver.say("ana", "random", "not there")
        await quiet.driver.say("ana", "shop-private", "no message.groups")
        await quiet.driver.say("ana", "inc-4211", "heard")
        await asyncio.sleep(0)
        assert quiet.driver.find("random", "not there") is not None
        app, heard = bolt(quiet), asyncio.Queue[Body]()

        @app.event("message")
        async def told(body: Body) -> None:
            await heard.put(body)

        async with running(quiet, app):
            await quiet.driver.say("ana", "inc-4211", "again")
            assert (await heard.get())["event"]["text"] in ("heard", "again")
        assert all(e["payload"]["event"]["channel"] == HERE for e in quiet.delivered)


def test_an_app_is_what_its_manifest_says() -> None:
    app = App.from_manifest(
        {
            "display_information": {"name": "Roll"},
            "features": {"slash_commands": [{"command": "/roll"}]},
            "oauth_config": {"scopes": {"bot": ["chat:write"]}},
            "settings": {"event_subscriptions": {"bot_events": ["user_change"]}},
        }
    )
    assert app.name == "Roll"
    assert [set(s) for s in (app.commands, app.scopes, app.events)] == [{"/roll"}, {"chat:write"}, {"user_change"}]
