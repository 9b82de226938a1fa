"""ReplicaSet -> Pods: as many as it says; what is broken, or young, goes first."""

from __future__ import annotations

from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.core import Core, pod_is_ready
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    condition,
    created_at,
    dig,
    is_going,
    name_of,
    namespace_of,
    owned_by,
    unstamp,
    with_condition,
)
from bot.playground.copied import copied

COMPONENT = "replicaset-controller"
WHO = User.service_account("kube-system", COMPONENT)


def pod_of(owner: Json, template: Json, name: str = "") -> Json:
    """A pod's body out of a template. name: generated from the owner's where not given."""
    pod = copied(template)
    meta = {k: v for k, v in (pod.get("metadata") or {}).items() if k in ("labels", "annotations")}
    meta |= {"name": name} if name else {"generateName": f"{name_of(owner)}-"}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": meta | {"ownerReferences": [owned_by(owner)]},
        "spec": pod["spec"],
    }


def is_active(pod: Json) -> bool:
    """Neither finished nor told to go."""
    return dig(pod, "status", "phase") not in ("Succeeded", "Failed") and not is_going(pod)


def available_at(pod: Json, seconds: float) -> float | None:
    """When this pod has been ready for minReadySeconds, or None while it is not ready."""
    ready = condition(pod, "Ready")
    return unstamp(ready["lastTransitionTime"]) + seconds if ready and ready["status"] == "True" else None


def make_pod(core: Core, who: User, owner: Json, body: Json, component: str) -> str:
    """Create a pod and tell of it; where it is refused why, after a warning."""
    try:
        pod = core.create(who, resources.PODS, namespace_of(owner), body)
    except ApiError as error:
        core.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}", component)
        return error.message
    core.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}", component)
    return ""


def end_pod(core: Core, who: User, owner: Json, pod: Json, component: str) -> None:
    """Tell a pod to go and tell of it."""
    core.delete(who, resources.PODS, namespace_of(pod), name_of(pod))
    core.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}", component)


@dataclass
class ReplicaSets:
    """The controller."""

    core: Core

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Create or delete what is missing or too many, and count."""
        owner = self.core.find(resources.REPLICASETS, namespace, name)
        if owner is None or is_going(owner):
            return None
        pods = [p for p in self.core.owned(resources.PODS, owner) if is_active(p)]
        wanted, refused = owner["spec"]["replicas"], ""
        for _ in range(wanted - len(pods)):
            refused = make_pod(self.core, WHO, owner, pod_of(owner, owner["spec"]["template"]), COMPONENT)
            if refused:
                break
        for pod in sorted(pods, key=_worth)[: max(0, len(pods) - wanted)]:
            end_pod(self.core, WHO, owner, pod, COMPONENT)
        again = self._report(owner, refused)
        return 1.0 if refused else again

    def _report(self, owner: Json, refused: str) -> float | None:
        pods = [p for p in self.core.owned(resources.PODS, owner) if is_active(p)]
        now, ready = self.core.now(), [p for p in pods if pod_is_ready(p)]
        times = [at for p in ready if (at := available_at(p, owner["spec"].get("minReadySeconds", 0))) is not None]
        conditions = dig(owner, "status", "conditions") or []
        if refused:
            conditions = with_condition(conditions, "ReplicaFailure", True, "FailedCreate", refused, now)
        else:
            conditions = [c for c in conditions if c["type"] != "ReplicaFailure"]
        self.core.set_status(
            resources.REPLICASETS,
            owner,
            {
                "replicas": len(pods),
                "fullyLabeledReplicas": len(pods) or None,
                "readyReplicas": len(ready) or None,
                "availableReplicas": sum(1 for at in times if at <= now) or None,
                "observedGeneration": owner["metadata"]["generation"],
                "conditions": conditions or None,
            },
        )
        coming = [at - now for at in times if at > now]
        return min(coming, default=None)


def _worth(pod: Json) -> tuple[bool, bool, float]:
    """The least first: not on a node, not ready, youngest."""
    return bool(dig(pod, "spec", "nodeName")), pod_is_ready(pod), -created_at(pod)
