"""Values as a change holds them: above 4 KiB by reference, and whole again where they are written."""

from __future__ import annotations

import json

from bot.contract import INLINE_LIMIT, Json, ReadCtx, Value, canonical
from bot.ports import Blob

TEXT, JSON = "text/plain; charset=utf-8", "application/json"


async def kept(ctx: ReadCtx, value: Value) -> Value:
    """The value as a change may hold it: above 4 KiB by reference."""
    if value is None or isinstance(value, Blob) or len(text := canonical(value).encode()) <= INLINE_LIMIT:
        return value
    if isinstance(value, str):
        return await ctx.ports.blobs.put(value.encode(), TEXT)
    return await ctx.ports.blobs.put(text, JSON)


async def whole(ctx: ReadCtx, value: Value) -> Json:
    """The same, as it is written."""
    if not isinstance(value, Blob):
        return value
    return decoded(value, await ctx.ports.blobs.get(value))


def decoded(value: Blob, data: bytes) -> Json:
    """What a reference stands for, by what was put behind it."""
    found: Json = json.loads(data) if value.type == JSON else data.decode()
    return found
