"""The shop on its clusters: set up, deployed as CI does it, visited by customers, meddled with by colleagues.

Invariants: everything listens on loopback and ends with the context; everybody but the set-up goes through the API of
a cluster as themselves, so whatever is refused to them is refused by the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import aiohttp
import yaml

from bot.playground.cluster import Cluster, Registry
from bot.playground.cluster.objects import Json
from bot.playground.postgres import tools
from bot.playground.prometheus import Monitoring, private_prometheus
from bot.playground.shop import catalogue, database, manifests, monitoring, releases
from bot.playground.shop.beside import Beside
from bot.playground.shop.data import Data
from bot.playground.shop.hands import Hands, NotDone
from bot.playground.shop.manifests import KILL_SWITCH, NAMESPACE, SETTINGS, Site
from bot.playground.shop.partner import Partner
from bot.playground.shop.rights import USERS, rights
from bot.playground.shop.traffic import Traffic
from bot.playground.shop.truth import Truth, paused, running
from bot.playground.staged import Staged
from bot.playground.workspace.clock import Clock

ROLLED = ("shop-api-canary", "shop-api", "shop-worker")
_PATIENCE = 90.0
"""Seconds that a rollout may take here."""


class Shop(Staged):
    """`async with Shop(folder) as shop`. What it is for: see the package.

    clusters: names, the first one has KEDA for its worker; deployed: what CI deploys at the start, one after the
    other; schedule: of the cron; clock: of the clusters; second: with its second half, on PostgreSQL and Valkey
    (`shop.data`; server: as `Data` takes it), with its payment provider (`shop.partner`); watched: with Prometheus too
    (`shop.monitoring`); strict: releases that do not start on a schema that they were not made for.
    `clusters` maps names to `Cluster`s, so `await shop.clusters["us-1"].disconnect()` makes one unreachable and
    `.connect()` brings it back.
    """

    def __init__(
        self,
        folder: Path,
        clusters: Sequence[str] = ("eu-1", "us-1"),
        *,
        deployed: Sequence[str] = ("2.4.0", "2.4.1"),
        schedule: str = "* * * * *",
        clock: Clock | None = None,
        second: bool = False,
        server: str = "",
        watched: bool = False,
        strict: Collection[str] = (),
    ) -> None:
        self.folder, self.registry = folder, Registry(releases.interpreter(second))
        self.data = Data(folder, server) if second else None
        self.partner, self._watched = Partner(), watched
        self.monitoring: Monitoring | None = None
        self._strict = strict
        self._deployed, self._schedule = deployed, schedule
        self.clusters = {
            name: Cluster(name, registry=self.registry, clock=clock, users=USERS, backoff=1.0) for name in clusters
        }
        self.images: dict[str, Mapping[str, str]] = {}
        self._traffic: list[Traffic] = []
        self._stack = contextlib.AsyncExitStack()

    # -- life --------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.data is None:
            database.create(self.database)
        else:
            await asyncio.to_thread(self._stack.enter_context, self.data)
            await self._stack.enter_async_context(self.partner)
        await self._stack.enter_async_context(self.registry)
        self.images = {v: releases.push(self.registry, v, strict=v in self._strict) for v in releases.VERSIONS}
        for cluster in self.clusters.values():
            await self._stack.enter_async_context(cluster)
            cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            site = self._site(cluster)
            cluster.apply(*rights(NAMESPACE), *manifests.around(site), manifests.application(site))
            for name in ("shop-api", "shop-worker"):
                cluster.metrics.set(NAMESPACE, "Deployment", name, 1.0)
        if self._watched:
            await self._watch()
        self.kubeconfig.write_text(yaml.safe_dump(self.kubeconfig_of("bot")))
        self.kubeconfig.chmod(0o600)
        for version in self._deployed:
            refused = await self.deploy(version)
            if any(refused.values()):
                raise NotDone(f"{version} was not deployed: {refused}")

    def _site(self, cluster: Cluster) -> Site:
        settings = f"{cluster.url}/as/shop/api/v1/namespaces/{NAMESPACE}/configmaps/{SETTINGS}"
        scaled = cluster.name == next(iter(self.clusters))
        if self.data is None:
            return Site(cluster.name, settings, str(self.database), scaled, self._schedule)
        return Site(
            cluster.name, settings, self.data.dsn(), scaled, self._schedule, self.data.valkey, self.partner.place
        )

    async def _watch(self) -> None:
        history = monitoring.yesterday(time.time())
        watched = private_prometheus(self.folder / "prometheus", monitoring.RULES, history)
        self.monitoring = await asyncio.to_thread(self._stack.enter_context, watched)
        following = asyncio.create_task(monitoring.follow([*self.clusters.values()], self.monitoring))

        async def end() -> None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

        self._stack.push_async_callback(end)

    # -- what the bot is told ----------------------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        """Where payments and jobs are, without the second half."""
        return self.folder / "shop.db"

    @property
    def kubeconfig(self) -> Path:
        """The bot's, with a context for each cluster, named as it."""
        return self.folder / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Json:
        """Somebody else's, as a value: admin, bot, ci, dee, break-glass, nobody."""
        parts = [cluster.kubeconfig_of(user, NAMESPACE) for cluster in self.clusters.values()]
        merged = {key: [part[key][0] for part in parts] for key in ("clusters", "contexts")}
        return {**parts[0], **merged}

    @property
    def releases(self) -> Mapping[str, Json]:
        """Version -> the body of POST /v1/releases."""
        if self.data is None:
            return {v: releases.body(v, images) for v, images in self.images.items()}
        fine = "" if self._strict else "0041"  # additions hurt no release that does not look at the stamp
        trees, newest = self.data.trees, max(self.images)
        return {
            v: releases.body(v, images, trees[v].name, fine if v == newest else "") for v, images in self.images.items()
        }

    def catalogue(
        self,
        roles: Mapping[str, Sequence[str]] = catalogue.ROLES,
        people: Mapping[str, str] | None = None,
        channels: Mapping[str, Sequence[str]] = catalogue.CHANNELS,
    ) -> str:
        """rollback.yaml with the shop in it. people: id -> name, {} where the workspace knows them."""
        return catalogue.text(self.doors, roles, people, channels, self.beside)

    @property
    def beside(self) -> Beside | None:
        """What the catalogue says of the second half, and the variables that the bot needs for it."""
        if self.data is None:
            return None
        doors = [f"api-{name}" for name in self.clusters]
        watched = (self.monitoring.url, self.monitoring.alertmanager) if self.monitoring is not None else ("", "")
        return Beside(self.data, self.partner.url, tools(), doors, *watched)

    @property
    def doors(self) -> Mapping[str, str]:
        """Cluster -> `127.0.0.1:port` of the API there."""
        return {name: cluster.address("shop-api", NAMESPACE) for name, cluster in self.clusters.items()}

    # -- CI and Git --------------------------------------------------------------------------------------------------

    async def deploy(self, version: str, *, by: str = "ci") -> Mapping[str, str]:
        """Deploy as the pipeline does: migrate the database up, try it dry, push to Git, apply, wait. Cluster -> why
        not, in its own words; "" where it was done. What the dry run refuses is not pushed."""
        if self.data is not None:
            await asyncio.to_thread(self.data.upgrade, releases.VERSIONS[version].schema)
        said = await asyncio.gather(*(self._deploy(cluster, version, by) for cluster in self.clusters.values()))
        return dict(zip(self.clusters, said, strict=True))

    async def _deploy(self, cluster: Cluster, version: str, by: str) -> str:
        wanted = manifests.release(self._site(cluster), version, self.images[version])
        try:
            async with Hands(cluster, by) as hands:
                for manifest in wanted:
                    await hands.apply(manifest, manifests.first_replicas(manifest), dry_run=True)
                self.push(version, cluster.name)
                for manifest in wanted:
                    await hands.apply(manifest, manifests.first_replicas(manifest))
        except NotDone as error:
            return str(error)
        for name in ROLLED:
            try:
                await cluster.rolled_out(name, NAMESPACE, _PATIENCE)
            except TimeoutError:
                return f"deployment/{name} is not rolled out after {_PATIENCE:.0f} s"
        return ""

    def push(self, version: str, *clusters: str) -> None:
        """A commit that has Git say this version (for these clusters, else for all), as a `git revert` does. Argo CD
        looks at it at once, as with a webhook."""
        for name in clusters or self.clusters:
            cluster = self.clusters[name]
            site = self._site(cluster)
            cluster.git.push(manifests.REPOSITORY, site.path, manifests.release(site, version, self.images[version]))
            app = cluster.get("Application", "shop", "argocd")
            marks = {**(app["metadata"].get("annotations") or {}), "argocd.argoproj.io/refresh": "normal"}
            cluster.apply({**app, "metadata": {**app["metadata"], "annotations": marks}})

    # -- colleagues --------------------------------------------------------------------------------------------------

    async def scale(self, cluster: str, workload: str, replicas: int, *, by: str = "dee") -> None:
        """Somebody rescales a Deployment by hand. NotDone."""
        async with Hands(self.clusters[cluster], by) as hands:
            await hands.merge("Deployment", NAMESPACE, workload, {"spec": {"replicas": replicas}}, "scale")

    async def edit(self, cluster: str, key: str, value: str, *, by: str = "dee") -> None:
        """Somebody edits a setting. NotDone."""
        async with Hands(self.clusters[cluster], by) as hands:
            await hands.merge("ConfigMap", NAMESPACE, SETTINGS, {"data": {key: value}})

    async def kill_switch(self, on: bool = True, *, by: str = "dee") -> None:
        """Somebody turns express checkout off, everywhere. NotDone."""
        for name in self.clusters:
            await self.edit(name, KILL_SWITCH, "true" if on else "false", by=by)

    async def expire(self, version: str) -> None:
        """The certificate with which a release pays runs out: it is bad from now on, wherever it runs."""

        def write() -> None:
            with database.Database(self.database) as db:
                db.expire(version)

        await asyncio.to_thread(write if self.data is None else partial(self.data.expire, version))

    async def renew(self, version: str) -> None:
        """The provider takes the release's payments again."""

        def write() -> None:
            with database.Database(self.database) as db:
                db.renew(version)

        await asyncio.to_thread(write if self.data is None else partial(self.data.renew, version))

    async def settle(self, cluster: str, name: str, *, by: str = "dee") -> None:
        """Somebody runs the cron now: `kubectl create job --from=cronjob/shop-settle <name>`. NotDone."""
        cron = self.clusters[cluster].get("CronJob", "shop-settle", NAMESPACE)
        meta = {"name": name, "namespace": NAMESPACE}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": cron["spec"]["jobTemplate"]["spec"]}
        async with Hands(self.clusters[cluster], by) as hands:
            await hands.create(job)

    # -- customers, and what is true ---------------------------------------------------------------------------------

    def traffic(self, per_second: float = 5.0) -> Traffic:
        """Customers, for as long as it is a context."""
        made = Traffic(lambda: [*self.doors.values()], per_second)
        self._traffic.append(made)
        return made

    async def health(self, cluster: str) -> Sequence[Json]:
        """What /healthz of each ready pod of the API says: they read their settings each at a time of its own.
        OSError, aiohttp.ClientError."""

        async def page(http: aiohttp.ClientSession, pod: str) -> Json:
            async with http.get(f"http://{pod}/healthz") as answer:
                found: Json = await answer.json()
                return found

        pods = self.clusters[cluster].behind("shop-api", NAMESPACE)
        async with aiohttp.ClientSession() as http:
            return await asyncio.gather(*(page(http, pod) for pod in pods))

    async def truth(self, seconds: float = 3.0) -> Truth:
        """How it really is, seen from inside. seconds: of traffic that are looked back on."""

        def books() -> database.Books:
            if self.data is not None:
                return self.data.books()
            with database.Database(self.database) as db:
                return db.books()

        names = {image.partition("@")[2]: v for v, images in self.images.items() for image in images.values()}
        thanked = {id for t in self._traffic for id in t.thanked}  # first: whoever pays meanwhile is not lost
        counted = await asyncio.to_thread(books)
        second = await asyncio.to_thread(self.data.second) if self.data is not None else None
        late = [t.of_late(seconds) for t in self._traffic]
        tried = sum(s.total for s in late)
        unpaid = sum(s.failed + s.broken for s in late)
        return Truth(
            running={name: running(cluster, names) for name, cluster in self.clusters.items()},
            paused=tuple(place for cluster in self.clusters.values() for place in paused(cluster)),
            failing=unpaid / tried if tried else None,
            queued=counted.queued,
            lost=(*counted.lost, *sorted(thanked - counted.payments - (second.kept if second else frozenset()))),
            doubled=counted.doubled,
            second=second,
        )
