"""The OpenAPI document, as far as kubectl needs it: which kinds can be patched with `dryRun`. It has no schemas.

kubectl reads it in protobuf only, and refuses `--dry-run=server` for a kind that it does not find there.

Source: gnostic's openapiv2/OpenAPIv2.proto, whose field numbers these are.
"""

from __future__ import annotations

from functools import cache

from bot.playground.cluster.resources import RESOURCES, Resource

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_PATHS, _PATH = 8, 2
_NAME, _VALUE = 1, 2
_PATCH = 8
_PARAMETERS, _EXTENSION = 8, 13
_YAML = 2


@cache
def document() -> bytes:
    """The document in protobuf."""
    paths = b"".join(_field(_PATH, _path(r)) for r in RESOURCES if "patch" in r.verbs)
    return _field(_PATHS, paths)


def _path(resource: Resource) -> bytes:
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    stem = f"/apis/{resource.group}" if resource.group else "/api"
    url = f"{stem}/{resource.version}{space}/{resource.plural}/{{name}}"
    kind = f"group: {resource.group or repr('')}\nversion: {resource.version}\nkind: {resource.kind}\n"
    extension = _text(_NAME, "x-kubernetes-group-version-kind") + _field(_VALUE, _text(_YAML, kind))
    patch = _field(_PARAMETERS, _query("dryRun")) + _field(_EXTENSION, extension)
    return _text(_NAME, url) + _field(_VALUE, _field(_PATCH, patch))


def _query(name: str) -> bytes:
    """A query parameter: ParametersItem.parameter.non_body_parameter.query_parameter_sub_schema."""
    return _field(1, _field(2, _field(3, _text(2, "query") + _text(4, name))))


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7)
