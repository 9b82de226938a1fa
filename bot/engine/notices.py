"""`bot.ports.Notices` on the database: a post is a row, which the publisher shows in Slack whenever it can.

Invariants: written only through the attempt's record, so a preview posts nothing; prose is redacted before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.ports import Record
from bot.ports.notices import Topic
from bot.redaction.redactor import Redactor
from bot.run.decide import RELEASING
from bot.run.state import Run
from bot.store.log import Notice, Store

LATEST = 50
"""Runs of the service among which those are that followed the same one."""


@dataclass(frozen=True, slots=True)
class StoredNotices:
    """The notices of one run. clock: seconds since the epoch; named: a channel's id -> what people call it."""

    store: Store
    redactor: Redactor
    run: Run
    record: Record
    clock: Callable[[], float]
    named: Callable[[str], str] = str

    @property
    def topic(self) -> Topic:
        """What the run is about. LookupError for one that was never asked for."""
        return topic_of(self.run, self.named)

    async def post(
        self, channel: str, name: str, text: str, *, at: datetime | None = None, people: Collection[str] = ()
    ) -> None:
        """Keeps the post; one of this name that is still to come, of the run that this one follows, is withdrawn.
        ReadOnly where nothing may be changed, StoreUnavailable."""
        clean = self.redactor.text(text)
        when = f" at {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at is not None else ""
        await self.record(f"post in {channel}{when}: {clean}")
        due = at.timestamp() if at is not None else None
        mentioned = " ".join(dict.fromkeys(people))
        for earlier in await self._before():
            await self.store.withdraw_notice(earlier, name, self.clock())
        await self.store.put_notice(Notice(self.run.id, name, channel, clean, self.clock(), due, mentioned))

    async def _before(self) -> list[str]:
        """The run that this one follows, and earlier ones that follow it too: what they have still to say under the
        same name is said by this one."""
        created = self.run.created
        if created is None or not created.follows or created.purpose in RELEASING:
            return []
        heads = await self.store.heads(service=created.service, limit=LATEST)
        beside = [h.run for h in heads if h.kind == created.purpose and h.run != self.run.id]
        runs = [await self.store.load(run) for run in beside]
        return [created.follows, *(r.id for r in runs if r.created and r.created.follows == created.follows)]


def topic_of(run: Run, named: Callable[[str], str] = str) -> Topic:
    """What a run is about. named: a channel's id -> what people call it. LookupError where it was never asked for."""
    created = run.created
    if created is None or run.target is None or run.commander is None:
        raise LookupError(f"run {run.id} has not been created")
    channel = created.channel or next(iter(created.channels.incident), "")
    return Topic(
        run.id, created.service, created.removed.version, run.target.version, created.reason, run.commander.name,
        named(channel), created.purpose == "forward",
    )  # fmt: skip
