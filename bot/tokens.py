"""Personal tokens of the command line and the web.

A token is shown once, kept only as its SHA-256, expires, and stands for exactly one person; it carries no roles: those
are looked up at each use.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from bot.store import Store
from bot.store.rows import Token

TOKEN_LIFE = 12 * 3600.0
"""Seconds that a personal token is good for."""
PREFIX = "rbt_"
"""What every token begins with, so that people and scanners know one when they see it."""


class Tokens:
    """Issues and recognises personal tokens. clock: seconds since the epoch."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store, self.clock = store, clock

    async def issue(self, person: str, by: str, life: float = TOKEN_LIFE) -> str:
        """A new token for a person, in clear: this is the only time it is seen. life: seconds."""
        token = PREFIX + secrets.token_urlsafe(32)
        now = self.clock()
        await self.store.put_token(Token(_hash(token), person, now + life, now, by))
        return token

    async def whose(self, token: str) -> str | None:
        """Whom a token stands for; None if it is unknown, expired or revoked."""
        found = await self.store.find_token(_hash(token))
        good = found is not None and found.revoked is None and found.expires > self.clock()
        return found.person if found is not None and good else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
