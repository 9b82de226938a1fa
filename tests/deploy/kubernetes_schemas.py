"""Manifests against Kubernetes' own schemas, as the official client carries them (its models are made from the OpenAPI
document of the API server)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import kubernetes.client

_PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}
_ANY = ("object", "datetime")


def faults(manifest: dict[str, Any]) -> list[str]:
    """What the schemas do not know, of another type, or missing; a line each, with its path."""
    name = f"V1{manifest['kind']}"
    found = [*_walk(manifest, name, manifest["kind"])] if hasattr(kubernetes.client, name) else ["no such kind"]
    versions = {"Namespace", "ServiceAccount", "Service", "PersistentVolumeClaim"}
    return found + (["apiVersion"] if (manifest["apiVersion"] == "v1") != (manifest["kind"] in versions) else [])


def _walk(value: Any, kind: str, path: str) -> Iterator[str]:
    if kind in _ANY:
        return
    if kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (kind != "bool" and isinstance(value, bool)):
            yield f"{path}: {value!r} is no {kind}"
    elif several := re.fullmatch(r"List\[(.*)\]", kind):
        for n, each in enumerate(value if isinstance(value, list) else ()):
            yield from _walk(each, several[1], f"{path}[{n}]")
        if not isinstance(value, list):
            yield f"{path}: no list"
    elif mapped := re.fullmatch(r"Dict\[str, (.*)\]", kind):
        for key, each in value.items():
            yield from _walk(each, mapped[1], f"{path}.{key}")
    else:
        yield from _object(value, getattr(kubernetes.client, kind), path)


def _object(value: Any, model: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: no object"
        return
    fields = {wire: attribute for attribute, wire in model.attribute_map.items()}
    for key, each in value.items():
        if key in fields:
            yield from _walk(each, model.openapi_types[fields[key]], f"{path}.{key}")
        else:
            yield f"{path}.{key}: unknown"
    needed = {model.attribute_map.get(name, name) for name, f in model.model_fields.items() if f.is_required()}
    yield from (f"{path}.{key}: missing" for key in sorted(needed - value.keys()))
