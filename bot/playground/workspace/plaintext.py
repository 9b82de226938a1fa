"""Blocks as a person reads them, in plain text: for transcripts, and for tests that care about words.

Mentions become names, links their labels, dates their fallback; buttons stand in brackets, menus in parentheses, task
cards carry their state as a word.

Invariant: a pure function of the blocks and of who is called what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from bot.playground.workspace.wire import Json

_STATES = {"pending": "to do", "in_progress": "under way", "complete": "done", "error": "failed"}
_MARK = re.compile(r"(?<![\w*_~])([*_~])(?=\S)(.+?)(?<=\S)\1(?![\w*_~])")
_LINK = re.compile(r"<([^<>]*)>")

Names = Callable[[str], str]
"""The id of a person, a channel or a group -> what it is called."""


def plain(blocks: Iterable[Json], names: Names) -> str:
    """Everything the blocks show."""
    return "\n".join(filter(None, (_block(block, names) for block in blocks)))


def mrkdwn(text: str, names: Names) -> str:
    """Slack's markup as it reads: without marks, with names."""
    text = _LINK.sub(lambda match: _reference(match[1], names), text)
    for _ in range(3):
        text = _MARK.sub(r"\2", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _reference(inside: str, names: Names) -> str:
    target, _, label = inside.partition("|")
    if target.startswith("!date^"):
        return label or target.split("^")[1]
    if target.startswith("!subteam^"):
        return f"@{names(target.removeprefix('!subteam^'))}"
    if target.startswith("!"):
        return f"@{target[1:]}"
    if target.startswith(("@", "#")):
        return f"{target[0]}{label or names(target[1:])}"
    return label or target


def _text(value: Json, names: Names) -> str:
    return mrkdwn(value["text"], names) if value["type"] == "mrkdwn" else str(value["text"])


def _block(block: Json, names: Names) -> str:
    shape = _SHAPES.get(block["type"])
    return shape(block, names) if shape else f"[{block['type']}]"


def _section(block: Json, names: Names) -> str:
    fields = [_text(f, names) for f in block.get("fields", [])]
    pairs = ["  |  ".join(fields[i : i + 2]) for i in range(0, len(fields), 2)]
    shown = [_text(block["text"], names)] if "text" in block else []
    extra = [_element(block["accessory"], names)] if "accessory" in block else []
    return "\n".join([*shown, *pairs, *extra])


def _element(element: Json, names: Names) -> str:
    kind = element["type"]
    if kind in ("plain_text", "mrkdwn"):
        return _text(element, names)
    if kind == "image":
        return f"[image: {element['alt_text']}]"
    if kind == "overflow":
        return f"( ⋯ {' · '.join(o['text']['text'] for o in element['options'])} )"
    if "text" in element:
        return f"[ {element['text']['text']} ]"
    return f"( {element.get('placeholder', {}).get('text', kind)} ▾ )"


def _task(task: Json, names: Names) -> str:
    state = _STATES.get(task.get("status", "pending"), "")
    more = [_rich(task[key], names) for key in ("details", "output") if key in task]
    lines = "".join(f"\n      {line}" for part in more for line in part.splitlines())
    return f"  [{state}] {task['title']}{lines}"


def _plan(block: Json, names: Names) -> str:
    return "\n".join([block["title"], *(_task(task, names) for task in block.get("tasks", []))])


def _table(block: Json, names: Names) -> str:
    rows = [[_cell(cell, names) for cell in row] for row in block["rows"]]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return "\n".join(" | ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in rows)


def _cell(cell: Json, names: Names) -> str:
    if cell["type"] == "rich_text":
        return _rich(cell, names)
    return str(cell.get("text", cell.get("value", "")))


def _input(block: Json, names: Names) -> str:
    return f"{block['label']['text']}: {_element(block['element'], names)}"


def _rich(block: Json, names: Names) -> str:
    return "\n".join(_rich_part(part, names) for part in block["elements"])


def _rich_part(part: Json, names: Names) -> str:
    match part["type"]:
        case "rich_text_list":
            ordered, deep = part["style"] == "ordered", "  " * part.get("indent", 0)
            items = [_rich_part(item, names) for item in part["elements"]]
            return "\n".join(f"{deep}{f'{i}.' if ordered else '•'} {item}" for i, item in enumerate(items, 1))
        case "rich_text_quote":
            return "> " + "".join(_leaf(leaf, names) for leaf in part["elements"]).replace("\n", "\n> ")
    return "".join(_leaf(leaf, names) for leaf in part["elements"])


def _leaf(leaf: Json, names: Names) -> str:
    match leaf["type"]:
        case "text":
            return str(leaf["text"])
        case "link":
            return str(leaf.get("text") or leaf["url"])
        case "user":
            return f"@{names(leaf['user_id'])}"
        case "usergroup":
            return f"@{names(leaf['usergroup_id'])}"
        case "channel":
            return f"#{names(leaf['channel_id'])}"
        case "broadcast":
            return f"@{leaf['range']}"
        case "emoji":
            return f":{leaf['name']}:"
        case "date":
            return str(leaf.get("fallback") or leaf["timestamp"])
    return str(leaf.get("value", ""))


def _card(block: Json, names: Names) -> str:
    texts = [_text(block[key], names) for key in ("title", "subtitle", "body") if key in block]
    return "\n".join([*texts, " ".join(_element(e, names) for e in block.get("actions", []))]).rstrip()


def _container(block: Json, names: Names) -> str:
    head = block["title"]["text"] if "title" in block else _rich(block["rich_text_title"], names)
    return f"{head}\n{plain(block['child_blocks'], names)}"


_SHAPES: Mapping[str, Callable[[Json, Names], str]] = {
    "actions": lambda b, n: " ".join(_element(e, n) for e in b["elements"]),
    "alert": lambda b, n: f"{b.get('level', 'default')}: {_text(b['text'], n)}",
    "card": _card,
    "carousel": lambda b, n: plain(b["elements"], n),
    "container": _container,
    "context": lambda b, n: " · ".join(_element(e, n) for e in b["elements"]),
    "data_table": lambda b, n: f"{b['caption']}\n{_table(b, n)}",
    "divider": lambda b, n: "---",
    "header": lambda b, n: str(b["text"]["text"]),
    "image": lambda b, n: f"[image: {b['alt_text']}]",
    "input": _input,
    "markdown": lambda b, n: str(b["text"]),
    "plan": _plan,
    "rich_text": _rich,
    "section": _section,
    "table": _table,
    "task_card": _task,
}
