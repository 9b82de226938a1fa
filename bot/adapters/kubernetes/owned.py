"""What the bot owns of an object by its managedFields, and the patch that gives it up.

Who applies server-side (Helm 4, `kubectl apply --server-side`) is refused over fields that another writer has set last,
by that writer's name, until its entry is gone; writing the same value does not help, nor does writing as them.

Pure. Invariants: only entries of our own name are taken away, each after a test that it still is; no field's value
changes.
"""

from __future__ import annotations

from typing import Any

from bot.adapters.kubernetes.connection import Body
from bot.ports.kubernetes import OURS

_ENTRIES = "/metadata/managedFields"


def owned(body: Body) -> list[int]:
    """Where among the entries ours are."""
    return [i for i, entry in enumerate(_entries(body)) if entry.get("manager") == OURS]


def disown(body: Body) -> list[dict[str, Any]]:
    """The JSON patch that gives up all of it; empty where the bot owns nothing."""
    ours = owned(body)
    tests = [{"op": "test", "path": f"{_ENTRIES}/{i}/manager", "value": OURS} for i in ours]
    if ours and len(ours) == len(_entries(body)):
        return [*tests, {"op": "replace", "path": _ENTRIES, "value": [{}]}]  # an empty list would mean: as it was
    return [*tests, *({"op": "remove", "path": f"{_ENTRIES}/{i}"} for i in reversed(ours))]


def _entries(body: Body) -> list[Body]:
    return body["metadata"].get("managedFields") or []
