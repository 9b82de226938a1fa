"""CronJob -> Jobs by its schedule.

After a pause the newest missed time starts at once, if startingDeadlineSeconds allows it, and the others are lost. With
more than a hundred missed the controller warns "too many missed start times" and starts the newest all the same, as it
has since 1.21 (before, it never started again: kubernetes#45825).

Invariants: a scheduled time starts one Job at most, since the Job's name is that time; a suspended CronJob starts none.

Source: pkg/controller/cronjob.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from bot import cron as schedules
from bot.playground.cluster import resources
from bot.playground.cluster.controllers.jobs import is_finished
from bot.playground.cluster.core import Core, Delete
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    created_at,
    dig,
    is_going,
    is_true,
    name_of,
    namespace_of,
    owned_by,
    stamp,
    uid_of,
    unstamp,
)
from bot.playground.copied import copied

COMPONENT = "cronjob-controller"
WHO = User.service_account("kube-system", COMPONENT)
MANY = 100
"""Missed times above which the controller warns."""
TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"


def times(schedule: str, zone: str | None, since: float) -> Iterator[datetime.datetime]:
    """The scheduled times after this one, in Unix seconds."""
    return schedules.times(schedule, zone, datetime.datetime.fromtimestamp(since, datetime.UTC))


@dataclass
class CronJobs:
    """The controller."""

    core: Core

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Start what is due."""
        cron = self.core.find(resources.CRONJOBS, namespace, name)
        if cron is None or is_going(cron):
            return None
        cron = self._account(cron)
        if cron["spec"].get("suspend"):
            return None
        now = self.core.now()
        missed, coming = self._missed(cron, now)
        if missed:
            if len(missed) > MANY:
                self._warn(cron, "TooManyMissedTimes", TOO_MANY)
            self._begin(cron, missed[-1], now)
        return max(0.01, coming - now)

    def _missed(self, cron: Json, now: float) -> tuple[list[float], float]:
        """Times that are due and not started, the newest last and no more than enough to warn; and the next one."""
        spec = cron["spec"]
        last = dig(cron, "status", "lastScheduleTime")
        since = unstamp(last) if last else created_at(cron)
        patience = spec.get("startingDeadlineSeconds")
        if patience is not None:
            since = max(since, now - patience)
        found: list[float] = []
        for at in times(spec["schedule"], spec.get("timeZone"), since):
            if at.timestamp() > now:
                return found, at.timestamp()
            found = [*found[-MANY:], at.timestamp()]
        return found, now + 3600.0

    def _begin(self, cron: Json, at: float, now: float) -> None:
        patience = cron["spec"].get("startingDeadlineSeconds")
        if patience is not None and at + patience < now:
            self._warn(cron, "MissSchedule", f"Missed scheduled time to start a job: {stamp(at)}")
            return
        active = self._active(cron)
        policy = cron["spec"]["concurrencyPolicy"]
        if policy == "Forbid" and active:
            told = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.core.event(cron, "Normal", "JobAlreadyActive", told, COMPONENT)
            return
        if policy == "Replace":
            for job in active:
                self.core.delete(WHO, resources.JOBS, namespace_of(job), name_of(job), Delete("Background"))
                self.core.event(cron, "Normal", "SuccessfulDelete", f"Deleted job {name_of(job)}", COMPONENT)
        self._create(cron, at)

    def _create(self, cron: Json, at: float) -> None:
        template = copied(cron["spec"]["jobTemplate"])
        meta = {k: v for k, v in (template.get("metadata") or {}).items() if k in ("labels", "annotations")}
        marks = (meta.get("annotations") or {}) | {"batch.kubernetes.io/cronjob-scheduled-timestamp": stamp(at)}
        body = {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "metadata": meta
            | {
                "name": f"{name_of(cron)}-{int(at) // 60}",
                "annotations": marks,
                "ownerReferences": [owned_by(cron)],
            },
            "spec": template["spec"],
        }
        try:
            job = self.core.create(WHO, resources.JOBS, namespace_of(cron), body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._warn(cron, "FailedCreate", f"Error creating job: {error.message}")
                raise
        else:
            self.core.event(cron, "Normal", "SuccessfulCreate", f"Created job {name_of(job)}", COMPONENT)
        self.core.set_status(resources.CRONJOBS, cron, {"lastScheduleTime": stamp(at)})
        self._account(self.core.get(resources.CRONJOBS, namespace_of(cron), name_of(cron)))

    def _active(self, cron: Json) -> list[Json]:
        return [j for j in self.core.owned(resources.JOBS, cron) if not is_finished(j) and not is_going(j)]

    def _account(self, cron: Json) -> Json:
        """What runs, what has ended, and which finished Jobs are kept."""
        jobs = self.core.owned(resources.JOBS, cron)
        active = self._active(cron)
        known = {a["uid"] for a in dig(cron, "status", "active") or ()}
        for job in jobs:
            if is_finished(job) and uid_of(job) in known:
                how = "Complete" if is_true(job, "Complete") else "Failed"
                self.core.event(
                    cron, "Normal", "SawCompletedJob", f"Saw completed job: {name_of(job)}, condition: {how}", COMPONENT
                )
        done = [j["status"]["completionTime"] for j in jobs if is_true(j, "Complete")]
        best = max([*done, *filter(None, [dig(cron, "status", "lastSuccessfulTime")])], default=None)
        listed = [
            {
                "kind": "Job",
                "apiVersion": "batch/v1",
                "name": name_of(j),
                "namespace": namespace_of(j),
                "uid": uid_of(j),
                "resourceVersion": j["metadata"]["resourceVersion"],
            }
            for j in active
        ]
        if [a["uid"] for a in listed] == [a["uid"] for a in dig(cron, "status", "active") or ()]:
            listed = dig(cron, "status", "active") or []
        cron = self.core.set_status(resources.CRONJOBS, cron, {"active": listed or None, "lastSuccessfulTime": best})
        for kind, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
            ended = [j for j in jobs if is_true(j, kind) and not is_going(j)]
            for job in ended[: max(0, len(ended) - cron["spec"][limit])]:
                self.core.delete(WHO, resources.JOBS, namespace_of(job), name_of(job), Delete("Background"))
        return cron

    def _warn(self, cron: Json, reason: str, message: str) -> None:
        self.core.event(cron, "Warning", reason, message, COMPONENT)
