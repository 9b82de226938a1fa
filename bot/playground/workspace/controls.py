"""What people can press, pick or fill in: found in blocks, and written as Slack writes what they did.

https://docs.slack.dev/reference/interaction-payloads/block_actions-payload

Invariant: a control is named by its block_id and action_id, both of which stored blocks always have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.playground.copied import copied
from bot.playground.workspace.wire import Json, invalid

Entry = str | Sequence[str] | None
"""What a person enters: text, the label or value of a choice, several of them, or nothing."""

_FIELD = {
    "plain_text_input": "value",
    "email_text_input": "value",
    "url_text_input": "value",
    "number_input": "value",
    "static_select": "selected_option",
    "external_select": "selected_option",
    "radio_buttons": "selected_option",
    "multi_static_select": "selected_options",
    "multi_external_select": "selected_options",
    "checkboxes": "selected_options",
    "users_select": "selected_user",
    "multi_users_select": "selected_users",
    "conversations_select": "selected_conversation",
    "multi_conversations_select": "selected_conversations",
    "channels_select": "selected_channel",
    "multi_channels_select": "selected_channels",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
    "rich_text_input": "rich_text_value",
    "file_input": "files",
}
"""Where the value of each kind stands in `state.values`."""
_PRESSED = frozenset({"button", "overflow", "workflow_button", "icon_button", "feedback_buttons"})
_KEPT = ("placeholder", "initial_option", "initial_options", "initial_date", "initial_user", "confirm")


@dataclass(frozen=True)
class Control:
    """One interactive element. block: the input block around it, if there is one."""

    block_id: str
    element: Json
    block: Json | None = None

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.element["type"])

    @property
    def action_id(self) -> str:
        """Its action_id."""
        return str(self.element["action_id"])

    @property
    def stateful(self) -> bool:
        """Whether it holds a value until somebody asks for it."""
        return self.kind in _FIELD

    @property
    def label(self) -> str:
        """What people call it."""
        if self.block is not None:
            return str(self.block["label"]["text"])
        named = self.element.get("text") or self.element.get("placeholder") or {}
        return str(named.get("text", ""))

    @property
    def required(self) -> bool:
        """Whether a modal cannot be submitted without it."""
        return self.block is not None and not self.block.get("optional", False)

    @property
    def silent(self) -> bool:
        """Whether the app hears of it only with everything else: an input that is not to dispatch its action."""
        return self.block is not None and not self.block.get("dispatch_action", False)

    def answers_to(self, name: str) -> bool:
        """Whether somebody who says `name` means this one."""
        return name in (self.action_id, self.block_id, self.label)


def controls(blocks: Sequence[Json]) -> Iterator[Control]:
    """All of them, in the order in which they are shown."""
    for block in blocks:
        kind, block_id = block["type"], block.get("block_id", "")
        if kind == "input":
            yield Control(block_id, block["element"], block)
        elif kind in ("actions", "context_actions"):
            yield from (Control(block_id, element) for element in block["elements"])
        elif kind == "section" and block.get("accessory", {}).get("type", "image") != "image":
            yield Control(block_id, block["accessory"])
        elif kind == "card":
            yield from (Control(block_id, element) for element in block.get("actions", []))
        elif kind in ("container", "carousel"):
            yield from controls(block["child_blocks" if kind == "container" else "elements"])


def initial(element: Json) -> Json:
    """The value that a control starts with, as in `state.values`."""
    field = _FIELD[element["type"]]
    source = {"value": "initial_value", "rich_text_value": "initial_value"}.get(
        field, field.replace("selected", "initial")
    )
    empty: list[Json] | None = [] if field.endswith("s") else None
    return {"type": element["type"], field: copied(element.get(source, empty))}


def entered(element: Json, entry: Entry) -> Json:
    """The value after somebody entered this, as in `state.values`. LookupError for a choice that is not offered."""
    kind = element["type"]
    field = _FIELD[kind]
    many = field.endswith("s")
    parts = [entry] if isinstance(entry, str) else list(entry or [])
    value: object
    if "options" in element or "option_groups" in element:
        chosen = [option(element, part) for part in parts]
        value = chosen if many else (chosen[0] if chosen else None)
    elif kind == "rich_text_input":
        section = {"type": "rich_text_section", "elements": [{"type": "text", "text": part} for part in parts]}
        value = {"type": "rich_text", "elements": [section]} if parts else None
    elif kind == "datetimepicker":
        value = int(parts[0]) if parts else None
    else:
        value = parts if many else (parts[0] if parts else None)
    return {"type": kind, field: value}


def value_of(value: Json) -> object:
    """The bare value in an entry of `state.values`."""
    return value[_FIELD[value["type"]]]


def options(element: Json) -> list[Json]:
    """What can be chosen."""
    grouped = [o for group in element.get("option_groups", []) for o in group["options"]]
    return [*element.get("options", []), *grouped]


def option(element: Json, name: str) -> Json:
    """The choice with this value or label. LookupError."""
    offered = options(element)
    for each in offered:
        if name in (each["value"], each["text"]["text"]):
            return copied(each)
    raise LookupError(f"{name!r} is not offered; there are {[o['text']['text'] for o in offered]}")


def action(control: Control, entry: Entry, at: str) -> Json:
    """One element of `actions` in a payload: what somebody did with a control."""
    element = control.element
    body: Json = {"action_id": control.action_id, "block_id": control.block_id, "type": control.kind, "action_ts": at}
    if control.kind in ("button", "workflow_button", "icon_button"):
        body |= {key: element[key] for key in ("text", "value", "style", "url", "icon", "confirm") if key in element}
    elif control.kind == "feedback_buttons":
        pressed = element["negative_button" if entry == element["negative_button"]["value"] else "positive_button"]
        body |= {"text": pressed["text"], "value": pressed["value"]}
    elif control.kind == "overflow":
        body |= {"selected_option": option(element, str(entry))}
        body |= {"confirm": element["confirm"]} if "confirm" in element else {}
    else:
        body |= {key: element[key] for key in _KEPT if key in element}
        body |= {key: value for key, value in entered(element, entry).items() if key != "type"}
    return copied(body)


def is_pressed(control: Control) -> bool:
    """Whether it does something at once and holds no value."""
    return control.kind in _PRESSED


def wrong_entry(control: Control, value: Json) -> str:
    """What Slack's own client says under an input before it submits a modal; empty if nothing."""
    bare, element = value_of(value), control.element
    if bare in (None, "", []):
        return "Please complete this required field." if control.required else ""
    if isinstance(bare, str):
        low, high = element.get("min_length"), element.get("max_length", 3000)
        if low is not None and len(bare) < low:
            return f"Please enter at least {low} characters."
        if len(bare) > high:
            return f"Please enter no more than {high} characters."
    most = element.get("max_selected_items")
    if isinstance(bare, list) and most is not None and len(bare) > most:
        return f"Please choose no more than {most}."
    return ""


def refuse_answer(blocks: Sequence[Json], errors: Json) -> None:
    """Whether an app may put these errors under the inputs of a modal. SlackError."""
    inputs = {b["block_id"] for b in blocks if b["type"] == "input"}
    unknown = [name for name in errors if name not in inputs]
    if unknown or not errors or not all(isinstance(text, str) for text in errors.values()):
        raise invalid(*(f"no input block {name}" for name in unknown or ["at all"]))
