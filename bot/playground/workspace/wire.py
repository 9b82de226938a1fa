"""What travels between Slack and an app: JSON, errors, and the arguments of a Web API call.

The Python SDK sends arguments in the query string, as a form, as JSON or as multipart, by GET or POST, and writes
lists and objects into strings. All of them are merged here; a method sees one typed dict.

Invariants: a refusal is a `SlackError` with Slack's own code; a malformed request never raises anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]

_NAME = re.compile(r"^[A-Za-z0-9_.\[\]-]{1,100}$")


@dataclass
class SlackError(Exception):
    """What Slack answers instead of a result: `{"ok": false, "error": code}` and, for people, messages."""

    code: str
    messages: Sequence[str] = ()
    more: Json = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return ": ".join([self.code, *self.messages])

    def body(self) -> Json:
        """The answer."""
        told = {"response_metadata": {"messages": [f"[ERROR] {m}" for m in self.messages]}} if self.messages else {}
        return {"ok": False, "error": self.code, **self.more, **told}


def invalid(*messages: str) -> SlackError:
    """invalid_arguments, with what is wrong."""
    return SlackError("invalid_arguments", messages)


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument of a method. kind: str, int, bool, json (an object or array) or list (of strings)."""

    name: str
    kind: str = "str"
    required: bool = False


def spec(text: str) -> Mapping[str, Arg]:
    """`channel! limit:int users:list` -> arguments; an exclamation mark requires one."""
    found = {}
    for word in text.split():
        name, _, kind = word.partition(":")
        required = word.endswith("!")
        name, kind = name.rstrip("!"), (kind or "str").rstrip("!")
        found[name] = Arg(name, kind, required)
    return found


async def read_arguments(request: web.Request) -> Json:
    """Every argument of a call, wherever it stood. SlackError for a body that cannot be read."""
    found: Json = dict(request.query)
    if request.method != "POST" or not request.body_exists:
        return found
    kind = request.content_type
    if kind == "application/json":
        try:
            body = await request.json()
        except (ValueError, UnicodeDecodeError) as error:
            raise SlackError("invalid_json") from error
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return found | body
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        try:
            form = await request.post()
        except (ValueError, UnicodeDecodeError) as error:
            raise SlackError("invalid_form_data") from error
        return found | {k: v.file.read() if isinstance(v, web.FileField) else v for k, v in form.items()}
    if await request.read():
        raise SlackError("invalid_post_type")
    return found


def coerce(given: Json, known: Mapping[str, Arg]) -> tuple[Json, tuple[str, ...]]:
    """(the typed arguments, the names Slack does not know and ignores). SlackError for what cannot be meant."""
    wrong = [f"missing required field: {a.name}" for a in known.values() if a.required and _absent(given.get(a.name))]
    typed: Json = {}
    for name, value in given.items():
        if not _NAME.match(name):
            raise SlackError("invalid_arg_name")
        if name not in known or value is None or (value == "" and known[name].kind != "str"):
            continue
        try:
            typed[name] = _typed(value, known[name].kind)
        except ValueError as error:
            wrong.append(f"{error} [json-pointer:/{name}]")
    if wrong:
        raise invalid(*wrong)
    return typed, tuple(name for name in given if name not in known and name not in ("token", "team_id"))


def _absent(value: Any) -> bool:
    return value is None or value == ""


def _typed(value: Any, kind: str) -> Any:
    """The value as its kind. ValueError with Slack's words."""
    match kind:
        case "str":
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError("must provide a string")
            return str(value)
        case "int":
            return _whole(value)
        case "bool":
            return str(value).lower() not in ("", "0", "false")
        case "list":
            return _listed(value)
    return _document(value)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("must provide a number") from None


def _listed(value: Any) -> list[str]:
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    value = _document(value)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("must provide an array")
    return value


def _document(value: Any) -> Any:
    """JSON, as itself or written into a string; a string that is none stays a string, for the method to judge."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
