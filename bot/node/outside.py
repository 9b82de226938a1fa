"""What is kept outside the database: by-hand files, and the newest links of the chain of checkpoints.

Invariants:
- a link outside is a file of its own, named by its number, and no such file is ever written over: where the
  database lacks the newest (an older backup was restored, its tail was cut, it was rewritten) it stays, whatever is
  appended meanwhile, and is told; of several nodes the one that is behind adds nothing;
- the bot does not start on such a database. A person may accept the loss: with a name and a reason, as an event that
  enters the chain; the links that were lost are kept beside;
- where no link is outside although there were some, none is put there by a process that has not seen the chain
  whole: a person accepts it;
- what cannot be written (no disk, a full one) is told, once, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.audit.verifying import anchor_fault
from bot.contract import Edit, Value
from bot.policy import Actor
from bot.ports import Blob, Unreachable
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.state import Run, new_run
from bot.steady.outage import Outage
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.chain import Checkpoint
from bot.store.log import Store, told
from bot.telling.by_hand import Changes, Typist, by_hand, in_words
from bot.workloads.large import decoded

log = logging.getLogger(__name__)

FOLDER, KEPT = "checkpoints", 100
"""Where the newest links lie, each in a file of its number, and how many of them."""
BEFORE = "checkpoint.json"
"""The newest link, as versions before kept it."""
LOOK = 15.0
"""Seconds between two looks whether the newest link is outside."""
NEXT = (
    "The bot does not start on it. Next: stop every bot and restore the newest backup; or, where what came after is "
    'lost for good, look by hand what it did, then `rollback-bot audit accept-loss --reason "..."`.'
)
NO_COPY = (
    "There is no copy of the chain's head outside the database, in {folder}: nobody could tell if the end of the "
    "record were cut off. Next: put the folder of ROLLBACK_BLOBS_URL back; where it is lost, stop every bot, then "
    '`rollback-bot audit accept-loss --reason "..."`.'
)
_QUIET = (ev.Recorded, ev.Noted, ev.Waiting, ev.Checked, ev.Reminded, ev.Paged)
"""What changes nothing of what is to be done by hand."""


class RecordCut(Exception):
    """The database lacks what the copy outside it knows of; says what, and what to do."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """The by-hand text of a run, with what large values hold. typed: a run -> the commands of its targets; Unreachable
    where they are not catalogued any more; foreseen: what steps would do of which the log does not say it yet; about:
    name of a handler -> what it does."""

    files: FileBlobs
    clock: Callable[[], float]
    typed: Callable[[Run], Typist]
    foreseen: Callable[[Run], Changes] = lambda run: {}
    about: Mapping[str, str] = field(default_factory=dict)

    async def of(self, run: Run) -> str:
        """The text, as of now."""
        typed: Typist = in_words
        foreseen = self.foreseen(run)
        whole = await self._large(run, foreseen)
        with contextlib.suppress(Unreachable):
            typed = self.typed(run)

        def lines(uses: str, edits: Sequence[Edit]) -> Sequence[str]:
            return typed(uses, [replace(e, before=whole(e.before), after=whole(e.after)) for e in edits])

        return await asyncio.to_thread(by_hand, run, self.clock(), lines, foreseen, self.about)

    async def _large(self, run: Run, foreseen: Changes) -> Callable[[Value], Value]:
        """Value -> itself, or what a reference to a large one stands for, as far as it can be read."""
        found: dict[str, Value] = {}
        changes = [c for s in run.steps.values() for c in (s.made, s.released, s.change) if c is not None]
        for blob in {
            v
            for c in (*changes, *foreseen.values())
            for e in c.edits
            for v in (e.before, e.after)
            if isinstance(v, Blob)
        }:
            with contextlib.suppress(KeyError, ValueError, BlobsUnavailable):
                found[blob.digest] = decoded(blob, await self.files.get(blob))
        return lambda value: found.get(value.digest, value) if isinstance(value, Blob) else value


@dataclass(frozen=True, slots=True)
class Outside:
    """Watchers of the engine; the ledger, told how runs end, is one of them. clock: seconds since the epoch; by_hand:
    what is to be kept of a run for whoever has to go on without the bot."""

    files: FileBlobs
    store: Store
    releases: ReleaseRegister
    clock: Callable[[], float]
    by_hand: Callable[[Run], Awaitable[str]] | None = None
    outage: Outage = field(default_factory=lambda: Outage("The record", log, words=("is cut", "is whole again")))
    copying: Outage = field(
        default_factory=lambda: Outage("The copy of the record's head", log, words=("is not kept", "is kept again"))
    )
    _writing: Outage = field(
        default_factory=lambda: Outage("By-hand files", log, words=("cannot be written", "are written again"))
    )
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: list[Checkpoint | None] = field(default_factory=list)
    """The newest link of the chain as this process has seen it whole; nothing yet, or None of an empty chain."""

    async def run(self) -> None:
        """Looks now and then, until cancelled."""
        while True:
            with told(log, "cannot look whether the record's head is kept"):
                await self.keep()
            await asyncio.sleep(LOOK)

    async def files_behind(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Writes the by-hand file before each step acts, and whenever anything came of it or people said anything."""
        if not all(isinstance(e, _QUIET) for e in events):
            await self.file_behind(run)

    async def file_behind(self, run: Run) -> None:
        """Writes the by-hand file of a run as it is."""
        if self.by_hand is not None and run.created is not None:
            text = await self.by_hand(run)
            try:
                await asyncio.to_thread(self.files.put_anchor, f"by-hand/{run.id}.md", text)
            except BlobsUnavailable as e:
                self._writing.down(str(e))
            else:
                self._writing.up()

    async def anchor(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Keeps the newest checkpoint beside the files, so that a cut tail of the database shows."""
        if any(isinstance(e, ev.CHECKPOINTED) for e in events):
            await self.keep()

    async def ledger(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Tells the release ledger what a run found out about releases."""
        if any(isinstance(e, ev.Closed | ev.Retargeted) for e in events):
            await self.releases.after_run(run)

    async def begin(self) -> None:
        """RecordCut unless the database holds what the copy outside knows of; from here on the copy is kept."""
        await self.whole()
        await self.keep()

    async def whole(self) -> None:
        """RecordCut unless the database holds what the copy outside knows of."""
        if why := await self.missing():
            raise RecordCut(f"{why} {NEXT}")

    async def missing(self) -> str:
        """Why the copy outside does not fit the database; empty where it does, or where there is none yet."""
        return await missing(self.files, self.store) or await self._unseen()

    async def fault(self) -> str:
        """What keeps a later cut from being noticed: no copy, or none that can be written; empty where nothing does."""
        return self.copying.why or await no_copy(self.files, self.store)

    async def accept(self, by: Actor, reason: str) -> Checkpoint:
        """Goes on from the database as it is; the new head. ValueError where nothing is missing."""
        if not (await self.missing() or await no_copy(self.files, self.store)):
            raise ValueError("Nothing is missing: the database holds what the copy outside it knows of.")
        lost = await asyncio.to_thread(_put_aside, self.files)
        last = await self.store.last_checkpoint()
        accepted = ev.LossAccepted(by, reason, lost[:2000], last.n if last is not None else 0)
        await self.store.append(new_run(f"loss-{secrets.token_hex(3)}"), [accepted], self.clock(), checkpoint=True)
        head = await self.store.last_checkpoint()
        if head is None:
            raise RuntimeError("the checkpoint that was just written is not there")
        await asyncio.to_thread(_put_outside, self.files, head)
        self._seen[:] = [head]
        return head

    async def keep(self) -> None:
        """Puts the newest link outside, where it is a later one of what is kept there."""
        async with self._turn:
            try:
                await self._keep()
            except BlobsUnavailable as e:
                self.copying.down(str(e))

    async def _keep(self) -> None:
        last = await self.store.last_checkpoint()
        if why := await self.missing():
            self.outage.down(f"{why} {NEXT}")
            return
        self.outage.up()
        outside = await asyncio.to_thread(kept, self.files)
        if last is not None and outside is None and not self._seen:
            self.copying.down(NO_COPY.format(folder=self.files.folder))
            return
        self._seen[:] = [last]
        if last is not None and (outside is None or Checkpoint.parse(outside).n < last.n):
            await asyncio.to_thread(_put_outside, self.files, last)
        self.copying.up()

    async def _unseen(self) -> str:
        """Why the database does not hold what this process has seen of the chain."""
        seen = self._seen[0] if self._seen else None
        return await _lacks(self.store, seen) if seen is not None else ""


async def missing(files: FileBlobs, store: Store) -> str:
    """Why the copy outside does not fit the database; empty where it does."""
    try:
        text = await asyncio.to_thread(kept, files)  # first: the log only grows
        return await _lacks(store, Checkpoint.parse(text)) if text is not None else ""
    except ValueError as e:
        return f"The copy of the chain's head outside the database is bad: {e}."


async def no_copy(files: FileBlobs, store: Store) -> str:
    """Why a cut could not be noticed: there are checkpoints, and no copy; empty where there is one, or need not be."""
    there = await asyncio.to_thread(kept, files) is not None or await store.last_checkpoint() is None
    return "" if there else NO_COPY.format(folder=files.folder)


def kept(files: FileBlobs) -> str | None:
    """The newest link outside, as it is there; None where there is none. Blocking, BlobsUnavailable."""
    names = _links(files)
    return files.get_anchor(f"{FOLDER}/{names[-1]}" if names else BEFORE)


async def _lacks(store: Store, outside: Checkpoint) -> str:
    there = await store.checkpoints(outside.n - 1, limit=1)
    last = await store.last_checkpoint()
    fault = anchor_fault(there[0] if there else None, last.n if last is not None else 0, outside)
    return fault.text if fault is not None else ""


def _links(files: FileBlobs) -> list[str]:
    """Names of the links outside, oldest first. Blocking."""
    return sorted(n for n in files.anchors(FOLDER) if re.fullmatch(r"[0-9]{12}\.json", n))


def _put_outside(files: FileBlobs, link: Checkpoint) -> None:
    """Beside the others; of those that are long past some go. Blocking."""
    files.put_first(f"{FOLDER}/{link.n:012d}.json", link.text)
    for old in _links(files)[:-KEPT]:
        files.drop_anchor(f"{FOLDER}/{old}")


def _put_aside(files: FileBlobs) -> str:
    """What was kept outside goes into a folder of its own; the newest of it. Blocking."""
    newest, aside = kept(files) or "", f"{FOLDER}-lost-{secrets.token_hex(3)}"
    for name in _links(files):
        files.put_anchor(f"{aside}/{name}", files.get_anchor(f"{FOLDER}/{name}") or "")
    if newest and not _links(files):
        files.put_anchor(f"{aside}/{BEFORE}", newest)
    for name in _links(files):
        files.drop_anchor(f"{FOLDER}/{name}")
    files.drop_anchor(BEFORE)
    return newest
