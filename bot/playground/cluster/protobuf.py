"""Access reviews, Secrets and ConfigMaps in protobuf: newer kubectls, and Helm's own store, send them in no other form.
The answers are JSON, which they take.

Source: k8s.io/api/authorization/v1/generated.proto and core/v1; the envelope is runtime.Unknown after `k8s\\0`.
"""

from __future__ import annotations

import base64

from bot.playground.cluster.failures import bad_request
from bot.playground.cluster.objects import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_RESOURCE = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_PATH = {1: "path", 2: "verb"}
KINDS = frozenset({"SelfSubjectAccessReview", "SelfSubjectRulesReview", "Secret", "ConfigMap"})
"""What can be read in protobuf."""


def decode(data: bytes) -> Json:
    """An object of one of `KINDS`. ApiError 400 for anything else."""
    if not data.startswith(_MAGIC):
        raise bad_request("the body of the request is no protobuf object")
    try:
        envelope = _fields(data[len(_MAGIC) :])
        about = _fields(envelope[1])
        kind, whole = about[2].decode(), envelope[2]
        body: Json = {"apiVersion": about[1].decode(), "kind": kind}
        if kind in ("Secret", "ConfigMap"):
            return body | _stored(kind, whole)
        spec = _fields(_fields(whole)[2])
        if kind == "SelfSubjectRulesReview":
            return body | {"spec": {"namespace": spec.get(1, b"").decode()}}
        if kind == "SelfSubjectAccessReview":
            return body | {"spec": _attributes(spec)}
    except (KeyError, IndexError, ValueError) as error:
        raise bad_request(f"the body of the request cannot be read: {error}") from error
    raise bad_request(f"the playground reads no {kind} in protobuf; send JSON")


def _stored(kind: str, whole: bytes) -> Json:
    found = _fields(whole)
    meta = _fields(found.get(1, b""))
    named = {name: meta[n].decode() for n, name in ((1, "name"), (2, "generateName"), (3, "namespace")) if meta.get(n)}
    version = {"resourceVersion": meta[6].decode()} if meta.get(6) else {}
    maps = {name: _map(found.get(1, b""), n) for n, name in ((11, "labels"), (12, "annotations"))}
    secret = {k: base64.b64encode(v).decode() for k, v in _entries(whole, 2)}
    held = secret if kind == "Secret" else _map(whole, 2)
    sort = {"type": found[3].decode()} if kind == "Secret" and found.get(3) else {}
    return {"metadata": {**named, **version, **{k: v for k, v in maps.items() if v}}, "data": held, **sort}


def _map(data: bytes, number: int) -> dict[str, str]:
    return {k: v.decode() for k, v in _entries(data, number)}


def _entries(data: bytes, number: int) -> list[tuple[str, bytes]]:
    """A map's entries, which are repeated messages of a key and a value."""
    parts = [_fields(value) for tag, value in _messages(data) if tag == number]
    return [(part.get(1, b"").decode(), part.get(2, b"")) for part in parts]


def _attributes(spec: dict[int, bytes]) -> Json:
    for number, name, known in ((1, "resourceAttributes", _RESOURCE), (2, "nonResourceAttributes", _PATH)):
        if number in spec:
            found = _fields(spec[number])
            return {name: {known[n]: value.decode() for n, value in found.items() if n in known and value}}
    return {}


def _fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message; numbers are passed over."""
    return dict(_messages(data))


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    found, at = list[tuple[int, bytes]](), 0
    while at < len(data):
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        if tag & 7 == 2:
            found.append((tag >> 3, data[at : at + size]))
            at += size
        elif tag & 7 != 0:
            raise ValueError(f"wire type {tag & 7}")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
