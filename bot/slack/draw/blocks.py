"""Block Kit: the one place that escapes text, builds blocks and knows every limit of Slack's.

Invariants:
- text of people, vendors and handlers is `str`; only `Mrkdwn` goes into a block as it is, and only `mark` and the
  functions beside it make that, escaping what they are given (& < >), so nobody can mention a channel or forge a link;
- `verbatim` is set: Slack finds nothing in a text that we did not put there;
- every block has an id that follows from its place, so equal messages are equal bytes;
- what is too long is cut here, with a word of where the rest is; `message` raises rather than send what Slack refuses.

Limits: https://docs.slack.dev/reference/block-kit and the notes in docs/why.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, cast

from bot.contract import Json
from bot.slack.draw.post import Block, Message
from bot.slack.draw.press import ACTION, MORE, Press, block_id

BLOCKS = 50
TEXT = 12_000
"""Characters of all text in a message's blocks; Slack refuses somewhere near 13,200 and gives no figure."""
FALLBACK = 4_000
"""Characters of a message's own text when it is changed."""
SECTION, CONTEXT, LABEL, ID = 3_000, 3_000, 75, 255
OPTIONS, OPTION_VALUE, BUTTONS, CONTEXTS = 5, 150, 25, 10
TASKS, TASK_TITLE = 50, 200
ROWS, COLUMNS, CELLS = 100, 20, 10_000

TaskState = Literal["pending", "in_progress", "complete", "error"]
Piece = dict[str, Json]

_MENTION = re.compile(r"[UW][A-Z0-9]{2,}")
_GROUP = re.compile(r"S[A-Z0-9]{2,}")
_CUT_SHORT = re.compile(r"(<[^<>]*|&[a-z]{0,3})$")
ELLIPSIS = "…"


class Unsendable(ValueError):
    """A message that Slack would not take: a fault of ours."""


# -- text --------------------------------------------------------------------------------------------------------------


class Mrkdwn(str):
    """Text in Slack's markup: what came from outside is escaped in it."""

    __slots__ = ()


def escape(text: str) -> Mrkdwn:
    """Text as it is, without a meaning for Slack."""
    return Mrkdwn(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def mark(template: str, *values: object) -> Mrkdwn:
    """The template (ours) with `{}` filled in: Mrkdwn as it is, everything else escaped."""
    return Mrkdwn(template.format(*(v if isinstance(v, Mrkdwn) else escape(str(v)) for v in values)))


def joined(pieces: Iterable[str], by: str = "\n") -> Mrkdwn:
    """Pieces that are not empty, one after the other."""
    return Mrkdwn(by.join(p if isinstance(p, Mrkdwn) else escape(p) for p in pieces if p))


def code(text: str) -> Mrkdwn:
    """Text in code font, on one line."""
    flat = " ".join(text.replace("`", "'").split())
    return mark("`{}`", flat) if flat else Mrkdwn("")


def person(id: str, name: str = "") -> Mrkdwn:
    """A mention; where the id is none of Slack's, the name."""
    return Mrkdwn(f"<@{id}>") if _MENTION.fullmatch(id) else mark("@{}", name or id)


def mentioned(text: str) -> Mrkdwn:
    """A text of ours in which somebody is named by id (`@U…`), with mentions in their place."""
    return Mrkdwn(re.sub(rf"(?<![\w<@])@({_MENTION.pattern})\b", r"<@\1>", escape(text)))


def group(id: str) -> Mrkdwn:
    """A mention of a user group."""
    return Mrkdwn(f"<!subteam^{id}>") if _GROUP.fullmatch(id) else mark("@{}", id.removeprefix("@"))


def when(at: float, day: bool = False) -> Mrkdwn:
    """A moment in the reader's zone; day: with its date."""
    utc = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC" if day else "%H:%M UTC")
    return Mrkdwn(f"<!date^{int(at)}^{'{date_short_pretty} {time}' if day else '{time}'}|{utc}>")


def cut(text: str, most: int) -> str:
    """Text from outside in at most so many characters, on as many lines as it has."""
    return text if len(text) <= most else text[: most - 1].rstrip() + ELLIPSIS


def fit(text: Mrkdwn, most: int, rest: str = ELLIPSIS) -> Mrkdwn:
    """Markup in at most so many characters: no mention, link, escape or code is cut in two. rest: the last words."""
    if len(text) <= most:
        return text
    kept = _CUT_SHORT.sub("", text[: most - len(rest) - 2]).rstrip()
    kept += "`" if kept.count("`") % 2 else ""
    return Mrkdwn(kept + rest)


def fit_lines(lines: Sequence[str], most: int, more: str = "and {} more") -> Mrkdwn:
    """As many whole lines as fit; then how many more there are."""
    pieces = [x if isinstance(x, Mrkdwn) else escape(x) for x in lines]
    if sum(len(p) + 1 for p in pieces) <= most:
        return joined(pieces)
    kept: list[Mrkdwn] = []
    room = most - len(more) - 10
    for p in pieces:
        if len(p) + 1 > room:
            break
        kept.append(p)
        room -= len(p) + 1
    if not kept:
        kept = [fit(pieces[0], max(most - len(more) - 10, 10))]
    left = len(pieces) - len(kept)
    return joined([*kept, mark(more, left)]) if left else joined(kept)


# -- blocks ------------------------------------------------------------------------------------------------------------


def section(text: Mrkdwn) -> Piece:
    """A paragraph or a list."""
    return {"type": "section", "text": _mrkdwn(fit(text, SECTION))}


def context(*texts: Mrkdwn) -> Piece:
    """Small print."""
    return {"type": "context", "elements": [_mrkdwn(fit(t, CONTEXT)) for t in texts[:CONTEXTS] if t]}


def button(label: str, press: Press | None, style: Literal["primary", "danger"] | None = None) -> Piece | None:
    """A button; its label ends with an ellipsis where something is asked first. None where nothing can be pressed."""
    if press is None:
        return None
    piece: Piece = {"type": "button", "text": _named(_asking(label, press)), "action_id": press.action}
    piece["value"] = press.value
    return {**piece, "style": style} if style else piece


def menu(entries: Sequence[tuple[str, Press | None]], key: str = "") -> Piece | None:
    """The overflow menu of what can be pressed; None where nothing can. key: tells it from others in its block."""
    options: list[Json] = [
        {"text": _named(_asking(label, press)), "value": press.value}
        for label, press in entries
        if press is not None and len(press.value) <= OPTION_VALUE
    ]
    if not options:
        return None
    name = f"{ACTION}:{MORE}:{key}" if key else f"{ACTION}:{MORE}"
    return {"type": "overflow", "action_id": name, "options": options[:OPTIONS]}


def _asking(label: str, press: Press) -> str:
    return f"{label.removesuffix(ELLIPSIS)}{ELLIPSIS}" if press.asks else label


def actions(name: str, run: str, *elements: Piece | None) -> list[Piece]:
    """A row of buttons and a menu, or none. name: unique in the message; it carries the run in its id."""
    found = [cast(Json, e) for e in elements if e is not None]
    return [{"type": "actions", "block_id": block_id(name, run), "elements": found[:BUTTONS]}] if found else []


def task(id: str, title: str, state: TaskState, details: str = "", output: str = "") -> Piece:
    """A step in a plan block."""
    piece: Piece = {"task_id": id[:ID] or "-", "title": cut(title, TASK_TITLE), "status": state, "type": "task_card"}
    for name, text in (("details", details), ("output", output)):
        if text:
            piece[name] = _rich(text)
    return piece


def plan(title: str, tasks: Sequence[Piece]) -> Piece:
    """The steps of a run, at most TASKS."""
    return {"type": "plan", "title": cut(title, 150), "tasks": [cast(Json, t) for t in tasks]}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Piece:
    """A table of text; cells are shortened until all of it fits."""
    shown = [heads, *rows[: ROWS - 1]]
    room = CELLS - 200
    most = max(20, room // max(1, sum(len(r) for r in shown)))
    if sum(len(c) for r in shown for c in r) <= room:
        most = room
    cells = [[cast(Json, {"type": "raw_text", "text": cut(c, most) or "-"}) for c in r[:COLUMNS]] for r in shown]
    settings: list[Json] = [{"is_wrapped": True} for _ in heads[:COLUMNS]]
    return {"type": "table", "rows": cast(Json, cells), "column_settings": settings}


# -- messages ----------------------------------------------------------------------------------------------------------


def message(*blocks: Piece) -> Message:
    """The message, with its text for whoever sees no blocks. Unsendable if Slack would not take it."""
    placed = tuple({"block_id": f"b{i}", **b} for i, b in enumerate(_squeezed(blocks)))
    _check(placed)
    return Message(fit(_text(placed), FALLBACK, "… (more in the message)"), placed)


def buttons_of(message: Message) -> Iterator[tuple[str, str, str]]:
    """Everything that can be pressed: (label, value, block id)."""
    for b in message.blocks:
        if b["type"] == "actions":
            for e in _pieces(b["elements"]):
                for x in _pieces(e["options"]) if e["type"] == "overflow" else [e]:
                    yield _label(x), str(x["value"]), str(b["block_id"])


def characters(blocks: Iterable[Block]) -> int:
    """Characters of everything that is shown."""
    return sum(len(t) for b in blocks for t in _strings(b))


def _squeezed(blocks: Sequence[Piece]) -> Sequence[Piece]:
    """The blocks with shorter paragraphs, the longest first, where all of it would be too much for one message."""
    most = SECTION
    while characters(blocks) > TEXT and most > 50:
        most = most * 4 // 5
        blocks = [section(fit(Mrkdwn(_label(b)), most)) if b["type"] == "section" else b for b in blocks]
    return blocks


def _check(blocks: Sequence[Block]) -> None:
    ids = [str(b["block_id"]) for b in blocks]
    pressed = [str(e["action_id"]) for b in blocks if b["type"] == "actions" for e in _pieces(b["elements"])]
    shown = characters(blocks)
    faults = [
        (not blocks or len(blocks) > BLOCKS, f"{len(blocks)} blocks"),
        (len(set(ids)) < len(ids), f"a block id twice: {ids}"),
        (len(set(pressed)) < len(pressed), f"an action id twice: {pressed}"),
        (any(len(i) > ID for i in (*ids, *pressed)), "an id is too long"),
        (any(sum(b["type"] == kind for b in blocks) > 1 for kind in ("plan", "table")), "two plans or two tables"),
        (shown > TEXT, f"{shown} characters of text"),
    ]
    if found := [what for wrong, what in faults if wrong]:
        raise Unsendable("; ".join(found))


def _strings(value: Json | Block) -> Iterator[str]:
    if isinstance(value, dict):
        for k, v in value.items():
            if isinstance(v, str):
                if k in ("text", "title"):
                    yield v
            else:
                yield from _strings(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _strings(v)


def _text(blocks: Sequence[Block]) -> Mrkdwn:
    return joined(_block_text(b) for b in blocks)


def _block_text(b: Block) -> Mrkdwn:
    """A block in words; everything but mrkdwn has yet to be escaped."""
    match b["type"]:
        case "section":
            return Mrkdwn(_label(b))
        case "context":
            return joined((Mrkdwn(e["text"]) for e in _pieces(b["elements"])), " · ")
        case "plan":
            tasks = (joined(_strings(t), " · ") for t in _pieces(b["tasks"]))
            return joined([escape(str(b["title"])), *tasks])
        case "table":
            rows = b["rows"] if isinstance(b["rows"], list) else []
            return joined(joined(_strings(r), " · ") for r in rows)
        case "actions":
            labels = [_label(x) for e in _pieces(b["elements"]) for x in _pieces(e.get("options") or [e])]
            return mark("To press: {}", " · ".join(labels))
        case _:
            return joined(escape(t) for t in _strings(b))


def _pieces(value: Json) -> Iterator[Piece]:
    yield from (p for p in value if isinstance(p, dict)) if isinstance(value, list) else ()


def _label(piece: Block) -> str:
    text = piece["text"]
    return str(text["text"]) if isinstance(text, Mapping) else str(text)


def _mrkdwn(text: Mrkdwn) -> Piece:
    return {"type": "mrkdwn", "text": text or " ", "verbatim": True}


def _plain(text: str) -> Piece:
    return {"type": "plain_text", "text": text, "emoji": False}


def _named(label: str) -> Piece:
    """A label; cut without an ellipsis, which on a button says that something is asked first."""
    asks = label.endswith(ELLIPSIS)
    short = label.removesuffix(ELLIPSIS).strip()[: LABEL - 1].strip() or "-"
    return _plain(f"{short}{ELLIPSIS if asks else ''}")


def _leaf(text: str) -> Piece:
    return {"type": "text", "text": text}


def _rich(text: str) -> Piece:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [_leaf(text)]}]}
