"""What is read of the log and its signatures, for the store and for the audit: as it is stored, nothing folded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from bot.store import tables as t
from bot.store import triggers
from bot.store.chain import Checkpoint, Stored
from bot.store.database import Transaction
from bot.store.signing import OF_CHECKPOINTS, Seal, Signature

CHUNK = 500
"""Rows fetched at a time where all are read: more are slower, they no longer fit into the processor's cache."""

SealedRow = tuple[str, int, str, bytes]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A run as the index has it, and what the log says of it. began: the body of its first row, while it is open by
    either; ended: when it was closed, as stored; undone: whether something was asked to be undone afterwards."""

    run: str
    service: str
    kind: str
    open: bool
    closed: int | None
    began: str | None
    ended: int | None
    undone: bool


class Snapshot:
    """The whole record as of one moment. Made for speed: rows are plain tuples."""

    def __init__(self, transaction: Transaction, lite: bool) -> None:
        self._in = transaction
        self._lite = lite

    def chain(self, run: str | None = None) -> AsyncIterator[Sequence[SealedRow]]:
        """Chunks of (run, seq, hash, sealed) by run and seq; sealed is what `hash` is over, as stored."""
        e = t.event.c
        query = sa.select(e.run, e.seq, e.hash, _sealed(self._lite)).order_by(e.run, e.seq)
        return chunks(self._in, query if run is None else query.where(e.run == run))

    async def rows(self, run: str | None = None) -> AsyncIterator[Sequence[tuple[Stored, list[Signature]]]]:
        """Chunks of rows by run and seq, exactly as stored, each with its signatures."""
        query = _ROWS if run is None else _ROWS.where(t.event.c.run == run)
        pending: list[tuple[Stored, list[Signature]]] = []
        async for found in chunks(self._in, query):
            for *row, key, text in found:
                stored = Stored(*row)
                if not pending or pending[-1][0] != stored:  # with several signatures it comes several times
                    pending.append((stored, []))
                if key is not None:
                    pending[-1][1].append(Signature(key, text))
            yield pending[:-1]
            pending = pending[-1:]
        yield pending

    async def links(self, run: str | None = None) -> list[tuple[Checkpoint, list[Signature]]]:
        """The chain of checkpoints, or those of a run, with their signatures."""
        query = _LINKS if run is None else _LINKS.where(t.checkpoint.c.run == run)
        found: dict[Checkpoint, list[Signature]] = {}
        for *row, key, text in await self._in.run_sync(lambda c: c.execute(query).all()):
            signatures = found.setdefault(Checkpoint(*row), [])
            if key is not None:
                signatures.append(Signature(key, text))
        return list(found.items())

    async def heads(self) -> dict[str, int]:
        """Run -> seq, as the index has it."""
        query = sa.select(t.head.c.run, t.head.c.seq)
        return await self._in.run_sync(lambda c: {run: seq for run, seq in c.execute(query)})

    async def losses(self) -> tuple[str, ...]:
        """What stands alone: entries of people who accepted that a part of the record is lost."""
        alone = (t.head.c.kind == "", t.head.c.run.startswith("loss-"))
        query = sa.select(t.head.c.run).where(*alone).order_by(t.head.c.created)
        return await self._in.run_sync(lambda c: tuple(c.scalars(query)))

    async def checkpoints(self) -> list[Checkpoint]:
        """The whole checkpoint chain."""
        return await self._in.run_sync(checkpoints)

    async def unlinked(self, kinds: Collection[str]) -> list[tuple[str, int, str]]:
        """(run, seq, kind) of rows of these kinds whose append, all of one moment, did not end in a checkpoint."""
        e = t.event.c
        query = sa.select(e.run, e.seq, e.kind).where(e.kind.in_(kinds), ~_LINKED).order_by(e.run, e.seq)
        return await self._in.run_sync(lambda c: [(run, seq, kind) for run, seq, kind in c.execute(query)])

    async def entries(self) -> list[IndexEntry]:
        """The index, beside what the log says of the same runs."""
        return await self._in.run_sync(lambda c: [IndexEntry(*row) for row in c.execute(_ENTRIES)])

    async def seals(self) -> list[Seal]:
        """As `Store.seals`."""
        return await self._in.run_sync(seals)

    async def unguarded(self) -> str:
        """As `Store.unguarded`."""
        return unguarded(await self._in.run_sync(triggers.missing))


ITS_SIGNATURES = (t.signature.c.run == t.event.c.run) & (t.signature.c.seq == t.event.c.seq)
_LAST_CHECKPOINT = sa.select(t.checkpoint).order_by(t.checkpoint.c.n.desc()).limit(1)
_LAST = sa.select(t.event.c.run, sa.func.max(t.event.c.seq).label("seq")).group_by(t.event.c.run).subquery()
_LAST_ROWS: sa.Select[Any] = (
    sa.select(t.event.c.run, t.event.c.seq, t.event.c.hash, t.signature.c.key, t.signature.c.signature)
    .join_from(t.event, _LAST, (_LAST.c.run == t.event.c.run) & (_LAST.c.seq == t.event.c.seq))
    .join(t.signature, ITS_SIGNATURES, isouter=True)
)
_OF_ITS_NUMBER = (t.signature.c.run == OF_CHECKPOINTS) & (t.signature.c.seq == t.checkpoint.c.n)
_BY_WHOM = (t.signature.c.key, t.signature.c.signature)
_ROWS: Any = (
    sa.select(*t.event.c, *_BY_WHOM)
    .join_from(t.event, t.signature, ITS_SIGNATURES, isouter=True)
    .order_by(t.event.c.run, t.event.c.seq)
)
_LINKS: Any = (
    sa.select(*t.checkpoint.c, *_BY_WHOM)
    .join_from(t.checkpoint, t.signature, _OF_ITS_NUMBER, isouter=True)
    .order_by(t.checkpoint.c.n)
)
_LAST_CHECKPOINT_SIGNED: sa.Select[Any] = (
    sa.select(sa.literal(OF_CHECKPOINTS), t.checkpoint.c.n, t.checkpoint.c.chain, t.signature.c.key,
              t.signature.c.signature)
    .join_from(t.checkpoint, t.signature, _OF_ITS_NUMBER, isouter=True)
    .where(t.checkpoint.c.n == sa.select(sa.func.max(t.checkpoint.c.n)).scalar_subquery())
)  # fmt: skip

_END = t.event.alias("the_end")
_LINKED = sa.exists().where(
    t.checkpoint.c.run == t.event.c.run, t.checkpoint.c.seq >= t.event.c.seq,
    _END.c.run == t.checkpoint.c.run, _END.c.seq == t.checkpoint.c.seq, _END.c.at == t.event.c.at,
)  # fmt: skip


def _of_run(table: sa.FromClause, kind: str) -> sa.ScalarSelect[Any]:
    query = sa.select(sa.func.max(table.c.at)).where(table.c.run == t.head.c.run, table.c.kind == kind)
    return query.scalar_subquery()


_FIRST = t.event.alias("first")
_ENDED = _of_run(t.event.alias("ends"), "closed")
_ENTRIES: Any = sa.select(
    t.head.c.run, t.head.c.service, t.head.c.kind, t.head.c.open, t.head.c.closed,
    sa.case((t.head.c.open | _ENDED.is_(None), _FIRST.c.body)), _ENDED,
    sa.func.coalesce(_of_run(t.event.alias("later"), "undo asked") >= _ENDED, sa.false()),
).join_from(
    t.head, _FIRST, (_FIRST.c.run == t.head.c.run) & (_FIRST.c.seq == 1) & (_FIRST.c.kind == "created"), isouter=True
)  # fmt: skip


def checkpoints(c: sa.Connection, after: int = 0, limit: int | None = None) -> list[Checkpoint]:
    """The chain behind n `after`."""
    k = t.checkpoint.c
    query = sa.select(t.checkpoint).where(k.n > after).order_by(k.n).limit(limit)
    return [Checkpoint(*row) for row in c.execute(query)]


def last_checkpoint(c: sa.Connection) -> Checkpoint | None:
    """The newest."""
    row = c.execute(_LAST_CHECKPOINT).first()
    return Checkpoint(*row) if row else None


def seals(c: sa.Connection, runs: bool = True) -> list[Seal]:
    """The newest checkpoint, and with `runs` the newest row of each run; with their signatures."""
    queries = (_LAST_ROWS, _LAST_CHECKPOINT_SIGNED) if runs else (_LAST_CHECKPOINT_SIGNED,)
    found: dict[tuple[str, int], Seal] = {}
    for query in queries:
        for run, seq, hash_, key, text in c.execute(query):
            known = found.get((run, seq)) or Seal(run, seq, hash_)
            more = (Signature(key, text),) if key is not None else ()
            found[run, seq] = replace(known, signatures=(*known.signatures, *more))
    return list(found.values())


def unguarded(lost: Sequence[str]) -> str:
    """What it means that these triggers are missing; empty where none is."""
    if not lost:
        return ""
    return (
        f"The database lacks {len(lost)} of the triggers that refuse to change the log ({', '.join(lost)}). Next: find "
        "out who removed them, `rollback-bot audit verify`, then `rollback-bot db upgrade` puts them back."
    )


async def chunks(transaction: Transaction, query: sa.Select[Any]) -> AsyncIterator[Sequence[Any]]:
    """The rows of a query, CHUNK at a time, with a cursor of the server's."""
    options = {"stream_results": True, "yield_per": CHUNK}
    result = await transaction.run_sync(lambda c: c.execute(query, execution_options=options))
    try:
        while rows := await transaction.run_sync(lambda _: result.fetchmany(CHUNK)):
            yield rows
    finally:
        await transaction.run_sync(lambda _: result.close())


def _sealed(lite: bool) -> sa.ColumnElement[bytes]:
    """The hashed bytes, put together by the database (`bot/store/chain.py` says how)."""
    e = t.event.c
    form = sa.literal_column("'%s\n%s\n%s\n%s\n%s\n%s'", sa.Text)
    text = sa.func.format(form, e.prev, e.run, e.seq, e.at, e.kind, e.body)
    return sa.cast(text, sa.LargeBinary) if lite else sa.func.convert_to(text, "UTF8", type_=sa.LargeBinary)
