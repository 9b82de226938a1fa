"""What a container's process gets: its environment out of the pod's spec, ConfigMaps and Secrets.

Invariants: a key that is missing and not optional keeps the container from starting, as CreateContainerConfigError.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping

from bot.playground.cluster import resources
from bot.playground.cluster.core import Core
from bot.playground.cluster.objects import Json, annotations_of, dig, labels_of, name_of, namespace_of, uid_of

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """Something that the container needs is not there."""


def environment(core: Core, pod: Json, container: Json, services: Mapping[str, str]) -> dict[str, str]:
    """The variables that the pod asks for, in the order of precedence of Kubernetes. ConfigError."""
    found: dict[str, str] = dict(services)
    for source in container.get("envFrom") or ():
        for kind, resource in (("configMapRef", resources.CONFIGMAPS), ("secretRef", resources.SECRETS)):
            if kind in source:
                data = _data(core, namespace_of(pod), resource, source[kind]) or {}
                found |= {source.get("prefix", "") + key: value for key, value in data.items()}
    for item in container.get("env") or ():
        value = _value(core, pod, item) if "valueFrom" in item else expand(item.get("value") or "", found)
        if value is not None:
            found[item["name"]] = value
    return found


def base_environment(pod: Json, port: int) -> dict[str, str]:
    """What every container has, whatever its pod says."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": "/", "LANG": "C.UTF-8", "HOSTNAME": name_of(pod), "PORT": str(port)}


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by what it stands for; an unknown one stays."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return known.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def _data(core: Core, namespace: str, resource: resources.Resource, ref: Json) -> dict[str, str] | None:
    obj = core.find(resource, namespace, ref["name"])
    if obj is None:
        if ref.get("optional"):
            return None
        raise ConfigError(f'{resource.kind.lower()} "{ref["name"]}" not found')
    data = obj.get("data") or {}
    if resource is resources.SECRETS:
        return {key: base64.b64decode(value).decode() for key, value in data.items()}
    return dict(data)


def _value(core: Core, pod: Json, item: Json) -> str | None:
    source = item["valueFrom"]
    for kind, resource in (("configMapKeyRef", resources.CONFIGMAPS), ("secretKeyRef", resources.SECRETS)):
        if kind in source:
            ref = source[kind]
            data = _data(core, namespace_of(pod), resource, ref)
            if data is not None and ref["key"] in data:
                return data[ref["key"]]
            if ref.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {ref['key']} in {resource.kind} {namespace_of(pod)}/{ref['name']}")
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    raise ConfigError(f"the playground has no {', '.join(source)} for environment variable {item['name']}")


def _field(pod: Json, path: str) -> str:
    match = _FIELD.fullmatch(path)
    if match is not None:
        return (labels_of(pod) if match[1] == "labels" else annotations_of(pod)).get(match[2], "")
    known = {"metadata.name": name_of(pod), "metadata.namespace": namespace_of(pod), "metadata.uid": uid_of(pod)}
    return known[path] if path in known else str(dig(pod, *path.split(".")) or "")
