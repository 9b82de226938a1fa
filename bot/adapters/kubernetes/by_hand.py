"""What a person types to make edits so without the bot: kubectl commands, whole, one after the other. Pure.

Invariants:
- a command sets what it sets whatever stands there: run again, it changes nothing;
- nothing of the bot is needed for it, and no name of its own but those of objects that it has put into the cluster;
- the image comes before variables: a template that still holds what is removed may be refused;
- a deployment that gets both an image and variables rolls once, with both: it is paused meanwhile.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bot.adapters.kubernetes import admission_policy as guard
from bot.adapters.kubernetes.fields import variable
from bot.adapters.kubernetes.resources import BINDING, POLICY, RESOURCES
from bot.contract import Edit
from bot.ports import Json
from bot.ports.gitops import AUTOMATED
from bot.ports.kubernetes import FLUX, IMAGE, Place

PATIENCE = "10m"
"""How long a rollout is waited for."""
ROLLED = ("deployment", "statefulset", "daemonset")
TEMPLATE = ("order/", "container/", "pod/", "pod-label/", "pod-annotation/")
"""How the fields of a pod template begin that kubectl has no command of its own for."""
ADDED_TO = frozenset({"ports", "volumeMounts", "volumeDevices", "volumes", "imagePullSecrets", "hostAliases",
                      "topologySpreadConstraints"})  # fmt: skip
"""Lists of a pod template that a strategic patch merges."""


def commands(edits: Sequence[Edit], place_of: Callable[[Place], tuple[str, str]], me: Mapping[str, str]) -> list[str]:
    """The lines, comments included. place_of: object -> (context of the kubeconfig, namespace); me: cluster -> the
    bot's own user name there, whom its freeze lets pass."""
    fields: dict[Place, dict[str, Json]] = {}
    for e in edits:
        place = Place.of(e.target)
        value: Any = e.after
        fields.setdefault(place, {})[e.target.removeprefix(place.target(""))] = value
    found: list[str] = []
    for place, wanted in fields.items():
        context, space = place_of(place)
        found += _object(place, wanted, ["kubectl", "--context", context, "-n", space], me.get(place.cluster, ""))
    for place, wanted in fields.items():
        if place.kind in ROLLED and wanted.keys() - {"paused"}:
            context, space = place_of(place)
            wait = ["kubectl", "--context", context, "-n", space, "rollout", "status", _typed(place)]
            found.append(shlex.join([*wait, f"--timeout={PATIENCE}"]))
    return found


def _object(place: Place, wanted: Mapping[str, Json], start: list[str], me: str) -> Iterator[str]:
    if place.kind == "guard":
        yield from _guard(place, wanted.get("rules"), start, me)
        return
    if "whole" in wanted:
        made = wanted["whole"]
        put = f"echo {shlex.quote(_compact(made))} | {shlex.join([*start, 'apply', '-f', '-'])}"
        yield put if made is not None else shlex.join([*start, "delete", _typed(place), "--ignore-not-found"])
        return
    env = {k: v for k, v in wanted.items() if k.startswith("env/")}
    images = {k: v for k, v in wanted.items() if k.startswith(IMAGE)}
    template = {k: v for k, v in wanted.items() if k.startswith(TEMPLATE)}
    taken = {*env, *images, *template, "replicas"}
    rest = {k: v for k, v in wanted.items() if k not in taken}
    in_one_go = place.kind == "deployment" and bool(env or template) and bool(images)
    if in_one_go:
        yield shlex.join([*start, "patch", _typed(place), "--type=merge", "-p", '{"spec":{"paused":true}}'])
    if images:
        yield shlex.join([*start, "set", "image", _typed(place),
                          *(f"{k.removeprefix('image/')}={v}" for k, v in images.items())])  # fmt: skip
    yield from _env(place, env, start)
    if template:
        yield shlex.join(
            [*start, "patch", _typed(place), "--type=strategic", "-p", _compact(_template(place, template))]
        )
    if in_one_go and "paused" not in rest:
        rest["paused"] = None
    if rest:
        doing = shlex.join([*start, "patch", _typed(place), "--type=merge", "-p", _compact(_merge(rest))])
        if place.kind in FLUX and not rest.get("spec.suspend"):
            yield "# Only once Git holds what runs now: it applies what Git holds at once."
        yield from [doing] if rest.get(AUTOMATED) is None else _followed(place, start, doing)
    if wanted.get("replicas") is not None:
        yield shlex.join([*start, "scale", _typed(place), f"--replicas={wanted['replicas']}"])


def _followed(place: Place, start: list[str], doing: str) -> Iterator[str]:
    """Has Argo CD follow Git again, once what Git holds is what runs: else it would bring back what was removed."""
    yield "# Only once Git holds what runs now; until then this says so and changes nothing: run it again later."
    yield shlex.join([*start, "annotate", _typed(place), "argocd.argoproj.io/refresh=normal", "--overwrite"])
    yield "sleep 5"
    status = shlex.join([*start, "get", _typed(place), "-o", "jsonpath={.status.sync.status}"])
    told = shlex.quote(
        f"Git differs from what runs ({place.name} in {place.cluster}): put the release right there first"
    )
    yield f'if [ "$({status})" = Synced ]; then {doing}; else echo {told}; fi'


def _env(place: Place, env: Mapping[str, Json], start: list[str]) -> Iterator[str]:
    """Variables by container: values and removals by `set env`; those that name where they come from by a patch."""
    plain: dict[str, list[str]] = {}
    sourced: dict[str, list[dict[str, Any]]] = {}
    for field, value in env.items():
        _, container, name = field.split("/", 2)
        if isinstance(value, dict):
            sourced.setdefault(container, []).append(variable(name, value) | {"value": None})
        else:
            plain.setdefault(container, []).append(f"{name}-" if value is None else f"{name}={value}")
    for container, changes in plain.items():
        yield shlex.join([*start, "set", "env", _typed(place), "-c", container, *changes])
    for container, variables in sourced.items():
        spec: dict[str, Any] = {"template": {"spec": {"containers": [{"name": container, "env": variables}]}}}
        whole = {"spec": {"jobTemplate": {"spec": spec}} if place.kind == "cronjob" else spec}
        yield shlex.join([*start, "patch", _typed(place), "-p", _compact(whole)])


def _template(place: Place, fields: Mapping[str, Json]) -> dict[str, Any]:
    """A strategic patch of a pod template that sets these parts of it, whatever stands there."""
    containers: dict[str, dict[str, dict[str, Any]]] = {}
    spec: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for field, value in fields.items():
        head, _, rest = field.partition("/")
        name, _, key = rest.partition("/")
        if head == "pod":
            spec[rest] = _set(rest, value)
        elif head in ("pod-label", "pod-annotation"):
            metadata.setdefault(f"{head.removeprefix('pod-')}s", {})[rest] = value
        elif head == "container" and not key:
            among = str(value["in"]) if isinstance(value, dict) else "containers"
            whole = {k: v for k, v in value.items() if k != "in"} if isinstance(value, dict) else {"$patch": "delete"}
            containers.setdefault(among, {})[name] = whole
        else:
            there = containers.setdefault("containers", {}).setdefault(name, {})
            if head == "order" and isinstance(value, list):
                there["$setElementOrder/env"] = [{"name": variable} for variable in value]
            elif head == "container":
                there[key] = _set(key, value)
    spec |= {among: [{"name": name, **parts} for name, parts in named.items()] for among, named in containers.items()}
    template = {**({"metadata": metadata} if metadata else {}), **({"spec": spec} if spec else {})}
    return {
        "spec": {"jobTemplate": {"spec": {"template": template}}} if place.kind == "cronjob" else {"template": template}
    }


def _set(key: str, value: Json) -> Any:
    """The value so that it replaces what is there, where a strategic patch would add to it."""
    if isinstance(value, dict):
        return {"$patch": "replace", **value}
    if isinstance(value, list) and key in ADDED_TO:
        return [{"$patch": "replace"}, *value]
    return value


def _merge(fields: Mapping[str, Json]) -> dict[str, Any]:
    """A merge patch; None removes."""
    patch: dict[str, Any] = {}
    for field, value in fields.items():
        head, _, rest = field.partition("/")
        path = {
            "data": ["data", rest], "annotation": ["metadata", "annotations", rest],
            "label": ["metadata", "labels", rest], "paused": ["spec", "paused"], "suspend": ["spec", "suspend"],
            "replicas": ["spec", "replicas"],
        }.get(head, field.split("."))  # fmt: skip
        where = patch
        for step in path[:-1]:
            where = where.setdefault(step, {})
        where[path[-1]] = value
    return patch


def _guard(place: Place, rules: Json, start: list[str], me: str) -> Iterator[str]:
    namespace, start = start[-1], start[:-2]  # it belongs to no namespace
    if rules is None:
        for resource in (BINDING, POLICY):
            yield shlex.join([*start, "delete", resource.qualified, place.name, "--ignore-not-found"])
    else:
        for made in (guard.policy(place.name, rules, me), guard.binding(place.name, namespace)):
            yield f"echo {shlex.quote(_compact(made))} | {shlex.join([*start, 'apply', '-f', '-'])}"
    yield "sleep 3  # until every API server goes by it"


def _typed(place: Place) -> str:
    resource = RESOURCES[place.kind]
    return f"{resource.qualified if resource.extension else place.kind}/{place.name}"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
