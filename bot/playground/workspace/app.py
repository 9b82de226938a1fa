"""The app that is installed in the workspace: its tokens, what it may do and what it hears of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

EVENTS = frozenset(
    {
        "app_home_opened",
        "app_mention",
        "channel_archive",
        "member_joined_channel",
        "member_left_channel",
        "message.channels",
        "message.groups",
        "message.im",
        "reaction_added",
        "reaction_removed",
        "subteam_members_changed",
        "subteam_updated",
        "user_change",
    }
)
"""Events that the workspace can tell an app."""

_FAMILIES = {
    "app_mentions": "read",
    "bookmarks": "read write",
    "channels": "history join manage read",
    "chat": "write write.public",
    "files": "read write",
    "groups": "history read write",
    "im": "history read write",
    "mpim": "history read write",
    "pins": "read write",
    "reactions": "read write",
    "team": "read",
    "usergroups": "read",
    "users": "read read.email",
}
SCOPES = frozenset({"commands"} | {f"{noun}:{verb}" for noun, verbs in _FAMILIES.items() for verb in verbs.split()})
"""Everything that a bot token may be granted here."""


@dataclass(frozen=True)
class App:
    """One installed app. The tokens open nothing but this simulator."""

    name: str = "Rollback"
    app_id: str = "A0ROLLBACK"
    bot_id: str = "B0ROLLBACK"
    bot_user: str = "U0ROLLBACK"
    bot_token: str = "xoxb-playground-bot"  # noqa: S105
    app_token: str = "xapp-1-playground-app"  # noqa: S105
    signing_secret: str = "playground-signing-secret"  # noqa: S105
    verification_token: str = "playground-verification"  # noqa: S105
    scopes: frozenset[str] = SCOPES
    commands: frozenset[str] = frozenset({"/rollback"})
    hints: Mapping[str, str] = field(default_factory=dict)
    """Command -> how it is used, and callback id of a shortcut -> what it is called, as clients show them."""
    events: frozenset[str] = frozenset(
        {"app_home_opened", "app_mention", "member_joined_channel", "subteam_updated", "user_change"}
    )
    shortcuts: frozenset[str] = frozenset({"rollback-of-message"})
    """Callback ids of message shortcuts."""
    home_tab: bool = True
    messages_tab: bool = True
    """Whether people may be written to directly."""

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> App:
        """The app that Slack would make of this manifest (parsed YAML or JSON): name, scopes, commands, events."""
        features, settings = manifest.get("features", {}), manifest.get("settings", {})
        heard = settings.get("event_subscriptions", {}).get("bot_events", [])
        return replace(
            cls(),
            name=manifest.get("display_information", {}).get("name", cls.name),
            scopes=frozenset(manifest.get("oauth_config", {}).get("scopes", {}).get("bot", [])),
            commands=frozenset(c["command"] for c in features.get("slash_commands", [])),
            hints={
                **{c["command"]: c.get("usage_hint", "") for c in features.get("slash_commands", [])},
                **{s["callback_id"]: s["name"] for s in features.get("shortcuts", [])},
            },
            events=frozenset(heard),
            shortcuts=frozenset(s["callback_id"] for s in features.get("shortcuts", []) if s["type"] == "message"),
            home_tab=bool(features.get("app_home", {}).get("home_tab_enabled", False)),
            messages_tab=bool(features.get("app_home", {}).get("messages_tab_enabled", False)),
        )
