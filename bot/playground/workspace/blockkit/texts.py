"""Text objects, options, confirmations and rich text: the small change of Block Kit.

Limits: https://docs.slack.dev/reference/block-kit/composition-objects and .../blocks/rich-text-block.
"""

from __future__ import annotations

from typing import Any

from bot.playground.workspace.blockkit.schema import (
    Problem,
    Rule,
    array,
    boolean,
    enum,
    failed,
    integer,
    not_both,
    obj,
    one_of,
    string,
    tagged,
)

ANY: Rule = string()
ID = string(1, 255)
URL = string(1, 3000)
STYLE = enum("primary", "danger")
USER = string(pattern="^[UW][A-Z0-9]{2,}$")
CHANNEL = string(pattern="^[CG][A-Z0-9]{2,}$")


def plain(high: int) -> Rule:
    """A plain_text object of at most `high` characters."""
    text = obj({"type": ANY, "text": string(1, high)}, {"emoji": boolean})
    return tagged({"plain_text": text})


def text(high: int) -> Rule:
    """A plain_text or mrkdwn object of at most `high` characters."""
    return tagged(
        {
            "plain_text": obj({"type": ANY, "text": string(1, high)}, {"emoji": boolean}),
            "mrkdwn": obj({"type": ANY, "text": string(1, high)}, {"verbatim": boolean}),
        }
    )


def section_text(value: Any, pointer: str) -> list[Problem]:
    """A section's text; Slack reports what is wrong with it twice, at the object and at its text."""
    inner = text(3000)(value, pointer)
    if not any(p.pointer.endswith("/text/text") for p in inner):
        return inner
    return [*failed(pointer, "failed to match all allowed schemas", "all_of", None), *inner]


CONFIRM = obj({"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)}, {"style": STYLE})
OPTION = obj({"text": plain(75), "value": string(1, 150)}, {"description": plain(75)})
MENU_OPTION = obj({"text": plain(75), "value": string(1, 150)}, {"description": plain(75), "url": URL})
RICH_OPTION = obj({"text": text(75), "value": string(1, 150)}, {"description": text(75)})
OPTION_GROUP = obj({"label": plain(75), "options": array(OPTION, 1, 100)})
PLACEHOLDER = plain(150)
DISPATCH = obj({"trigger_actions_on": array(enum("on_enter_pressed", "on_character_entered"), 1, 2)})
FILTER = obj(
    {},
    {
        "include": array(enum("im", "mpim", "private", "public"), 1),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
)
SLACK_FILE = obj({}, {"id": string(1), "url": URL}, one_of("id", "url"), not_both("id", "url"))
IMAGE = obj(
    {"type": ANY, "alt_text": string(1, 2000)},
    {"image_url": URL, "slack_file": SLACK_FILE},
    one_of("image_url", "slack_file"),
    not_both("image_url", "slack_file"),
)

_MARKS = ("bold", "italic", "strike", "underline", "code", "highlight", "client_highlight", "unlink")
_LOOK = obj({}, dict.fromkeys(_MARKS, boolean))


def _leaf(required: dict[str, Rule], optional: dict[str, Rule] | None = None) -> Rule:
    return obj({"type": ANY, **required}, {"style": _LOOK, **(optional or {})})


_LEAF = tagged(
    {
        "text": _leaf({"text": string(1)}),
        "link": _leaf({"url": string(1)}, {"text": ANY, "unsafe": boolean}),
        "user": _leaf({"user_id": USER}),
        "usergroup": _leaf({"usergroup_id": string(pattern="^S[A-Z0-9]{2,}$")}),
        "team": _leaf({"team_id": string(1)}),
        "channel": _leaf({"channel_id": CHANNEL}),
        "emoji": _leaf({"name": string(1)}, {"skin_tone": integer(1, 6), "unicode": ANY}),
        "broadcast": _leaf({"range": enum("here", "channel", "everyone")}),
        "color": _leaf({"value": string(pattern="^#?[0-9a-fA-F]{6}$")}),
        "date": _leaf({"timestamp": integer(0), "format": string(1)}, {"url": URL, "fallback": ANY}),
    }
)
_BORDER = {"border": enum(0, 1)}
_SECTION = obj({"type": ANY, "elements": array(_LEAF)})
_LIST = obj(
    {"type": ANY, "style": enum("bullet", "ordered"), "elements": array(tagged({"rich_text_section": _SECTION}), 1)},
    {"indent": integer(0, 8), "offset": integer(0), **_BORDER},
)
_RICH = {
    "rich_text_section": _SECTION,
    "rich_text_list": _LIST,
    "rich_text_preformatted": obj({"type": ANY, "elements": array(_LEAF)}, {"language": string(1), **_BORDER}),
    "rich_text_quote": obj({"type": ANY, "elements": array(_LEAF)}, _BORDER),
}
RICH_TEXT = tagged({"rich_text": obj({"type": ANY, "elements": array(tagged(_RICH))}, {"block_id": ID})})
