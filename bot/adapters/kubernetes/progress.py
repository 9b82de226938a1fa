"""How far a workload's pods are, by what its controller says of it. Pure.

An Argo Rollout is followed by its own status: it has arrived when what is stable is what its template says, and it is
Healthy. Where it takes its template from a Deployment (`workloadRef`) the Deployment's own status says nothing, and the
Rollout's generation does not move with it: the Deployment's is compared with what the Rollout says it has seen.
"""

from __future__ import annotations

from bot.adapters.kubernetes.connection import Body
from bot.ports.kubernetes import Kind, Rollout


def progress(kind: Kind, body: Body) -> Rollout | None:
    """Of an object; None where the kind has no pods of its own that roll."""
    if kind == "rollout":
        return of_argo(body)
    spec, status = body.get("spec") or {}, body.get("status") or {}
    seen = (status.get("observedGeneration") or 0) >= (body["metadata"].get("generation") or 0)

    def n(name: str) -> int:
        return int(status.get(name) or 0)

    if kind == "deployment":
        wanted, updated = int(spec.get("replicas", 1)), n("updatedReplicas") if seen else 0
        failed = _deadline(status) if seen else ""
        old = max(0, n("replicas") - updated)
        return Rollout(wanted, updated, n("availableReplicas"), old, seen, failed, *_pace(spec, wanted))
    if kind == "statefulset":
        kept = int(((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)
        wanted, updated = int(spec.get("replicas", 1)), n("updatedReplicas") if seen else 0
        due = max(0, wanted - kept)
        failed = _by_hand(spec) if seen and updated < due else ""
        old = max(0, n("replicas") - updated - kept)
        return Rollout(due, min(updated, due), n("readyReplicas"), old, seen, failed, *_pace(spec, wanted))
    if kind == "daemonset":
        wanted, updated = n("desiredNumberScheduled"), n("updatedNumberScheduled") if seen else 0
        failed = _by_hand(spec) if seen and updated < wanted else ""
        return Rollout(
            wanted, updated, n("numberAvailable"), max(0, n("currentNumberScheduled") - updated), seen, failed,
            *_pace(spec, wanted),
        )  # fmt: skip
    return None


def _pace(spec: Body, wanted: int) -> tuple[float, int, float]:
    """minReadySeconds, pods replaced at a time, and seconds without progress after which it is given up."""
    settle, patience = float(spec.get("minReadySeconds") or 0), float(spec.get("progressDeadlineSeconds") or 600)
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    if strategy.get("type") == "Recreate" or spec.get("podManagementPolicy") == "Parallel":
        return settle, max(1, wanted), patience
    rolling = strategy.get("rollingUpdate") or {}
    default = "25%" if "strategy" in spec else 1
    limits = [rolling.get("maxUnavailable", default), rolling.get("maxSurge", default if "strategy" in spec else 0)]
    return settle, max(1, sum(_share(limit, wanted) for limit in limits)), patience


def _share(limit: object, wanted: int) -> int:
    """A number of pods, or a percentage of them, rounded down."""
    if isinstance(limit, str) and limit.endswith("%"):
        return int(limit[:-1]) * wanted // 100
    return int(limit) if isinstance(limit, int) else 0


def _deadline(status: Body) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return f"ProgressDeadlineExceeded: {condition.get('message', '')}"
    return ""


def _by_hand(spec: Body) -> str:
    manual = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    return "OnDelete: its pods are replaced only when somebody deletes them" if manual else ""


def of_argo(body: Body, workload: Body | None = None) -> Rollout:
    """Of an Argo Rollout. workload: the Deployment that it takes its template from."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    seen = str(status.get("observedGeneration") or "") == str(body["metadata"].get("generation") or "")
    if workload is not None:
        observed = str(status.get("workloadObservedGeneration") or "")
        seen = seen and observed == str(workload["metadata"].get("generation") or "")
    wanted = int(spec.get("replicas", 1))
    updated = int(status.get("updatedReplicas") or 0) if seen else 0
    old = max(0, int(status.get("replicas") or 0) - updated)
    stable, current = status.get("stableRS"), status.get("currentPodHash")
    arrived = seen and stable == current and status.get("phase") == "Healthy"
    message = str(status.get("message") or "")
    degraded = seen and status.get("phase") == "Degraded" and stable != current
    settle, patience = float(spec.get("minReadySeconds") or 0), float(spec.get("progressDeadlineSeconds") or 600)
    ready, failed = int(status.get("availableReplicas") or 0), f"Degraded: {message}" if degraded else ""
    return Rollout(wanted, updated, ready, old, seen, failed, settle, max(1, wanted), patience, arrived)
