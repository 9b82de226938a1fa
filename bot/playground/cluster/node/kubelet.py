"""The one node: it takes every pod, runs its containers as processes, and writes what became of them.

Invariants: a pod object that goes takes its processes with it; a pod told to go gets its grace period; when the kubelet
stops nothing of it runs on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field

from bot.playground.cluster import resources
from bot.playground.cluster.core import Core
from bot.playground.cluster.node.containers import Container, House
from bot.playground.cluster.objects import (
    Json,
    dig,
    is_going,
    name_of,
    namespace_of,
    stamp,
    uid_of,
    with_condition,
)
from bot.playground.cluster.store import Change
from bot.playground.free_port import free_port

NODE = "playground"


@dataclass
class _Run:
    """A pod that runs here."""

    core: Core
    house: House
    pod: Json
    containers: list[Container] = field(default_factory=list)
    inits: list[Container] = field(default_factory=list)
    began: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    closing: asyncio.Task[None] | None = None
    scheduled: bool = False

    def __post_init__(self) -> None:
        self.began = stamp(self.core.now())
        spec = self.pod["spec"]
        self.inits = [self._container(c) for c in spec.get("initContainers") or ()]
        self.containers = [self._container(c) for c in spec["containers"]]

    def _container(self, spec: Json) -> Container:
        return Container(self.house, lambda: self.pod, spec, free_port(), self.publish)

    async def run(self) -> None:
        """From the node's taking it to its end."""
        self._schedule()
        restart = self.pod["spec"]["restartPolicy"]
        for container in self.inits:
            await container.run("OnFailure" if restart == "Always" else restart)
            if container.exit_code != 0:
                self.publish()
                return
        async with asyncio.TaskGroup() as group:
            for container in self.containers:
                group.create_task(container.run(restart))
        self.publish()

    def _schedule(self) -> None:
        current = self.core.find(resources.PODS, namespace_of(self.pod), name_of(self.pod))
        if current is None:
            return
        node = current["spec"].get("nodeName") or NODE
        self.pod = self.core.store.put(resources.PODS, current | {"spec": current["spec"] | {"nodeName": node}})
        told = f"Successfully assigned {namespace_of(self.pod)}/{name_of(self.pod)} to {node}"
        self.core.event(self.pod, "Normal", "Scheduled", told, "default-scheduler")
        self.scheduled = True
        self.publish()

    def publish(self) -> None:
        """Write the pod's status."""
        if self.scheduled:
            self.core.set_status(resources.PODS, self.pod, self._status())

    def _status(self) -> Json:
        now, phase = self.core.now(), self._phase()
        ready = phase == "Running" and all(c.ready for c in self.containers) and not is_going(self.pod)
        begun = all(c.exit_code == 0 for c in self.inits)
        current = self.core.find(resources.PODS, namespace_of(self.pod), name_of(self.pod)) or self.pod
        found = dig(current, "status", "conditions") or []
        unready = [c.name for c in self.containers if not c.ready]
        why = "" if ready else "PodCompleted" if phase == "Succeeded" else "ContainersNotReady"
        told = "" if ready else f"containers with unready status: [{' '.join(unready)}]"
        found = with_condition(found, "PodScheduled", True, "", "", now)
        found = with_condition(found, "Initialized", begun, "" if begun else "ContainersNotInitialized", "", now)
        for kind in ("ContainersReady", "Ready"):
            found = with_condition(found, kind, ready, why, told, now)
        return {
            "phase": phase,
            "conditions": found,
            "hostIP": "127.0.0.1",
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "startTime": self.began,
            "containerStatuses": [c.status() for c in self.containers],
            "initContainerStatuses": [c.status() for c in self.inits] or None,
        }

    def _phase(self) -> str:
        codes = [c.exit_code for c in self.containers]
        over = self.task is not None and self.ended.is_set()
        failed_init = next((c for c in self.inits if c.exit_code not in (None, 0)), None)
        never = self.pod["spec"]["restartPolicy"] == "Never"
        if failed_init is not None and never:
            return "Failed"
        final = over or self.pod["spec"]["restartPolicy"] != "Always"
        if final and None not in codes and (never or over or not any(codes)):
            return "Failed" if any(codes) else "Succeeded"
        waiting = any(c.state.get("waiting", {}).get("reason") == "ContainerCreating" for c in self.containers)
        unpulled = all("waiting" in c.state and not c.restarts for c in self.containers)
        return "Pending" if waiting or unpulled else "Running"

    async def close(self, grace: float) -> None:
        """End all of it."""
        for container in self.containers:
            container.ready = False
        self.publish()
        await asyncio.gather(*(c.end(grace) for c in [*self.inits, *self.containers]))
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    def kill(self) -> None:
        """End all of it at once."""
        for container in [*self.inits, *self.containers]:
            container.kill()


class Kubelet:
    """All pods of the cluster."""

    def __init__(self, core: Core, house: House) -> None:
        self._core, self._house = core, house
        self._runs: dict[str, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        core.store.listeners.append(self._heard)

    async def stop(self) -> None:
        """Kill everything."""
        if self._heard in self._core.store.listeners:
            self._core.store.listeners.remove(self._heard)
        runs = list(self._runs.values())
        for run in runs:
            run.kill()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._house.lives)
        self._runs.clear()

    def containers(self, pod: Json) -> list[Container]:
        """Of this pod; none where it does not run here."""
        run = self._runs.get(uid_of(pod))
        return [*run.inits, *run.containers] if run else []

    def port(self, pod: Json, wanted: int | str | None = None) -> int | None:
        """The loopback port behind a container port of a pod, by number or name."""
        run = self._runs.get(uid_of(pod))
        if run is None:
            return None
        for container in run.containers:
            if any(wanted in (p.get("containerPort"), p.get("name")) for p in container.spec.get("ports") or ()):
                return container.port
        return run.containers[0].port

    def _heard(self, change: Change) -> None:
        if change.store != resources.PODS.store:
            return
        uid = uid_of(change.new)
        run = self._runs.get(uid)
        if change.kind == "ADDED" and run is None:
            run = self._runs[uid] = _Run(self._core, self._house, change.new)
            run.task = self._spawn(self._run(run))
        elif run is None:
            return
        elif change.kind == "DELETED":
            run.kill()
            self._runs.pop(uid)
            if run.task is not None:
                run.task.cancel()
        else:
            run.pod = change.new
            if is_going(change.new) and run.closing is None:
                run.closing = self._spawn(self._close(run))

    async def _run(self, run: _Run) -> None:
        try:
            await run.run()
        finally:
            run.kill()
        run.ended.set()
        run.publish()

    async def _close(self, run: _Run) -> None:
        for container in run.containers:
            self._core.event(run.pod, "Normal", "Killing", f"Stopping container {container.name}", "kubelet")
        await run.close(float(run.pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        if not run.pod["metadata"].get("finalizers"):
            self._core.finish(resources.PODS, run.pod)

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
