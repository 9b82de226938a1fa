"""auth.test, apps.connections.open, team.info, blocks.validate, api.test: about the app and the workspace itself."""

from __future__ import annotations

from typing import Any

from bot.playground.workspace.blockkit import Problem, refuse_message, refuse_view
from bot.playground.workspace.method import Call, method
from bot.playground.workspace.people import DOMAIN, TEAM
from bot.playground.workspace.rates import SPECIAL, TIER_1, TIER_3
from bot.playground.workspace.wire import Json, SlackError, invalid


@method("api.test", "error foo", rate=SPECIAL)
def api_test(call: Call) -> Json:
    """Whether anybody is there."""
    if call.text("error"):
        raise SlackError(call.text("error"), more={"args": call.args})
    return {"args": call.args}


@method("auth.test", rate=SPECIAL)
def auth_test(call: Call) -> Json:
    """Whom the token belongs to."""
    app = call.state.app
    return {
        "url": f"https://{DOMAIN}.slack.example/",
        "team": "Playground",
        "user": call.state.users[app.bot_user].name,
        "team_id": TEAM,
        "user_id": app.bot_user,
        "bot_id": app.bot_id,
        "is_enterprise_install": False,
    }


@method("apps.connections.open", rate=TIER_1, takes="app")
def connections_open(call: Call) -> Json:
    """The address of a Socket Mode connection."""
    address = call.state.base_url.replace("http", "ws", 1)
    return {"url": f"{address}/link/?ticket={call.sockets.ticket()}&app_id={call.state.app.app_id}"}


@method("team.info", "team domain include_slackbot_availability:bool", rate=TIER_3, scopes=["team:read"])
def team_info(call: Call) -> Json:
    """The workspace."""
    if call.text("team", TEAM) != TEAM:
        raise SlackError("team_not_found")
    team = {"id": TEAM, "name": "Playground", "domain": DOMAIN, "email_domain": "", "icon": {"image_default": True}}
    return {"team": team | {"url": f"https://{DOMAIN}.slack.example/", "is_verified": False}}


@method("blocks.validate", "blocks:json message:json view:json", rate=SPECIAL)
def blocks_validate(call: Call) -> Json:
    """What Block Kit has against blocks, a message or a view."""
    given = [name for name in ("blocks", "view", "message") if name in call.args]
    if len(given) != 1:
        raise invalid("must provide exactly one of `blocks`, `view`, or `message`")
    kind = given[0]
    problems = _problems(kind, call.args[kind])
    if problems:
        raise SlackError(f"invalid_{kind}", more={"errors": [p.json() for p in problems]})
    return {}


def _problems(kind: str, value: Any) -> list[Problem]:
    if kind == "view":
        return refuse_view(value, "")
    if kind == "message" and not isinstance(value, dict):
        return [Problem("", "must provide an object", "invalid_type")]
    blocks = value.get("blocks", []) if kind == "message" else value
    refusal = refuse_message(blocks, "/blocks" if kind == "message" else "")
    if refusal is None:
        return []
    return list(refusal.problems) or [Problem("", refusal.error)]
