"""What Slack tells of something that a person did, read into values. Pure.

Invariant: everything that is taken over is text of a sane length that can be shown and stored; what is not, or is
missing, makes the payload `NotOurs`. An act's key names this one act: the same delivered twice has the same key, and
another act of the same person another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.slack.draw.press import NotLegible, NotOurs, Press, pressed

PayloadBody = Mapping[str, Any]

_MARKED = re.compile(r"<(?:[^|<>]*\|)?([^<>]*)>")
"""A link or a mention in Slack's own notation: what is seen of it."""
_KEPT = "\n\t\r\u200c\u200d\u2028"
"""Line ends, and the joiners of emoji and of some scripts."""
REASON = 300
"""Characters of a message that are taken over as the reason of a rollback, to be worded by whoever sends the form."""
LONGEST = 2000
"""Characters of one text; what is longer is refused, because nobody knows which half was meant."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who did something, where, and how they are answered. team: the person's own; thread: where it was done in one;
    trigger: opens a modal, once, within three seconds; response_url: empty where there is none; key: see above."""

    user: str
    team: str
    channel: str = ""
    thread: str = ""
    trigger: str = ""
    response_url: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """A slash command."""

    act: Act
    text: str


@dataclass(frozen=True, slots=True)
class Clicked:
    """A button or a menu of a message."""

    act: Act
    press: Press


@dataclass(frozen=True, slots=True)
class Picked:
    """A menu of a modal whose choice changes the modal. action: which; chosen: the value."""

    act: Act
    action: str
    chosen: str
    view: str
    hash: str
    metadata: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A modal. values: what was entered, by block; form: its callback_id."""

    act: Act
    form: str
    view: str
    metadata: str
    values: Mapping[str, str]


def typed(body: PayloadBody) -> Typed:
    """A slash command. NotOurs."""
    trigger = _text(body, "trigger_id")
    act = Act(
        _text(body, "user_id"), _text(body, "team_id", ""), _text(body, "channel_id", ""), "", trigger,
        _text(body, "response_url", ""), f"slash:{trigger}",
    )  # fmt: skip
    return Typed(act, _text(body, "text", "", prose=True))


def acted(body: PayloadBody) -> Act:
    """Who pressed something, and where. NotOurs."""
    user = _part(body, "user")
    container = _part(body, "container", {})
    channel = _part(body, "channel", {})
    message = _part(body, "message", {})
    action = _action(body)
    who, team = _text(user, "id"), _text(user, "team_id", "") or _text(_part(body, "team", {}), "id", "")
    key = f"click:{team}:{who}:{_text(action, 'action_ts', '')}:{_text(action, 'action_id')}"
    return Act(
        who, team, _text(channel, "id", "") or _text(container, "channel_id", ""),
        _text(message, "thread_ts", "") or _text(container, "thread_ts", ""), _text(body, "trigger_id", ""),
        _text(body, "response_url", ""), key,
    )  # fmt: skip


def clicked(body: PayloadBody) -> Clicked:
    """A press on one of our messages. NotOurs for anything else."""
    action = _action(body)
    chosen = _part(action, "selected_option", {})
    value = _text(chosen, "value", "") or _text(action, "value")
    return Clicked(acted(body), pressed(value, _text(action, "block_id")))


def at_home(body: PayloadBody) -> bool:
    """Whether something was pressed on the app's home tab."""
    view = body.get("view")
    return isinstance(view, Mapping) and view.get("type") == "home"


@dataclass(frozen=True, slots=True)
class Pointed:
    """The message shortcut: text: what the message says, as far as it has words."""

    act: Act
    text: str


def pointed(body: PayloadBody) -> Pointed:
    """A message that somebody took the shortcut on. NotOurs."""
    user, channel = _part(body, "user"), _part(body, "channel", {})
    who, team = _text(user, "id"), _text(user, "team_id", "") or _text(_part(body, "team", {}), "id", "")
    trigger = _text(body, "trigger_id")
    act = Act(
        who, team, _text(channel, "id", ""), "", trigger, _text(body, "response_url", ""), f"shortcut:{trigger}"
    )  # fmt: skip
    return Pointed(act, _words(_part(body, "message", {})))


def _words(message: PayloadBody) -> str:
    """Its text, or what its first attachment says (alerts often have nothing else); cut, and as others see it."""
    attached = message.get("attachments")
    first = attached[0] if isinstance(attached, list) and attached and isinstance(attached[0], Mapping) else {}
    parts = (message.get("text"), *(first.get(name) for name in ("title", "text", "fallback")))
    said = next((p for p in parts if isinstance(p, str) and p.strip()), "")
    shown = _MARKED.sub(lambda m: m[1], said)
    for mark, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        shown = shown.replace(mark, sign)
    legible = "".join(c for c in map(_legible, " ".join(shown.split())) if c.isprintable())
    return legible if len(legible) <= REASON else legible[: REASON - 1] + "…"


def picked(body: PayloadBody) -> Picked:
    """A choice in one of our modals. NotOurs."""
    action, view = _action(body), _part(body, "view")
    chosen = _part(action, "selected_option", {})
    return Picked(
        acted(body), _text(action, "action_id"), _text(chosen, "value", ""), _text(view, "id"), _text(view, "hash", ""),
        _text(view, "private_metadata", "", prose=True),
    )  # fmt: skip


def submitted(body: PayloadBody) -> Submitted:
    """A modal that was sent off. NotOurs."""
    user, view = _part(body, "user"), _part(body, "view")
    who, team = _text(user, "id"), _text(user, "team_id", "") or _text(_part(body, "team", {}), "id", "")
    id, hash = _text(view, "id"), _text(view, "hash", "")
    act = Act(who, team, trigger=_text(body, "trigger_id", ""), key=f"modal:{id}:{hash}")
    values = _part(_part(view, "state", {}), "values", {})
    return Submitted(
        act, _text(view, "callback_id"), id, _text(view, "private_metadata", "", prose=True), dict(_entered(values))
    )


def whoever(body: PayloadBody) -> Act | None:
    """Who sent something that cannot be read otherwise, as far as they can be answered."""
    try:
        url = _text(body, "response_url", "")
        if "user_id" in body:
            return Act(_text(body, "user_id"), "", _text(body, "channel_id", ""), response_url=url)
        channel = _text(_part(body, "channel", {}), "id", "")
        return Act(_text(_part(body, "user"), "id"), "", channel, response_url=url)
    except NotOurs:
        return None


def is_link(body: PayloadBody) -> bool:
    """Whether what was pressed only opens an address: nobody waits for an answer."""
    actions = body.get("actions")
    first = actions[0] if isinstance(actions, list) and actions else None
    return isinstance(first, Mapping) and bool(first.get("url"))


def _entered(values: PayloadBody) -> Iterator[tuple[str, str]]:
    """(block, value) of everything that was entered; nothing for what was left empty."""
    for block in values:
        for element in _part(values, block).values():
            if not isinstance(element, Mapping):
                raise NotOurs(f"{block[:40]} holds no value")
            kept = element.get("selected_option")
            found = kept.get("value") if isinstance(kept, Mapping) else None
            for name in ("value", "selected_user", "selected_date_time"):
                found = element.get(name) if found is None else found
            if found is not None:
                yield block, _text({block: str(found)}, block, prose=True)


def _action(body: PayloadBody) -> PayloadBody:
    actions = body.get("actions")
    if not isinstance(actions, list) or not actions or not isinstance(actions[0], Mapping):
        raise NotOurs("nothing was pressed")
    return actions[0]


def _part(body: PayloadBody, name: str, default: PayloadBody | None = None) -> PayloadBody:
    found = body.get(name)
    if found is None and default is not None:
        return default
    if not isinstance(found, Mapping):
        raise NotOurs(f"{name} is missing")
    return found


def _text(
    body: PayloadBody, name: str, default: str | None = None, *, prose: bool = False, longest: int = LONGEST
) -> str:
    found = body.get(name)
    if found is None and default is not None:
        return default
    if not isinstance(found, str) or (default is None and not found):
        raise NotOurs(f"{name} is missing")
    no = NotLegible if prose else NotOurs
    if len(found) > longest:
        raise no(f"{name} has {len(found)} characters; at most {longest} are read")
    if prose:
        found = "".join(map(_legible, found))
    if any(not c.isprintable() and not (prose and c in _KEPT) for c in found):
        raise no(f"{name} holds a character that cannot be shown")
    return found


def _legible(c: str) -> str:
    """What people typed, as others see it: any kind of space as one, nothing for what has no width, and nothing that
    turns the direction of what follows."""
    kind = unicodedata.category(c)
    if kind == "Zs":
        return " "
    return "" if kind == "Cf" and c not in _KEPT else c
