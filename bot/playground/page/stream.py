"""What changes in front of one person, told as server-sent events: everything at first, then each thing that changed.

Invariants: a message that changed several times between two looks is told once, as it is now; a page that connects
again is told everything again, so that it never shows what is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from bot.playground.page import picture
from bot.playground.workspace.people import User
from bot.playground.workspace.state import Change, State
from bot.playground.workspace.wire import Json

_PAUSE = 0.1
"""Seconds between two looks, at least."""
_WORLD = 1.0
"""Seconds between two looks at the world around, at most."""

Event = tuple[str, Json]


async def events(state: State, user: User, world: Callable[[], Awaitable[Json]]) -> AsyncIterator[Event]:
    """Name and content, without end."""
    seen = len(state.journal)
    around = await world()
    yield "everything", {**picture.everything(state, user), "world": around}

    def news() -> list[Change]:
        return state.journal[seen:]

    while True:
        with contextlib.suppress(TimeoutError):
            await state.wait_for(news, _WORLD)
        changes = news()
        seen += len(changes)
        places = {c.id for c in picture.channels_of(state, user)}
        for channel, ts in dict.fromkeys((c.channel, c.ts) for c in changes if c.ts and c.channel in places):
            yield _message(state, user, channel, ts)
        if any(c.kind == "view" and c.user == user.id for c in changes):
            yield "views", picture.views(state, user)
        if any(c.kind == "other" and not c.ts for c in changes):
            yield "around", picture.around(state, user)
        if (now := await world()) != around:
            around = now
            yield "world", now
        await asyncio.sleep(_PAUSE)


def _message(state: State, user: User, channel: str, ts: str) -> Event:
    found = state.messages[channel].get(ts)
    if found is None or found.only_for not in (None, user.id):
        return "gone", {"channel": channel, "ts": ts}
    return "message", picture.message(state, found)


def written(event: Event) -> bytes:
    """An event as it goes over the wire."""
    name, content = event
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()
