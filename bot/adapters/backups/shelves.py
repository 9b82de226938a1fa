"""`ports.backups` of one service: its shelves by name, what was proven of the backups there, and the reading itself.

Invariants:
- what was read once is not read again while its identity stays: the next preflight costs a look at the listing. After a
  while the bytes are read again for their digest, which finds a disk that has changed them;
- a reading goes on when whoever asked for it has no time left, and the next who asks waits for the same one;
- nothing is remembered of what says nothing about the backup: a shelf that is away, a program that is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import TypeAdapter

from bot.adapters.backups.programs import Program, programs
from bot.adapters.backups.reading import NoProgram, ReadBackup, Reader, ReadingStop, Unreadable
from bot.ports import Record, Unreachable, Where, unbound
from bot.ports.backups import Backup, Memory, Proof, Rules, Shelf

T = TypeVar("T")
_PROOF: TypeAdapter[Proof] = TypeAdapter(Proof)
AT_ONCE = 2
"""Backups that are read at the same time."""
OTHER = "its bytes are not those that were noted when it was made ({name}.sha256)"


class ProcessMemory:
    """`Memory` of this process."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        """The text."""
        return self.texts.get(name)

    async def put(self, name: str, text: str) -> None:
        """Keeps it."""
        self.texts[name] = text


@dataclass(frozen=True, slots=True)
class Shelved:
    """One target: where its backups lie, and what is wanted of them. programs: folder of the client programs, "" for
    those of the system."""

    shelf: Shelf
    rules: Rules = field(default_factory=Rules)
    programs: str = ""


@dataclass
class _Readings:
    """What is being read, by shelf and identity; shared by all copies of one adapter."""

    tasks: dict[tuple[str, str, bool], asyncio.Task[Proof]] = field(default_factory=dict)
    asked: list[ReadingStop] = field(default_factory=list)
    begun: int = 0
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class ServiceBackups:
    """Implements `bot.ports.backups.Backups`. memory: where proofs are kept; clock: seconds since the epoch."""

    def __init__(
        self,
        shelves: Mapping[str, Shelved],
        memory: Memory | None = None,
        clock: Callable[[], float] = time.time,
        _record: Record = unbound,
        _readings: _Readings | None = None,
    ) -> None:
        self._shelves = shelves
        self._memory: Memory = memory if memory is not None else ProcessMemory()
        self._clock, self._record = clock, _record
        self._readings = _readings or _Readings()

    def bind(self, record: Record, memory: Memory | None = None) -> ServiceBackups:
        """The same for one attempt. memory: where proofs are kept from here on."""
        return ServiceBackups(self._shelves, memory or self._memory, self._clock, record, self._readings)

    @property
    def readings(self) -> int:
        """How many backups were read, or are being read, by this adapter and its copies."""
        return self._readings.begun

    @property
    def rules(self) -> Mapping[str, Rules]:
        """Target -> what is wanted."""
        return {name: s.rules for name, s in self._shelves.items()}

    def shelf(self, target: str) -> Shelf:
        """Where a target's backups lie. LookupError."""
        return self._of(target).shelf

    def programs(self, target: str) -> Sequence[Program]:
        """Every pg_restore that may be used for it, newest first. Blocking where none was looked for yet."""
        return programs(self._of(target).programs)

    def where(self) -> Mapping[str, Where]:
        """Target -> which place it is."""
        return {name: s.shelf.where for name, s in self._shelves.items()}

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where its backups can be listed and read."""
        return {name: await self._fault(name) for name in self._shelves}

    async def _fault(self, target: str) -> str:
        try:
            if not await self.list(target):
                return "no backup there fits the pattern"
            if not await asyncio.to_thread(self.programs, target):
                return "there is no pg_restore on this machine; install PostgreSQL's client programs"
        except Unreachable as error:
            return str(error)
        return ""

    async def list(self, target: str) -> Sequence[Backup]:
        """Newest first."""
        try:
            return await self._of(target).shelf.list()
        except Unreachable as error:
            raise Unreachable.of({target: str(error)}) from error

    async def proof(self, target: str, backup: Backup, *, fresh: float = 0.0, counted: bool = False) -> Proof:
        """Remembered, or read now."""
        shelved = self._of(target)
        name = f"backups/{shelved.shelf.where.digest[:16]}/{hashlib.sha256(backup.name.encode()).hexdigest()[:32]}"
        known = _read(await self._memory.get(name))
        if known is not None and (known.identity != backup.identity or (counted and known.whole and not known.counted)):
            known = None
        if known is not None and 0 <= self._clock() - known.at.timestamp() <= fresh:
            return known
        key = (shelved.shelf.where.digest, backup.identity, counted)
        task = self._readings.tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._prove(shelved, backup, known, counted, name))
            self._readings.tasks[key] = task
            self._readings.begun += 1
            task.add_done_callback(lambda done: self._done(key, done))
        try:
            return await asyncio.shield(task)
        except (NoProgram, OSError) as error:
            raise Unreachable.of({target: f"{backup.name}: {error}"}) from error

    def _done(self, key: tuple[str, str, bool], task: asyncio.Task[Proof]) -> None:
        self._readings.tasks.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waits hears it; nobody may

    async def _prove(self, shelved: Shelved, backup: Backup, known: Proof | None, counted: bool, name: str) -> Proof:
        async with self._readings.gate:
            proof = await self._again(shelved, backup, known) or await self._whole(shelved, backup, counted)
        await self._memory.put(name, _PROOF.dump_json(proof).decode())
        return proof

    async def _again(self, shelved: Shelved, backup: Backup, known: Proof | None) -> Proof | None:
        """What was proven of the same bytes before; None where they are not, or nothing was."""
        if known is None or not known.whole or not known.digest or backup.folder:
            return None
        if backup.noted and backup.noted != known.digest:
            return None
        if await self._in_thread(lambda stop: _digest(shelved.shelf, backup, stop)) != known.digest:
            return None
        return replace(known, at=self._now())

    async def _whole(self, shelved: Shelved, backup: Backup, counted: bool) -> Proof:
        def read(stop: ReadingStop) -> ReadBackup:
            reader = Reader(programs(shelved.programs), counted, stop)
            if folder is not None:
                return reader.folder(folder)
            return reader.stream(lambda: shelved.shelf.chunks(backup))

        folder = None
        try:
            async with contextlib.AsyncExitStack() as stack:
                if backup.folder:
                    folder = await stack.enter_async_context(shelved.shelf.local(backup))
                found = await self._in_thread(read)
        except Unreadable as error:
            return Proof(backup.name, backup.identity, "", self._now(), fault=str(error), hint=error.hint)
        script = found.script
        noted = bool(backup.noted) and backup.noted == found.digest
        proof = Proof(
            backup.name, backup.identity, found.digest, self._now(), noted=noted, checked=found.checked or noted,
            format=found.format, server=script.server, dumper=script.dumper, rows=script.rows,
            sequences=script.sequences, stamp=tuple(script.stamp), extensions=tuple(script.extensions),
            items=script.items, counted=found.counted, packed=found.packed,
        )  # fmt: skip
        if backup.noted and not noted:
            return replace(proof, fault=OTHER.format(name=backup.name), hint="make a new backup, or take an older one")
        return proof

    async def _in_thread(self, work: Callable[[ReadingStop], T]) -> T:
        stop = ReadingStop()
        self._readings.asked.append(stop)
        try:
            return await asyncio.to_thread(work, stop)
        finally:
            stop.now()
            self._readings.asked.remove(stop)

    async def close(self) -> None:
        """Ends whatever is being read."""
        for stop in [*self._readings.asked]:
            stop.now()
        tasks = [*self._readings.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for shelved in self._shelves.values():
            await shelved.shelf.close()

    def _of(self, target: str) -> Shelved:
        try:
            return self._shelves[target]
        except KeyError:
            known = ", ".join(self._shelves) or "none"
            raise LookupError(f"no backups are catalogued as {target!r}; there are: {known}") from None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _digest(shelf: Shelf, backup: Backup, stop: ReadingStop) -> str:
    digest = hashlib.sha256()
    for chunk in shelf.chunks(backup):
        if stop.asked:
            raise InterruptedError("stopped")
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _read(text: str | None) -> Proof | None:
    """A proof as it was kept; None of another version."""
    try:
        return _PROOF.validate_json(text) if text is not None else None
    except ValueError:
        return None
