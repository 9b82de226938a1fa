"""StatefulSet -> Pods: numbered, started one after the other, replaced from the last when the template changes.

With OrderedReady (the default) nothing is done before every pod is ready, not even replacing the one that is not: a
template that went back never reaches a broken pod, whose deletion alone helps (kubernetes#67250). There is no deadline.

Invariants: pods below `partition` come back on the current revision, whatever the template says; OnDelete replaces
nothing; the current revision becomes the update's only when every pod runs it and is ready, so after a revert the two
are one while a broken pod still stands.

Source: pkg/controller/statefulset/stateful_set_control.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.playground.cluster import resources
from bot.playground.cluster.controllers.deployments import template_hash
from bot.playground.cluster.controllers.replicasets import available_at, end_pod, make_pod, pod_of
from bot.playground.cluster.core import Core, pod_is_ready
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import Json, dig, is_going, labels_of, name_of, uid_of
from bot.playground.copied import copied

HASH = "controller-revision-hash"
COMPONENT = "statefulset-controller"
WHO = User.service_account("kube-system", COMPONENT)
_NAMED = "statefulset.kubernetes.io/pod-name"


@dataclass
class StatefulSets:
    """The controller. _templates: set -> revision -> template, which is what ControllerRevisions keep."""

    core: Core
    _templates: dict[str, dict[str, Json]] = field(default_factory=dict)

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this set."""
        owner = self.core.find(resources.STATEFULSETS, namespace, name)
        if owner is None or is_going(owner):
            return None
        update = f"{name}-{template_hash(owner['spec']['template'])}"
        known = self._templates.setdefault(uid_of(owner), {})
        known[update] = copied(owner["spec"]["template"])
        current = dig(owner, "status", "currentRevision")
        current = current if current in known else update
        refused = self._step(owner, current, update)
        again = self._report(owner, current, update)
        return 1.0 if refused else again

    def _pods(self, owner: Json) -> dict[int, Json]:
        return {_ordinal(p): p for p in self.core.owned(resources.PODS, owner)}

    # -- one step --------------------------------------------------------------------------------------------------

    def _step(self, owner: Json, current: str, update: str) -> bool:
        """Start, replace or end what may be; whether a pod was refused."""
        together = owner["spec"].get("podManagementPolicy") == "Parallel"
        for i in range(owner["spec"]["replicas"]):
            pod = self._pods(owner).get(i)
            if pod is not None and dig(pod, "status", "phase") in ("Succeeded", "Failed") and not is_going(pod):
                end_pod(self.core, WHO, owner, pod, COMPONENT)
                pod = self._pods(owner).get(i)
            if pod is None:
                revision = current if i < _partition(owner) else update
                if make_pod(self.core, WHO, owner, self._body(owner, i, revision), COMPONENT):
                    return True
                if not together:
                    return False
            elif not together and (is_going(pod) or not self._available(owner, pod)):
                return False
        if not self._shrink(owner, together=together):
            self._replace(owner, update)
        return False

    def _body(self, owner: Json, ordinal: int, revision: str) -> Json:
        name = f"{name_of(owner)}-{ordinal}"
        body = pod_of(owner, self._templates[uid_of(owner)][revision], name)
        marks = {HASH: revision, _NAMED: name, "apps.kubernetes.io/pod-index": str(ordinal)}
        body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | marks
        return body

    def _shrink(self, owner: Json, *, together: bool) -> bool:
        """End those above the wanted number, the last first; whether there were any."""
        pods = self._pods(owner)
        over = sorted((i for i in pods if i >= owner["spec"]["replicas"]), reverse=True)
        first_sick = next((i for i in sorted(pods) if not self._healthy(pods[i])), None)
        for i in over:
            if not is_going(pods[i]):
                if not together and not pod_is_ready(pods[i]) and i != first_sick:
                    break
                end_pod(self.core, WHO, owner, pods[i], COMPONENT)
            if not together:
                break
        return bool(over)

    def _replace(self, owner: Json, update: str) -> None:
        """End the last pod that is of another revision, once those after it are well."""
        if dig(owner, "spec", "updateStrategy", "type") == "OnDelete":
            return
        pods = self._pods(owner)
        for i in range(owner["spec"]["replicas"] - 1, _partition(owner) - 1, -1):
            pod = pods.get(i)
            if pod is None:
                return
            if labels_of(pod).get(HASH) != update and not is_going(pod):
                end_pod(self.core, WHO, owner, pod, COMPONENT)
                return
            if not self._healthy(pod):
                return

    def _healthy(self, pod: Json) -> bool:
        return pod_is_ready(pod) and not is_going(pod)

    def _available(self, owner: Json, pod: Json) -> bool:
        at = available_at(pod, owner["spec"].get("minReadySeconds") or 0)
        return at is not None and at <= self.core.now()

    # -- reporting -------------------------------------------------------------------------------------------------

    def _report(self, owner: Json, current: str, update: str) -> float | None:
        pods = list(self._pods(owner).values())
        alive = [p for p in pods if not is_going(p)]
        ready, wanted = sum(map(pod_is_ready, pods)), owner["spec"]["replicas"]
        updated = sum(labels_of(p).get(HASH) == update for p in alive)
        rolling = dig(owner, "spec", "updateStrategy", "type") != "OnDelete"
        if rolling and updated == ready == len(pods) == wanted:
            current = update
        counts = {
            "replicas": len(pods),
            "readyReplicas": ready or None,
            "availableReplicas": sum(self._available(owner, p) for p in pods),
            "currentReplicas": sum(labels_of(p).get(HASH) == current for p in alive) or None,
            "updatedReplicas": updated or None,
        }
        revisions = {"currentRevision": current, "updateRevision": update, "collisionCount": 0}
        seen = {"observedGeneration": owner["metadata"]["generation"]}
        self.core.set_status(resources.STATEFULSETS, owner, counts | revisions | seen)
        least = owner["spec"].get("minReadySeconds") or 0
        coming = [at - self.core.now() for p in pods if (at := available_at(p, least)) and at > self.core.now()]
        return min(coming, default=None)


def _ordinal(pod: Json) -> int:
    return int(name_of(pod).rpartition("-")[2])


def _partition(owner: Json) -> int:
    return int(dig(owner, "spec", "updateStrategy", "rollingUpdate", "partition") or 0)
