"""HorizontalPodAutoscaler and KEDA's ScaledObject: what moves replicas while nobody looks, and undoes a scale to zero.

Metrics are told by the test: `Metrics.set("shop", "Deployment", "web", 1.5)` says that the load is 1.5 times what its
pods are meant to take. Upstream's stabilisation windows are left out: each look acts.

Invariants: an HPA never leaves min..max and leaves a target at 0 alone (ScalingDisabled), unless its minReplicas is 0:
then it holds 0 by itself while nothing is to do, and wakes the target (HPAScaleToZero, on from 1.37); it scales up no
target where behavior.scaleUp.selectPolicy is Disabled. A ScaledObject at 0 scales up while its trigger is active, but
where it is paused by annotation, which is read as Go's ParseBool does: what is no boolean pauses too. A ScaledJob only
says whether it is paused: its Jobs are the matter of the test.

Source: pkg/controller/podautoscaler; keda.sh/docs/concepts/scaling-deployments (pausing).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

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
    stamp,
    with_condition,
)
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.store import Change, Key

PAUSED = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
TOLERANCE = 0.1
HPA_WHO = User.service_account("kube-system", "horizontal-pod-autoscaler")
KEDA_WHO = User.service_account("keda", "keda-operator")
_TARGETS: dict[str, Resource] = {
    "Deployment": resources.DEPLOYMENTS,
    "ReplicaSet": resources.REPLICASETS,
    "StatefulSet": resources.STATEFULSETS,
    "Rollout": resources.ROLLOUTS,
}


@dataclass
class Metrics:
    """How loaded each workload is: 1.0 is what its pods are meant to take, 0 is idle."""

    changed: Callable[[], None] = lambda: None
    _loads: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def set(self, namespace: str, kind: str, name: str, load: float | None) -> None:
        """From now on; None: nothing is measured."""
        self._loads.pop((namespace, kind, name), None)
        if load is not None:
            self._loads[namespace, kind, name] = load
        self.changed()

    def get(self, namespace: str, kind: str, name: str) -> float | None:
        """The load, or None where nothing is measured."""
        return self._loads.get((namespace, kind, name))


def _target(core: Core, obj: Json) -> tuple[Resource, Json] | None:
    ref = obj["spec"]["scaleTargetRef"]
    resource = _TARGETS.get(ref.get("kind") or "Deployment")
    found = core.find(resource, namespace_of(obj), ref["name"]) if resource else None
    return (resource, found) if resource and found is not None else None


@dataclass
class Autoscalers:
    """The HPA controller. period: seconds between two looks, 15 upstream."""

    core: Core
    metrics: Metrics
    period: float = 15.0

    def concerns(self, change: Change) -> Iterable[Key]:
        """Nothing: it looks by time only, as upstream."""
        return ()

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Measure, and scale."""
        hpa = self.core.find(resources.AUTOSCALERS, namespace, name)
        if hpa is None or is_going(hpa):
            return None
        found, now = _target(self.core, hpa), self.core.now()
        conditions = dig(hpa, "status", "conditions") or []
        if found is None:
            told = f"{hpa['spec']['scaleTargetRef']['name']} not found"
            self._report(hpa, with_condition(conditions, "AbleToScale", False, "FailedGetScale", told, now), 0, 0)
            return self.period
        resource, target = found
        current = target["spec"]["replicas"]
        conditions = with_condition(
            conditions, "AbleToScale", True, "ReadyForNewScale", "recommended size matches current size", now
        )
        wanted, active = self._wanted(hpa, target, current)
        conditions = with_condition(conditions, "ScalingActive", *active, now)
        if wanted != current:
            self.core.spec_change(HPA_WHO, resource, target, replicas=wanted)
            told = f"New size: {wanted}; reason: load {'above' if wanted > current else 'below'} target"
            self.core.event(hpa, "Normal", "SuccessfulRescale", told, "horizontal-pod-autoscaler")
        self._report(hpa, conditions, current, wanted, scaled=wanted != current)
        return self.period

    def _wanted(self, hpa: Json, target: Json, current: int) -> tuple[int, tuple[bool, str, str]]:
        least, most = hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]
        if current == 0 and least == 0:
            busy = self.metrics.get(namespace_of(hpa), target["kind"], name_of(target)) or 0.0
            held = dig(hpa, "spec", "behavior", "scaleUp", "selectPolicy") == "Disabled"
            return (0 if held else min(most, math.ceil(busy))), (True, "ValidMetricFound", "scaled to zero by the HPA")
        if current == 0:
            told = "scaling is disabled since the replica count of the target is zero"
            return 0, (False, "ScalingDisabled", told)
        if not least <= current <= most:
            return min(max(current, least), most), (True, "ValidMetricFound", "the replica count was out of bounds")
        load = self.metrics.get(namespace_of(hpa), target["kind"], name_of(target))
        if load is None:
            told = "the HPA was unable to compute the replica count: no metrics returned from resource metrics API"
            return current, (False, "FailedGetResourceMetric", told)
        wanted = current if abs(load - 1.0) <= TOLERANCE else math.ceil(current * load)
        told = "the HPA was able to successfully calculate a replica count from the metric"
        return min(max(wanted, least), most), (True, "ValidMetricFound", told)

    def _report(self, hpa: Json, conditions: list[Json], current: int, wanted: int, *, scaled: bool = False) -> None:
        status: Json = {"conditions": conditions, "currentReplicas": current, "desiredReplicas": wanted}
        status |= {"observedGeneration": hpa["metadata"]["generation"]}
        status |= {"lastScaleTime": stamp(self.core.now())} if scaled else {}
        self.core.set_status(resources.AUTOSCALERS, hpa, status)


@dataclass
class ScaledObjects:
    """KEDA's operator. It polls its triggers every pollingInterval seconds (30)."""

    core: Core
    metrics: Metrics

    def concerns(self, change: Change) -> Iterable[Key]:
        """The HPA it made: put back when somebody takes it away."""
        owners = change.new["metadata"].get("ownerReferences") or ()
        if change.store == resources.AUTOSCALERS.store:
            return [(namespace_of(change.new), o["name"]) for o in owners if o["kind"] == "ScaledObject"]
        return []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Pause, or scale from and to zero, and leave the rest to an HPA."""
        scaled = self.core.find(resources.SCALED_OBJECTS, namespace, name)
        if scaled is None or is_going(scaled):
            return None
        found, period = _target(self.core, scaled), float(scaled["spec"].get("pollingInterval") or 30)
        if found is None:
            self._condition(
                scaled,
                "Ready",
                False,
                "ScaledObjectCheckFailed",
                "ScaledObject doesn't have correct scaleTargetRef specification",
            )
            return period
        resource, target = found
        load = self.metrics.get(namespace, target["kind"], name_of(target)) or 0.0
        pause, hold = annotations_of(scaled).get(PAUSED_REPLICAS), is_held(scaled)
        if pause is not None or hold:
            self._pause(scaled, resource, target, pause)
        else:
            self._run(scaled, resource, target, active=load > 0)
        self._condition(
            scaled, "Ready", True, "ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling"
        )
        held = pause is not None or hold
        self._condition(scaled, "Active", load > 0 and not held, "ScalerActive" if load > 0 else "ScalerNotActive", "")
        self._condition(scaled, "Paused", held, "ScaledObjectPaused" if held else "ScaledObjectUnpaused", "")
        return period

    def _pause(self, scaled: Json, resource: Resource, target: Json, pause: str | None) -> None:
        hpa = self.core.find(resources.AUTOSCALERS, namespace_of(scaled), _hpa_name(scaled))
        if hpa is not None:
            self.core.delete(KEDA_WHO, resources.AUTOSCALERS, namespace_of(scaled), _hpa_name(scaled))
        if pause is not None and pause.isdigit():
            if target["spec"]["replicas"] != int(pause):
                self.core.spec_change(KEDA_WHO, resource, target, replicas=int(pause))
            self.core.set_status(resources.SCALED_OBJECTS, scaled, {"pausedReplicaCount": int(pause)})

    def _run(self, scaled: Json, resource: Resource, target: Json, *, active: bool) -> None:
        spec, replicas = scaled["spec"], target["spec"]["replicas"]
        least = int(spec.get("minReplicaCount") or 0)
        self._keep_hpa(scaled, least, int(spec.get("maxReplicaCount") or 100))
        self.core.set_status(
            resources.SCALED_OBJECTS,
            scaled,
            {
                "hpaName": _hpa_name(scaled),
                "originalReplicaCount": dig(scaled, "status", "originalReplicaCount") or replicas,
                "pausedReplicaCount": None,
                "scaleTargetKind": f"{target['apiVersion']}.{target['kind']}",
            },
        )
        idle = spec.get("idleReplicaCount")
        wanted = max(1, least) if active and replicas == 0 else least if not active and least == 0 else replicas
        if least and replicas < least:
            wanted = least
        if idle is not None and not active:
            wanted = int(idle)
        if wanted != replicas:
            self.core.spec_change(KEDA_WHO, resource, target, replicas=wanted)
            reason = "KEDAScaleTargetActivated" if wanted else "KEDAScaleTargetDeactivated"
            whose = f"{target['apiVersion']}.{target['kind']} {namespace_of(target)}/{name_of(target)}"
            told = f"Scaled {whose} from {replicas} to {wanted}"
            self.core.event(scaled, "Normal", reason, told, "keda-operator")

    def _keep_hpa(self, scaled: Json, least: int, most: int) -> None:
        found = self.core.find(resources.AUTOSCALERS, namespace_of(scaled), _hpa_name(scaled))
        spec = {
            "minReplicas": max(1, least),
            "maxReplicas": most,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment"} | scaled["spec"]["scaleTargetRef"],
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": f"s{i}-{t.get('type', '')}"},
                        "target": {"type": "AverageValue", "averageValue": "1"},
                    },
                }
                for i, t in enumerate(scaled["spec"]["triggers"])
            ],
        }
        if found is None:
            meta = {"name": _hpa_name(scaled), "ownerReferences": [owned_by(scaled)]}
            body = {"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", "metadata": meta, "spec": spec}
            self.core.create(KEDA_WHO, resources.AUTOSCALERS, namespace_of(scaled), body)
        elif found["spec"] != spec:
            self.core.spec_change(KEDA_WHO, resources.AUTOSCALERS, found, **spec)

    def _condition(self, scaled: Json, kind: str, holds: bool, reason: str, message: str) -> None:
        current = self.core.find(resources.SCALED_OBJECTS, namespace_of(scaled), name_of(scaled)) or scaled
        had = condition(current, kind)
        if had is not None and had["status"] == str(holds) and had.get("reason") == reason:
            return
        fresh = with_condition(dig(current, "status", "conditions"), kind, holds, reason, message, self.core.now())
        self.core.set_status(resources.SCALED_OBJECTS, current, {"conditions": fresh})


@dataclass
class ScaledJobs:
    """KEDA's operator for ScaledJobs: whether it is paused."""

    core: Core

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Say so."""
        scaled = self.core.find(resources.SCALED_JOBS, namespace, name)
        if scaled is not None and not is_going(scaled):
            held, now = is_held(scaled), self.core.now()
            reason = "ScaledJobPaused" if held else "ScaledJobUnpaused"
            fresh = with_condition(dig(scaled, "status", "conditions"), "Paused", held, reason, "", now)
            self.core.set_status(resources.SCALED_JOBS, scaled, {"conditions": fresh})
        return None


def is_held(scaled: Json) -> bool:
    """Whether the annotation `paused` pauses it."""
    value = annotations_of(scaled).get(PAUSED)
    return value is not None and value not in ("0", "f", "F", "false", "FALSE", "False")


def _hpa_name(scaled: Json) -> str:
    return str(
        dig(scaled, "spec", "advanced", "horizontalPodAutoscalerConfig", "name") or f"keda-hpa-{name_of(scaled)}"
    )
