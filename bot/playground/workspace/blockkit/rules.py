"""What Slack asks of a whole message or view, beyond the shape of each block.

Ids that repeat, one table and one plan a message, sums of characters, a submit button for inputs. Exact wording is
Slack's where it is known (https://docs.slack.dev, threads of its SDKs), else in its manner.

A message's text is refused above `TEXT` characters: Slack publishes no figure and answers msg_blocks_too_long near
13,200, so this workspace draws the line where one is safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bot.playground.workspace.blockkit.blocks import Surface, on
from bot.playground.workspace.blockkit.schema import Problem, Rule, boolean, failed, obj, string
from bot.playground.workspace.blockkit.texts import ANY, plain

TEXT = 12_000
"""Characters of all text in one message's blocks."""
CELLS = 10_000
"""Characters of all table cells of one message."""
_SHOWN = ("text", "title", "caption", "label")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why blocks are not taken: the error code of chat.* methods, and the single complaints."""

    error: str
    problems: tuple[Problem, ...] = ()


def refuse_message(blocks: Any, pointer: str = "/blocks") -> Refusal | None:
    """Why Slack would not post these blocks; None if it would."""
    problems = on("message")(blocks, pointer) or _siblings(blocks, pointer)
    if problems:
        return Refusal("invalid_blocks", tuple(problems))
    tables = [b for b in _flat(blocks) if b["type"] in ("table", "data_table")]
    if len(tables) > 1:
        return Refusal("invalid_attachments", (Problem(pointer, "only_one_table_allowed"),))
    if sum(len(t) for table in tables for t in _texts(table["rows"])) > CELLS:
        return Refusal("invalid_blocks", tuple(failed(pointer, _too_long(CELLS), "max_length", CELLS)))
    if sum(len(t) for t in _texts(blocks)) > TEXT:
        return Refusal("msg_blocks_too_long")
    return None


def refuse_view(view: Any, pointer: str = "/view") -> list[Problem]:
    """What Slack has against this modal or home tab."""
    kind = view.get("type") if isinstance(view, dict) else None
    if kind not in ("modal", "home"):
        return _shape("modal", pointer)(view, pointer) or failed(
            f"{pointer}/type", f"unsupported type: {kind}", "enum", ["modal", "home"]
        )
    surface: Surface = "modal" if kind == "modal" else "home"
    return _shape(surface, pointer)(view, pointer) or [
        *_siblings(view["blocks"], f"{pointer}/blocks"),
        *(_submit(view, pointer) if kind == "modal" else []),
        *_focus(view["blocks"], f"{pointer}/blocks"),
    ]


def _shape(surface: Surface, pointer: str) -> Rule:
    common: dict[str, Rule] = {
        "private_metadata": string(0, 3000),
        "callback_id": string(0, 255),
        "external_id": string(0, 255),
    }
    if surface == "home":
        return obj({"type": ANY, "blocks": on("home")}, common)
    modal: dict[str, Rule] = {
        "submit": plain(24),
        "close": plain(24),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
    }
    return obj({"type": ANY, "title": plain(24), "blocks": on("modal")}, {**common, **modal})


def _submit(view: dict[str, Any], pointer: str) -> list[Problem]:
    inputs = [i for i, b in enumerate(view["blocks"]) if b["type"] == "input"]
    if not inputs or "submit" in view:
        return []
    message = "must define `submit` to use an `input` block in modals"
    return failed(f"{pointer}/blocks/{inputs[0]}/input", message, "any_of", ["submit"])


def _focus(blocks: list[Any], pointer: str) -> list[Problem]:
    focused = [e for b in _flat(blocks) for _, e in _elements(b) if e.get("focus_on_load")]
    return failed(pointer, "only one element may have `focus_on_load`", "max_items", 1) if len(focused) > 1 else []


def _siblings(blocks: list[Any], pointer: str) -> list[Problem]:
    """Ids that occur twice where they must not, and more plans than one."""
    found = _repeated("block_id", _placed(blocks, pointer))
    for place, block in _placed(blocks, pointer):
        found += _repeated("action_id", ((f"{place}/{key}", e) for key, e in _elements(block)))
        tasks = enumerate(block.get("tasks", []) if block["type"] == "plan" else [])
        found += _repeated("task_id", ((f"{place}/tasks/{i}", task) for i, task in tasks))
    if sum(b["type"] == "plan" for b in blocks) > 1:
        found += failed(pointer, "Cannot have more than 1 plan block", "max_items", 1)
    return found


def _repeated(name: str, entries: Iterable[tuple[str, dict[str, Any]]]) -> list[Problem]:
    seen: set[str] = set()
    found = []
    for place, entry in entries:
        value = entry.get(name)
        if value is not None and value in seen:
            found.append(Problem(f"{place}/{name}", f'`{name}` "{value}" already exists'))
        seen.add(value or "")
    return found


def _placed(blocks: list[Any], pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every block with its pointer, children of containers and carousels included."""
    for i, block in enumerate(blocks):
        place = f"{pointer}/{i}"
        yield place, block
        key = {"container": "child_blocks", "carousel": "elements"}.get(block["type"])
        if key:
            yield from _placed(block[key], f"{place}/{key}")


def _flat(blocks: list[Any]) -> Iterator[dict[str, Any]]:
    return (block for _, block in _placed(blocks, ""))


def _elements(block: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The interactive elements of one block; they share one space of action ids."""
    for key in ("elements", "actions"):
        if block["type"] not in ("carousel", "rich_text"):
            yield from ((f"{key}/{i}", e) for i, e in enumerate(block.get(key, [])) if isinstance(e, dict))
    for key in ("accessory", "element"):
        if key in block:
            yield key, block[key]


def _texts(value: Any) -> Iterator[str]:
    """Every string that is shown."""
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, str):
                if key in _SHOWN:
                    yield each
            else:
                yield from _texts(each)


def _too_long(most: int) -> str:
    return f"must be less than {most + 1} characters"
