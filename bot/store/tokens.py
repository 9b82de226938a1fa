"""Personal tokens of the command line and the web.

A token is shown once, kept only as its SHA-256, expires, and stands for exactly one person; it carries no roles: those
are looked up at each use.

Invariants:
- that one was issued, for whom and by whom, stands in the record before it is good for anything, whoever put its row
  into the database; so does its end before its time;
- who issued a token is part of whoever acts by it, in the record; the person is told of one that somebody else issued.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from bot.run import events as ev
from bot.store.log import TOKENS, Conflict, Store, told
from bot.store.rows import Token

log = logging.getLogger(__name__)

TOKEN_LIFE = 12 * 3600.0
"""Seconds that a personal token is good for."""
PREFIX = "rbt_"
"""What every token begins with, so that people and scanners know one when they see it."""
EVERY = 5.0
"""Seconds between two looks for tokens that are not in the record yet."""
KEEP = 30 * 24 * 3600.0
"""Seconds for which the row of one that is over stays; the record keeps that it was."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token stands for, and who issued it ("os:root", "slack:U0ANA"); empty where nobody had to."""

    person: str
    issuer: str = ""

    def via(self, way: str) -> str:
        """The way in, with the issuer where that is not the person itself."""
        own = not self.issuer or self.issuer == f"slack:{self.person}"
        return way if own else f"{way}, by a token that {self.issuer} issued"


class NotBelieved(Exception):
    """The record of tokens holds what no known key has signed: no token that it does not hold yet is good."""


class Tokens:
    """Issues and recognises personal tokens. clock: seconds since the epoch; told: hears of one that is new to the
    record."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store, self.clock = store, clock
        self.told: Callable[[Token], object] | None = None
        self._recorded: set[tuple[str, str]] = set()
        self._seen = 0
        self._doubt = ""

    async def issue(self, person: str, by: str, life: float = TOKEN_LIFE) -> str:
        """A new token for a person, in clear: this is the only time it is seen. life: seconds."""
        token = PREFIX + secrets.token_urlsafe(32)
        now = self.clock()
        await self.store.put_token(Token(_hash(token), person, now + life, now, by))
        return token

    async def whose(self, token: str) -> Bearer | None:
        """Whom a token stands for; None if it is unknown, expired or revoked. From here on it is in the record.

        NotBelieved where it cannot be put there."""
        found = await self.store.find_token(_hash(token))
        if found is None or not found.good(self.clock()):
            return None
        if (found.name, "token issued") not in self._recorded:
            await self.record()
        if (found.name, "token issued") not in self._recorded:
            raise NotBelieved(self._doubt)
        return Bearer(found.person, found.issued_by)

    async def record(self) -> None:
        """Brings into the record what it lacks: tokens that were issued, or ended before their time."""
        while True:
            run = await self.store.load(TOKENS)
            for row in await self.store.events(TOKENS, self._seen):
                if row.seq > run.seq:  # written meanwhile, or not believed
                    break
                event = ev.decode(row.kind, row.body)
                if isinstance(event, ev.TokenIssued | ev.TokenRevoked):
                    self._recorded.add((event.token, event.kind))
                self._seen = row.seq
            events, new = list[ev.Event](), list[Token]()
            for t in await self.store.tokens():
                if (t.name, "token issued") not in self._recorded:
                    events.append(ev.TokenIssued(t.name, t.person, t.issued_by, t.expires))
                    new.append(t)
                if t.revoked is not None and (t.name, "token revoked") not in self._recorded:
                    events.append(ev.TokenRevoked(t.name, t.person))
            self._doubt = run.doubt
            if events and run.doubt:
                log.error("no new token is good for anything, as the record of tokens is not believed: %s", run.doubt)
                return
            try:
                if events:
                    await self.store.append(run, events, self.clock())
            except Conflict:  # another node was first
                continue
            self._recorded |= {(e.token, e.kind) for e in events if isinstance(e, ev.TokenIssued | ev.TokenRevoked)}
            for t in new:
                log.warning("a token %s for %s was issued by %s", t.name, t.person, t.issued_by)
                if self.told is not None and t.good(self.clock()):
                    self.told(t)
            return

    async def run(self) -> None:
        """Brings into the record, until cancelled, what the host's command line does, and forgets what is over."""
        while True:
            with told(log, "cannot look at the tokens"):
                await self.record()
                await self.prune()
            await asyncio.sleep(EVERY)

    async def prune(self) -> int:
        """Forgets the rows of those that are over for long; how many there were."""
        return await self.store.prune_tokens(self.clock() - KEEP)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
