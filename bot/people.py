"""Who there is: the directory that policy's answers rest on, and the tokens that stand for one person each.

Without Slack the catalogue's people are the directory. A token is shown once, kept only as its SHA-256, expires,
and stands for exactly one person; it carries no roles: those are looked up at each use.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from bot.catalogue import Catalogue
from bot.policy import Person
from bot.store import Store
from bot.store.rows import Token

TOKEN_LIFE = 12 * 3600.0
"""Seconds that a personal token is good for."""
PREFIX = "rbt_"
"""What every token begins with, so that people and scanners know one when they see it."""


class Directory(Protocol):
    """Who there is."""

    async def everyone(self) -> Sequence[Person]:
        """Everybody with a role, as things stand now."""
        ...

    async def person(self, id: str) -> Person:
        """One person; somebody unknown is a stranger without roles."""
        ...


class CatalogueDirectory:
    """The people that the catalogue lists."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._people = {p.id: p for p in _people(catalogue)}

    async def everyone(self) -> Sequence[Person]:
        """Everybody in the catalogue."""
        return list(self._people.values())

    async def person(self, id: str) -> Person:
        """One of them, or a stranger."""
        return self._people.get(id) or Person(id, id, kind="stranger")


def _people(catalogue: Catalogue) -> list[Person]:
    def roles_of(id: str) -> frozenset[str]:
        return frozenset(r.name for r in catalogue.roles.values() if id in r.people)

    def on_call_of(id: str) -> frozenset[str]:
        return frozenset(r.name for r in catalogue.roles.values() if id in r.on_call.people)

    return [Person(id, name, roles_of(id), on_call=on_call_of(id)) for id, name in catalogue.people.items()]


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
