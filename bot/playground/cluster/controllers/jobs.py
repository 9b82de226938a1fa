"""Job -> Pods, until enough have succeeded or too many have failed.

Invariants: a finished Job starts nothing more; a suspended one has no pods; each failure but the first waits longer.

Source: pkg/controller/job.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.controllers.replicasets import end_pod, is_active, make_pod, pod_of
from bot.playground.cluster.core import Core, Delete, pod_is_ready
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    dig,
    is_going,
    is_true,
    name_of,
    namespace_of,
    stamp,
    unstamp,
    with_condition,
)

COMPONENT = "job-controller"
WHO = User.service_account("kube-system", COMPONENT)
_BACKOFF = 10.0
_LONGEST = 600.0


def is_finished(job: Json) -> bool:
    """Complete, or Failed."""
    return is_true(job, "Complete") or is_true(job, "Failed")


@dataclass
class Jobs:
    """The controller."""

    core: Core

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next step of this Job."""
        job = self.core.find(resources.JOBS, namespace, name)
        if job is None or is_going(job):
            return None
        if is_finished(job):
            return self._expire(job)
        now = self.core.now()
        pods = self.core.owned(resources.PODS, job)
        active = [p for p in pods if is_active(p)]
        if job["spec"].get("suspend"):
            self._suspend(job, active)
            return None
        if dig(job, "status", "startTime") is None:
            job = self._begin(job)
        succeeded = [p for p in pods if dig(p, "status", "phase") == "Succeeded"]
        failed = [p for p in pods if dig(p, "status", "phase") == "Failed"]
        deadline = job["spec"].get("activeDeadlineSeconds")
        left = float(unstamp(job["status"]["startTime"]) + deadline - now) if deadline else None
        if left is not None and left <= 0:
            told = ("DeadlineExceeded", "Job was active longer than specified deadline")
            return self._end(job, active, succeeded, failed, "Failed", *told)
        restarts = sum(c["restartCount"] for p in active for c in dig(p, "status", "containerStatuses") or ())
        if len(failed) + restarts > job["spec"]["backoffLimit"]:
            told = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
            return self._end(job, active, succeeded, failed, "Failed", *told)
        wanted = job["spec"].get("completions")
        if (len(succeeded) >= wanted) if wanted is not None else (succeeded and not active):
            told = ("CompletionsReached", "Reached expected number of succeeded pods")
            return self._end(job, active, succeeded, failed, "Complete", *told)
        wait = self._start(job, active, succeeded, failed)
        self._count(job, succeeded, failed)
        return min([w for w in (wait, left) if w is not None], default=None)

    def _start(self, job: Json, active: list[Json], succeeded: list[Json], failed: list[Json]) -> float | None:
        room = job["spec"]["parallelism"]
        completions = job["spec"].get("completions")
        if completions is not None:
            room = min(room, completions - len(succeeded))
        elif succeeded:
            room = len(active)
        missing = room - len(active)
        if missing > 0 and failed:
            last = max(_ended(p, self.core.now()) for p in failed)
            due: float = last + min(_LONGEST, _BACKOFF * 2.0 ** (len(failed) - 1))
            if due > self.core.now():
                return due - self.core.now()
        for _ in range(missing):
            if make_pod(self.core, WHO, job, pod_of(job, job["spec"]["template"]), COMPONENT):
                return 1.0
        return None

    def _begin(self, job: Json) -> Json:
        status: Json = {"startTime": stamp(self.core.now())}
        if dig(job, "status", "conditions"):
            conditions = with_condition(
                job["status"]["conditions"], "Suspended", False, "JobResumed", "Job resumed", self.core.now()
            )
            status |= {"conditions": conditions}
        return self.core.set_status(resources.JOBS, job, status)

    def _suspend(self, job: Json, active: list[Json]) -> None:
        for pod in active:
            end_pod(self.core, WHO, job, pod, COMPONENT)
        conditions = with_condition(
            dig(job, "status", "conditions"), "Suspended", True, "JobSuspended", "Job suspended", self.core.now()
        )
        self.core.set_status(resources.JOBS, job, {"conditions": conditions, "startTime": None, "active": None})

    def _count(self, job: Json, succeeded: list[Json], failed: list[Json]) -> None:
        active = [p for p in self.core.owned(resources.PODS, job) if is_active(p)]
        self.core.set_status(
            resources.JOBS,
            job,
            {
                "active": len(active) or None,
                "ready": sum(map(pod_is_ready, active)),
                "terminating": 0,
                "succeeded": len(succeeded) or None,
                "failed": len(failed) or None,
            },
        )

    def _end(
        self,
        job: Json,
        active: list[Json],
        succeeded: list[Json],
        failed: list[Json],
        kind: str,
        reason: str,
        message: str,
    ) -> float | None:
        for pod in active:
            end_pod(self.core, WHO, job, pod, COMPONENT)
        now = self.core.now()
        conditions = with_condition(dig(job, "status", "conditions"), kind, True, reason, message, now)
        for each in conditions:
            each.setdefault("lastProbeTime", each["lastTransitionTime"])
        done = {"completionTime": stamp(now)} if kind == "Complete" else {}
        counts = {
            "active": None,
            "ready": 0,
            "succeeded": len(succeeded) or None,
            "failed": len(failed) + len(active) or None,
        }
        self.core.set_status(resources.JOBS, job, counts | done | {"conditions": conditions})
        if kind == "Complete":
            self.core.event(job, "Normal", "Completed", "Job completed", COMPONENT)
        else:
            self.core.event(job, "Warning", reason, message, COMPONENT)
        return self._expire(self.core.get(resources.JOBS, namespace_of(job), name_of(job)))

    def _expire(self, job: Json) -> float | None:
        """Take a finished Job away when ttlSecondsAfterFinished says so."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        ended = max(unstamp(c["lastTransitionTime"]) for c in job["status"]["conditions"])
        left = float(ended + ttl - self.core.now())
        if left > 0:
            return left
        self.core.delete(WHO, resources.JOBS, namespace_of(job), name_of(job), Delete("Foreground"))
        return None


def _ended(pod: Json, now: float) -> float:
    at = dig(pod, "status", "containerStatuses", 0, "state", "terminated", "finishedAt")
    return unstamp(at) if at else now
