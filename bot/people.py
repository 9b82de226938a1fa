"""Who there is: the directory that policy's answers rest on. Without Slack the catalogue's people are it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.catalogue import Catalogue
from bot.policy import Person


class Directory(Protocol):
    """Who there is."""

    async def everyone(self) -> Sequence[Person]:
        """Everybody with a role, as things stand now."""
        ...

    async def person(self, id: str) -> Person:
        """One person; somebody unknown is a stranger without roles."""
        ...

    async def still(self, id: str) -> Person:
        """The same, asked at this moment and not of what was kept. Unreachable where nobody answers."""
        ...


class CatalogueDirectory:
    """The people that the catalogue lists, as it stands at each question."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def everyone(self) -> Sequence[Person]:
        """Everybody in the catalogue."""
        return _people(self._catalogue)

    async def person(self, id: str) -> Person:
        """One of them, or a stranger."""
        return next((p for p in _people(self._catalogue) if p.id == id), Person(id, id, kind="stranger"))

    async def still(self, id: str) -> Person:
        """The same: the catalogue in force is all there is to ask."""
        return await self.person(id)


def _people(catalogue: Catalogue) -> list[Person]:
    def roles_of(id: str) -> frozenset[str]:
        return frozenset(r.name for r in catalogue.roles.values() if id in r.people)

    def on_call_of(id: str) -> frozenset[str]:
        return frozenset(r.name for r in catalogue.roles.values() if id in r.on_call.people)

    return [Person(id, name, roles_of(id), on_call=on_call_of(id)) for id, name in catalogue.people.items()]
