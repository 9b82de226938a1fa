"""DaemonSet -> Pods: one on each node, replaced node by node when the template changes.

A node that is NotReady keeps its pod: told to go, it never does, since nobody there hears of it; it still counts as
wanted, so the set never completes by itself, and there is no deadline. A cluster without Node objects counts as one.

Source: pkg/controller/daemon (update.go, updateDaemonSetStatus).
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.controllers.deployments import bound, template_hash
from bot.playground.cluster.controllers.replicasets import end_pod, make_pod, pod_of
from bot.playground.cluster.core import Core, pod_is_ready
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import Json, dig, is_going, labels_of, name_of
from bot.playground.cluster.store import Change, Key

HASH = "controller-revision-hash"
COMPONENT = "daemonset-controller"
WHO = User.service_account("kube-system", COMPONENT)
_NOWHERE = ""


@dataclass
class DaemonSets:
    """The controller."""

    core: Core

    def concerns(self, change: Change) -> list[Key]:
        """Every set, when a node comes, goes or changes."""
        if change.store != resources.NODES.store:
            return []
        return [(s["metadata"]["namespace"], name_of(s)) for s in self.core.all(resources.DAEMONSETS)]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this set."""
        owner = self.core.find(resources.DAEMONSETS, namespace, name)
        if owner is None or is_going(owner):
            return None
        digest = template_hash(owner["spec"]["template"])
        refused = self._fill(owner, digest)
        if dig(owner, "spec", "updateStrategy", "type") != "OnDelete":
            self._replace(owner, digest)
        self._report(owner, digest)
        return 1.0 if refused else None

    def _nodes(self) -> list[str]:
        return [name_of(n) for n in self.core.all(resources.NODES)] or [_NOWHERE]

    def _pods(self, owner: Json) -> dict[str, Json]:
        """Node -> its pod, the oldest where there are two."""
        found: dict[str, Json] = {}
        alone = len(self._nodes()) == 1
        for pod in self.core.owned(resources.PODS, owner):
            found.setdefault(self._nodes()[0] if alone else dig(pod, "spec", "nodeName") or _NOWHERE, pod)
        return found

    def _fill(self, owner: Json, digest: str) -> bool:
        """A pod for each node that has none; whether one was refused."""
        for pod in self.core.owned(resources.PODS, owner):
            if dig(pod, "status", "phase") in ("Succeeded", "Failed") and not is_going(pod):
                end_pod(self.core, WHO, owner, pod, COMPONENT)
        pods, nodes = self._pods(owner), self._nodes()
        for node in nodes:
            if node in pods:
                continue
            body = pod_of(owner, owner["spec"]["template"])
            body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | {HASH: digest}
            if len(nodes) > 1:
                body["spec"] = body["spec"] | {"nodeName": node}
            if make_pod(self.core, WHO, owner, body, COMPONENT):
                return True
        return False

    def _replace(self, owner: Json, digest: str) -> None:
        """Old pods that are not available go at once, others within maxUnavailable."""
        pods = self._pods(owner)
        old = [p for p in pods.values() if labels_of(p).get(HASH) != digest and not is_going(p)]
        for pod in [p for p in old if not pod_is_ready(p)]:
            end_pod(self.core, WHO, owner, pod, COMPONENT)
        rolling = dig(owner, "spec", "updateStrategy", "rollingUpdate") or {}
        most = max(1, bound(rolling.get("maxUnavailable", 1), len(self._nodes()), up=True))
        away = sum(1 for node in self._nodes() if node not in pods or not _serves(pods[node]))
        for pod in [p for p in old if pod_is_ready(p)][: max(0, most - away)]:
            end_pod(self.core, WHO, owner, pod, COMPONENT)

    def _report(self, owner: Json, digest: str) -> None:
        pods, nodes = self._pods(owner), self._nodes()
        ready = sum(pod_is_ready(p) for p in pods.values())
        status = {
            "desiredNumberScheduled": len(nodes),
            "currentNumberScheduled": len(pods),
            "updatedNumberScheduled": sum(labels_of(p).get(HASH) == digest for p in pods.values()),
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": len(nodes) - ready,
            "numberMisscheduled": 0,
            "observedGeneration": owner["metadata"]["generation"],
        }
        self.core.set_status(resources.DAEMONSETS, owner, status)


def _serves(pod: Json) -> bool:
    return pod_is_ready(pod) and not is_going(pod)
