"""What a typed server leaves out when it writes an object down: empty lists and maps, and values that are the zero of
a field which has no other way to be absent.

Custom resources are kept as they were sent. Invariants: writing down again changes nothing; nothing that a map of
somebody's own names (`data`, `labels`) holds is looked at.

Source: the `omitempty` tags of k8s.io/api 1.36, measured: `matchConditions: []`, `env: []`, `data: {}`,
`paused: false`, `value: ""` come back absent.
"""

from __future__ import annotations

from typing import Any

from bot.playground.cluster.objects import Json
from bot.playground.cluster.resources import Resource

_MAPS = frozenset({
    "annotations", "binaryData", "capacity", "data", "hard", "labels", "limits", "matchLabels", "nodeSelector",
    "requests", "stringData",
})  # fmt: skip
_ALWAYS = frozenset({"containers", "items", "rules"})
"""Lists that are written even when they hold nothing."""
_ZEROS: dict[str, Any] = {
    "hostIPC": False, "hostNetwork": False, "hostPID": False, "image": "", "initialDelaySeconds": 0,
    "minReadySeconds": 0, "paused": False, "readOnly": False, "stdin": False, "stdinOnce": False, "tty": False,
    "value": "", "workingDir": "",
}  # fmt: skip


def written(resource: Resource, obj: Json) -> Json:
    """The object as it is kept; what it was made of is left as it was."""
    if resource.custom:
        return obj
    return {k: v if k == "status" else _kept(k, v) for k, v in obj.items() if not _left_out(k, v)}


def _kept(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_kept("", item) for item in value]
    if isinstance(value, dict) and name not in _MAPS:
        return {k: _kept(k, v) for k, v in value.items() if not _left_out(k, v)}
    return value


def _left_out(name: str, value: Any) -> bool:
    if isinstance(value, list):
        return not value and name not in _ALWAYS
    if isinstance(value, dict):
        return not value and name in _MAPS
    return name in _ZEROS and value == _ZEROS[name] and isinstance(value, type(_ZEROS[name]))
