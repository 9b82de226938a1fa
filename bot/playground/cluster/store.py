"""Where the objects are: one revision counter, every object's present, and the changes since the last compaction.

Invariants: each change takes the next revision, which is the object's resourceVersion; a write that changes nothing
takes none; what is stored is shared and never altered in place; changes before `floor` are gone, and reading from
there is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bot.playground.cluster.objects import Json, name_of, namespace_of
from bot.playground.cluster.resources import Resource

Key = tuple[str, str]
"""Namespace ("" where there is none) and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object. old: as it was, None when it is new."""

    revision: int
    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    store: str
    new: Json
    old: Json | None


class Store:
    """All objects of a cluster."""

    def __init__(self) -> None:
        self.revision = 1000
        self.floor = self.revision
        self._objects: dict[str, dict[Key, Json]] = {}
        self._changes: list[Change] = []
        self._moved = asyncio.Event()
        self.listeners: list[Callable[[Change], None]] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object as it is now."""
        return self._objects.get(resource.store, {}).get((namespace if resource.namespaced else "", name))

    def all(self, resource: Resource, namespace: str = "") -> list[Json]:
        """All of a kind in this namespace, or everywhere; by namespace and name."""
        found = self._objects.get(resource.store, {})
        return [obj for key, obj in sorted(found.items()) if not namespace or key[0] == namespace]

    def put(self, resource: Resource, obj: Json) -> Json:
        """Store it, new or changed; the stored object, with its resourceVersion."""
        objects = self._objects.setdefault(resource.store, {})
        key = (namespace_of(obj) if resource.namespaced else "", name_of(obj))
        old = objects.get(key)
        if old is not None and _same(old, obj):
            return old
        self.revision += 1
        new = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.revision)}}
        objects[key] = new
        self._tell(Change(self.revision, "MODIFIED" if old else "ADDED", resource.store, new, old))
        return new

    def remove(self, resource: Resource, obj: Json) -> None:
        """Take it away for good."""
        key = (namespace_of(obj) if resource.namespaced else "", name_of(obj))
        old = self._objects[resource.store].pop(key)
        self.revision += 1
        gone = old | {"metadata": old["metadata"] | {"resourceVersion": str(self.revision)}}
        self._tell(Change(self.revision, "DELETED", resource.store, gone, old))

    def stores(self) -> list[str]:
        """Every kind that has objects."""
        return [name for name, objects in self._objects.items() if objects]

    def compact(self) -> None:
        """Forget the past: who watches or pages from before now is told 410 Gone."""
        self._changes.clear()
        self.floor = self.revision
        self._wake()

    def since(self, store: str, revision: int) -> list[Change]:
        """What happened to this kind after that revision. LookupError where that is forgotten."""
        if revision < self.floor:
            raise LookupError(f"too old resource version: {revision} ({self.floor})")
        return [c for c in self._changes[max(0, revision - self.floor) :] if c.store == store]

    @property
    def moved(self) -> asyncio.Event:
        """Set at the next change, or compaction."""
        return self._moved

    def _tell(self, change: Change) -> None:
        self._changes.append(change)
        for listener in self.listeners:
            listener(change)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def _same(old: Json, new: Json) -> bool:
    before = {k: v for k, v in old["metadata"].items() if k != "resourceVersion"}
    after = {k: v for k, v in new["metadata"].items() if k != "resourceVersion"}
    return before == after and {**old, "metadata": 0} == {**new, "metadata": 0}
