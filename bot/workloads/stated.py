"""The end that a release states, read from its record. Reads blobs only.

Invariant: a record is read once, however often a step asks: what a digest names never changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from bot.contract import Fatal, Outgoing, ReadCtx
from bot.ports import Blob, Secrets
from bot.workloads.ends import Ends
from bot.workloads.record import ReleaseRecord

KEPT = 4
"""Records that are held in memory."""
_RECORDS: dict[str, tuple[Secrets, ReleaseRecord]] = {}
_UNREAD = "look after what ROLLBACK_BLOBS_URL names, then try again"


async def ends(
    ctx: ReadCtx, images: Mapping[str, str], outgoing: Sequence[Outgoing], settings: Blob | None, last: Blob | None
) -> Ends:
    """The end that the target's record states. settings, last: its record as it came and as it served last. Fatal where
    a record cannot be read."""
    try:
        to = await _record(ctx, last or settings)
        was = [await _record(ctx, release.settings) for release in outgoing if release.settings is not None]
    except (KeyError, ValueError) as error:
        raise Fatal(f"the recorded settings of a release cannot be read: {error}", _UNREAD) from error
    removed = [pair for release in outgoing for pair in release.images.items()]
    return Ends(images, removed, to, was, unknown=any(release.settings is None for release in outgoing))


async def _record(ctx: ReadCtx, blob: Blob | None) -> ReleaseRecord:
    """Read once: each pass of a step asks for it again, and what a digest names never changes."""
    if blob is None:
        return ReleaseRecord()
    secrets = ctx.ports.secrets
    known = _RECORDS.get(blob.digest)
    if known is None or known[0] is not secrets:
        data = await ctx.ports.blobs.get(blob)
        known = secrets, await asyncio.to_thread(lambda: ReleaseRecord.read(data).concealed(secrets))
        _RECORDS[blob.digest] = known
        while len(_RECORDS) > KEPT:
            del _RECORDS[next(iter(_RECORDS))]
    return known[1]
