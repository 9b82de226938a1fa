"""Pods and events as values: whose pods they are, and what keeps one from running. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.adapters.kubernetes.connection import Body
from bot.ports.kubernetes import ClusterEvent, Pod

_STARTING = ("ContainerCreating", "PodInitializing")
_OPERATORS = {"In": "in", "NotIn": "notin"}


def of_workload(body: Body) -> str:
    """The label selector of its pods; empty where it selects none."""
    selector = (body.get("spec") or {}).get("selector") or {}
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        match each["operator"]:
            case "Exists":
                terms.append(each["key"])
            case "DoesNotExist":
                terms.append(f"!{each['key']}")
            case operator:
                terms.append(f"{each['key']} {_OPERATORS[operator]} ({','.join(each['values'])})")
    return ",".join(terms)


def controlled(body: Body, owner: Body) -> bool:
    """Whether it belongs to this very object."""
    uid = owner["metadata"].get("uid")
    return any(o.get("controller") and o.get("uid") == uid for o in body["metadata"].get("ownerReferences") or ())


def is_ready(pod: Body) -> bool:
    """Its Ready condition."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def of_jobs(cronjob: Body, jobs: Sequence[Body]) -> str:
    """The label selector of the pods of a CronJob's jobs; empty where there are none."""
    uid = cronjob["metadata"].get("uid")
    names = [
        job["metadata"]["name"]
        for job in jobs
        if any(owner.get("uid") == uid for owner in job["metadata"].get("ownerReferences") or ())
    ]
    return f"job-name in ({','.join(sorted(names))})" if names else ""


def read(body: Body) -> Pod:
    """A pod."""
    spec, status, meta = body["spec"], body.get("status") or {}, body["metadata"]
    containers = status.get("containerStatuses") or ()
    going = meta.get("deletionTimestamp") is not None
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    return Pod(
        meta["name"],
        tuple(c["image"] for c in (*(spec.get("initContainers") or ()), *spec["containers"])),
        is_ready(body),
        "Terminating" if going else status.get("phase", "Unknown"),
        sum(int(c.get("restartCount") or 0) for c in containers),
        next(_waiting(status), ""),
        _runs(spec, status),
        f"{str(owner['kind']).lower()}/{owner['name']}" if owner is not None else "",
        tuple(c["name"] for c in containers if "running" in (c.get("state") or {})),
        tuple(c["name"] for c in containers if (c.get("state") or {}).get("terminated", {}).get("exitCode") == 0),
        _moment(status["startTime"]) if status.get("startTime") else None,
    )


def _runs(spec: Body, status: Body) -> dict[str, str]:
    """Image of each container -> what the node runs for it, as far as it has said."""
    asked = {c["name"]: c["image"] for c in (*(spec.get("initContainers") or ()), *spec["containers"])}
    told = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return {asked[c["name"]]: c["imageID"] for c in told if c.get("imageID") and c["name"] in asked}


def _waiting(status: Body) -> Iterator[str]:
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        wait, end = state.get("waiting") or {}, state.get("terminated") or {}
        if wait.get("reason") and wait["reason"] not in _STARTING:
            yield _said(wait)
        elif end.get("exitCode"):
            yield f"{end.get('reason') or 'Error'}: exit code {end['exitCode']}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield _said(condition)


def _said(state: Body) -> str:
    message = " ".join(str(state.get("message") or "").split())
    return f"{state.get('reason', 'Waiting')}: {message}" if message else str(state.get("reason", "Waiting"))


def said(body: Body) -> ClusterEvent:
    """An event."""
    about, series = body["involvedObject"], body.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        body.get("lastTimestamp"),
        body.get("eventTime"),
        body.get("firstTimestamp"),
    )
    at = next((t for t in times if t), None) or body["metadata"].get("creationTimestamp")
    return ClusterEvent(
        _moment(at),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        body.get("reason") or "",
        " ".join(str(body.get("message") or "").split()),
        body.get("type") == "Warning",
        int(series.get("count") or body.get("count") or 1),
    )


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)) if text else datetime.fromtimestamp(0, UTC)
