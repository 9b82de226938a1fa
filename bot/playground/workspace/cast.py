"""Everything that a workspace starts with, unless it is told otherwise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bot.playground.workspace.app import App
from bot.playground.workspace.people import OTHER_TEAM, Channel, Group, User


@dataclass(frozen=True)
class Cast:
    """Who is there, in which groups, and where they talk."""

    users: Collection[User]
    groups: Collection[Group]
    channels: Collection[Channel]


def standard_cast(app: App) -> Cast:
    """Commanders ana and dee, dbas ben and eli, approvers cho and eli, and people who must not decide.

    fay has no role; gus is a guest, sam a stranger by Slack Connect, zoe was deactivated, ci is another bot. The app is
    in #inc-4211, #inc-4212, #status, #shop-private and #shared-acme, not in #general, #random and #leads (private);
    #old-inc is archived.
    """
    ana, ben, cho, dee = "U0ANA00001", "U0BEN00001", "U0CHO00001", "U0DEE00001"
    eli, fay, gus, sam, zoe = "U0ELI00001", "U0FAY00001", "U0GUS00001", "U0SAM00001", "U0ZOE00001"
    team = {ana: "Ana Alves", ben: "Ben Brandt", cho: "Cho Chen", dee: "Dee Duarte", eli: "Eli Ek", fay: "Fay Fox"}
    users = [
        User(app.bot_user, app.name.lower().replace(" ", "-"), app.name, is_bot=True, bot_id=app.bot_id),
        User("U0CI000001", "ci", "CI", is_bot=True, bot_id="B0CI000001"),
        *(User(i, name.split()[0].lower(), name, is_admin=i == ana) for i, name in team.items()),
        User(gus, "gus", "Gus Guest", guest=True),
        User(sam, "sam", "Sam Stranger", team_id=OTHER_TEAM),
        User(zoe, "zoe", "Zoe Zidane", deleted=True),
    ]
    groups = [
        Group("S0COMMAND1", "commanders", "Commanders", [ana, dee]),
        Group("S0APPROVE1", "approvers", "Approvers", [cho, eli]),
        Group("S0DBAS0001", "dbas", "Database administrators", [ben, eli]),
        Group("S0ONCALL01", "oncall", "On call", [ben, cho]),
    ]
    us = [*team, app.bot_user]
    channels = [
        Channel("C0GENERAL1", "general", [*team, gus]),
        Channel("C0RANDOM01", "random", [*team]),
        Channel("C0INC04211", "inc-4211", [*us, gus, "U0CI000001"]),
        Channel("C0INC04212", "inc-4212", [*us]),
        Channel("C0STATUS01", "status", [*us]),
        Channel("C0SHOPPRIV", "shop-private", [ana, ben, cho, dee, app.bot_user], private=True),
        Channel("C0LEADS001", "leads", [ana, dee], private=True),
        Channel("C0SHARED01", "shared-acme", [*us, sam], shared_with=OTHER_TEAM),
        Channel("C0OLDINC01", "old-inc", [*us], archived=True),
    ]
    return Cast(users, groups, channels)
