"""The log and its index: append, load, what is due; and the few small tables beside it.

Invariants:
- `append` is optimistic, all or nothing, and one transaction with the head, the inbox key, the checkpoint and
  whatever `also` does; the loser of a race gets `Conflict`, loads again and decides again;
- what is folded is what was stored (encoded, decoded, microseconds), so memory and log cannot disagree;
- only what is believed is folded (`signing.py`): a run with anything else behind it says so (`Run.doubt`);
- a body that could not be read back is refused before it is written;
- nothing here reads a clock, a network (but the database's) or a file.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bot.run.decide import Next, decide
from bot.run.events import CHECKPOINTED, BadEvent, Event, decode, encode
from bot.run.fold import evolve
from bot.run.state import Run, new_run
from bot.store import tables as t
from bot.store import triggers
from bot.store.chain import ZERO, Checkpoint, Stored, checkpoint_hash, event_hash
from bot.store.database import (
    SchemaMismatch,
    SqlDatabase,
    StoreUnavailable,
    away,
    away_by,
    open_database,
    told,
)
from bot.store.reading import (
    ITS_SIGNATURES,
    SealedRow,
    Snapshot,
    checkpoints,
    last_checkpoint,
    seals,
    unguarded,
)  # fmt: skip
from bot.store.rows import Head, Known, Notice, Progress, ReleaseRow, Slot, Token, Unshown, from_row, to_row, us
from bot.store.signing import OF_CHECKPOINTS, Keys, LogRow, Seal, Signature, believed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)

__all__ = [
    "AlreadyOpen", "Checkpoint", "Conflict", "Duplicate", "Head", "Keys", "Known", "Notice", "Progress", "ReleaseRow",
    "SchemaMismatch", "SealedRow", "Slot", "Snapshot", "Store", "StoreUnavailable", "Stored", "Token",
    "Unshown", "away", "away_by", "told",
]  # fmt: skip

CACHED = 256
"""Runs kept folded in memory."""
CHECKPOINT_LOCK = 0x726F6C6C01
"""PostgreSQL advisory lock: one checkpoint is written at a time."""


class Conflict(Exception):
    """Somebody else appended first: load again and decide again. Nothing was written."""


class AlreadyOpen(Exception):
    """The service has an open rollback already. Nothing was written."""

    def __init__(self, service: str, run: str):
        super().__init__(f"{service} has an open rollback already: {run}")
        self.service, self.run = service, run


class Duplicate(Exception):
    """This key was carried out before. Nothing was written."""

    def __init__(self, key: str):
        super().__init__(f"{key} was carried out already")
        self.key = key


TOKENS = "tokens"
"""What the record has personal tokens under; it is no run."""


class Store:
    """An open database with this version's tables. One a process and event loop. keys: what it signs with, and whom it
    believes."""

    def __init__(self, db: SqlDatabase, keys: Keys | None = None) -> None:
        self.db, self.keys = db, keys or Keys()
        self._insert = (sqlite if db.lite else postgresql).insert
        self._runs: OrderedDict[str, Run] = OrderedDict()

    @classmethod
    async def open(cls, url: str, *, patience: float = 5.0, keys: Keys | None = None) -> Self:
        """Connect. patience: seconds to wait for a lock. ValueError for a bad URL, StoreUnavailable."""
        store = cls(open_database(url, patience), keys)
        try:
            await store.db.read(lambda c: c.scalar(sa.select(1)))
        except BaseException:
            await store.db.close()
            raise
        return store

    async def close(self) -> None:
        """Let writes under way end, then disconnect."""
        await self.db.close()

    # -- the log -----------------------------------------------------------------------------------------------------

    async def append(
        self,
        run: Run,
        events: Sequence[Event],
        at: float,
        *,
        key: str | None = None,
        checkpoint: bool = False,
        decided: Next | None = None,
    ) -> Run:
        """Write the events behind `run` as it was loaded, and return the run after them.

        at: seconds since the epoch (kept to the microsecond). key: of the command, at most once. checkpoint: the last
        event enters the checkpoint chain, also where none of these is of a kind that always does. decided: what
        `decide` says of the run after these events, where that is known already. Without events only the head is
        written anew. Raises Conflict, AlreadyOpen, Duplicate, TooLarge, BadEvent, StoreUnavailable.
        """
        now = us(at)
        if run.doubt:
            raise ValueError(f"run {run.id} is not believed: {run.doubt}")
        new, rows = _chained(run, events, now)
        if not new.seq:
            raise ValueError(f"run {run.id} has no events yet, and none were given")
        head = _head(new, now, decided or decide(new, now / 1e6))
        signed = self.keys.sign("event", new.head) if rows else None
        checkpoint = checkpoint or any(isinstance(e, CHECKPOINTED) for e in events)

        def work(c: sa.Connection) -> None:
            if key is not None:
                c.execute(_ADD_KEY, {"key": key, "at": now})
            if rows:
                c.execute(_ADD_EVENTS, rows)
            if not run.seq or not c.execute(_MOVE_HEAD, {"of": run.id, **head}).rowcount:
                c.execute(_ADD_HEAD, head)
            signatures = [_signature(new.id, new.seq, signed)] if signed else []
            if checkpoint:
                put = _put_checkpoint(c, new, self.db.lite)
                if (by := self.keys.sign("checkpoint", put.chain)) is not None:
                    signatures.append(_signature(OF_CHECKPOINTS, put.n, by))
            if signatures:
                c.execute(_ADD_SIGNATURES, signatures)

        try:
            await self.db.write(work)
        except sa.exc.IntegrityError as e:
            raise await self._lost(e, new, key) from e
        self._remember(new)
        return new

    async def load(self, run_id: str) -> Run:
        """The run as it stands, as far as it is believed; `new_run` with seq 0 if there is none. Reads only what it has
        not seen yet."""
        run = self._runs.get(run_id) or new_run(run_id)
        newer = {"run": run_id, "after": run.seq}
        found = await self.db.read(lambda c: [LogRow(*row) for row in c.execute(_NEWER, newer)])
        rows, doubt = believed(run_id, run.seq, run.head, found, self.keys)
        for row in rows:
            try:
                event = decode(row.kind, row.body)
            except BadEvent as e:
                raise BadEvent(f"event {row.seq} of run {run_id}: {e}") from e
            run = replace(evolve(run, event, row.at / 1e6), head=row.hash)
        if run.seq:
            self._remember(run)
        return replace(run, doubt=doubt) if doubt else run

    async def recent(self, run_id: str) -> Run:
        """The run as this process last saw it, which need not ask the database. Only to append to, where what others
        have written since is met by Conflict."""
        return self._runs.get(run_id) or await self.load(run_id)

    async def events(self, run_id: str, after: int = 0) -> list[Stored]:
        """The rows of a run behind seq `after`, exactly as stored."""
        query = sa.select(t.event).where(t.event.c.run == run_id, t.event.c.seq > after).order_by(t.event.c.seq)
        return await self.db.read(lambda c: [Stored(*row) for row in c.execute(query)])

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Rows, heads and checkpoints as of one moment, for the audit."""
        async with self.db.snapshot() as transaction:
            yield Snapshot(transaction, self.db.lite)

    async def clock(self) -> float:
        """What all nodes share: the time of day of the database's server, in seconds since the epoch. Not of SQLite."""
        return await self.db.read(lambda c: float(c.execute(_CLOCK).scalar_one()))

    # -- the index ---------------------------------------------------------------------------------------------------

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Runs that time alone may move by now (seconds since the epoch), longest due first."""
        by = {"now": us(now), "limit": limit}
        return await self.db.read(lambda c: list(c.scalars(_DUE, by)))

    async def unguarded(self) -> str:
        """Why rows of the log can be changed by mistake; empty where triggers refuse it."""
        return unguarded(await self.db.read(triggers.missing))

    async def beyond(self) -> list[str]:
        """Runs with rows that their head does not know of, where anything may still happen: this bot writes both at
        once, so somebody else wrote these."""
        return await self.db.read(lambda c: list(c.scalars(_BEYOND)))

    async def ahead(self, now: float) -> list[str]:
        """Runs that may still move, and of which the newest event is later than now: a clock was ahead."""
        return await self.db.read(lambda c: list(c.scalars(_AHEAD, {"now": us(now)})))

    async def show_anew(self, run_id: str) -> None:
        """The run's messages are to be looked at again, although no event says so."""
        await self.db.write(lambda c: c.execute(_MORE_TO_SHOW, {"of": run_id}))

    async def heads(self, service: str | None = None, open: bool | None = None, limit: int | None = 100) -> list[Head]:
        """Runs in one line each, newest first."""
        newest = (t.head.c.created.desc(), t.head.c.run.desc())
        query = sa.select(*_HEAD).where(t.head.c.run != TOKENS).order_by(*newest).limit(limit)
        if service is not None:
            query = query.where(t.head.c.service == service)
        if open is not None:
            query = query.where(t.head.c.open == open)
        return await self._all(Head, query)

    async def lately(self, since: float, ended: int) -> list[Head]:
        """Open runs, and of the newest ended ones (so many at most) those that were closed since then (seconds since
        the epoch). None is missed that ends meanwhile: it is open at the first look, or ended at the second."""
        found = {h.run: h for h in await self.heads(open=True, limit=None)}
        over = await self.heads(open=False, limit=ended)
        return [*(found | {h.run: h for h in over if h.closed is not None and h.closed > since}).values()]

    async def owing(self) -> list[Head]:
        """Ended runs that have left something: a debt that was handed over, a glass to be reviewed, something that is
        being given back. They have a next moment, at which somebody is reminded."""
        query = sa.select(*_HEAD).where(t.head.c.closed.is_not(None), t.head.c.due.is_not(None))
        return await self._all(Head, query.order_by(t.head.c.due, t.head.c.run))

    async def unended(self, service: str) -> list[Head]:
        """Runs of a service that are open or have left something (`owing`), newest first: few, however many ended.

        The index `head_unended` holds them alone: it serves where its condition is written as it is here.
        """
        h = t.head.c
        query = sa.select(*_HEAD).where(h.service == service, sa.or_(h.open, h.closed.is_(None), h.due.is_not(None)))
        return await self._all(Head, query.order_by(h.created.desc(), h.run.desc()))

    async def last(self, service: str, kind: str) -> list[Head]:
        """The newest run of a service of that kind, ended or not, if there is one."""
        query = sa.select(*_HEAD).where(t.head.c.service == service, t.head.c.kind == kind)
        return await self._all(Head, query.order_by(t.head.c.created.desc(), t.head.c.run.desc()).limit(1))

    async def find_open(self, service: str) -> str | None:
        """The open rollback of a service."""
        query = sa.select(t.head.c.run).where(t.head.c.service == service, t.head.c.open, t.head.c.kind == "rollback")
        return await self.db.read(lambda c: c.scalar(query))

    async def unshown(self, run_id: str | None = None) -> list[Unshown]:
        """Runs, or the one, with events or notices since last marked as shown; cheap however many runs wait."""
        return await self._all(Unshown, _UNSHOWN if run_id is None else _UNSHOWN.where(t.head.c.run == run_id))

    async def mark_shown(self, run: Unshown) -> None:
        """Slack shows it up to `run.seq`; nothing changes where notices came since `run` was read."""
        h = t.head.c
        await self._change(sa.update(t.head).where(h.run == run.run, h.shown == run.shown).values(shown=run.seq))

    async def checkpoints(self, after: int = 0, limit: int | None = None) -> list[Checkpoint]:
        """The checkpoint chain behind n `after`."""
        return await self.db.read(lambda c: checkpoints(c, after, limit))

    async def marks(self, run_id: str) -> dict[float, Checkpoint]:
        """The run's checkpoints by the moment (seconds since the epoch) at which they were written."""
        found = await self.db.read(lambda c: c.execute(_MARKS, {"of": run_id}).all())
        return {at / 1e6: Checkpoint(*row) for at, *row in found}

    async def last_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint: what is kept outside the database."""
        return await self.db.read(last_checkpoint)

    async def last_seal(self) -> Seal | None:
        """The newest checkpoint, with its signatures."""
        return next(iter(await self.db.read(lambda c: seals(c, runs=False))), None)

    async def signer(self) -> str:
        """A key that signed something of this record, the newest there is; empty where nobody has."""
        k = t.signature.c
        query = sa.select(k.key).order_by((k.run == OF_CHECKPOINTS).desc(), k.seq.desc()).limit(1)
        return await self.db.read(lambda c: c.scalar(query)) or ""

    async def seals(self) -> list[Seal]:
        """The newest row of each run, and the newest checkpoint; with their signatures."""
        return await self.db.read(seals)

    async def seal(self, *found: Seal) -> None:
        """Sign these as they are: this node vouches for them, and for all before. ValueError without a key."""
        made = [(s, self.keys.sign("event" if s.run else "checkpoint", s.hash)) for s in found]
        rows = [_signature(s.run, s.seq, by) for s, by in made if by is not None]
        if len(rows) < len(found):
            raise ValueError("this node has no key to sign with (ROLLBACK_SIGNING_KEY)")
        await self.db.write(lambda c: c.execute(_ADD_SIGNATURES, rows) if rows else None)

    # -- small tables ------------------------------------------------------------------------------------------------

    async def slots(self, run_id: str) -> dict[str, Slot]:
        """The run's messages by name."""
        found = await self._all(Slot, sa.select(t.slot).where(t.slot.c.run == run_id))
        return {slot.name: slot for slot in found}

    async def put_slot(self, slot: Slot) -> None:
        """Remember which message shows what."""
        await self._put(t.slot, slot)

    async def forget_slot(self, run_id: str, name: str) -> None:
        """The message is gone, or never was."""
        await self._change(sa.delete(t.slot).where(t.slot.c.run == run_id, t.slot.c.name == name))

    async def notices(self, run_id: str) -> list[Notice]:
        """The posts that actions of the run asked for, oldest first."""
        n = t.notice.c
        return await self._all(Notice, sa.select(t.notice).where(n.run == run_id).order_by(n.at, n.name))

    async def withdraw_notice(self, run_id: str, name: str, now: float) -> None:
        """Drop a post that is not due yet; one that is stays, and so does its message."""
        n = t.notice.c
        due = n.due > round(now * 1e6)
        await self._change(sa.delete(t.notice).where(n.run == run_id, n.name == name, due))

    async def put_notice(self, notice: Notice) -> None:
        """Keep a post, and mark its run as unshown; nothing happens if the run has one of this name."""
        add = self._insert(t.notice).values(to_row(notice)).on_conflict_do_nothing().returning(t.notice.c.name)

        def work(c: sa.Connection) -> None:
            if c.execute(add).first() is not None:
                c.execute(_MORE_TO_SHOW, {"of": notice.run})

        await self.db.write(work)

    async def known(self, name: str) -> Known | None:
        """What was last said about this."""
        found = await self._all(Known, sa.select(t.known).where(t.known.c.name == name))
        return found[0] if found else None

    async def all_known(self, prefix: str) -> list[Known]:
        """What was last said under names that begin so."""
        found = sa.select(t.known).where(t.known.c.name.startswith(prefix, autoescape=True))
        return await self._all(Known, found)

    async def forget(self, name: str) -> None:
        """Nothing is known of this any more."""
        await self._change(sa.delete(t.known).where(t.known.c.name == name))

    async def put_known(self, known: Known) -> None:
        """Replace what was known."""
        await self._put(t.known, known)

    async def progress(self, run_id: str) -> dict[str, Progress]:
        """The last progress line of each step of the run."""
        found = await self._all(Progress, sa.select(t.progress).where(t.progress.c.run == run_id))
        return {line.step: line for line in found}

    async def put_progress(self, line: Progress) -> None:
        """Replace the step's progress line."""
        await self._put(t.progress, line)

    async def seen(self, key: str) -> bool:
        """Whether a command with this key was carried out."""
        query = sa.select(t.inbox.c.at).where(t.inbox.c.key == key)
        return await self.db.read(lambda c: c.scalar(query)) is not None

    async def prune_inbox(self, before: float) -> int:
        """Forget keys from before that moment; how many went."""
        return await self._change(sa.delete(t.inbox).where(t.inbox.c.at < us(before)))

    async def put_token(self, token: Token) -> None:
        """Keep a new token."""
        await self._put(t.token, token)

    async def find_token(self, hash: str) -> Token | None:
        """The token of this hash, expired and revoked ones too: the caller judges."""
        found = await self._all(Token, sa.select(t.token).where(t.token.c.hash == hash))
        return found[0] if found else None

    async def tokens(self) -> list[Token]:
        """All there are, newest first; those that are over too, until they are pruned."""
        return await self._all(Token, sa.select(t.token).order_by(t.token.c.issued_at.desc(), t.token.c.hash))

    async def revoke_tokens(self, whose: str, at: float) -> int:
        """End every token of a person, or the one whose hash begins so, that is not over yet; how many there were."""
        c = t.token.c
        mine = c.person == whose if len(whose) < 12 else sa.or_(c.person == whose, c.hash.startswith(whose))
        good = (c.revoked.is_(None), c.expires > us(at))
        return await self._change(sa.update(t.token).where(mine, *good).values(revoked=us(at)))

    async def prune_tokens(self, before: float) -> int:
        """Forget those that were over by then; how many there were."""
        c = t.token.c
        over = sa.or_(c.expires < us(before), c.revoked < us(before))
        return await self._change(sa.delete(t.token).where(over))

    async def releases_mark(self, service: str) -> tuple[int, ...]:
        """Something that is another after each change of a service's releases that bears on what is banned, whoever
        made it: histories only grow. Far cheaper than reading them."""
        r = t.release.c
        banned = sa.func.sum(sa.case((r.state == "banned", 1), else_=0))
        sizes = (sa.func.sum(sa.func.length(column)) for column in (r.body, r.state))
        query = sa.select(sa.func.count(), banned, *sizes).where(r.service == service)
        return await self.db.read(lambda c: tuple(int(n or 0) for n in c.execute(query).one()))

    async def releases(self, service: str) -> list[ReleaseRow]:
        """The service's releases, last registered first."""
        r = t.release.c
        query = sa.select(t.release).where(r.service == service).order_by(r.at.desc(), r.version.desc())
        return await self._all(ReleaseRow, query)

    # -- how -----------------------------------------------------------------------------------------------------------

    async def _lost(self, e: sa.exc.IntegrityError, run: Run, key: str | None) -> Exception:
        """Which promise the broken constraint keeps."""
        where = _constraint(e)
        if where in ("inbox_pkey", "inbox.key") and key is not None:
            return Duplicate(key)
        if where in ("head_one_open_rollback", "head.service"):
            return AlreadyOpen(run.service, await self.find_open(run.service) or "closed by now")
        if where.startswith(("event", "head", "checkpoint")):
            return Conflict(f"somebody else wrote to run {run.id} first; load it again")
        return e

    def _remember(self, run: Run) -> None:
        known = self._runs.get(run.id)
        if known is None or known.seq <= run.seq:
            self._runs[run.id] = run
        self._runs.move_to_end(run.id)
        if len(self._runs) > CACHED:
            self._runs.popitem(last=False)

    async def _all(self, kind: type[D], query: sa.Select[Any]) -> list[D]:
        return await self.db.read(lambda c: [from_row(kind, row) for row in c.execute(query).mappings()])

    async def _put(self, table: sa.Table, value: DataclassInstance) -> None:
        """Insert, or replace the row with the same primary key."""
        keys = [c.name for c in table.primary_key]
        insert = self._insert(table)
        new = {c.name: insert.excluded[c.name] for c in table.c if c.name not in keys}
        await self._change(insert.values(to_row(value)).on_conflict_do_update(index_elements=keys, set_=new))

    async def _change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return await self.db.write(lambda c: c.execute(statement).rowcount)


_ADD_KEY = sa.insert(t.inbox)
_ADD_EVENTS = sa.insert(t.event)
_ADD_HEAD = sa.insert(t.head)
_MOVE_HEAD = (
    sa.update(t.head)
    .where(t.head.c.run == sa.bindparam("of"))
    .values({name: sa.bindparam(name) for name in ("open", "seq", "due", "closed")})
)
_ADD_SIGNATURES = sa.insert(t.signature)
_NEWER: sa.Select[Any] = (
    sa.select(*(t.event.c[name] for name in ("seq", "at", "kind", "body", "prev", "hash")),
              t.signature.c.key, t.signature.c.signature)
    .join_from(t.event, t.signature, ITS_SIGNATURES, isouter=True)
    .where(t.event.c.run == sa.bindparam("run"), t.event.c.seq > sa.bindparam("after"))
    .order_by(t.event.c.seq)
)  # fmt: skip
_CLOCK = sa.text("SELECT extract(epoch FROM clock_timestamp())")
_DUE = (
    sa.select(t.head.c.run)
    .where(t.head.c.due <= sa.bindparam("now"))
    .order_by(t.head.c.due, t.head.c.run)
    .limit(sa.bindparam("limit"))
)
_BEYOND = (
    sa.select(t.head.c.run)
    .where(t.head.c.open | t.head.c.due.is_not(None))
    .where(sa.exists().where(t.event.c.run == t.head.c.run, t.event.c.seq > t.head.c.seq))
)
_AHEAD = (
    sa.select(t.head.c.run)
    .join(t.event, (t.event.c.run == t.head.c.run) & (t.event.c.seq == t.head.c.seq))
    .where(t.head.c.open | t.head.c.due.is_not(None))
    .where(t.event.c.at > sa.bindparam("now"))
)
_HEAD = [t.head.c[f.name] for f in fields(Head)]
_UNSHOWN = sa.select(*(t.head.c[f.name] for f in fields(Unshown))).where(t.head.c.shown < t.head.c.seq)
_MORE_TO_SHOW = (
    sa.update(t.head)
    .where(t.head.c.run == sa.bindparam("of"))
    .values(shown=sa.case((t.head.c.shown > 0, -1), else_=t.head.c.shown - 1))
)
"""Another number each time, so that `mark_shown` notices."""
_MARKS = (
    sa.select(t.event.c.at, t.checkpoint)
    .join_from(t.checkpoint, t.event, (t.event.c.run == t.checkpoint.c.run) & (t.event.c.seq == t.checkpoint.c.seq))
    .where(t.checkpoint.c.run == sa.bindparam("of"))
)


def _chained(run: Run, events: Sequence[Event], now: int) -> tuple[Run, list[dict[str, Any]]]:
    """The run after these events, folded from what will be stored, and the rows."""
    at, prev, rows = now / 1e6, run.head or ZERO, []
    for seq, event in enumerate(events, run.seq + 1):
        kind, body = encode(event)
        hash_ = event_hash(prev, run.id, seq, now, kind, body)
        rows.append({
            "run": run.id, "seq": seq, "at": now, "kind": kind, "body": body, "prev": prev, "hash": hash_,
        })  # fmt: skip
        run, prev = evolve(run, decode(kind, body), at), hash_
    return replace(run, head=prev), rows


def _head(run: Run, now: int, decided: Next) -> dict[str, Any]:
    """The run's row in the index."""
    due = decided.due
    return {
        "run": run.id, "service": run.service, "kind": run.purpose, "open": run.at_work, "seq": run.seq,
        "due": None if due is None else us(due), "created": us(run.created_at),
        "closed": None if run.closed_at is None else us(run.closed_at),
    }  # fmt: skip


def _constraint(e: sa.exc.IntegrityError) -> str:
    """What was broken: PostgreSQL's name of the constraint, in SQLite "table.column" as it says."""
    if isinstance(e.orig, psycopg.Error):
        return e.orig.diag.constraint_name or ""
    return str(e.orig).removeprefix("UNIQUE constraint failed: ").split(",")[0]


def _signature(run: str, seq: int, by: Signature) -> dict[str, Any]:
    return {"run": run, "seq": seq, "key": by.key, "signature": by.text}


def _put_checkpoint(c: sa.Connection, run: Run, lite: bool) -> Checkpoint:
    """Append the run's last event to the chain; in PostgreSQL one at a time, as SQLite has it anyway."""
    if not lite:
        c.execute(sa.select(sa.func.pg_advisory_xact_lock(CHECKPOINT_LOCK)))
    last = last_checkpoint(c)
    n, prev = (last.n + 1, last.chain) if last else (1, ZERO)
    chain = checkpoint_hash(prev, n, run.id, run.seq, run.head)
    put = Checkpoint(n, run.id, run.seq, run.head, prev, chain)
    c.execute(sa.insert(t.checkpoint), asdict(put))
    return put
