"""metadata.managedFields: which client set which field, and server-side apply, which is refused over others' fields.

Invariants: what a write does not change stays its owner's; a controller's writes, and those of `Cluster.apply`, own
nothing; items of lists that are merged are owned one by one, by their key, other lists as a whole, and so is every
list of a custom resource; a manager that applies and one of the same name that updates are two.

Source: sigs.k8s.io/structured-merge-diff, k8s.io/apimachinery/pkg/util/managedfields; entries of `scale` carry no time
(measured on 1.36).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from bot.playground.cluster import failures
from bot.playground.cluster.objects import Json, name_of, stamp
from bot.playground.cluster.resources import Resource
from bot.playground.copied import copied

MANAGER: ContextVar[str] = ContextVar("manager", default="")
"""Who writes: the query's fieldManager, else the User-Agent up to its slash. Empty: nobody from outside."""

Path = tuple[str, ...]
_KEYS: Mapping[str, tuple[str, ...]] = {
    "volumeMounts": ("mountPath",), "volumeDevices": ("devicePath",), "hostAliases": ("ip",), "conditions": ("type",),
    "ownerReferences": ("uid",), "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
} | dict.fromkeys(
    ("containers", "initContainers", "ephemeralContainers", "env", "volumes", "imagePullSecrets", "matchConditions",
     "variables", "secrets", "resourceClaims"), ("name",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One of managedFields. time: "" where it has none."""

    manager: str
    operation: str
    part: str
    api_version: str
    time: str
    paths: frozenset[Path]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells entries apart."""
        return self.manager, self.operation, self.part

    @property
    def told(self) -> str:
        """As a conflict names it."""
        who = json.dumps(self.manager) + (f" with subresource {json.dumps(self.part)}" if self.part else "")
        when = f" at {self.time}" if self.operation == "Update" and self.time else ""
        return f"{who} using {self.api_version}{when}"


def updated(resource: Resource, old: Json, new: Json, part: str, now: float) -> list[Json]:
    """The entries of `new`, which the present manager made of `old` ({}: of nothing). part: the subresource."""
    before, after = _leaves(resource, old), _leaves(resource, new)
    taken = frozenset(path for path, value in after.items() if before.get(path, ()) != value)
    kept = [_narrowed(e, e.paths & after.keys() - taken) for e in _entries(_listed(new, old))]
    mine = (MANAGER.get(), "Update", part)
    if taken:
        had = next((e.paths for e in kept if e.key == mine), frozenset[Path]())
        time = "" if part == "scale" else stamp(now)
        kept = [e for e in kept if e.key != mine]
        kept.append(Entry(*mine, resource.api_version, time, had | taken))
    return _written(kept)


def applied(resource: Resource, live: Json | None, body: Json, *, force: bool, now: float) -> Json:
    """What server-side apply makes of an object (None: of nothing), its entries included. ApiError 409 over fields
    that others own and that would change."""
    mine = (MANAGER.get(), "Apply", "")
    given = _leaves(resource, body)
    entries = _entries(_listed(live or {}, {}))
    mine_before = next((e.paths for e in entries if e.key == mine), frozenset[Path]())
    others = [e for e in entries if e.key != mine]
    theirs = {path for e in others for path in e.paths}
    start = copied(live) if live is not None else {}
    start = _without(start, (), mine_before - given.keys() - theirs, theirs, given.keys(), resource.custom)
    made: Json = _merged(start, {k: v for k, v in body.items() if k != "status"}, "", resource.custom)
    before, after = _leaves(resource, live or {}), _leaves(resource, made)
    moved = {path for path in given if before.get(path, ()) != after.get(path, ())}
    conflicts = [(e, path) for e in others for path in sorted(e.paths & moved)]
    if conflicts and not force:
        raise _conflict(resource, name_of(made), conflicts)
    old = next((e for e in entries if e.key == mine), None)
    paths = frozenset(given)
    time = old.time if old is not None and old.paths == paths and not moved else stamp(now)
    kept = [_narrowed(e, e.paths & after.keys() - moved) for e in others]
    made["metadata"]["managedFields"] = _written([*kept, Entry(*mine, resource.api_version, time, paths)])
    return made


def _conflict(resource: Resource, name: str, found: Sequence[tuple[Entry, Path]]) -> failures.ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {e.told}", "field": _shown(path)}
        for e, path in found
    ]
    if len(found) == 1:
        told = f"Apply failed with 1 conflict: conflict with {found[0][0].told}: {_shown(found[0][1])}"
    else:
        by = dict.fromkeys(e.told for e, _ in found)
        parts = [
            f"conflicts with {who}:\n" + "\n".join(f"- {_shown(p)}" for e, p in found if e.told == who) for who in by
        ]
        told = f"Apply failed with {len(found)} conflicts: " + "\n".join(parts)
    return failures.apply_conflict(resource, name, told, causes)


# -- entries ---------------------------------------------------------------------------------------------------------


def _listed(new: Json, old: Json) -> Any:
    """The entries to begin with: a body that lists some has its way, `[{}]` is none, and one that lists none keeps
    what is stored."""
    given = (new.get("metadata") or {}).get("managedFields")
    return given if given else (old.get("metadata") or {}).get("managedFields")


def _entries(listed: Any) -> list[Entry]:
    return [
        Entry(
            e.get("manager", ""), e.get("operation", "Update"), e.get("subresource", ""), e.get("apiVersion", ""),
            e.get("time") or "", frozenset(_paths(e.get("fieldsV1") or {})),
        )
        for e in listed or () if e
    ]  # fmt: skip


def _narrowed(e: Entry, paths: Collection[Path]) -> Entry:
    return Entry(e.manager, e.operation, e.part, e.api_version, e.time, frozenset(paths))


def _written(entries: Iterable[Entry]) -> list[Json]:
    return [
        {"manager": e.manager, "operation": e.operation, "apiVersion": e.api_version, "fieldsType": "FieldsV1",
         "fieldsV1": _tree(e.paths)}
        | ({"time": e.time} if e.time else {}) | ({"subresource": e.part} if e.part else {})
        for e in entries if e.paths
    ]  # fmt: skip


def _paths(tree: Json, path: Path = ()) -> Iterator[Path]:
    for key, inner in tree.items():
        if key == ".":
            continue
        yield from _paths(inner, (*path, key)) if inner and [*inner] != ["."] else [(*path, key)]


def _tree(paths: Iterable[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):
        at = root
        for key in path:
            at = at.setdefault(key, {})
            if key.startswith("k:"):
                at.setdefault(".", {})
    return root


def _shown(path: Path) -> str:
    """As conflicts write it: `.spec.template.spec.containers[name="app"].image`."""
    parts = []
    for step in path:
        if step.startswith("k:"):
            key = json.loads(step[2:])
            parts.append("[" + ",".join(f"{name}={json.dumps(value)}" for name, value in key.items()) + "]")
        else:
            parts.append(f".{step[2:]}")
    return "".join(parts)


# -- fields ----------------------------------------------------------------------------------------------------------


def _leaves(resource: Resource, obj: Json) -> dict[Path, object]:
    meta = obj.get("metadata") or {}
    rest = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata", "status")}
    own = rest | {"metadata": {k: meta[k] for k in ("labels", "annotations") if meta.get(k)}}
    return dict(_flat(own, (), "", resource.custom))


def _flat(value: object, path: Path, name: str, atomic: bool) -> Iterator[tuple[Path, object]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, (*path, f"f:{key}"), str(key), atomic)
    elif isinstance(value, list) and value and (keys := _keys_of(name, value, atomic)):
        for item in value:
            yield from _flat(item, (*path, _key(item, keys)), "", atomic)
    elif path and not (name == "metadata" and value == {}):
        yield path, value


def _keys_of(name: str, items: Sequence[Any], atomic: bool) -> tuple[str, ...]:
    """By which fields the items of a list are told apart; none where it is one value."""
    if atomic or not all(isinstance(item, dict) for item in items):
        return ()
    if name == "ports":
        return ("containerPort", "protocol") if all("containerPort" in i for i in items) else ("port", "protocol")
    keys = _KEYS.get(name, ())
    return keys if all(k in item for k in keys for item in items) else ()


def _key(item: Json, keys: tuple[str, ...]) -> str:
    found = {k: item.get(k, "TCP" if k == "protocol" else None) for k in keys}
    return "k:" + json.dumps(found, separators=(",", ":"))


def _merged(live: Any, given: Any, name: str, atomic: bool) -> Any:
    if isinstance(live, dict) and isinstance(given, dict):
        made = dict(live)
        for key, value in given.items():
            made[key] = _merged(live.get(key), value, key, atomic)
        return made
    if isinstance(live, list) and isinstance(given, list) and (keys := _keys_of(name, [*live, *given], atomic)):
        by = {_key(item, keys): item for item in live}
        for item in given:
            by[_key(item, keys)] = _merged(by.get(_key(item, keys)), item, "", atomic)
        return [*by.values()]
    return copied(given)


def _without(
    value: Any, path: Path, gone: Collection[Path], theirs: Collection[Path], given: Collection[Path], atomic: bool
) -> Any:
    """What is left when an applier no longer says `gone`; an item that nobody else says anything of goes whole."""
    if not any(p[: len(path)] == path for p in gone):
        return value
    if isinstance(value, dict):
        made = {}
        for key, inner in value.items():
            at = (*path, f"f:{key}")
            if at in gone:
                continue
            name = str(key)
            left = (
                _items(inner, at, name, gone, theirs, given, atomic)
                if isinstance(inner, list)
                else _without(inner, at, gone, theirs, given, atomic)
            )
            if left in ({}, []) and inner not in ({}, []):
                continue
            made[key] = left
        return made
    return value


def _items(
    items: list[Any], path: Path, name: str, gone: Collection[Path], theirs: Collection[Path], given: Collection[Path],
    atomic: bool,
) -> list[Any]:  # fmt: skip
    keys = _keys_of(name, items, atomic)
    if not keys:
        return items
    kept = []
    for item in items:
        at = (*path, _key(item, keys))
        mine = any(p[: len(at)] == at for p in gone)
        said = any(p[: len(at)] == at for ps in (theirs, given) for p in ps)
        if mine and not said:
            continue
        left = _without(item, at, gone, theirs, given, atomic)
        kept.append({k: item[k] for k in keys if k in item} | left)  # what it is told apart by stays
    return kept
