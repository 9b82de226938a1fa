"""StatefulSet and DaemonSet, simply: pods of one template, replaced one at a time when it changes.

A StatefulSet's pods are numbered, start one after the other and are replaced from the last; a DaemonSet has one pod,
since the cluster has one node.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.access import User
from bot.playground.cluster.controllers.deployments import template_hash
from bot.playground.cluster.controllers.replicasets import end_pod, make_pod, pod_of
from bot.playground.cluster.core import Core, pod_is_ready
from bot.playground.cluster.objects import Json, dig, is_going, labels_of, name_of
from bot.playground.cluster.resources import Resource

HASH = "controller-revision-hash"


def _fresh(pods: list[Json], digest: str) -> list[Json]:
    return [p for p in pods if labels_of(p).get(HASH) == digest]


def _body(owner: Json, digest: str, name: str = "", labels: Json | None = None) -> Json:
    body = pod_of(owner, owner["spec"]["template"], name)
    body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | {HASH: digest} | (labels or {})
    return body


@dataclass
class _Sets:
    core: Core
    resource: Resource
    component: str

    @property
    def who(self) -> User:
        return User.service_account("kube-system", self.component)

    def find(self, namespace: str, name: str) -> Json | None:
        owner = self.core.find(self.resource, namespace, name)
        return None if owner is None or is_going(owner) else owner

    def pods(self, owner: Json) -> list[Json]:
        """Those that are still wanted; what has failed makes room."""
        found = self.core.owned(resources.PODS, owner)
        for pod in found:
            if dig(pod, "status", "phase") in ("Succeeded", "Failed") and not is_going(pod):
                end_pod(self.core, self.who, owner, pod, self.component)
        return [
            p
            for p in self.core.owned(resources.PODS, owner)
            if dig(p, "status", "phase") not in ("Succeeded", "Failed")
        ]


@dataclass
class StatefulSets(_Sets):
    """The controller."""

    resource: Resource = resources.STATEFULSETS
    component: str = "statefulset-controller"

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this set."""
        owner = self.find(namespace, name)
        if owner is None:
            return None
        digest = f"{name}-{template_hash(owner['spec']['template'])}"
        self._step(owner, self.pods(owner), digest)
        pods = [p for p in self.pods(owner) if not is_going(p)]
        fresh = _fresh(pods, digest)
        ready = sum(map(pod_is_ready, pods))
        done = len(fresh) == len(pods) == owner["spec"]["replicas"]
        before = dig(owner, "status", "currentRevision")
        self.core.set_status(
            resources.STATEFULSETS,
            owner,
            {
                "replicas": len(pods),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "currentReplicas": len(pods) - len(fresh) if not done else len(pods),
                "updatedReplicas": len(fresh),
                "currentRevision": digest if done or before is None else before,
                "updateRevision": digest,
                "observedGeneration": owner["metadata"]["generation"],
                "collisionCount": 0,
            },
        )
        return None

    def _step(self, owner: Json, pods: list[Json], digest: str) -> None:
        by_name, wanted = {name_of(p): p for p in pods}, owner["spec"]["replicas"]
        together = owner["spec"].get("podManagementPolicy") == "Parallel"
        for i in range(wanted):
            name = f"{name_of(owner)}-{i}"
            pod = by_name.get(name)
            if pod is None:
                labels = {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(i)}
                make_pod(self.core, self.who, owner, _body(owner, digest, name, labels), self.component)
            if not together and (pod is None or is_going(pod) or not pod_is_ready(pod)):
                stale = pod is not None and not is_going(pod) and labels_of(pod).get(HASH) != digest
                if not stale:
                    return
        for i in sorted((_ordinal(p) for p in pods), reverse=True):
            pod = by_name[f"{name_of(owner)}-{i}"]
            if is_going(pod):
                return
            if i >= wanted or labels_of(pod).get(HASH) != digest:
                end_pod(self.core, self.who, owner, pod, self.component)
                return


def _ordinal(pod: Json) -> int:
    return int(name_of(pod).rpartition("-")[2])


@dataclass
class DaemonSets(_Sets):
    """The controller."""

    resource: Resource = resources.DAEMONSETS
    component: str = "daemonset-controller"

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this set."""
        owner = self.find(namespace, name)
        if owner is None:
            return None
        digest = template_hash(owner["spec"]["template"])
        pods = self.pods(owner)
        if not pods:
            make_pod(self.core, self.who, owner, _body(owner, digest), self.component)
        for pod in pods:
            if labels_of(pod).get(HASH) != digest and not is_going(pod):
                end_pod(self.core, self.who, owner, pod, self.component)
        pods = [p for p in self.pods(owner) if not is_going(p)]
        ready = sum(map(pod_is_ready, pods))
        self.core.set_status(
            resources.DAEMONSETS,
            owner,
            {
                "desiredNumberScheduled": 1,
                "currentNumberScheduled": len(pods),
                "updatedNumberScheduled": len(_fresh(pods, digest)),
                "numberReady": ready,
                "numberAvailable": ready,
                "numberUnavailable": 1 - ready,
                "numberMisscheduled": 0,
                "observedGeneration": owner["metadata"]["generation"],
            },
        )
        return None
