"""Objects as the rows that `kubectl get` prints: the server decides the columns.

Invariants: a kind without columns of its own has NAME and AGE; columns of priority 1 show with `-o wide` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bot.playground.cluster import resources
from bot.playground.cluster.objects import Json, condition, created_at, dig, is_going, unstamp
from bot.playground.cluster.resources import Resource

Cell = Callable[[Json, float], Any]


def _at(*path: str | int, none: Any = "<none>") -> Cell:
    def cell(obj: Json, _: float) -> Any:
        found = dig(obj, *path)
        return none if found is None else found

    return cell


def _age(obj: Json, now: float) -> str:
    return span(now - created_at(obj))


def span(seconds: float) -> str:
    """A duration as kubectl shows it."""
    whole = max(0, int(seconds))
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size * 2 or (letter == "h" and whole >= size):
            return f"{whole // size}{letter}"
    return f"{whole}s"


def _containers(name: str, *path: str) -> Cell:
    return lambda obj, _: ",".join(str(c.get(name, "")) for c in dig(obj, *path) or ())


def _selector(obj: Json, _: float) -> str:
    labels = dig(obj, "spec", "selector", "matchLabels") or dig(obj, "spec", "selector") or {}
    return ",".join(f"{k}={v}" for k, v in labels.items()) or "<none>"


def _of(top: Cell, bottom: Cell) -> Cell:
    return lambda obj, now: f"{top(obj, now)}/{bottom(obj, now)}"


def _pod_ready(pod: Json, _: float) -> str:
    found = dig(pod, "status", "containerStatuses") or []
    return f"{sum(1 for c in found if c['ready'])}/{len(pod['spec']['containers'])}"


def _pod_status(pod: Json, _: float) -> str:
    if is_going(pod):
        return "Terminating"
    for container in dig(pod, "status", "containerStatuses") or ():
        for state in ("waiting", "terminated"):
            reason = dig(container, "state", state, "reason")
            if reason:
                return str(reason)
    return str(dig(pod, "status", "reason") or dig(pod, "status", "phase") or "Unknown")


def _restarts(pod: Json, _: float) -> int:
    return sum(c["restartCount"] for c in dig(pod, "status", "containerStatuses") or ())


def _job_status(job: Json, _: float) -> str:
    for kind in ("Complete", "Failed", "Suspended"):
        found = condition(job, kind)
        if found and found["status"] == "True":
            return kind
    return "Running"


def _job_done(job: Json, _: float) -> str:
    return (
        f"{dig(job, 'status', 'succeeded') or 0}/{dig(job, 'spec', 'completions') or dig(job, 'spec', 'parallelism')}"
    )


def _job_took(job: Json, now: float) -> str:
    start, end = dig(job, "status", "startTime"), dig(job, "status", "completionTime")
    return span((unstamp(end) if end else now) - unstamp(start)) if start else ""


def _last_schedule(cron: Json, now: float) -> str:
    at = dig(cron, "status", "lastScheduleTime")
    return span(now - unstamp(at)) if at else "<none>"


def _ports(service: Json, _: float) -> str:
    return ",".join(f"{p['port']}/{p['protocol']}" for p in dig(service, "spec", "ports") or ()) or "<none>"


def _last_seen(event: Json, now: float) -> str:
    at = event.get("lastTimestamp")
    return span(now - unstamp(at)) if at else "<unknown>"


def _event_about(event: Json, _: float) -> str:
    return f"{event['involvedObject']['kind'].lower()}/{event['involvedObject']['name']}"


def _scale_target(obj: Json, _: float) -> str:
    ref = dig(obj, "spec", "scaleTargetRef") or {}
    return f"{ref.get('kind', 'Deployment')}/{ref.get('name')}"


_TEMPLATE = ("spec", "template", "spec", "containers")
_NAME = ("Name", _at("metadata", "name"), 0)
_AGE = ("Age", _age, 0)
_WIDE = [
    ("Containers", _containers("name", *_TEMPLATE), 1),
    ("Images", _containers("image", *_TEMPLATE), 1),
    ("Selector", _selector, 1),
]
_COLUMNS: dict[str, list[tuple[str, Cell, int]]] = {
    resources.NAMESPACES.store: [_NAME, ("Status", _at("status", "phase"), 0), _AGE],
    resources.PODS.store: [
        _NAME, ("Ready", _pod_ready, 0), ("Status", _pod_status, 0), ("Restarts", _restarts, 0), _AGE,
        ("IP", _at("status", "podIP"), 1), ("Node", _at("spec", "nodeName"), 1),
        ("Nominated Node", _at("status", "nominatedNodeName"), 1),
        ("Readiness Gates", lambda *_: "<none>", 1),
    ],
    resources.DEPLOYMENTS.store: [
        _NAME, ("Ready", _of(_at("status", "readyReplicas", none=0), _at("spec", "replicas")), 0),
        ("Up-to-date", _at("status", "updatedReplicas", none=0), 0),
        ("Available", _at("status", "availableReplicas", none=0), 0), _AGE, *_WIDE,
    ],
    resources.REPLICASETS.store: [
        _NAME, ("Desired", _at("spec", "replicas"), 0), ("Current", _at("status", "replicas", none=0), 0),
        ("Ready", _at("status", "readyReplicas", none=0), 0), _AGE, *_WIDE,
    ],
    resources.STATEFULSETS.store: [
        _NAME, ("Ready", _of(_at("status", "readyReplicas", none=0), _at("spec", "replicas")), 0), _AGE, *_WIDE[:2],
    ],
    resources.DAEMONSETS.store: [
        _NAME, ("Desired", _at("status", "desiredNumberScheduled", none=0), 0),
        ("Current", _at("status", "currentNumberScheduled", none=0), 0),
        ("Ready", _at("status", "numberReady", none=0), 0),
        ("Up-to-date", _at("status", "updatedNumberScheduled", none=0), 0),
        ("Available", _at("status", "numberAvailable", none=0), 0),
        ("Node Selector", lambda *_: "<none>", 0), _AGE, *_WIDE,
    ],
    resources.JOBS.store: [
        _NAME, ("Status", _job_status, 0), ("Completions", _job_done, 0), ("Duration", _job_took, 0), _AGE, *_WIDE,
    ],
    resources.CRONJOBS.store: [
        _NAME, ("Schedule", _at("spec", "schedule"), 0), ("Timezone", _at("spec", "timeZone"), 0),
        ("Suspend", lambda o, _: str(dig(o, "spec", "suspend")), 0),
        ("Active", lambda o, _: len(dig(o, "status", "active") or ()), 0), ("Last Schedule", _last_schedule, 0), _AGE,
        ("Containers", _containers("name", "spec", "jobTemplate", *_TEMPLATE), 1),
        ("Images", _containers("image", "spec", "jobTemplate", *_TEMPLATE), 1),
    ],
    resources.SERVICES.store: [
        _NAME, ("Type", _at("spec", "type"), 0), ("Cluster-IP", _at("spec", "clusterIP"), 0),
        ("External-IP", lambda *_: "<none>", 0), ("Port(s)", _ports, 0), _AGE, ("Selector", _selector, 1),
    ],
    resources.CONFIGMAPS.store: [_NAME, ("Data", lambda o, _: len(o.get("data") or ()), 0), _AGE],
    resources.SECRETS.store: [
        _NAME, ("Type", _at("type"), 0), ("Data", lambda o, _: len(o.get("data") or ()), 0), _AGE,
    ],
    resources.EVENTS.store: [
        ("Last Seen", _last_seen, 0), ("Type", _at("type"), 0), ("Reason", _at("reason"), 0),
        ("Object", _event_about, 0), ("Message", _at("message"), 0), ("Name", _at("metadata", "name"), 1),
    ],
    resources.AUTOSCALERS.store: [
        _NAME, ("Reference", _scale_target, 0), ("MinPods", _at("spec", "minReplicas"), 0),
        ("MaxPods", _at("spec", "maxReplicas"), 0), ("Replicas", _at("status", "currentReplicas", none=0), 0), _AGE,
    ],
    resources.SCALED_OBJECTS.store: [
        _NAME, ("ScaleTargetName", _at("spec", "scaleTargetRef", "name"), 0),
        ("Min", _at("spec", "minReplicaCount", none=0), 0), ("Max", _at("spec", "maxReplicaCount", none=100), 0),
        ("Ready", lambda o, _: (condition(o, "Ready") or {}).get("status", ""), 0),
        ("Active", lambda o, _: (condition(o, "Active") or {}).get("status", ""), 0),
        ("Paused", lambda o, _: (condition(o, "Paused") or {}).get("status", ""), 0), _AGE,
    ],
    resources.APPLICATIONS.store: [
        _NAME, ("Sync Status", _at("status", "sync", "status", none=""), 0),
        ("Health Status", _at("status", "health", "status", none=""), 0),
        ("Revision", _at("status", "sync", "revision", none=""), 1),
    ],
}  # fmt: skip


def table(resource: Resource, objects: Iterable[Json], now: float, metadata: Json, *, header: bool = True) -> Json:
    """A Table of these objects. now: Unix seconds, for ages."""
    columns = _COLUMNS.get(resource.store, [_NAME, _AGE])
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(*column) for column in columns] if header else [],
        "rows": [{"cells": [cell(obj, now) for _, cell, _ in columns], "object": _partial(obj)} for obj in objects],
    }


def _definition(name: str, _: Cell, priority: int) -> Json:
    kind = "name" if name == "Name" else ""
    return {"name": name, "type": "string", "format": kind, "description": name, "priority": priority}


def _partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
