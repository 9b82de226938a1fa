"""The driver over HTTP, for a workspace that runs in a process of its own: `POST /_driver/<verb>`, arguments as JSON.

The verbs and their arguments are those of `Driver`; a message is named by its ts, a modal by its id or, to submit it,
by whose it is. `advance {"seconds": 60}` moves the clock. The answer is `{"ok": true, "result": ...}`, or 422 with
`error`.

Invariant: a request that makes no sense changes nothing and says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bot.playground.workspace.clock import Clock
from bot.playground.workspace.driver import Driver

_VERBS = frozenset(
    {"archive", "change_user", "click", "close", "find", "home", "join", "leave", "modal", "overflow", "read"}
    | {"select", "set_group", "slash", "say", "submit", "transcript", "wait_for_text", "whispers"}
)


async def handle(driver: Driver, clock: Clock, request: web.Request) -> web.Response:
    """One verb."""
    name = request.match_info["verb"]
    verb: Callable[..., Any] | None = clock.advance if name == "advance" else None
    if name in _VERBS:
        verb = getattr(driver, name, None)
    if verb is None:
        return _wrong(f"there is no {name}; there are {', '.join(sorted({*_VERBS, 'advance'}))}")
    try:
        arguments = await request.json() if request.can_read_body else {}
        result = verb(**arguments)
        if isinstance(result, Awaitable):
            result = await result
    except (LookupError, PermissionError, TimeoutError, TypeError, ValueError, AttributeError) as error:
        return _wrong(f"{type(error).__name__}: {error}")
    return web.json_response({"ok": True, "result": _json(result)})


def _json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def _wrong(text: str) -> web.Response:
    return web.json_response({"ok": False, "error": text}, status=422)
