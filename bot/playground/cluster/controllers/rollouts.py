"""Argo Rollouts' controller: a Rollout goes from its stable ReplicaSet to the one of its template, step by step.

The template is its own, or the one of the Deployment that `workloadRef` names (whose own replicas stay as they are).
Canary: `setWeight` and `pause` (for ever, or for a duration); other steps are passed over. Blue-green: all pods beside
the old ones, then the switch, at once or (autoPromotionEnabled false) when somebody promotes. Traffic routers, analyses
and experiments are left out: a weight is a share of the pods.

Invariants:
- a new template resets step, abort, pause and promoteFull; one that is the stable one skips every step;
- `spec.paused` halts all scaling, that of a rollback too; `status.abort` brings the stable pods back and keeps the
  template; `status.promoteFull` skips what is left;
- observedGeneration and workloadObservedGeneration are strings; the Rollout's generation does not move when the
  Deployment that it refers to changes.

Source: argo-rollouts controller (canary.go, bluegreen.go, sync.go).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.controllers.deployments import template_hash
from bot.playground.cluster.core import Core
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    dig,
    is_going,
    labels_of,
    name_of,
    namespace_of,
    owned_by,
    stamp,
    unstamp,
)
from bot.playground.cluster.store import Change, Key
from bot.playground.copied import copied

HASH = "rollouts-pod-template-hash"
REVISION = "rollout.argoproj.io/revision"
COMPONENT = "rollouts-controller"
WHO = User.service_account("argo-rollouts", "argo-rollouts")


@dataclass
class Rollouts:
    """The controller."""

    core: Core

    def concerns(self, change: Change) -> Iterable[Key]:
        """Rollouts that refer to a Deployment that changed."""
        if change.store != resources.DEPLOYMENTS.store:
            return []
        space, name = namespace_of(change.new), name_of(change.new)
        found = self.core.all(resources.ROLLOUTS, space)
        return [(space, name_of(r)) for r in found if dig(r, "spec", "workloadRef", "name") == name]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this Rollout."""
        rollout = self.core.find(resources.ROLLOUTS, namespace, name)
        if rollout is None or is_going(rollout):
            return None
        workload, template = self._template(rollout)
        if template is None:
            self._status(rollout, {"phase": "Degraded", "message": "InvalidSpec: there is no pod template"})
            return None
        wanted = template_hash({"rollouts": template})  # another hash than a Deployment's of the same template
        if dig(rollout, "status", "currentPodHash") != wanted:
            reset = {"currentPodHash": wanted, "abort": None, "promoteFull": None, "pauseConditions": None,
                     "currentStepIndex": 0, "controllerPause": None}  # fmt: skip
            rollout = self._status(rollout, reset)
        current = self._current(rollout, template, wanted)
        again = None
        if not rollout["spec"].get("paused"):
            again = self._go(rollout, current)
        self._report(self.core.get(resources.ROLLOUTS, namespace, name), workload, wanted)
        return again

    def _template(self, rollout: Json) -> tuple[Json | None, Json | None]:
        """The Deployment that it refers to, and its pod template."""
        reference = rollout["spec"].get("workloadRef")
        if not reference:
            return None, rollout["spec"].get("template")
        found = self.core.find(resources.DEPLOYMENTS, namespace_of(rollout), reference["name"])
        return found, found["spec"]["template"] if found is not None else None

    def _sets(self, rollout: Json) -> dict[str, Json]:
        found = self.core.owned(resources.REPLICASETS, rollout)
        return {labels_of(s).get(HASH, ""): s for s in found if not is_going(s)}

    def _current(self, rollout: Json, template: Json, wanted: str) -> Json:
        """The ReplicaSet of the present template."""
        sets = self._sets(rollout)
        if wanted in sets:
            return sets[wanted]
        body = copied(template)
        labels = (dig(body, "metadata", "labels") or {}) | {HASH: wanted}
        body["metadata"] = (body.get("metadata") or {}) | {"labels": labels}
        meta = {
            "name": f"{name_of(rollout)}-{wanted}",
            "labels": labels,
            "annotations": {REVISION: str(len(sets) + 1)},
            "ownerReferences": [owned_by(rollout)],
        }
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": body,
                "minReadySeconds": rollout["spec"].get("minReadySeconds") or 0}  # fmt: skip
        made = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": meta, "spec": spec}
        return self.core.create(WHO, resources.REPLICASETS, namespace_of(rollout), made)

    # -- scaling ---------------------------------------------------------------------------------------------------

    def _go(self, rollout: Json, current: Json) -> float | None:
        """Scale for the step that it is at, and go on to the next where that is reached."""
        status, wanted = rollout.get("status") or {}, _replicas(rollout)
        stable = self._sets(rollout).get(status.get("stableRS") or "")
        if stable is None or name_of(stable) == name_of(current):
            self._all(rollout, current, wanted)
            return None
        if status.get("abort"):
            self._scale(stable, wanted)
            if _available(stable) >= wanted:
                self._scale(current, 0)
            return None
        if status.get("promoteFull"):
            self._all(rollout, current, wanted)
            return None
        if dig(rollout, "spec", "strategy", "blueGreen") is not None:
            self._blue_green(rollout, current, wanted)
            return None
        return self._canary(rollout, stable, current, wanted)

    def _all(self, rollout: Json, current: Json, wanted: int) -> None:
        """Every pod of this template; the others go when it is there."""
        self._scale(current, wanted)
        if _available(self._fresh(current)) < wanted:
            return
        for each in self._sets(rollout).values():
            if name_of(each) != name_of(current):
                self._scale(each, 0)
        done = {
            "stableRS": labels_of(current)[HASH],
            "promoteFull": None,
            "abort": None,
            "pauseConditions": None,
            "controllerPause": None,
        }
        self._status(rollout, done | {"currentStepIndex": len(_steps(rollout))})

    def _canary(self, rollout: Json, stable: Json, current: Json, wanted: int) -> float | None:
        steps, i = _steps(rollout), int(dig(rollout, "status", "currentStepIndex") or 0)
        if i >= len(steps):
            self._all(rollout, current, wanted)
            return None
        share = max([s["setWeight"] for s in steps[: i + 1] if "setWeight" in s][-1:], default=0)
        fresh = math.ceil(wanted * share / 100)
        self._scale(current, fresh)
        if _available(self._fresh(current)) < fresh:
            return None
        self._scale(stable, wanted - fresh)
        return self._pause(rollout, i, steps[i]["pause"]) if "pause" in steps[i] else self._next(rollout, i)

    def _pause(self, rollout: Json, i: int, pause: Json) -> float | None:
        """Wait at a pause step: for its duration, or until somebody promotes, which clears pauseConditions."""
        held = dig(rollout, "status", "pauseConditions")
        lasts = _seconds(pause["duration"]) if pause.get("duration") else None
        if not held and dig(rollout, "status", "controllerPause"):
            return self._next(rollout, i)
        if not held:
            self._hold(rollout, "CanaryPauseStep")
            return lasts
        if lasts is None:
            return None
        left = unstamp(held[0]["startTime"]) + lasts - self.core.now()
        return self._next(rollout, i) if left <= 0 else left

    def _hold(self, rollout: Json, reason: str) -> None:
        condition = {"reason": reason, "startTime": stamp(self.core.now())}
        self._status(rollout, {"pauseConditions": [condition], "controllerPause": True})

    def _next(self, rollout: Json, i: int) -> float:
        self._status(rollout, {"currentStepIndex": i + 1, "pauseConditions": None, "controllerPause": None})
        return 0.0

    def _blue_green(self, rollout: Json, current: Json, wanted: int) -> None:
        self._scale(current, wanted)
        if _available(self._fresh(current)) < wanted:
            return
        held = dig(rollout, "spec", "strategy", "blueGreen", "autoPromotionEnabled") is False
        if held and not dig(rollout, "status", "controllerPause"):
            self._hold(rollout, "BlueGreenPause")
        elif not held or not dig(rollout, "status", "pauseConditions"):
            self._all(rollout, current, wanted)

    def _fresh(self, replica_set: Json) -> Json:
        return self.core.get(resources.REPLICASETS, namespace_of(replica_set), name_of(replica_set))

    def _scale(self, replica_set: Json, replicas: int) -> None:
        if self._fresh(replica_set)["spec"]["replicas"] != replicas:
            self.core.spec_change(WHO, resources.REPLICASETS, replica_set, replicas=replicas)

    # -- reporting -------------------------------------------------------------------------------------------------

    def _status(self, rollout: Json, fields: Json) -> Json:
        return self.core.set_status(resources.ROLLOUTS, rollout, fields)

    def _report(self, rollout: Json, workload: Json | None, wanted: str) -> None:
        sets, status = self._sets(rollout), rollout.get("status") or {}
        fresh = sets.get(wanted)

        def total(field: str) -> int:
            return sum(dig(s, "status", field) or 0 for s in sets.values())

        there = total("replicas") == total("availableReplicas") == _replicas(rollout)
        phase, message = "Progressing", "more replicas need to be updated"
        if rollout["spec"].get("paused") or status.get("pauseConditions"):
            reasons = [c["reason"] for c in status.get("pauseConditions") or ()]
            phase, message = "Paused", reasons[0] if reasons else "manually paused"
        elif status.get("abort"):
            phase, message = "Degraded", "RolloutAborted: Rollout aborted update to revision"
        elif (
            there and status.get("stableRS") == wanted and (dig(fresh, "status", "replicas") or 0) == total("replicas")
        ):
            phase, message = "Healthy", ""
        counts = {"replicas": total("replicas"), "updatedReplicas": dig(fresh, "status", "replicas") or 0,
                  "readyReplicas": total("readyReplicas"), "availableReplicas": total("availableReplicas")}  # fmt: skip
        seen: Json = {"observedGeneration": str(rollout["metadata"]["generation"])}
        if workload is not None:
            seen |= {"workloadObservedGeneration": str(workload["metadata"]["generation"])}
        if dig(rollout, "spec", "strategy", "blueGreen") is not None:
            seen |= {"blueGreen": {"activeSelector": status.get("stableRS"), "previewSelector": wanted}}
        self._status(rollout, counts | seen | {"phase": phase, "message": message or None})


def _replicas(rollout: Json) -> int:
    return int(rollout["spec"].get("replicas", 1))


def _steps(rollout: Json) -> list[Json]:
    return list(dig(rollout, "spec", "strategy", "canary", "steps") or ())


def _available(replica_set: Json) -> int:
    return int(dig(replica_set, "status", "availableReplicas") or 0)


def _seconds(duration: object) -> float:
    """ "60s", "5m", or a number of seconds."""
    text = str(duration)
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    return float(text[:-1]) * unit if unit else float(text)
