"""The three ways to patch: RFC 6902 JSON patch, RFC 7386 merge patch, and Kubernetes' strategic merge.

A strategic merge knows which lists are merged by which key; the table below has those of the kinds served here, any
other list is replaced whole, as upstream does for lists without a merge key.

Invariants: what is patched is left as it was; the result shares nothing with it.
"""

from __future__ import annotations

from typing import Any

from bot.playground.cluster.failures import bad_patch, bad_request
from bot.playground.cluster.objects import Json
from bot.playground.copied import copied

MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "matchConditions": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "variables": "name",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
PRIMITIVE = frozenset({"finalizers"})


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = copied(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# -- JSON patch ----------------------------------------------------------------------------------------------------


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902. ApiError 422 where an operation cannot be applied or a `test` fails, 400 where it is no patch."""
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    result = {"": copied(target)}
    for operation in operations:
        try:
            _apply(result, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise bad_patch() from error
    patched = result[""]
    if not isinstance(patched, dict):
        raise bad_patch()
    return patched


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(pointer)
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")]


def _walk(root: Any, steps: list[str]) -> Any:
    for step in steps:
        root = root[_index(root, step)] if isinstance(root, list) else root[step]
    return root


def _index(where: list[Any], step: str, *, end: int = 0) -> int:
    if not step.isdigit() or int(step) >= len(where) + end:
        raise IndexError(step)
    return int(step)


def _apply(root: Json, operation: Json) -> None:
    kind, steps = operation["op"], _steps(operation["path"])
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise KeyError("value")
    if kind == "add":
        _add(root, steps, copied(operation["value"]))
    elif kind == "remove":
        _remove(root, steps)
    elif kind == "replace":
        _walk(root, steps)
        where = _walk(root, steps[:-1])
        where[_index(where, steps[-1]) if isinstance(where, list) else steps[-1]] = copied(operation["value"])
    elif kind == "test":
        if not _equal(_found(root, steps), operation["value"]):
            raise ValueError("test failed")
    elif kind in ("move", "copy"):
        source = _steps(operation["from"])
        value = copied(_walk(root, source))
        if kind == "move":
            _remove(root, source)
        _add(root, steps, value)
    else:
        raise ValueError(kind)


def _found(root: Json, steps: list[str]) -> Any:
    """What `test` compares; a member that is not there is null, as the library upstream uses has it."""
    where = _walk(root, steps[:-1])
    return where.get(steps[-1]) if isinstance(where, dict) else where[_index(where, steps[-1])]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) != isinstance(other, bool) or isinstance(one, float) != isinstance(other, float):
        return False  # numbers are compared as they are written: 600.0 is not 600
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _add(root: Json, steps: list[str], value: Any) -> None:
    where = _walk(root, steps[:-1])
    if isinstance(where, list):
        where.insert(len(where) if steps[-1] == "-" else _index(where, steps[-1], end=1), value)
    else:
        where[steps[-1]] = value


def _remove(root: Json, steps: list[str]) -> None:
    where = _walk(root, steps[:-1])
    del where[_index(where, steps[-1]) if isinstance(where, list) else steps[-1]]


# -- strategic merge -----------------------------------------------------------------------------------------------


def strategic(target: Json, patch: Any) -> Json:
    """Kubernetes' own merge, with `$patch`, `$retainKeys`, `$setElementOrder` and `$deleteFromPrimitiveList`."""
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a strategic merge patch is an object")
    return _merge_map(target, patch)


def _merge_map(target: Any, patch: Json) -> Json:
    directive = patch.get("$patch")
    if directive == "replace":
        return copied({k: v for k, v in patch.items() if k != "$patch"})
    if directive == "delete":
        return {}
    result: Json = copied(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        result = {k: v for k, v in result.items() if k in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [v for v in result.get(name) or [] if v not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge_value(key, result.get(key), value, patch.get(f"$setElementOrder/{key}"))
    for key, order in patch.items():
        name = key.partition("/")[2]
        if key.startswith("$setElementOrder/") and name in result and name not in patch:
            result[name] = _ordered(result[name], order, _merge_key(name, result[name]))
    return result


def _merge_key(field: str, items: Any) -> str | None:
    if field == "ports":
        first = next((i for i in items if isinstance(i, dict)), {})
        return "containerPort" if "containerPort" in first else "port"
    return MERGE_KEYS.get(field)


def _merge_value(field: str, target: Any, value: Any, order: list[Any] | None) -> Any:
    if isinstance(value, dict):
        return _merge_map(target, value)
    if not isinstance(value, list):
        return value
    if field in PRIMITIVE:
        return list(dict.fromkeys([*(target or []), *value]))
    key = _merge_key(field, value)
    if key is None:
        return copied(value)
    return _merge_list(target or [], value, key, order)


def _merge_list(target: list[Json], patch: list[Json], key: str, order: list[Any] | None) -> list[Json]:
    if any(item.get("$patch") == "replace" for item in patch):
        return copied([item for item in patch if "$patch" not in item])
    result, fresh = copied(target), []
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif at is None:
            fresh.append(_merge_map({}, item))
        else:
            result[at] = _merge_map(result[at], item)
    return _ordered([*fresh, *result], order, key)  # what is new comes first, unless an order is sent along


def _ordered(items: list[Any], order: list[Any] | None, key: str | None) -> list[Any]:
    if order is None:
        return items
    wanted = [o.get(key) if isinstance(o, dict) else o for o in order]

    def place(item: Any) -> int:
        value = item.get(key) if isinstance(item, dict) else item
        return wanted.index(value) if value in wanted else len(wanted)

    return sorted(items, key=place)
