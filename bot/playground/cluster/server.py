"""A Kubernetes cluster in this process: its API on a loopback port, its controllers, and its pods as processes.

Invariants: listens on loopback only; a cluster that is disconnected keeps working and forgets nothing, and comes back
on the same port; when it is closed nothing of it runs on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from bot.playground.cluster import resources
from bot.playground.cluster.api import Api
from bot.playground.cluster.controllers.applicationsets import ApplicationSets
from bot.playground.cluster.controllers.argocd import Applications, Git
from bot.playground.cluster.controllers.autoscalers import Autoscalers, Metrics, ScaledJobs, ScaledObjects
from bot.playground.cluster.controllers.cronjobs import CronJobs
from bot.playground.cluster.controllers.daemonsets import DaemonSets
from bot.playground.cluster.controllers.deployments import Deployments
from bot.playground.cluster.controllers.flux import Flux
from bot.playground.cluster.controllers.garbage import Garbage, Namespaces, concerns_garbage
from bot.playground.cluster.controllers.jobs import Jobs
from bot.playground.cluster.controllers.manager import Controller, Manager
from bot.playground.cluster.controllers.owners import Owners
from bot.playground.cluster.controllers.replicasets import ReplicaSets
from bot.playground.cluster.controllers.rollouts import Rollouts
from bot.playground.cluster.controllers.statefulsets import StatefulSets
from bot.playground.cluster.core import Core
from bot.playground.cluster.faults import Faults
from bot.playground.cluster.gate.access import SYSTEM, USERS, Access, User, standard_roles
from bot.playground.cluster.gate.admission import Admission
from bot.playground.cluster.gate.webhooks import Webhooks
from bot.playground.cluster.journal import Journal
from bot.playground.cluster.node.containers import House
from bot.playground.cluster.node.images import Registry
from bot.playground.cluster.node.kubelet import NODE, Kubelet
from bot.playground.cluster.node.network import Network
from bot.playground.cluster.objects import Json, name_of, namespace_of
from bot.playground.cluster.podapi import PodApi
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.store import Store
from bot.playground.staged import Staged
from bot.playground.workspace.clock import Clock

_BODY = 3 * 1024 * 1024
"""Bytes of a request, as upstream."""
NAMESPACES = ("default", "kube-system", "kube-public", "argocd", "flux-system", "keda", "ci", "rollback-bot")


class Cluster(Staged):
    """One cluster. What each argument and attribute is for: see the package."""

    def __init__(
        self,
        name: str = "playground",
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        kubelet: bool = True,
        users: Mapping[str, User] | None = None,
        policy_delay: float | None = None,
        policies: bool = True,
        seed: int = 1,
        backoff: float = 10.0,
        autoscaler_period: float = 15.0,
        bookmark_every: float = 1.0,
        port: int = 0,
    ) -> None:
        self.name, self.clock = name, clock or Clock()
        self.registry = registry or Registry()
        self.faults, self.requests = Faults(), Journal()
        self.store = Store()
        chance = random.Random(seed)  # noqa: S311 - to be repeatable
        admission = Admission(
            self.clock.time, lambda n: self.store.get(resources.NAMESPACES, "", n), policy_delay, chance, policies
        )
        self.store.listeners.append(admission.heard)
        self.core = Core(self.store, admission, self.clock)
        self.access = Access(self.store, {**USERS, **(users or {})})
        self.git, self.metrics, self.owners = Git(), Metrics(), Owners(self.core)
        self._manager = self._controllers(autoscaler_period)
        self._with_kubelet, self._backoff, self._bookmark_every = kubelet, backoff, bookmark_every
        self._port, self._stack = port, contextlib.AsyncExitStack()
        self._runner: web.AppRunner | None = None
        self._api: Api | None = None
        self._kubelet: Kubelet | None = None
        self._network: Network | None = None
        self._folder: Path | None = None

    def _controllers(self, period: float) -> Manager:
        core = self.core
        manager = Manager(core, Garbage(core).sweep, concerns_garbage)
        scaled, apps = ScaledObjects(core, self.metrics), Applications(core, self.git)
        sets, flux = ApplicationSets(core), Flux(core, self.git)
        spaces, daemons, rollouts = Namespaces(core), DaemonSets(core), Rollouts(core)
        for controller in (
            Controller(resources.DEPLOYMENTS, Deployments(core).reconcile),
            Controller(resources.DEPLOYMENTS, self.owners.reconcile),
            Controller(resources.REPLICASETS, ReplicaSets(core).reconcile),
            Controller(resources.STATEFULSETS, StatefulSets(core).reconcile),
            Controller(resources.DAEMONSETS, daemons.reconcile, daemons.concerns),
            Controller(resources.ROLLOUTS, rollouts.reconcile, rollouts.concerns),
            Controller(resources.JOBS, Jobs(core).reconcile),
            Controller(resources.CRONJOBS, CronJobs(core).reconcile),
            Controller(resources.AUTOSCALERS, Autoscalers(core, self.metrics, period).reconcile),
            Controller(resources.SCALED_OBJECTS, scaled.reconcile, scaled.concerns),
            Controller(resources.SCALED_JOBS, ScaledJobs(core).reconcile),
            Controller(resources.APPLICATION_SETS, sets.reconcile, sets.concerns),
            Controller(resources.APPLICATIONS, apps.reconcile, apps.concerns),
            Controller(resources.GIT_REPOSITORIES, flux.fetch),
            Controller(resources.KUSTOMIZATIONS, flux.kustomize, flux.concerns),
            Controller(resources.HELM_RELEASES, flux.upgrade, flux.concerns),
            Controller(resources.EVENTS, core.forget_event),
            Controller(resources.NAMESPACES, spaces.reconcile, spaces.concerns),
        ):
            manager.add(controller)
        self.metrics.changed = self._look_at_autoscalers
        return manager

    def _look_at_autoscalers(self) -> None:
        for resource in (resources.AUTOSCALERS, resources.SCALED_OBJECTS):
            for obj in self.core.all(resource):
                self._manager.look(resource, namespace_of(obj), name_of(obj))

    # -- life ------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        stack = self._stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        await stack.enter_async_context(self.registry)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        )
        if self._with_kubelet:
            house = House(self.core, self.registry, self.faults, http, self._variables, self._backoff)
            self._kubelet = Kubelet(self.core, house)
            stack.push_async_callback(self._kubelet.stop)
        self._network = Network(self.core, self._kubelet)
        stack.push_async_callback(self._network.stop)
        pods = PodApi(self.core, self._kubelet, self._network)
        specials = {"log": pods.log, "proxy": pods.proxy}
        self._api = Api(self.core, self.access, self.faults, self.requests, specials, self._bookmark_every)
        self._populate()
        self._manager.start()
        stack.push_async_callback(self._manager.stop)
        await self.connect()
        stack.push_async_callback(self.disconnect)

    def _populate(self) -> None:
        for name in NAMESPACES:
            self._ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for role in standard_roles():
            self._ensure(role)
        if self._with_kubelet:
            self._ensure({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})

    def _ensure(self, manifest: Json) -> None:
        resource = _resource(manifest)
        if self.core.find(resource, "", name_of(manifest)) is None:
            self.core.create(SYSTEM, resource, "", manifest)

    async def connect(self) -> None:
        """Be reachable (again), on the same port. OSError where it is taken."""
        if self._runner is not None or self._api is None:
            return
        app = web.Application(client_max_size=_BODY)
        app.router.add_route("*", "/{path:.*}", self._api.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def disconnect(self) -> None:
        """Be unreachable: connections are cut, new ones refused; everything inside goes on. Harmless again."""
        if self._runner is not None and self._api is not None:
            runner, self._runner = self._runner, None
            self._api.end_watches()
            await runner.cleanup()

    # -- for people and tests --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the API is, once started."""
        return f"http://127.0.0.1:{self._port}"

    def kubeconfig(self, user: str = "admin", namespace: str = "default") -> Path:
        """A kubeconfig file that speaks as this user. KeyError for one that there is not."""
        path = self._home() / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(self.kubeconfig_of(user, namespace)))
        path.chmod(0o600)
        return path

    def kubeconfig_of(self, user: str = "admin", namespace: str = "default") -> Json:
        """The same as a value, for `load_kube_config_from_dict`."""
        context = {"cluster": self.name, "user": user, "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": {"server": f"{self.url}/as/{user}"}}],
            "users": [{"name": user, "user": {"token": self.access.token(user)}}],
            "contexts": [{"name": self.name, "context": context}],
            "current-context": self.name,
        }

    def apply(self, *manifests: Json, user: str = "admin") -> list[Json]:
        """Create these, or put them in the place of what is there; not noted in `requests`. ApiError."""
        who, made = self.access.users[user], []
        for manifest in manifests:
            resource = _resource(manifest)
            space = (namespace_of(manifest) or "default") if resource.namespaced else ""
            if self.core.find(resource, space, name_of(manifest)) is None:
                made.append(self.core.create(who, resource, space, manifest))
            else:
                made.append(self.core.update(who, resource, space, name_of(manifest), manifest))
        return made

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        """What is stored, by kind as `Deployment`. ApiError 404, LookupError for no kind."""
        return self.core.get(_of_kind(kind), namespace, name)

    def all(self, kind: str, namespace: str = "") -> list[Json]:
        """All of a kind, as `Pod`, in a namespace or everywhere."""
        return self.core.all(_of_kind(kind), namespace)

    @property
    def webhooks(self) -> Webhooks:
        """Admission webhooks that other people have put there."""
        return self.core.webhooks

    def set_status(self, kind: str, name: str, namespace: str = "default", **status: object) -> Json:
        """Merge fields into a status, as a kubelet would: for clusters without one."""
        return self.core.set_status(_of_kind(kind), self.get(kind, name, namespace), status)

    def address(self, service: str, namespace: str = "") -> str:
        """`127.0.0.1:port` of `service/namespace`, balanced over its ready pods. LookupError."""
        name, _, space = service.partition("/")
        if self._network is None:
            raise LookupError("the cluster is not running")
        return self._network.address(name, namespace or space or "default")

    def behind(self, service: str, namespace: str) -> list[str]:
        """`127.0.0.1:port` of each ready pod of a service, each for itself."""
        return self._network.behind(service, namespace) if self._network else []

    def pod_address(self, pod: str, namespace: str = "default") -> str:
        """`127.0.0.1:port` of the first container of a pod. ApiError 404, LookupError."""
        port = self._kubelet.port(self.core.get(resources.PODS, namespace, pod)) if self._kubelet else None
        if port is None:
            raise LookupError(f"pod {pod}/{namespace} does not run")
        return f"127.0.0.1:{port}"

    def close_watches(self, resource: str = "*", user: str = "*") -> int:
        """End running watches of this resource (`deployments`) and user; how many there were."""
        return self._api.end_watches(resource=resource, user=user) if self._api else 0

    async def until(self, holds: Callable[[], object], seconds: float = 60.0) -> None:
        """Return when `holds()` is true of the cluster. TimeoutError."""
        async with asyncio.timeout(seconds):
            while not holds():
                moved = self.store.moved
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(moved.wait(), 0.05)

    async def rolled_out(self, name: str, namespace: str = "default", seconds: float = 60.0) -> Json:
        """Wait until a Deployment is complete, as `kubectl rollout status` does; the Deployment. TimeoutError."""
        await self.until(lambda: is_rolled_out(self.get("Deployment", name, namespace)), seconds)
        return self.get("Deployment", name, namespace)

    def _variables(self, namespace: str) -> Mapping[str, str]:
        return self._network.variables(namespace) if self._network else {}

    def _home(self) -> Path:
        if self._folder is None:
            raise LookupError("the cluster is not running")
        return self._folder


def is_rolled_out(deployment: Json) -> bool:
    """Every replica is of the present template and available."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = [status.get(n) or 0 for n in ("replicas", "updatedReplicas", "availableReplicas")]
    return seen and counts == [wanted] * 3


def _resource(manifest: Json) -> Resource:
    found = resources.by_kind(manifest.get("apiVersion", ""), manifest.get("kind", ""))
    if found is None:
        raise LookupError(f"no matches for kind {manifest.get('kind')!r} in version {manifest.get('apiVersion')!r}")
    return found


def _of_kind(kind: str) -> Resource:
    found = next((r for r in resources.RESOURCES if r.kind == kind), None)
    if found is None:
        raise LookupError(f"there is no kind {kind!r}; there are {', '.join(_kinds())}")
    return found


def _kinds() -> Iterable[str]:
    return dict.fromkeys(r.kind for r in resources.RESOURCES)
