"""Objects of the API as things with named fields, and a change of fields as one JSON patch over what was seen.

Pure. Invariants:
- an absent field is not in `fields`; what the API server leaves out because it is the default (`paused: false`) is
  absent;
- a patch first tests everything that it is going to change, containers and variables by their place in the list
  included, so that it is done whole over exactly what was seen, or not at all;
- a secret's value is never looked at: a variable from a Secret is shown as where it comes from;
- what is empty is absent, as the API server leaves it out when it is written;
- who set a field is looked up when it is asked for: that is costly, and asked of few.
"""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from bot.adapters.kubernetes.connection import Body
from bot.adapters.kubernetes.owned import owned
from bot.adapters.kubernetes.progress import progress
from bot.ports import Json
from bot.ports.kubernetes import FLUX, IMAGE, Kind, Place, Thing, Writer

Operation = dict[str, Any]
"""One operation of RFC 6902."""
Path = tuple[str | int, ...]
"""Where something is in an object: keys, and indices of lists."""

_SOURCES = {
    "secret": ("secretKeyRef", "name"),
    "configmap": ("configMapKeyRef", "name"),
    "field": ("fieldRef", "fieldPath"),
    "resource": ("resourceFieldRef", "resource"),
}
_SCALARS: Mapping[str, Path] = {
    "replicas": ("spec", "replicas"),
    "paused": ("spec", "paused"),
    "suspend": ("spec", "suspend"),
}
_SCALARS_OF: Mapping[Kind, tuple[str, ...]] = {
    "deployment": ("replicas", "paused"),
    "statefulset": ("replicas",),
    "rollout": ("replicas", "paused"),
    "cronjob": ("suspend",),
}
_MAPS: Mapping[str, Path] = {
    "annotation": ("metadata", "annotations"),
    "label": ("metadata", "labels"),
    "data": ("data",),
}
_DOTTED: tuple[Kind, ...] = ("scaledobject", "scaledjob", "application", "hpa", *FLUX)
TEMPLATED: tuple[Kind, ...] = ("deployment", "statefulset", "daemonset", "cronjob", "rollout")
"""Kinds whose pod template can be written."""
MADE: Mapping[Kind, tuple[str, str]] = {
    "deployment": ("apps/v1", "Deployment"),
    "statefulset": ("apps/v1", "StatefulSet"),
    "daemonset": ("apps/v1", "DaemonSet"),
    "cronjob": ("batch/v1", "CronJob"),
}
"""Kinds that can be made anew, as the API calls them."""
_ADDED = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/", "deprecated.daemonset.")
"""How annotations begin that a cluster or a client adds by itself."""
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_ELSEWHERE = frozenset({"name", "image", "env"})
"""Keys of a container that are fields of their own."""


@dataclass(frozen=True, slots=True)
class ReadThing(Thing):
    """A thing with the object that it was read from, which a patch is made against."""

    body: Body = field(default_factory=dict, repr=False, compare=False)

    @property
    def whole(self) -> Json:
        """See the port. What another controller owns is made by that one."""
        if self.place.kind not in MADE or "owner" in self.facts:
            return None
        meta = self.body["metadata"]
        labels, notes = (dict(meta.get(key) or {}) for key in ("labels", "annotations"))
        notes = {key: value for key, value in notes.items() if not key.startswith(_ADDED)}
        version, kind = MADE[self.place.kind]
        named = {"name": self.place.name, "labels": labels, "annotations": notes}
        return {"apiVersion": version, "kind": kind, "metadata": {key: value for key, value in named.items() if value},
                "spec": self.body["spec"]}  # fmt: skip


def read(place: Place, body: Body) -> ReadThing:
    """The thing that an object is."""
    meta = body["metadata"]
    fields = dict(_fields(place.kind, body))
    return ReadThing(
        place,
        meta.get("resourceVersion", ""),
        fields,
        _facts(place.kind, body),
        progress(place.kind, body),
        _Writers(place.kind, body, fields),
        body,
    )


# -- fields ----------------------------------------------------------------------------------------------------------


def _fields(kind: Kind, body: Body) -> Iterator[tuple[str, Json]]:
    for name in _SCALARS_OF.get(kind, ()):
        value = _at(body, _SCALARS[name])
        if value is not None and not (name == "paused" and value is False):
            yield name, value
    for path in _containers(kind, body):
        yield from _container(path, _at(body, path))
    if (template := _at(body, _template(kind)[:-1])) is not None and kind in TEMPLATED:
        for key, value in (template.get("spec") or {}).items():
            if key not in _LISTS and not _empty(value):
                yield f"pod/{key}", value
        for word in ("label", "annotation"):
            for key, value in ((template.get("metadata") or {}).get(f"{word}s") or {}).items():
                yield f"pod-{word}/{key}", value
    for prefix, path in _MAPS.items():
        if prefix == "data" and kind != "configmap":
            continue
        for key, value in (_at(body, path) or {}).items():
            yield f"{prefix}/{key}", value
    if kind in _DOTTED:
        yield from _dotted("spec", body.get("spec") or {})


def _container(path: Path, container: Body) -> Iterator[tuple[str, Json]]:
    """Its image, its variables and their order, the rest key by key; and all of it, for one that comes or goes."""
    name = container["name"]
    yield f"{IMAGE}{name}", container.get("image", "")
    env = container.get("env") or ()
    for variable in env:
        yield f"env/{name}/{variable['name']}", _value(variable)
    if env:
        yield f"order/{name}", list(dict.fromkeys(variable["name"] for variable in env))
    rest = {key: value for key, value in container.items() if key not in _ELSEWHERE and not _empty(value)}
    for key, value in rest.items():
        yield f"container/{name}/{key}", value
    whole = {"in": path[-2], "image": container.get("image", ""), **rest}
    yield f"container/{name}", whole | ({"env": env} if env else {})


def _empty(value: Any) -> bool:
    return value in (None, "", [], {})


def _dotted(path: str, value: Any) -> Iterator[tuple[str, Json]]:
    yield path, value
    for key, inner in value.items() if isinstance(value, dict) else ():
        if "." not in key:
            yield from _dotted(f"{path}.{key}", inner)


def _template(kind: Kind) -> Path:
    return ("spec", "jobTemplate", "spec", "template", "spec") if kind == "cronjob" else ("spec", "template", "spec")


def _containers(kind: Kind, body: Body) -> Iterator[Path]:
    """Where its containers are, those that run first included."""
    if kind in TEMPLATED:
        for name in _LISTS[:2]:
            path = (*_template(kind), name)
            yield from ((*path, i) for i in range(len(_at(body, path) or ())))


def _value(variable: Body) -> Json:
    """A variable as handlers see it."""
    source = variable.get("valueFrom") or {}
    for word, (name, first) in _SOURCES.items():
        if name in source:
            given = dict(source[name])
            given.pop("apiVersion", None)
            return {word: given.pop(first, ""), **given}
    return variable.get("value") or ""


def variable(name: str, value: Json) -> Operation:
    """The same, as the API has it. ValueError for what is no variable."""
    if isinstance(value, str):
        return {"name": name, "value": value}
    if isinstance(value, dict):
        for word, (source, first) in _SOURCES.items():
            if word in value:
                given = {first if key == word else key: inner for key, inner in value.items()}
                return {"name": name, "valueFrom": {source: given}}
    raise ValueError(f"{name}: {value!r} is no value of an environment variable")


def _at(body: Any, path: Path) -> Any:
    for key in path:
        if isinstance(key, int):
            body = body[key] if isinstance(body, list) and key < len(body) else None
        else:
            body = body.get(key) if isinstance(body, dict) else None
    return body


# -- writing ---------------------------------------------------------------------------------------------------------


def patch(seen: ReadThing, wanted: Mapping[str, Json]) -> list[Operation]:
    """The JSON patch that sets these fields (None: removes); empty where nothing differs. ValueError, LookupError
    for a field that the object has no place for."""
    draft = _Draft(seen.place.kind, seen.body)
    changed = {name: value for name, value in wanted.items() if seen.fields.get(name) != value}
    for name in sorted(changed, key=_turn):  # whole containers last, as they move those behind them
        draft.set(name, changed[name])
    return [*draft.tests, *draft.changes]


def _turn(name: str) -> int:
    head, _, rest = name.partition("/")
    return 2 if head == "container" and "/" not in rest else 1 if head == "order" else 0


class _Draft:
    """A patch in the making. `after`: the object as the changes so far leave it, since each counts from there."""

    def __init__(self, kind: Kind, body: Body) -> None:
        self._kind, self._body = kind, body
        self._after: Any = copy.deepcopy(body)
        self.tests: list[Operation] = []
        self.changes: list[Operation] = []

    def set(self, name: str, value: Json) -> None:
        head, _, rest = name.partition("/")
        if head in _SCALARS:
            self._put(_SCALARS[head], value)
        elif head in _MAPS and rest:
            self._put((*_MAPS[head], rest), value)
        elif head == "image":
            self._put((*self._container(rest), "image"), value)
        elif head == "env":
            container, _, variable = rest.partition("/")
            self._env(self._container(container), variable, value)
        elif head == "order":
            self._order(self._container(rest), value)
        elif head == "container":
            container, _, key = rest.partition("/")
            self._put((*self._container(container), key), value) if key else self._whole(container, value)
        elif head == "pod" and rest and rest not in _LISTS:
            self._put((*_template(self._kind), rest), value)
        elif head in ("pod-label", "pod-annotation") and rest:
            self._put((*_template(self._kind)[:-1], "metadata", f"{head.removeprefix('pod-')}s", rest), value)
        elif self._kind in _DOTTED and head.startswith("spec"):
            self._put(tuple(head.split(".")), value)
        else:
            raise LookupError(f"a {self._kind} has no field {name!r}")

    def _container(self, name: str) -> Path:
        for path in _containers(self._kind, self._body):
            if _at(self._body, path)["name"] == name:
                self._test((*path, "name"), name)
                return path
        raise LookupError(f"there is no container {name!r}")

    def _put(self, path: Path, value: Json) -> None:
        """Test what is there, or that the first part that is missing is; then change it."""
        before = _at(self._body, path)
        self._test(path if before is not None else _first_missing(self._body, path), before)
        if value is None and before is not None:
            self._do({"op": "remove", "path": pointer(path)}, path, None)
        elif value is not None and before is not None:
            self._do({"op": "replace", "path": pointer(path), "value": value}, path, value)
        elif value is not None:
            at = _first_missing(self._after, path)
            for key in reversed(path[len(at) :]):
                value = {str(key): value}
            self._do({"op": "add", "path": pointer(at), "value": value}, at, value)

    def _env(self, container: Path, name: str, value: Json) -> None:
        path: Path = (*container, "env")
        before, now = _at(self._body, path), _at(self._after, path)
        if (i := _index(before, name)) is None:
            self._test(path, before)  # that it is not among them
            if value is None:
                return
            fresh = variable(name, value)
            if now is None:
                self._do({"op": "add", "path": pointer(path), "value": [fresh]}, path, [fresh])
            else:
                self._do({"op": "add", "path": pointer((*path, "-")), "value": fresh}, (*path, len(now)), fresh)
            return
        self._test((*path, i), before[i])
        at = (*path, _index(now, name) or 0)
        if value is None:
            self._do({"op": "remove", "path": pointer(at)}, at, None)
        else:
            fresh = variable(name, value)
            self._do({"op": "replace", "path": pointer(at), "value": fresh}, at, fresh)

    def _order(self, container: Path, names: Any) -> None:
        """The variables in this order; those that it does not name keep their place among themselves, at the end."""
        path: Path = (*container, "env")
        now = _at(self._after, path) or []
        at = {name: i for i, name in enumerate(names or ())}
        env = sorted(now, key=lambda variable: at.get(variable["name"], len(at)))
        if env != now:
            self._test(path, _at(self._body, path))
            self._do({"op": "replace", "path": pointer(path), "value": env}, path, env)

    def _whole(self, name: str, value: Any) -> None:
        """A container comes or goes."""
        if value is None:
            path = self._container(name)
            self._test(path, _at(self._body, path))
            among, at = path[:-1], next(i for i, c in enumerate(_at(self._after, path[:-1])) if c["name"] == name)
            self._do({"op": "remove", "path": pointer((*among, at))}, (*among, at), None)
            return
        if any(_at(self._body, path)["name"] == name for path in _containers(self._kind, self._body)):
            raise LookupError(f"container {name!r} is there, and otherwise: it is changed key by key")
        among = (*_template(self._kind), value["in"])
        fresh = {"name": name} | {key: inner for key, inner in value.items() if key != "in"}
        self._test(among, _at(self._body, among))
        now = _at(self._after, among)
        if now is None:
            self._do({"op": "add", "path": pointer(among), "value": [fresh]}, among, [fresh])
        else:
            self._do({"op": "add", "path": pointer((*among, "-")), "value": fresh}, (*among, len(now)), fresh)

    def _test(self, path: Path, value: Any) -> None:
        operation = {"op": "test", "path": pointer(path), "value": value}
        if operation not in self.tests:
            self.tests.append(operation)

    def _do(self, operation: Operation, path: Path, value: Any) -> None:
        self.changes.append(operation)
        where, key = _at(self._after, path[:-1]), path[-1]
        if value is None:
            del where[key]
        elif isinstance(where, list) and key == len(where):
            where.append(copy.deepcopy(value))
        else:
            where[key] = copy.deepcopy(value)


def pointer(path: Path) -> str:
    """A path as RFC 6901 writes it."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def _first_missing(body: Body, path: Path) -> Path:
    return next((path[:n] for n in range(1, len(path)) if _at(body, path[:n]) is None), path)


def _index(env: Any, name: str) -> int | None:
    """The last of that name counts, as for the kubelet."""
    return max((i for i, variable in enumerate(env or ()) if variable["name"] == name), default=None)


def command(context: str, namespace: str, target: str, thing: Thing, wanted: Mapping[str, Json],
            operations: Sequence[Operation]) -> str:  # fmt: skip
    """What a person would have typed for these changes."""
    start = ["kubectl", "--context", context, "-n", namespace]
    changed = {name: value for name, value in wanted.items() if thing.fields.get(name) != value}
    if changed and all(name.startswith(IMAGE) for name in changed):
        images = (f"{name.removeprefix(IMAGE)}={value}" for name, value in changed.items())
        return shlex.join([*start, "set", "image", target, *images])
    if changed.keys() == {"replicas"} and changed["replicas"] is not None:
        return shlex.join([*start, "scale", target, f"--replicas={changed['replicas']}"])
    doing = json.dumps([o for o in operations if o["op"] != "test"], ensure_ascii=False)
    return shlex.join([*start, "patch", target, "--type=json", "-p", doing])


# -- what else is known ----------------------------------------------------------------------------------------------


_FACTS: Mapping[Kind, Mapping[str, Path]] = {
    "cronjob": {
        "schedule": ("spec", "schedule"),
        "time_zone": ("spec", "timeZone"),
        "starting_deadline": ("spec", "startingDeadlineSeconds"),
        "concurrency": ("spec", "concurrencyPolicy"),
        "last_schedule": ("status", "lastScheduleTime"),
        "last_success": ("status", "lastSuccessfulTime"),
        "created": ("metadata", "creationTimestamp"),
    },
    "hpa": {
        "min": ("spec", "minReplicas"),
        "max": ("spec", "maxReplicas"),
        "replicas": ("status", "currentReplicas"),
        "desired": ("status", "desiredReplicas"),
    },
    "scaledobject": {
        "min": ("spec", "minReplicaCount"),
        "max": ("spec", "maxReplicaCount"),
        "idle": ("spec", "idleReplicaCount"),
    },
    "application": {
        "sync": ("status", "sync", "status"),
        "revision": ("status", "sync", "revision"),
        "health": ("status", "health", "status"),
        "images": ("status", "summary", "images"),
        "operation": ("status", "operationState", "phase"),
        "message": ("status", "operationState", "message"),
        "reconciled": ("status", "reconciledAt"),
    },
    "kustomization": {"applied": ("status", "lastAppliedRevision")},
    "helmrelease": {"applied": ("status", "lastAttemptedRevision")},
    "configmap": {"immutable": ("immutable",)},
    "rollout": {
        "phase": ("status", "phase"),
        "message": ("status", "message"),
        "stable": ("status", "stableRS"),
        "current": ("status", "currentPodHash"),
        "workload": ("spec", "workloadRef", "name"),
    },
    "deployment": {"strategy": ("spec", "strategy", "type"), "deadline": ("spec", "progressDeadlineSeconds")},
    "statefulset": {"strategy": ("spec", "updateStrategy", "type"), "order": ("spec", "podManagementPolicy")},
    "daemonset": {"strategy": ("spec", "updateStrategy", "type")},
}


def _facts(kind: Kind, body: Body) -> dict[str, Json]:
    found = {name: _at(body, path) for name, path in _FACTS.get(kind, {}).items()}
    if kind == "cronjob":
        found["active"] = [job["name"] for job in _at(body, ("status", "active")) or ()] or None
    found["owner"] = controller(body)
    found["owned"] = True if owned(body) else None
    if kind == "job":
        found |= _job(body)
    if kind == "application":
        rows, past = _at(body, ("status", "resources")) or (), _at(body, ("status", "history")) or ()
        found["drifted"] = [f"{r['kind'].lower()}/{r['name']}" for r in rows if r.get("status") == "OutOfSync"]
        found["history"] = [entry.get("revision") for entry in past if entry.get("revision")]
    if kind in FLUX:
        ready: Body = next((c for c in _at(body, ("status", "conditions")) or () if c.get("type") == "Ready"), {})
        found |= {"ready": ready.get("status"), "message": ready.get("message")}
        found["seen"] = _at(body, ("status", "observedGeneration")) == body["metadata"].get("generation")
    aim = _at(body, ("spec", "scaleTargetRef"))
    if kind in ("hpa", "scaledobject") and aim:
        found["target"] = f"{aim.get('kind', 'Deployment').lower()}/{aim['name']}"
    return {name: value for name, value in found.items() if value is not None}


def _job(body: Body) -> dict[str, Json]:
    """Of a Job: who it comes from, controller or not, what it runs, and whether it still does."""
    conditions = _at(body, ("status", "conditions")) or ()
    over = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
    template = _at(body, ("spec", "template", "spec")) or {}
    return {
        "owners": [f"{o['kind'].lower()}/{o['name']}" for o in body["metadata"].get("ownerReferences") or ()],
        "images": [c["image"] for group in _LISTS[:2] for c in template.get(group) or ()],
        "running": not over and not _at(body, ("spec", "suspend")),
        "started": _at(body, ("status", "startTime")),
        "ended": _at(body, ("status", "completionTime")),
        "failed": next((_said(c) for c in conditions if c["type"] == "Failed" and c["status"] == "True"), None),
    }


def _said(condition: Body) -> str:
    """Why, in the cluster's words."""
    return ": ".join(filter(None, (condition.get("reason"), condition.get("message")))) or "Failed"


def controller(body: Body) -> str | None:
    """What controls an object."""
    owners = (o for o in body["metadata"].get("ownerReferences") or () if o.get("controller"))
    return next(map(_named, owners), None)


def _named(reference: Body) -> str:
    """As kubectl names it: `revision.serving.knative.dev/quote-00007`."""
    group = str(reference.get("apiVersion") or "").rpartition("/")[0]
    return f"{str(reference['kind']).lower()}{f'.{group}' if group else ''}/{reference['name']}"


class _Writers(Mapping[str, Writer]):
    """Who set each field last, as far as the cluster knows: worked out for the fields that are asked for."""

    def __init__(self, kind: Kind, body: Body, fields: Mapping[str, Json]) -> None:
        self._kind, self._body, self._fields = kind, body, fields

    @cached_property
    def _entries(self) -> list[Body]:
        """Newest first."""
        all_ = self._body["metadata"].get("managedFields") or ()
        timed = (e for e in all_ if e.get("time") and e.get("subresource") != "status")
        return sorted(timed, key=lambda e: str(e["time"]), reverse=True)

    def __getitem__(self, name: str) -> Writer:
        path = _managed(self._kind, self._body, name) if name in self._fields and self._entries else ()
        for entry in self._entries if path else ():
            if _at(entry.get("fieldsV1") or {}, path) is not None:
                return Writer(entry.get("manager", ""), datetime.fromisoformat(entry["time"]))
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._fields if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _managed(kind: Kind, body: Body, name: str) -> Path:
    """Where `fieldsV1` of managedFields keeps a field."""
    head, _, rest = name.partition("/")
    if head in _SCALARS:
        return tuple(f"f:{key}" for key in _SCALARS[head])
    if head in _MAPS:
        return (*(f"f:{key}" for key in _MAPS[head]), f"f:{rest}")
    if head in ("image", "env", "order", "container"):
        container, _, part = rest.partition("/")
        among = next(p[-2] for p in _containers(kind, body) if _at(body, p)["name"] == container)
        start = (*(f"f:{key}" for key in _template(kind)), f"f:{among}", _key(container))
        if head == "container":
            return (*start, f"f:{part}") if part else start
        return (*start, "f:image") if head == "image" else (*start, "f:env", *([_key(part)] if part else []))
    if head == "pod":
        return (*(f"f:{key}" for key in _template(kind)), f"f:{rest}")
    if head in ("pod-label", "pod-annotation"):
        start = tuple(f"f:{key}" for key in _template(kind)[:-1])
        return (*start, "f:metadata", f"f:{head.removeprefix('pod-')}s", f"f:{rest}")
    return tuple(f"f:{key}" for key in head.split("."))


def _key(name: str) -> str:
    return "k:" + json.dumps({"name": name}, separators=(",", ":"))
