"""metadata.managedFields: which client set which field last, as `Update` keeps it for writes that came through the API.

Invariants: what a write does not change stays its owner's; a controller's writes, and those of `Cluster.apply`, own
nothing; lists whose items have names are owned item by item, other lists as a whole.

Source: sigs.k8s.io/structured-merge-diff, k8s.io/apimachinery/pkg/util/managedfields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar

from bot.playground.cluster.objects import Json, stamp

MANAGER: ContextVar[str] = ContextVar("manager", default="")
"""Who writes: the query's fieldManager, else the User-Agent up to its slash. Empty: nobody from outside."""

Path = tuple[str, ...]


def managed(old: Json, new: Json, part: str, api_version: str, now: float) -> list[Json]:
    """The entries of `new`, which the present manager made of `old` ({}: of nothing). part: the subresource."""
    before, after = dict(_flat(_own(old))), dict(_flat(_own(new)))
    taken = {path for path, value in after.items() if before.get(path, ()) != value}
    me = (MANAGER.get(), part)
    kept: dict[tuple[str, str], tuple[set[Path], str]] = {}
    for entry in (old.get("metadata") or {}).get("managedFields") or ():
        paths = {p for p in _paths(entry["fieldsV1"]) if p in after and p not in taken}
        kept[entry["manager"], entry.get("subresource", "")] = (paths, entry["time"])
    if taken:
        kept[me] = (kept.get(me, (set[Path](), ""))[0] | taken, stamp(now))
    return [
        {"manager": manager, "operation": "Update", "apiVersion": api_version, "time": time, "fieldsType": "FieldsV1",
         "fieldsV1": _tree(paths)} | ({"subresource": sub} if sub else {})
        for (manager, sub), (paths, time) in kept.items() if paths
    ]  # fmt: skip


def _own(obj: Json) -> Json:
    meta = obj.get("metadata") or {}
    rest = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata", "status")}
    return rest | {"metadata": {k: meta[k] for k in ("labels", "annotations") if meta.get(k)}}


def _flat(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, (*path, f"f:{key}"))
    elif isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        for item in value:
            key = json.dumps({"name": item["name"]}, separators=(",", ":"))
            yield from _flat(item, (*path, f"k:{key}"))
    elif path:
        yield path, value


def _paths(tree: Json, path: Path = ()) -> Iterator[Path]:
    for key, inner in tree.items():
        yield from _paths(inner, (*path, key)) if inner else [(*path, key)]


def _tree(paths: Iterable[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):
        at = root
        for key in path:
            at = at.setdefault(key, {})
    return root
