"""The blocks: their fields and limits, and the surfaces on which they may appear.

Fields and limits: https://docs.slack.dev/reference/block-kit/blocks; surfaces: https://docs.slack.dev/blocks.json.
`card` and `carousel` are refused in modals, where Slack lists them but does not render them.
"""

from __future__ import annotations

from typing import Any, Literal

from bot.playground.workspace.blockkit.elements import BUTTON, IN_ACTIONS, IN_CONTEXT_ACTIONS, IN_INPUT, IN_SECTION
from bot.playground.workspace.blockkit.schema import (
    Problem,
    Rule,
    array,
    boolean,
    enum,
    failed,
    integer,
    not_both,
    number,
    obj,
    one_of,
    string,
    tagged,
)
from bot.playground.workspace.blockkit.texts import (
    ANY,
    ID,
    IMAGE,
    RICH_TEXT,
    SLACK_FILE,
    URL,
    plain,
    section_text,
    text,
)

Surface = Literal["message", "modal", "home"]
STATUSES = ("pending", "in_progress", "complete", "error")
TASKS = 50
"""Task cards in one plan."""


def _block(required: dict[str, Rule], optional: dict[str, Rule] | None = None, *more: Rule) -> Rule:
    return obj({"type": ANY, **required}, {"block_id": ID, **(optional or {})}, *more)


def _optional_type(rule: Rule, kind: str) -> Rule:
    """Inside a plan a card may leave its type out."""

    def check(value: Any, pointer: str) -> list[Problem]:
        full = {"type": kind, **value} if isinstance(value, dict) else value
        return tagged({kind: rule})(full, pointer)

    return check


def _settled(value: Any, pointer: str) -> list[Problem]:
    """A card outside a plan is never pending."""
    if value.get("status") != "pending":
        return []
    return failed(f"{pointer}/status", "must be a valid enum value", "enum", list(STATUSES[1:]))


_CELL = tagged(
    {
        "raw_text": obj({"type": ANY, "text": string(1)}),
        "raw_number": obj({"type": ANY, "value": number}, {"text": string(1)}),
        "rich_text": RICH_TEXT,
    }
)
_SOURCE = tagged({"url": obj({"type": ANY, "url": URL, "text": string(1)})})
_TASK: dict[str, Rule] = {"task_id": string(1, 255), "title": string(1)}
_TASK_MORE: dict[str, Rule] = {
    "details": RICH_TEXT,
    "output": RICH_TEXT,
    "sources": array(_SOURCE),
    "status": enum(*STATUSES),
}
_CARD = _block(
    {},
    {
        "hero_image": tagged({"image": IMAGE}),
        "icon": tagged({"image": IMAGE}),
        "title": text(150),
        "subtitle": text(150),
        "body": text(200),
        "actions": array(tagged({"button": BUTTON}), 1, 2),
    },
    one_of("hero_image", "title", "actions", "body"),
)


def _column(value: Any, pointer: str) -> list[Problem]:
    """A column's setting; null skips one."""
    setting = obj({}, {"align": enum("left", "center", "right"), "is_wrapped": boolean})
    return [] if value is None else setting(value, pointer)


_TABLE = _block({"rows": array(array(_CELL, 1, 20), 1, 100)}, {"column_settings": array(_column, 0, 20)})
_PLAIN_BLOCKS: dict[str, Rule] = {
    "actions": _block({"elements": array(IN_ACTIONS, 1, 25)}),
    "context": _block(
        {"elements": array(tagged({"image": IMAGE, "plain_text": text(3000), "mrkdwn": text(3000)}), 1, 10)}
    ),
    "divider": _block({}),
    "header": _block({"text": plain(150)}, {"level": integer(1, 4)}),
    "image": _block(
        {"alt_text": string(1, 2000)},
        {"image_url": URL, "slack_file": SLACK_FILE, "title": plain(2000)},
        one_of("image_url", "slack_file"),
        not_both("image_url", "slack_file"),
    ),
    "input": _block(
        {"label": plain(2000), "element": IN_INPUT},
        {"hint": plain(2000), "optional": boolean, "dispatch_action": boolean},
    ),
    "rich_text": RICH_TEXT,
    "section": _block(
        {},
        {"text": section_text, "fields": array(text(2000), 1, 10), "accessory": IN_SECTION, "expand": boolean},
        one_of("text", "fields"),
    ),
    "table": _TABLE,
    "video": _block(
        {"alt_text": string(1), "title": plain(199), "thumbnail_url": URL, "video_url": string(pattern="^https://")},
        {
            "title_url": string(pattern="^https://"),
            "author_name": string(0, 49),
            "provider_name": ANY,
            "provider_icon_url": URL,
            "description": plain(199),
        },
    ),
}
BLOCKS: dict[str, Rule] = {
    **_PLAIN_BLOCKS,
    "alert": _block({"text": text(3000)}, {"level": enum("default", "info", "warning", "error", "success")}),
    "card": _CARD,
    "carousel": _block({"elements": array(tagged({"card": _CARD}), 1, 10)}),
    "container": _block(
        {"child_blocks": array(tagged(_PLAIN_BLOCKS), 1, 10)},
        {
            "title": plain(150),
            "rich_text_title": RICH_TEXT,
            "subtitle": text(150),
            "icon": tagged({"image": IMAGE}),
            "width": enum("narrow", "standard", "wide", "full"),
            "is_collapsible": boolean,
            "default_collapsed": boolean,
            "has_header_divider": boolean,
        },
        one_of("title", "rich_text_title"),
    ),
    "context_actions": _block({"elements": array(IN_CONTEXT_ACTIONS, 1, 5)}),
    "data_table": _block(
        {"caption": string(1), "rows": array(array(_CELL, 1, 20), 2, 101)},
        {"page_size": integer(1, 100), "row_header_column_index": integer(0, 19)},
    ),
    "markdown": _block({"text": string(1, 12_000)}),
    "plan": _block(
        {"title": string(1)}, {"tasks": array(_optional_type(_block(_TASK, _TASK_MORE), "task_card"), 0, TASKS)}
    ),
    "task_card": _block(_TASK, _TASK_MORE, _settled),
}

_MESSAGE_ONLY = frozenset(
    {"carousel", "container", "context_actions", "data_table", "markdown", "plan", "table", "task_card", "card"}
)
_BARRED: dict[Surface, frozenset[str]] = {
    "message": frozenset({"alert"}),
    "modal": _MESSAGE_ONLY,
    "home": _MESSAGE_ONLY - {"card", "carousel"} | {"alert"},
}
MOST: dict[Surface, int] = {"message": 50, "modal": 100, "home": 100}
"""Blocks on one surface."""


def on(surface: Surface) -> Rule:
    """The blocks of one surface, as an array."""
    allowed = {kind: rule for kind, rule in BLOCKS.items() if kind not in _BARRED[surface]}
    return array(tagged(allowed), 0, MOST[surface])
