"""Carries out one call of the publisher, and keeps the run's slots true whatever becomes of it.

Invariants:
- a post is first written down as intended, then sent, then written down as sent: a crash or a lost answer in between
  leaves a slot without ts, and such a post is looked for, by its metadata, before it is sent again;
- it is sent again only when it is not there and cannot come any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from bot.slack.draw.post import Upload
from bot.slack.publish.calls import LATE, Calls, Down, Limited, SlackRefused, Unsure
from bot.slack.publish.picture import Op
from bot.slack.publish.trouble import Troubles
from bot.store.log import Slot, Store

log = logging.getLogger(__name__)

SKEW = 600.0
"""Seconds by which Slack's clock may differ from ours."""
_AGAIN = 2.0
"""Seconds between two looks for a post that may still come."""
_GONE = frozenset({"message_not_found", "cannot_reply_to_message", "thread_not_found"})
"""What Slack says when somebody deleted a message."""
_FINAL = frozenset({"edit_window_closed", "cant_update_message", "update_failed"})
"""What Slack says when a message will never be changed again."""
ANEW = 60.0
"""Seconds within which a message is not posted anew twice: then it is not the message that is the matter."""


@dataclass(slots=True)
class Slots:
    """The stored slots of a run. late: name -> until when a post of which nothing is known may still appear."""

    run: str
    known: dict[str, Slot] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)


class MessageWriter:
    """contents: (run, what) -> bytes; may: whether this node may still write; clock: seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        troubles: Troubles,
        contents: Callable[[str, str], Awaitable[bytes]],
        may: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._store, self._calls, self._troubles = store, calls, troubles
        self._contents, self._may, self._clock = contents, may, clock
        self._names: dict[str, str] = {}
        self._archived: dict[str, str] = {}
        self._cursor = ""
        self._renewed: dict[tuple[str, str], float] = {}
        self._joined: set[str] = set()
        self._resolving = asyncio.Lock()

    async def load(self, run: str) -> Slots:
        """What is stored. Whoever was to post what has no ts may be gone, and his call still under way."""
        now, found = self._clock(), await self._store.slots(run)
        late = {n: min(s.at, now) + LATE for n, s in found.items() if not s.ts}
        return Slots(run, found, late)

    def resolve(self, channel: str) -> str | None:
        """The id of a catalogued channel, if it is known."""
        name = channel.removeprefix("#")
        if name == channel and name[:1] in ("C", "D", "G") and name.isupper():
            return name
        return self._names.get(name)

    async def do(self, slots: Slots, op: Op) -> float:
        """The call. Returns the seconds until this post needs another one, mostly 0.

        Raises Limited, Down, Unsure, SlackRefused, StoreUnavailable, and whatever `contents` raises.
        """
        slot, message = op.slot, op.post.message
        mark, since = (slot.run, slot.name), slot.at - SKEW
        match op.kind:
            case "resolve":
                await self._learn(slot.channel)
            case "post":
                broadcast = op.post.broadcast
                await self._send(
                    slots,
                    replace(slot, at=self._clock()),
                    lambda: self._calls.post(slot.channel, message, mark, thread=op.thread, broadcast=broadcast),
                )
            case "update":
                await self._calls.update(slot.channel, slot.ts, message)
                await self._keep(slots, replace(slot, digest=message.digest))
            case "find":
                ts = await self._calls.find(slot.channel, mark, thread=op.thread, since=since)
                return await self._found(slots, op, ts)
            case "upload" if op.upload is not None:
                await self._upload(slots, op, op.upload)
            case "find_file":
                there = await self._calls.has_file(slot.channel, slot.digest, thread=op.thread, since=since)
                return await self._found(slots, op, slot.digest if there else None)
        return 0.0

    async def refused(self, slots: Slots, op: Op, e: SlackRefused) -> None:
        """Slack said no: does what helps, or tells people. StoreUnavailable."""
        slot = op.slot
        if e.code in _FINAL and op.kind == "update" and self._may_renew(slot):
            log.info("run %s: %s cannot be changed any more (%s) and is posted anew", slot.run, slot.name, e.code)
            await self._store.forget_slot(slot.run, slot.name)
            slots.known.pop(slot.name, None)
            return
        if e.code in _GONE:  # somebody deleted it, or what it stood under
            gone = {slot.name} if op.kind == "update" else {op.post.under or op.post.slot}
            log.info("run %s: %s was deleted in Slack and is posted again", slot.run, ", ".join(gone))
            for name in gone | ({slot.name} if op.kind == "find" else set()):
                await self._store.forget_slot(slot.run, name)
                slots.known.pop(name, None)
            return
        if e.code == "not_in_channel" and slot.channel not in self._joined:
            self._joined.add(slot.channel)
            with contextlib.suppress(Limited, Down, Unsure, SlackRefused):
                await self._calls.join(slot.channel)
                return
        self._troubles.refused(e, op.method, slot.channel, op.own, self._clock(), called=op.post.channel)

    async def _send(self, slots: Slots, slot: Slot, call: Callable[[], Awaitable[tuple[str, str]]]) -> None:
        await self._keep(slots, slot)
        try:
            if not self._may():
                raise Down("another node may be the writer now")
            channel, ts = await call()
        except (Limited, Down, SlackRefused):
            del slots.known[slot.name]  # not sent; what is stored does no harm: it would only be looked for
            raise
        except Unsure as e:
            slots.late[slot.name] = self._clock() + e.late
            raise
        await self._keep(slots, replace(slot, channel=channel, ts=ts))

    async def _upload(self, slots: Slots, op: Op, upload: Upload) -> None:
        data = await self._contents(op.slot.run, upload.what) or b"\n"
        try:
            file = await self._calls.upload(upload.name, data, upload.alt)
        except Unsure as e:  # nobody can see it: another one does no harm
            raise Down(str(e)) from e

        async def share() -> tuple[str, str]:
            await self._calls.share(file, upload.title, op.slot.channel, op.thread)
            return op.slot.channel, file

        await self._send(slots, replace(op.slot, digest=file, at=self._clock()), share)

    async def _found(self, slots: Slots, op: Op, ts: str | None) -> float:
        """What was looked for is there, is not and will not be, or is not there yet."""
        now, slot = self._clock(), op.slot
        late = slots.late.get(slot.name, 0.0)
        if ts is not None:
            await self._keep(slots, replace(slot, ts=ts))
        elif now >= late:
            del slots.known[slot.name]
        else:
            return min(_AGAIN, late - now)
        return 0.0

    async def _keep(self, slots: Slots, slot: Slot) -> None:
        await self._store.put_slot(slot)
        slots.known[slot.name] = slot

    def _may_renew(self, slot: Slot) -> bool:
        """Whether a message that cannot be changed is posted anew; not twice in a short while."""
        key, now = (slot.run, slot.name), self._clock()
        if now - self._renewed.get(key, float("-inf")) < ANEW:
            return False
        self._renewed = {k: at for k, at in self._renewed.items() if now - at < ANEW} | {key: now}
        return True

    async def _learn(self, channel: str) -> None:
        """Reads one more page of channels, where this one is not known: at the pace of its method, each page once.
        Refused where the last page did not hold it either."""
        async with self._resolving:
            if self.resolve(channel) is not None:
                return
            cursor, self._cursor = self._cursor, ""
            try:
                page, self._cursor = await self._calls.channels(cursor)
            except (Limited, Down, Unsure):
                self._cursor = cursor
                raise
            for c in page:
                (self._archived if c.get("is_archived") else self._names)[str(c["name"])] = str(c["id"])
            if self._cursor:
                return  # asked again after this call, as long as it is wanted
            self._names = {**self._archived, **self._names}  # of two with one name the one in use
            if self.resolve(channel) is None:
                raise SlackRefused("channel_not_found")
