"""One container: pulled, started, watched, restarted after ever longer waits, ended.

Invariants: its state is what the pod's status shows; the log of the run before is kept until the next crash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from bot.playground.cluster.core import Core
from bot.playground.cluster.faults import Faults
from bot.playground.cluster.node.environment import ConfigError, base_environment, environment, expand
from bot.playground.cluster.node.images import Program, PullError, Registry
from bot.playground.cluster.node.probes import probe
from bot.playground.cluster.node.processes import Log, Process
from bot.playground.cluster.objects import Json, name_of, namespace_of, stamp, uid_of

_EAGER = 0.05
"""Seconds between two probes until the first that succeeds."""
_LONGEST = 300.0


@dataclass(frozen=True)
class House:
    """What containers share. backoff: seconds of the first wait after a crash, doubled each time; lives: processes."""

    core: Core
    registry: Registry
    faults: Faults
    http: aiohttp.ClientSession
    services: Callable[[str], Mapping[str, str]]
    backoff: float = 10.0
    lives: set[asyncio.Task[int]] = field(default_factory=set)


@dataclass
class Container:
    """A container of a pod. changed: called when its state has."""

    house: House
    pod: Callable[[], Json]
    spec: Json
    port: int
    changed: Callable[[], None]
    state: Json = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Json = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    image_id: str = ""
    log: Log | None = None
    previous: Log | None = None
    _process: Process | None = None
    _ending: bool = False

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.spec["name"])

    @property
    def exit_code(self) -> int | None:
        """Of a container that is over for good."""
        code = self.state.get("terminated", {}).get("exitCode")
        return None if code is None else int(code)

    def status(self) -> Json:
        """Its entry in the pod's status."""
        shown = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "image": self.spec["image"],
            "imageID": self.image_id,
        }
        return shown | ({"containerID": f"playground://{self._process.pid}"} if self._process else {})

    async def run(self, restart: str) -> None:
        """Until it is over for good. restart: the pod's restartPolicy."""
        while not self._ending:
            program = await self._pull()
            code = await self._once(program)
            if restart == "Never" or (restart == "OnFailure" and code == 0):
                return
            if not self._ending:
                await self._back_off()

    async def end(self, grace: float) -> None:
        """Stop it, within so many seconds."""
        self._ending, self.ready = True, False
        if self._process is not None:
            await self._process.end(grace)

    def kill(self) -> None:
        """At once."""
        self._ending = True
        if self._process is not None:
            self._process.kill()

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _pull(self) -> Program:
        """Wait until the image is there."""
        image, wait = self.spec["image"], self.house.backoff
        told = False
        while True:
            try:
                program, self.image_id = self.house.registry.resolve(image)
            except PullError as error:
                if not told:
                    self._event("Normal", "Pulling", f'Pulling image "{image}"')
                self._event("Warning", "Failed", f'Failed to pull image "{image}": {error}')
                self._event("Warning", "Failed", f"Error: {error.reason}")
                self._show({"waiting": {"reason": error.reason, "message": str(error)}})
                told = True
                await asyncio.sleep(_EAGER)
                reason = error.reason if error.reason == "InvalidImageName" else "ImagePullBackOff"
                self._event("Normal", "BackOff", f'Back-off pulling image "{image}"')
                self._event("Warning", "Failed", f"Error: {reason}")
                self._show({"waiting": {"reason": reason, "message": f'Back-off pulling image "{image}": {error}'}})
                await self.house.core.clock.sleep(wait)
                wait = min(_LONGEST, wait * 2)
            else:
                self._event("Normal", "Pulled", f'Container image "{image}" already present on machine')
                return program

    async def _once(self, program: Program) -> int:
        """One run of the process, from its start to its exit code."""
        env = await self._environment(program)
        argv = [expand(a, env) for a in [*(self.spec.get("command") or program.argv), *(self.spec.get("args") or ())]]
        began = stamp(self.house.core.now())
        log = Log()
        self.previous, self.log = self.log, log
        try:
            cwd = self.spec.get("workingDir") or program.cwd
            clock, warm = self.house.core.clock, self.house.registry.warm
            process = await Process.start(clock, argv, env, cwd, log, warm)
        except OSError as error:
            log.close()
            self._over(128, began, "StartError", str(error))
            self._event("Warning", "Failed", f"Error: failed to start container: {error}")
            return 128
        self._process = process
        self.house.lives.add(process.life)
        process.life.add_done_callback(self.house.lives.discard)
        self._event("Normal", "Created", f"Created container: {self.name}")
        self._event("Normal", "Started", f"Started container {self.name}")
        self.started = self.ready = False
        self._show({"running": {"startedAt": began}})
        watching = asyncio.ensure_future(self._watch(env))
        try:
            code = await process.wait()
        finally:
            process.kill()
            self._process = None
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        self._over(code, began, "Completed" if code == 0 else "Error", "")
        return code

    async def _environment(self, program: Program) -> dict[str, str]:
        while True:
            pod = self.pod()
            try:
                asked = environment(self.house.core, pod, self.spec, self.house.services(namespace_of(pod)))
            except ConfigError as error:
                self._event("Warning", "Failed", f"Error: {error}")
                self._show({"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}})
                await self.house.core.clock.sleep(self.house.backoff)
            else:
                base = base_environment(pod, self.port)
                return base | dict(program.env) | asked | {"PORT": base["PORT"]}

    async def _watch(self, env: Mapping[str, str]) -> None:
        """Probe it for as long as it runs."""
        startup = self.spec.get("startupProbe")
        if startup and not await self._until(startup, env):
            return
        self.started = True
        self.changed()
        tasks = [self._readiness(env)]
        if self.spec.get("livenessProbe"):
            tasks.append(self._liveness(self.spec["livenessProbe"], env))
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)

    async def _until(self, spec: Json, env: Mapping[str, str]) -> bool:
        """The startup probe: whether it succeeded before it had failed too often."""
        await self.house.core.clock.sleep(float(spec.get("initialDelaySeconds") or 0))
        clock = self.house.core.clock
        end = clock.time() + spec["periodSeconds"] * spec["failureThreshold"]
        while True:
            why = await probe(spec, self.port, env, self.house.http)
            if not why:
                return True
            if clock.time() >= end:
                self._event("Warning", "Unhealthy", f"Startup probe failed: {why}")
                self._restart("failed startup probe")
                return False
            await asyncio.sleep(_EAGER)

    async def _readiness(self, env: Mapping[str, str]) -> None:
        spec, name = self.spec.get("readinessProbe"), name_of(self.pod())
        if spec:
            await self.house.core.clock.sleep(float(spec.get("initialDelaySeconds") or 0))
        fine = failed = 0
        while True:
            why = await probe(spec, self.port, env, self.house.http) if spec else ""
            if self.house.faults.never_ready(name):
                why = "the playground was told to keep it from becoming ready"
            fine, failed = (0, failed + 1) if why else (fine + 1, 0)
            if not why and not self.ready and fine >= (spec or {}).get("successThreshold", 1):
                self._set_ready(True)
            elif why and failed == 1 and not self.ready:
                self._event("Warning", "Unhealthy", f"Readiness probe failed: {why}")
            elif why and self.ready and failed >= (spec or {}).get("failureThreshold", 1):
                self._event("Warning", "Unhealthy", f"Readiness probe failed: {why}")
                self._set_ready(False)
            await asyncio.sleep(
                float(spec["periodSeconds"]) if spec and self.ready else _EAGER if not self.ready else 0.5
            )

    async def _liveness(self, spec: Json, env: Mapping[str, str]) -> None:
        await self.house.core.clock.sleep(float(spec.get("initialDelaySeconds") or 0))
        failed = 0
        while True:
            why = await probe(spec, self.port, env, self.house.http)
            failed = failed + 1 if why else 0
            if why:
                self._event("Warning", "Unhealthy", f"Liveness probe failed: {why}")
            if failed >= spec["failureThreshold"]:
                self._restart("failed liveness probe")
                return
            await asyncio.sleep(float(spec["periodSeconds"]))

    def _restart(self, why: str) -> None:
        self._event("Normal", "Killing", f"Container {self.name} {why}, will be restarted")
        if self._process is not None:
            self._process.kill()

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self.changed()

    def _over(self, code: int, began: str, reason: str, message: str) -> None:
        ended = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": stamp(self.house.core.now())}
        self.ready = self.started = False
        self._show({"terminated": ended | ({"message": message} if message else {})})

    async def _back_off(self) -> None:
        """Wait before the next run; the first restart comes at once."""
        self.last = self.state
        if self.restarts:
            seconds = min(_LONGEST, self.house.backoff * 2 ** (self.restarts - 1))
            pod = self.pod()
            whose = f"container={self.name} pod={name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"
            message = f"back-off {seconds:g}s restarting failed {whose}"
            self._show({"waiting": {"reason": "CrashLoopBackOff", "message": message}})
            self._event("Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {name_of(pod)}")
            await self.house.core.clock.sleep(seconds)
        self.restarts += 1

    def _show(self, state: Json) -> None:
        self.state = state
        self.changed()

    def _event(self, kind: str, reason: str, message: str) -> None:
        self.house.core.event(self.pod(), kind, reason, message, "kubelet")
