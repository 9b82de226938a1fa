"""Reading and making API objects: the JSON of metadata, owners, conditions and times.

Invariants: an object that came out of the store is never changed in place; whoever changes one takes a copy first.
"""

from __future__ import annotations

import calendar
import random
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names are made of, so that they spell no words."""


def name_of(obj: Mapping[str, Any]) -> str:
    """metadata.name, or ""."""
    return str(obj.get("metadata", {}).get("name") or "")


def namespace_of(obj: Mapping[str, Any]) -> str:
    """metadata.namespace, or "" where there is none."""
    return str(obj.get("metadata", {}).get("namespace") or "")


def uid_of(obj: Mapping[str, Any]) -> str:
    """metadata.uid."""
    return str(obj.get("metadata", {}).get("uid") or "")


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """metadata.labels; not to be changed."""
    return obj.get("metadata", {}).get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """metadata.annotations; not to be changed."""
    return obj.get("metadata", {}).get("annotations") or {}


def is_going(obj: Mapping[str, Any]) -> bool:
    """Whether it has been told to go."""
    return bool(obj.get("metadata", {}).get("deletionTimestamp"))


def created_at(obj: Mapping[str, Any]) -> float:
    """metadata.creationTimestamp in Unix seconds."""
    return unstamp(obj["metadata"]["creationTimestamp"])


def dig(obj: Any, *path: str | int) -> Any:
    """What lies at this path, or None."""
    for step in path:
        if isinstance(obj, Mapping):
            obj = obj.get(step)
        elif isinstance(obj, list) and isinstance(step, int) and step < len(obj):
            obj = obj[step]
        else:
            return None
    return obj


def stamp(at: float) -> str:
    """RFC 3339 in whole seconds, as metadata has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def micro_stamp(at: float) -> str:
    """RFC 3339 with microseconds, as events and logs have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"


def unstamp(text: str) -> float:
    """Unix seconds of an RFC 3339 time in UTC. ValueError."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float(f"0.{rest}") if rest else 0.0)


def new_uid() -> str:
    """A fresh metadata.uid."""
    return str(uuid.uuid4())


def suffix(length: int = 5) -> str:
    """What generateName appends."""
    return "".join(random.choices(_ALPHABET, k=length))  # noqa: S311 - a name, not a secret


def safe(number: int) -> str:
    """A number in the letters of generated names, as pod-template-hash is written."""
    return "".join(_ALPHABET[int(digit) % len(_ALPHABET)] for digit in str(number))


def controller_of(obj: Mapping[str, Any]) -> Json | None:
    """The owner reference that has `controller: true`."""
    references: Iterable[Json] = obj.get("metadata", {}).get("ownerReferences") or ()
    return next((r for r in references if r.get("controller")), None)


def owned_by(owner: Json) -> Json:
    """The owner reference by which `owner` controls something."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(obj: Mapping[str, Any], kind: str) -> Json | None:
    """The status condition of this type."""
    found: Iterable[Json] = dig(obj, "status", "conditions") or ()
    return next((c for c in found if c["type"] == kind), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether the status condition of this type holds."""
    found = condition(obj, kind)
    return found is not None and found["status"] == "True"


def with_condition(
    conditions: Iterable[Json] | None, kind: str, holds: bool | str, reason: str, message: str, now: float
) -> list[Json]:
    """The conditions with this one set; lastTransitionTime moves only when the status does."""
    status = holds if isinstance(holds, str) else str(bool(holds))
    before = {c["type"]: c for c in conditions or ()}
    old = before.get(kind, {})
    moved = old["lastTransitionTime"] if old.get("status") == status else stamp(now)
    fresh = {"type": kind, "status": status, "lastTransitionTime": moved}
    before[kind] = fresh | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})
    return list(before.values())
