"""Deployment -> ReplicaSets: a template each, rolled from one to the other within maxSurge and maxUnavailable.

An undo brings an old ReplicaSet back: it takes the highest revision, and its old number is no more.

Invariants: a template is a ReplicaSet's name, so the same template never makes a second one; a paused Deployment is
scaled and reported, never rolled; a rollout that makes no progress for progressDeadlineSeconds is reported as
Progressing=False, ProgressDeadlineExceeded, and goes on trying.

Source: pkg/controller/deployment.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.core import Core
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    annotations_of,
    condition,
    dig,
    is_going,
    name_of,
    namespace_of,
    owned_by,
    safe,
    stamp,
    uid_of,
    unstamp,
    with_condition,
)
from bot.playground.copied import copied

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
HASH = "pod-template-hash"
COMPONENT = "deployment-controller"
WHO = User.service_account("kube-system", COMPONENT)
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED}


def template_hash(template: Json) -> str:
    """The pod-template-hash of a template."""
    value = 0x811C9DC5
    for byte in json.dumps(template, sort_keys=True).encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return safe(value)


def revision_of(obj: Json) -> int:
    """The revision annotation, 0 where there is none."""
    return int(annotations_of(obj).get(REVISION) or 0)


def _bare(template: Json) -> Json:
    """A ReplicaSet's template as the Deployment wrote it."""
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def bound(value: int | str, total: int, *, up: bool) -> int:
    """maxSurge or maxUnavailable as a number of pods."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)


def _limits(spec: Json) -> tuple[int, int]:
    rolling, total = dig(spec, "strategy", "rollingUpdate") or {}, spec["replicas"]
    surge = bound(rolling.get("maxSurge", "25%"), total, up=True)
    missing = bound(rolling.get("maxUnavailable", "25%"), total, up=False)
    return surge, missing if surge or missing else 1


@dataclass
class Deployments:
    """The controller."""

    core: Core

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this Deployment."""
        deployment = self.core.find(resources.DEPLOYMENTS, namespace, name)
        if deployment is None or is_going(deployment):
            return None
        sets = self._sets(deployment)
        wanted = _bare(deployment["spec"]["template"])
        current = next((s for s in sets if _bare(s["spec"]["template"]) == wanted), None)
        if deployment["spec"].get("paused"):
            self._scale_paused(deployment, sets, current)
        else:
            current = self._current(deployment, sets, current)
            deployment = self.core.get(resources.DEPLOYMENTS, namespace, name)
            sets = self._sets(deployment)
            current = self.core.get(resources.REPLICASETS, namespace, name_of(current))
            self._roll(deployment, sets, current)
            self._forget(deployment, self._sets(deployment), current)
        return self._report(self.core.get(resources.DEPLOYMENTS, namespace, name), current)

    def _sets(self, deployment: Json) -> list[Json]:
        return [s for s in self.core.owned(resources.REPLICASETS, deployment) if not is_going(s)]

    # -- revisions -------------------------------------------------------------------------------------------------

    def _current(self, deployment: Json, sets: list[Json], current: Json | None) -> Json:
        """The ReplicaSet of the present template, with the highest revision."""
        highest = max((revision_of(s) for s in sets if s is not current), default=0)
        copied = {k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED}
        desired = {DESIRED: str(deployment["spec"]["replicas"])}
        if current is None:
            current = self._new_set(deployment, copied | desired | {REVISION: str(highest + 1)})
        else:
            marks: dict[str, str | None] = dict(copied | desired)
            if revision_of(current) <= highest:
                past = annotations_of(current).get(HISTORY)
                marks |= {
                    HISTORY: ",".join(filter(None, [past, str(revision_of(current))])),
                    REVISION: str(highest + 1),
                }
            current = self.core.annotate(resources.REPLICASETS, current, **marks)
        self.core.annotate(resources.DEPLOYMENTS, deployment, **{REVISION: annotations_of(current)[REVISION]})
        return current

    def _new_set(self, deployment: Json, annotations: Json) -> Json:
        template = copied(deployment["spec"]["template"])
        digest = template_hash(_bare(template))
        labels = (template["metadata"].get("labels") or {}) | {HASH: digest}
        template["metadata"]["labels"] = labels
        selector = copied(deployment["spec"]["selector"])
        selector["matchLabels"] = (selector.get("matchLabels") or {}) | {HASH: digest}
        body = {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": f"{name_of(deployment)}-{digest}",
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [owned_by(deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template}
            | {k: v for k, v in deployment["spec"].items() if k == "minReadySeconds"},
        }
        made = self.core.create(WHO, resources.REPLICASETS, namespace_of(deployment), body)
        conditions = with_condition(
            dig(deployment, "status", "conditions"),
            "Progressing",
            True,
            "NewReplicaSetCreated",
            f'Created new replica set "{name_of(made)}"',
            self.core.now(),
        )
        self._set_conditions(deployment, conditions, moved=True)
        return made

    def _forget(self, deployment: Json, sets: list[Json], current: Json) -> None:
        """Keep revisionHistoryLimit old ReplicaSets."""
        old = [s for s in sets if uid_of(s) != uid_of(current) and not s["spec"]["replicas"]]
        idle = sorted((s for s in old if not dig(s, "status", "replicas")), key=revision_of)
        for gone in idle[: max(0, len(old) - deployment["spec"]["revisionHistoryLimit"])]:
            self.core.delete(WHO, resources.REPLICASETS, namespace_of(gone), name_of(gone))

    # -- rolling ---------------------------------------------------------------------------------------------------

    def _roll(self, deployment: Json, sets: list[Json], current: Json) -> None:
        old = [s for s in sets if uid_of(s) != uid_of(current)]
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            for each in old:
                self._scale(deployment, each, 0)
            if not any(dig(s, "status", "replicas") or self._pods(s) for s in old):
                self._scale(deployment, current, deployment["spec"]["replicas"])
            return
        surge, missing = _limits(deployment["spec"])
        self._grow(deployment, sets, current, surge)
        self._shrink(
            deployment, old, self.core.get(resources.REPLICASETS, namespace_of(current), name_of(current)), missing
        )

    def _pods(self, replica_set: Json) -> list[Json]:
        return self.core.owned(resources.PODS, replica_set)

    def _grow(self, deployment: Json, sets: list[Json], current: Json, surge: int) -> None:
        wanted, has = deployment["spec"]["replicas"], current["spec"]["replicas"]
        if has > wanted:
            self._scale(deployment, current, wanted)
        elif has < wanted:
            room = wanted + surge - sum(s["spec"]["replicas"] for s in sets)
            self._scale(deployment, current, has + max(0, min(room, wanted - has)))

    def _shrink(self, deployment: Json, old: list[Json], current: Json, missing: int) -> None:
        wanted, everything = deployment["spec"]["replicas"], [*old, current]
        pods = sum(s["spec"]["replicas"] for s in everything)
        unavailable = current["spec"]["replicas"] - (dig(current, "status", "availableReplicas") or 0)
        spare = pods - (wanted - missing) - unavailable
        for each in old:  # what is broken goes first
            sick = each["spec"]["replicas"] - (dig(each, "status", "availableReplicas") or 0)
            gone = max(0, min(sick, spare))
            if gone and (dig(each, "status", "observedGeneration") or 0) >= each["metadata"]["generation"]:
                self._scale(deployment, each, each["spec"]["replicas"] - gone)
                spare -= gone
        up = sum(dig(s, "status", "availableReplicas") or 0 for s in everything)
        spare = up - (wanted - missing)
        for each in [self.core.get(resources.REPLICASETS, namespace_of(s), name_of(s)) for s in old]:
            gone = max(0, min(each["spec"]["replicas"], spare))
            if gone:
                self._scale(deployment, each, each["spec"]["replicas"] - gone)
                spare -= gone

    def _scale_paused(self, deployment: Json, sets: list[Json], current: Json | None) -> None:
        """While paused only the number of pods follows: the newest ReplicaSet that has any takes the difference."""
        active = [s for s in sets if s["spec"]["replicas"]]
        if current is None and not active:
            return
        chosen = current if len(active) != 1 and current is not None else (active or sets)[-1]
        others = sum(s["spec"]["replicas"] for s in sets if s is not chosen)
        if deployment["spec"]["replicas"] == 0:
            for each in active:
                self._scale(deployment, each, 0)
        elif len(active) <= 1:
            self._scale(deployment, chosen, max(0, deployment["spec"]["replicas"] - others))

    def _scale(self, deployment: Json, replica_set: Json, replicas: int) -> None:
        had = replica_set["spec"]["replicas"]
        if had == replicas:
            return
        self.core.spec_change(WHO, resources.REPLICASETS, replica_set, replicas=replicas)
        way = "up" if replicas > had else "down"
        told = f"Scaled {way} replica set {name_of(replica_set)} from {had} to {replicas}"
        self.core.event(deployment, "Normal", "ScalingReplicaSet", told, COMPONENT)

    # -- reporting -------------------------------------------------------------------------------------------------

    def _report(self, deployment: Json, current: Json | None) -> float | None:
        sets = self._sets(deployment)
        fresh = next((s for s in sets if current is not None and uid_of(s) == uid_of(current)), None)

        def total(field: str) -> int:
            return sum(dig(s, "status", field) or 0 for s in sets)

        replicas, available = total("replicas"), total("availableReplicas")
        wanted = deployment["spec"]["replicas"]
        counts = {
            "replicas": replicas,
            "updatedReplicas": dig(fresh, "status", "replicas") or 0,
            "readyReplicas": total("readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(s["spec"]["replicas"] for s in sets) - available),
        }
        old = deployment.get("status") or {}
        conditions = self._replica_failure(self._available(deployment, available), sets, fresh)
        moved = _progressed(old, counts)
        conditions, again = self._progressing(deployment, conditions, counts, wanted, fresh, moved=moved)
        status = {name: value or None for name, value in counts.items()}
        self._stamp(conditions, dig(old, "conditions"), moved=moved)
        self.core.set_status(
            resources.DEPLOYMENTS,
            deployment,
            status | {"observedGeneration": deployment["metadata"]["generation"], "conditions": conditions},
        )
        return again

    def _replica_failure(self, conditions: list[Json], sets: list[Json], fresh: Json | None) -> list[Json]:
        """What keeps a ReplicaSet from making pods, the newest one's first."""
        failing = (condition(s, "ReplicaFailure") for s in ([fresh] if fresh is not None else []) + sets)
        found = next((c for c in failing if c is not None), None)
        if found is None:
            return [c for c in conditions if c["type"] != "ReplicaFailure"]
        told = (found["reason"], found["message"])
        return with_condition(conditions, "ReplicaFailure", True, *told, self.core.now())

    def _available(self, deployment: Json, available: int) -> list[Json]:
        _, missing = _limits(deployment["spec"])
        enough = available >= deployment["spec"]["replicas"] - missing
        return with_condition(
            dig(deployment, "status", "conditions"),
            "Available",
            enough,
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
            self.core.now(),
        )

    def _progressing(
        self,
        deployment: Json,
        conditions: list[Json],
        counts: dict[str, int],
        wanted: int,
        fresh: Json | None,
        *,
        moved: bool,
    ) -> tuple[list[Json], float | None]:
        """The Progressing condition, and when to look at the deadline."""
        now = self.core.now()
        if deployment["spec"].get("paused"):
            told = ("DeploymentPaused", "Deployment is paused")
            return with_condition(conditions, "Progressing", "Unknown", *told, now), None
        named = f'ReplicaSet "{name_of(fresh or {})}"'
        done = counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == wanted
        before = condition({"status": {"conditions": conditions}}, "Progressing") or {}
        if done:
            if before.get("reason") == "NewReplicaSetAvailable" and not moved:
                return conditions, None
            told = ("NewReplicaSetAvailable", f"{named} has successfully progressed.")
            return with_condition(conditions, "Progressing", True, *told, now), None
        if before.get("reason") == "NewReplicaSetAvailable" and not moved and before.get("status") == "True":
            return conditions, None  # it was complete: pods that die later are not a rollout
        if before.get("reason") == "DeploymentPaused":
            told = ("DeploymentResumed", "Deployment is resumed")
            return with_condition(conditions, "Progressing", "Unknown", *told, now), _deadline(deployment)
        if moved or not before:
            told = ("ReplicaSetUpdated", f"{named} is progressing.")
            return with_condition(conditions, "Progressing", True, *told, now), _deadline(deployment)
        since = unstamp(before.get("lastUpdateTime") or before["lastTransitionTime"])
        left = since + _deadline(deployment) - now
        if left > 0:
            return conditions, left
        told = ("ProgressDeadlineExceeded", f"{named} has timed out progressing.")
        return with_condition(conditions, "Progressing", False, *told, now), None

    def _set_conditions(self, deployment: Json, conditions: list[Json], *, moved: bool) -> None:
        self._stamp(conditions, dig(deployment, "status", "conditions"), moved=moved)
        self.core.set_status(resources.DEPLOYMENTS, deployment, {"conditions": conditions})

    def _stamp(self, conditions: list[Json], old: list[Json] | None, *, moved: bool) -> None:
        """lastUpdateTime moves when anything of a condition does, and while a rollout makes progress."""
        before = {c["type"]: c for c in old or ()}
        for each in conditions:
            same = before.get(each["type"], {})
            kept = {k: v for k, v in same.items() if k != "lastUpdateTime"} == {
                k: v for k, v in each.items() if k != "lastUpdateTime"
            }
            refreshed = moved and each["type"] == "Progressing"
            each["lastUpdateTime"] = same["lastUpdateTime"] if kept and not refreshed else stamp(self.core.now())


def _deadline(deployment: Json) -> float:
    return float(deployment["spec"]["progressDeadlineSeconds"])


def _progressed(old: Json, counts: dict[str, int]) -> bool:
    """More pods of the new template, more ready or available ones, or fewer of the old."""
    updated, replicas = old.get("updatedReplicas") or 0, old.get("replicas") or 0
    return (
        counts["updatedReplicas"] > updated
        or counts["replicas"] - counts["updatedReplicas"] < replicas - updated
        or counts["readyReplicas"] > (old.get("readyReplicas") or 0)
        or counts["availableReplicas"] > (old.get("availableReplicas") or 0)
    )
