"""The interactive elements, and which block may hold which.

Limits: https://docs.slack.dev/reference/block-kit/block-elements
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
from bot.playground.workspace.blockkit.texts import (
    ANY,
    CHANNEL,
    CONFIRM,
    DISPATCH,
    FILTER,
    ID,
    IMAGE,
    MENU_OPTION,
    OPTION,
    OPTION_GROUP,
    PLACEHOLDER,
    RICH_OPTION,
    RICH_TEXT,
    STYLE,
    URL,
    USER,
    plain,
)

_DATE = string(pattern="^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")
_TIME = string(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
_NUMBER = string(pattern=r"^-?[0-9]+(\.[0-9]+)?$")
_FOCUS: dict[str, Rule] = {"focus_on_load": boolean}


def _listed(name: str) -> Rule:
    """What is chosen beforehand is among the choices."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        chosen = value.get(name)
        groups = value.get("option_groups") or []
        offered = [*(value.get("options") or []), *(o for g in groups if isinstance(g, dict) for o in g["options"])]
        wanted = chosen if isinstance(chosen, list) else [chosen] if chosen else []
        values = [o.get("value") for o in offered if isinstance(o, dict)]
        if all(isinstance(o, dict) and o.get("value") in values for o in wanted):
            return []
        return failed(f"{pointer}/{name}", "must match one of the given options", "enum", values)

    return rule


def _element(required: dict[str, Rule], optional: dict[str, Rule], *more: Rule) -> Rule:
    return obj({"type": ANY, **required}, {"action_id": ID, **optional}, *more)


def _select(optional: dict[str, Rule], *more: Rule) -> Rule:
    return _element({}, {"placeholder": PLACEHOLDER, "confirm": CONFIRM, **_FOCUS, **optional}, *more)


def _static(initial: str, rule: Rule, optional: dict[str, Rule]) -> Rule:
    lists: dict[str, Rule] = {"options": array(OPTION, 1, 100), "option_groups": array(OPTION_GROUP, 1, 100)}
    both = (one_of("options", "option_groups"), not_both("options", "option_groups"))
    return _select({**lists, initial: rule, **optional}, *both, _listed(initial))


def _input(optional: dict[str, Rule]) -> Rule:
    return _element({}, {"placeholder": PLACEHOLDER, "dispatch_action_config": DISPATCH, **_FOCUS, **optional})


_LABEL: dict[str, Rule] = {"accessibility_label": string(1, 75)}
_MANY: dict[str, Rule] = {"max_selected_items": integer(1)}
BUTTON = _element(
    {"text": plain(75)}, {"value": string(1, 2000), "url": URL, "style": STYLE, "confirm": CONFIRM, **_LABEL}
)
_FEEDBACK = obj({"text": plain(75), "value": string(1, 2000)}, _LABEL)

_CHOICES: dict[str, Rule] = {
    "static_select": _static("initial_option", OPTION, {}),
    "external_select": _select({"initial_option": OPTION, "min_query_length": integer(0)}),
    "users_select": _select({"initial_user": USER}),
    "conversations_select": _select(
        {
            "initial_conversation": string(1),
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": FILTER,
        }
    ),
    "channels_select": _select({"initial_channel": CHANNEL, "response_url_enabled": boolean}),
    "multi_static_select": _static("initial_options", array(OPTION, 1), _MANY),
    "multi_external_select": _select({"initial_options": array(OPTION, 1), "min_query_length": integer(0), **_MANY}),
    "multi_users_select": _select({"initial_users": array(USER, 1), **_MANY}),
    "multi_conversations_select": _select(
        {
            "initial_conversations": array(string(1), 1),
            "default_to_current_conversation": boolean,
            "filter": FILTER,
            **_MANY,
        }
    ),
    "multi_channels_select": _select({"initial_channels": array(CHANNEL, 1), **_MANY}),
    "checkboxes": _element(
        {"options": array(RICH_OPTION, 1, 10)},
        {"initial_options": array(RICH_OPTION, 1), "confirm": CONFIRM, **_FOCUS},
        _listed("initial_options"),
    ),
    "radio_buttons": _element(
        {"options": array(RICH_OPTION, 1, 10)},
        {"initial_option": RICH_OPTION, "confirm": CONFIRM, **_FOCUS},
        _listed("initial_option"),
    ),
    "datepicker": _select({"initial_date": _DATE}),
    "timepicker": _select({"initial_time": _TIME, "timezone": string(1)}),
}
_BUTTONS: dict[str, Rule] = {
    "button": BUTTON,
    "overflow": _element({"options": array(MENU_OPTION, 1, 5)}, {"confirm": CONFIRM}),
    "workflow_button": _element(
        {
            "text": plain(75),
            "workflow": obj({"trigger": obj({"url": URL}, {"customizable_input_parameters": array(ANY)})}),
        },
        {"style": STYLE, **_LABEL},
    ),
}
_INPUTS: dict[str, Rule] = {
    "plain_text_input": _input(
        {"initial_value": ANY, "multiline": boolean, "min_length": integer(0, 3000), "max_length": integer(1, 3000)}
    ),
    "email_text_input": _input({"initial_value": ANY}),
    "url_text_input": _input({"initial_value": ANY}),
    "number_input": _input(
        {"is_decimal_allowed": boolean, "initial_value": _NUMBER, "min_value": _NUMBER, "max_value": _NUMBER}
    ),
    "rich_text_input": _input({"initial_value": RICH_TEXT}),
    "file_input": _element({}, {"filetypes": array(string(1), 1), "max_files": integer(1, 10)}),
}
_MOMENT: dict[str, Rule] = {
    "datetimepicker": _element(
        {}, {"initial_date_time": integer(1_000_000_000, 9_999_999_999), "confirm": CONFIRM, **_FOCUS}
    )
}

IN_ACTIONS = tagged({**_BUTTONS, **_CHOICES, **_MOMENT, "rich_text_input": _INPUTS["rich_text_input"]})
IN_SECTION = tagged({**_BUTTONS, **_CHOICES, "image": IMAGE})
IN_INPUT = tagged({**_INPUTS, **_CHOICES, **_MOMENT})
IN_CONTEXT_ACTIONS = tagged(
    {
        "feedback_buttons": _element({"positive_button": _FEEDBACK, "negative_button": _FEEDBACK}, {}),
        "icon_button": _element(
            {"icon": enum("trash"), "text": plain(75)},
            {"value": string(1, 2000), "confirm": CONFIRM, "visible_to_user_ids": array(USER), **_LABEL},
        ),
    }
)
