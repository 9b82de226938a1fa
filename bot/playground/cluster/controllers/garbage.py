"""What goes when its owner or its namespace does.

Invariants: an object with owners goes when none of them is left; an owner that is deleted in the foreground goes after
what it owned; a namespace goes when it is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.core import FOREGROUND, Core, Delete
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import Json, is_going, name_of, namespace_of, uid_of
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.store import Change

WHO = User.service_account("kube-system", "generic-garbage-collector")
SPACE_WHO = User.service_account("kube-system", "namespace-controller")


@dataclass
class Garbage:
    """The collector: it hears of everything that goes, rather than looking after one kind."""

    core: Core

    def sweep(self) -> None:
        """Take away what lost its owners, and owners that waited for it."""
        for store in self.core.store.stores():
            resource = resources.of(store)
            for obj in self.core.all(resource):
                if obj["metadata"].get("ownerReferences") and self._is_orphaned(obj):
                    self._delete(resource, obj)
                elif is_going(obj) and FOREGROUND in (obj["metadata"].get("finalizers") or ()):
                    self._foreground(resource, obj)

    def _is_orphaned(self, obj: Json) -> bool:
        for reference in obj["metadata"]["ownerReferences"]:
            owner = resources.by_kind(reference["apiVersion"], reference["kind"])
            if owner is None:  # a kind that cannot be asked for is never taken for gone
                return False
            found = self.core.find(owner, namespace_of(obj), reference["name"])
            if found is not None and uid_of(found) == reference["uid"]:
                return False
        return True

    def _foreground(self, resource: Resource, owner: Json) -> None:
        dependents = self.core.dependents(owner)
        for kind, obj in dependents:
            if not is_going(obj):
                self._delete(kind, obj)
        if not self.core.dependents(owner):
            self.core.finish(resource, owner)

    def _delete(self, resource: Resource, obj: Json) -> None:
        if not is_going(obj):
            self.core.delete(WHO, resource, namespace_of(obj), name_of(obj), Delete("Background"))


def concerns_garbage(change: Change) -> bool:
    """Whether a sweep may find something after this."""
    return change.kind == "DELETED" or is_going(change.new)


@dataclass
class Namespaces:
    """The namespace controller."""

    core: Core

    def concerns(self, change: Change) -> Iterable[tuple[str, str]]:
        """A namespace that is going, when something in it has gone."""
        space = namespace_of(change.new)
        found = self.core.find(resources.NAMESPACES, "", space) if space and change.kind == "DELETED" else None
        return [("", space)] if found is not None and is_going(found) else []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Empty it, then take it away."""
        space = self.core.find(resources.NAMESPACES, "", name)
        if space is None or not is_going(space):
            return None
        left = False
        for store in self.core.store.stores():
            resource = resources.of(store)
            for obj in self.core.all(resource, name) if resource.namespaced else ():
                if is_going(obj):
                    left = True
                else:
                    left |= not self.core.delete(SPACE_WHO, resource, name, name_of(obj), Delete("Background"))[1]
        if not left:
            self.core.finish(resources.NAMESPACES, space)
        return None
