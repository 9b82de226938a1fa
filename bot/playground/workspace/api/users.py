"""users.*, usergroups.*: who there is. https://docs.slack.dev/reference/methods?family=users"""

from __future__ import annotations

from bot.playground.workspace.method import Call, method
from bot.playground.workspace.people import User
from bot.playground.workspace.rates import TIER_2, TIER_3, TIER_4
from bot.playground.workspace.wire import Json, SlackError


def _json(call: Call, user: User) -> Json:
    return user.json(email="users:read.email" in call.state.app.scopes)


@method("users.info", "user! include_locale:bool", rate=TIER_4, scopes=["users:read"])
def info(call: Call) -> Json:
    """One person, also one who was deactivated."""
    user = call.state.users.get(call.text("user"))
    if user is None:
        raise SlackError("user_not_found")
    return {"user": _json(call, user)}


@method("users.list", "cursor limit:int include_locale:bool team_id", rate=TIER_2, scopes=["users:read"])
def list_(call: Call) -> Json:
    """Everybody of this workspace, and strangers who share a channel."""
    page, cursor = call.page(list(call.state.users.values()), default=1000)
    at = int(call.state.clock.time())
    return {"members": [_json(call, u) for u in page], "cache_ts": at, "response_metadata": {"next_cursor": cursor}}


@method("users.lookupByEmail", "email!", rate=TIER_3, scopes=["users:read.email"])
def lookup(call: Call) -> Json:
    """The person with this address."""
    for user in call.state.users.values():
        if user.email == call.text("email") and not user.deleted and not user.is_bot:
            return {"user": _json(call, user)}
    raise SlackError("users_not_found")


@method(
    "usergroups.list",
    "include_count:bool include_disabled:bool include_users:bool team_id",
    rate=TIER_2,
    scopes=["usergroups:read"],
)
def groups(call: Call) -> Json:
    """All user groups."""
    return {"usergroups": [g.json(users=call.flag("include_users")) for g in call.state.groups.values()]}


@method("usergroups.users.list", "usergroup! include_disabled:bool team_id", rate=TIER_2, scopes=["usergroups:read"])
def group_members(call: Call) -> Json:
    """Who is in a user group."""
    group = call.state.groups.get(call.text("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}
