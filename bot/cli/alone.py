"""That no bot works on the database: asked in one way by whatever may not be done beside one (`--direct`,
`audit accept-loss`, `audit sign`, `db downgrade`).

Invariant: while the block lasts this process holds what a bot would hold, so none can begin; but for PostgreSQL where
the tables themselves go, and the lease with them: there it is asked at the beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from bot.cli.output import Code, End
from bot.store.lease import TTL, alive_nodes, take

STOP = "Stop them first."


@contextlib.contextmanager
def alone(url: str, what: str, ttl: float = TTL, *, then: str = STOP, tables_stay: bool = True) -> Iterator[str]:
    """Gives the id to work under. what: of the lease, as others see it; ttl: its seconds; then: what to do instead.
    End where a bot is alive, AlreadyRunning where that is one on SQLite."""
    if not tables_stay and not url.startswith("sqlite"):
        _nobody(alive_nodes(url), then)
        yield ""
        return
    lease = take(url, version=what, ttl=ttl)
    with contextlib.closing(lease):
        _nobody(lease.alive_nodes() - {lease.id}, then)
        yield lease.id


@contextlib.asynccontextmanager
async def alone_meanwhile(url: str, what: str, ttl: float, *, then: str = STOP) -> AsyncIterator[str]:
    """The same beside a running loop, which waits for no database."""
    block = alone(url, what, ttl, then=then)
    node = await asyncio.to_thread(block.__enter__)
    try:
        yield node
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)


def _nobody(alive: frozenset[str], then: str) -> None:
    if alive:
        raise End(Code.REFUSED, f"{len(alive)} bot(s) are alive on this database. Nothing was changed. {then}")
