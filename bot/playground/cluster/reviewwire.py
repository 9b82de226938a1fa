"""Access reviews in protobuf: newer kubectls send them in no other form. The answers are JSON, which they take.

Source: k8s.io/api/authorization/v1/generated.proto; the envelope is runtime.Unknown after the bytes `k8s\\0`.
"""

from __future__ import annotations

from bot.playground.cluster.failures import bad_request
from bot.playground.cluster.objects import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_RESOURCE = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_PATH = {1: "path", 2: "verb"}


def decode(data: bytes) -> Json:
    """A SelfSubjectAccessReview or SelfSubjectRulesReview. ApiError 400 for anything else."""
    if not data.startswith(_MAGIC):
        raise bad_request("the body of the request is no protobuf object")
    try:
        envelope = _fields(data[len(_MAGIC) :])
        about = _fields(envelope[1])
        kind, spec = about[2].decode(), _fields(_fields(envelope[2])[2])
        body: Json = {"apiVersion": about[1].decode(), "kind": kind}
        if kind == "SelfSubjectRulesReview":
            return body | {"spec": {"namespace": spec.get(1, b"").decode()}}
        if kind == "SelfSubjectAccessReview":
            return body | {"spec": _attributes(spec)}
    except (KeyError, IndexError, ValueError) as error:
        raise bad_request(f"the body of the request cannot be read: {error}") from error
    raise bad_request(f"the playground reads no {kind} in protobuf; send JSON")


def _attributes(spec: dict[int, bytes]) -> Json:
    for number, name, known in ((1, "resourceAttributes", _RESOURCE), (2, "nonResourceAttributes", _PATH)):
        if number in spec:
            found = _fields(spec[number])
            return {name: {known[n]: value.decode() for n, value in found.items() if n in known and value}}
    return {}


def _fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message; numbers are passed over."""
    found, at = dict[int, bytes](), 0
    while at < len(data):
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        if tag & 7 == 2:
            found[tag >> 3] = data[at : at + size]
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
