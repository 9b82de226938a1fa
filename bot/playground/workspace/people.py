"""Who and what is in the workspace: people, user groups and channels, and how Slack writes them.

Invariants: ids look like Slack's (a letter, then at least eight of A-Z and 0-9); a user's JSON hides the email from an
app without `users:read.email`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.playground.workspace.wire import Json

TEAM = "T0PLAYGRND"
DOMAIN = "playground"
OTHER_TEAM = "T0STRANGER"
ORG = "E0ORG00001"
EPOCH = 1_700_000_000
"""When everything in the workspace was made."""


@dataclass
class User:
    """A person or a bot. guest: multi-channel guest; deleted: deactivated."""

    id: str
    name: str
    real_name: str
    team_id: str = TEAM
    is_admin: bool = False
    is_bot: bool = False
    guest: bool = False
    deleted: bool = False
    bot_id: str | None = None
    tz: str = "Europe/Berlin"
    tz_offset: int = 3600
    updated: int = EPOCH
    org_teams: tuple[str, ...] = ()
    """Workspaces of an Enterprise Grid that they are in; `team_id` may then be any of these."""

    @property
    def email(self) -> str:
        """The address, by which `users.lookupByEmail` finds people."""
        return f"{self.name}@{'acme' if self.team_id != TEAM else 'shop'}.example"

    def profile(self, *, email: bool) -> Json:
        """The `profile` of the user object."""
        first, _, last = self.real_name.partition(" ")
        profile: Json = {
            "title": "",
            "phone": "",
            "skype": "",
            "real_name": self.real_name,
            "real_name_normalized": self.real_name,
            "display_name": self.name,
            "display_name_normalized": self.name,
            "first_name": first,
            "last_name": last,
            "fields": {},
            "status_text": "",
            "status_text_canonical": "",
            "status_emoji": "",
            "status_emoji_display_info": [],
            "status_expiration": 0,
            "avatar_hash": f"g{self.id[-8:].lower()}",
            "team": self.team_id,
        }
        profile |= {f"image_{px}": f"https://avatars.example/{self.id}_{px}.png" for px in (24, 32, 48, 72, 192, 512)}
        profile |= {"email": self.email} if email and not self.is_bot else {}
        return profile | ({"bot_id": self.bot_id} if self.bot_id else {})

    def json(self, *, email: bool = True) -> Json:
        """The user object."""
        body: Json = {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "deleted": self.deleted,
            "profile": self.profile(email=email),
            "is_bot": self.is_bot,
            "is_app_user": False,
            "updated": self.updated,
            "who_can_share_contact_card": "EVERYONE",
        }
        if self.deleted:
            return body
        if self.org_teams:
            org = {"id": self.id, "enterprise_id": ORG, "enterprise_name": "Org", "is_admin": False, "is_owner": False}
            body |= {"enterprise_user": org | {"teams": list(self.org_teams)}}
        at_home = self.team_id == TEAM or TEAM in self.org_teams
        return body | {
            "color": "4bbe2e",
            "real_name": self.real_name,
            "tz": self.tz,
            "tz_label": self.tz,
            "tz_offset": self.tz_offset,
            "locale": "en-GB",
            "is_admin": self.is_admin,
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": self.guest,
            "is_ultra_restricted": False,
            "is_email_confirmed": True,
            **({} if at_home else {"is_stranger": True}),
        }


@dataclass
class Group:
    """A user group."""

    id: str
    handle: str
    name: str
    users: list[str]
    updated: int = EPOCH

    def json(self, *, users: bool = True) -> Json:
        """The usergroup object; users: with its members."""
        body: Json = {
            "id": self.id,
            "team_id": TEAM,
            "is_usergroup": True,
            "is_subteam": True,
            "name": self.name,
            "description": "",
            "handle": self.handle,
            "is_external": False,
            "date_create": EPOCH,
            "date_update": self.updated,
            "date_delete": 0,
            "auto_type": None,
            "auto_provision": False,
            "enterprise_subteam_id": "",
            "created_by": self.users[0] if self.users else "USLACKBOT",
            "updated_by": self.users[0] if self.users else "USLACKBOT",
            "deleted_by": None,
            "prefs": {"channels": [], "groups": []},
            "user_count": len(self.users),
            "channel_count": 0,
        }
        return body | ({"users": list(self.users)} if users else {})


@dataclass
class Channel:
    """A conversation. kind: channel, im or mpim; shared_with: the other team of a Slack Connect channel."""

    id: str
    name: str
    members: list[str]
    private: bool = False
    archived: bool = False
    kind: str = "channel"
    shared_with: str | None = None
    creator: str = "U0ANA00001"
    created: int = EPOCH
    topic: str = ""
    purpose: str = ""
    previous_names: list[str] = field(default_factory=list)

    @property
    def letter(self) -> str:
        """channel_type of events: channel, group, im or mpim."""
        return self.kind if self.kind != "channel" else "group" if self.private else "channel"

    @property
    def family(self) -> str:
        """The scopes it falls under: channels, groups, im or mpim."""
        return {"channel": "channels", "group": "groups"}.get(self.letter, self.kind)

    def json(self, me: str) -> Json:
        """The conversation object as `me` sees it."""
        body: Json = {
            "id": self.id,
            "created": self.created,
            "updated": self.created * 1000,
            "context_team_id": TEAM,
            "is_archived": self.archived,
            "is_im": self.kind == "im",
            "is_org_shared": False,
        }
        if self.kind == "im":
            return body | {"user": next((u for u in self.members if u != me), me), "priority": 0}
        note = {"creator": self.creator, "last_set": self.created}
        return body | {
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": not self.private,
            "is_group": False,
            "is_mpim": self.kind == "mpim",
            "is_private": self.private,
            "is_general": self.name == "general",
            "is_member": me in self.members,
            "is_shared": self.shared_with is not None,
            "is_ext_shared": self.shared_with is not None,
            "is_pending_ext_shared": False,
            "pending_shared": [],
            "pending_connected_team_ids": [],
            "shared_team_ids": [TEAM, *([self.shared_with] if self.shared_with else [])],
            **({"connected_team_ids": [self.shared_with]} if self.shared_with else {}),
            "unlinked": 0,
            "creator": self.creator,
            "parent_conversation": None,
            "topic": {"value": self.topic, **note},
            "purpose": {"value": self.purpose, **note},
            "previous_names": list(self.previous_names),
        }
