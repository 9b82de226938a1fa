"""Implements `bot.ports.kubernetes.Kubernetes` for the clusters of one service; `bind` makes the copy that may write.

Invariants:
- `record` is awaited right before each changing call, with the kubectl command a person would have typed; if it
  raises, nothing is sent. Dry runs and access reviews change nothing and are not recorded;
- a write is one JSON patch that tests what was seen, whole or not at all: a lost answer is `Unreachable`, and sending
  it again finds its own change and writes nothing twice;
- a failed `test`, a conflict and an object that is gone are Changed, with the field, what it holds now and who set it.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.adapters.kubernetes import by_hand, owned, pods, resources, rights
from bot.adapters.kubernetes.connection import (
    AS_US,
    JSON_PATCH,
    MERGE_PATCH,
    Body,
    ClusterRefused,
    Connection,
    NoSuchObject,
    Query,
)
from bot.adapters.kubernetes.fields import ReadThing, command, controller, patch, read
from bot.adapters.kubernetes.guards import Guards
from bot.adapters.kubernetes.hindrances import Hindrances
from bot.adapters.kubernetes.probes import Probes
from bot.adapters.kubernetes.progress import of_argo
from bot.contract import Edit, Retryable
from bot.ports import Json, Record, Reply, Unreachable, Where, unbound
from bot.ports.kubernetes import (
    WORKLOADS,
    Changed,
    Cluster,
    ClusterEvent,
    Denied,
    Hindrance,
    Kind,
    Place,
    Pod,
    Thing,
    Trial,
)

LOG_LIMIT = 1024 * 1024
LOG_LINES = "10000"
"""The last ones of a container; `limitBytes` would give the first."""
REFRESH = "argocd.argoproj.io/refresh"


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """A cluster of the catalogue and how it is reached. context: of the kubeconfig; timeout: seconds a request."""

    cluster: Cluster
    context: str
    timeout: float = 10.0


@dataclass
class _Shared:
    """What all copies of an adapter have in common. me: cluster -> our user name there; refreshing: applications."""

    connections: dict[str, Connection]
    me: dict[str, str]
    refreshing: set[Place]


class Clusters:
    """The clusters of one service. kubeconfig: as for `Connection`. Nothing is opened before the first call."""

    def __init__(
        self,
        targets: Sequence[ClusterTarget],
        kubeconfig: str = "",
        record: Record = unbound,
        *,
        _shared: _Shared | None = None,
    ) -> None:
        ordered = sorted(targets, key=lambda t: (t.cluster.wave, t.cluster.name))
        self._targets = {t.cluster.name: t for t in ordered}
        self._kubeconfig, self._record = kubeconfig, record
        self._shared = _shared or _Shared(
            {n: Connection(n, t.context, t.cluster.namespace, t.timeout, kubeconfig) for n, t in self._targets.items()},
            {},
            set(),
        )

    def bind(self, record: Record) -> Clusters:
        """The same clusters and connections, writing only after `record`."""
        return Clusters([*self._targets.values()], self._kubeconfig, record, _shared=self._shared)

    async def close(self) -> None:
        """End every connection, those of the copies too. Harmless again."""
        for connection in self._shared.connections.values():
            await connection.close()

    async def where(self) -> Mapping[str, Where]:
        """Cluster -> which place it is, as far as the kubeconfig tells; nothing is sent there."""
        found = await asyncio.gather(*(c.where() for c in self._shared.connections.values()))
        return dict(zip(self._shared.connections, found, strict=True))

    def hold(self, places: Mapping[str, Where]) -> None:
        """From here on these clusters lead there, or nowhere. Unreachable where one leads elsewhere already."""
        for name, connection in self._shared.connections.items():
            if name in places and places[name].digest:
                connection.hold(places[name].digest)

    @property
    def led_elsewhere(self) -> bool:
        """Whether a kubeconfig was met that leads elsewhere than it did: these are of no use any more."""
        return any(c.led_elsewhere for c in self._shared.connections.values())

    async def ping(self) -> Mapping[str, str]:
        """Cluster -> what is wrong with it; empty where it answers and knows us. Reads only."""
        return dict(zip(self._targets, await asyncio.gather(*map(self._fault, self._targets)), strict=True))

    @property
    def clusters(self) -> Sequence[Cluster]:
        """In the order of their waves."""
        return [t.cluster for t in self._targets.values()]

    # -- reading -----------------------------------------------------------------------------------------------------

    async def list(self, cluster: str, kind: Kind, *, everywhere: bool = False) -> Sequence[Thing]:
        """See the port."""
        known = self._target(cluster).cluster
        if kind == "guard":
            return await self._guards(cluster).every()
        resource = resources.RESOURCES[kind]
        named = known.deployers(kind)
        chosen = known.selector and kind in WORKLOADS and not everywhere
        query: Query = [("labelSelector", known.selector)] if chosen else []
        found: list[Thing] = []

        def as_thing(body: Body) -> Thing:
            return read(Place(cluster, kind, body["metadata"]["name"]), body)

        for space in known.spaces(kind):
            try:
                found += await self._connection(cluster).read(resource.path(space), as_thing, query=query)
            except NoSuchObject:  # the cluster has no such kind: KEDA or Argo CD is not installed
                continue
            except Denied:
                if resource.extension and not await rights.served(self._connection(cluster), resource):
                    continue  # nobody is asked for a right to what is not there
                raise
        if kind == "configmap":
            return [thing for thing in found if thing.place.name in known.settings]
        if named is not None:
            return [thing for thing in found if thing.place.name in named]
        if kind == "daemonset":
            return [await self._reached(thing) for thing in found]
        return await self._followed(cluster, found) if kind == "deployment" else found

    async def get(self, place: Place) -> Thing | None:
        """See the port."""
        if place.kind == "guard":
            return await self._guards(place.cluster).get(place.name)
        body = await self._connection(place.cluster).find(self._path(place))
        if body is None:
            return None
        thing = read(place, body)
        return (await self._followed(place.cluster, [thing]))[0] if place.kind == "deployment" else thing

    async def _reached(self, thing: Thing) -> Thing:
        """A DaemonSet with how many of its pods wait for a node that does not answer."""
        if (
            thing.rollout is None
            or not thing.rollout.seen
            or thing.rollout.complete
            or not isinstance(thing, ReadThing)
        ):
            return thing
        space = self._target(thing.place.cluster).cluster.namespace
        hindrances = Hindrances(self._connection(thing.place.cluster), space, datetime.now(UTC))
        nodes = await hindrances.away(thing.body)
        return replace(thing, rollout=replace(thing.rollout, away=len(nodes)))

    async def _followed(self, cluster: str, things: Sequence[Thing]) -> Sequence[Thing]:
        """Deployments that are only the template of an Argo Rollout, followed by that: such ones have no replicas."""
        bare = {t.place.name: t for t in things if t.fields.get("replicas") == 0 and isinstance(t, ReadThing)}
        if not bare:
            return things
        leading = {r.facts.get("workload"): r for r in await self.list(cluster, "rollout") if isinstance(r, ReadThing)}
        found = list(things)
        for i, thing in enumerate(found):
            leads, mine = leading.get(thing.place.name), bare.get(thing.place.name)
            if leads is not None and mine is not None:
                facts = {**mine.facts, "rollout": leads.place.name}
                found[i] = replace(mine, rollout=of_argo(leads.body, mine.body), facts=facts)
        return found

    async def pods(self, place: Place) -> Sequence[Pod]:
        """See the port."""
        space = self._target(place.cluster).cluster.namespace
        body: Body | None = {"spec": {"selector": {"matchLabels": {"job-name": place.name}}}}
        if place.kind != "job":
            body = await self._connection(place.cluster).find(self._path(place))
        if body is None:
            return []
        if place.kind == "cronjob":
            jobs = await self._connection(place.cluster).every(resources.JOBS.path(space))
            query = pods.of_jobs(body, jobs)
        else:
            query = pods.of_workload(body)
        if not query:
            return []
        found = await self._connection(place.cluster).every(
            resources.PODS.path(space), query=[("labelSelector", query)]
        )
        return [pods.read(pod) for pod in found]

    async def every_pod(self, cluster: str) -> Sequence[Pod]:
        """See the port."""
        space = self._target(cluster).cluster.namespace
        found = await self._connection(cluster).read(resources.PODS.path(space), pods.read)
        return [pod for pod in found if pod.phase not in ("Succeeded", "Failed")]

    async def replicasets(self, cluster: str) -> Mapping[str, str]:
        """See the port."""
        space = self._target(cluster).cluster.namespace

        def owned(body: Body) -> tuple[str, str]:
            return body["metadata"]["name"], controller(body) or ""

        return dict(await self._connection(cluster).read(resources.REPLICASETS.path(space), owned))

    async def hindrance(self, place: Place, now: datetime) -> Hindrance | None:
        """See the port."""
        place, body = await self._runs(place)
        if body is None:
            return None
        space = self._target(place.cluster).cluster.namespace
        return await Hindrances(self._connection(place.cluster), space, now).of(place, body)

    async def events(self, cluster: str, about: Collection[str] = ()) -> Sequence[ClusterEvent]:
        """See the port."""
        space = self._target(cluster).cluster.namespace
        found = await self._connection(cluster).every(resources.EVENTS.path(space))
        starts = tuple(about)
        said = [pods.said(e) for e in found if not starts or e["involvedObject"].get("name", "").startswith(starts)]
        return sorted(said, key=lambda s: s.at, reverse=True)

    async def logs(
        self, cluster: str, pod: str, *, previous: bool = False, since: float = 3600, stamps: bool = False
    ) -> str:
        """See the port."""
        path = resources.PODS.path(self._target(cluster).cluster.namespace, pod)
        body = await self._connection(cluster).find(path)
        names = [c["name"] for c in body["spec"]["containers"]] if body is not None else []
        parts = []
        for name in names:
            query = [("container", name), ("sinceSeconds", str(max(1, int(since)))), ("tailLines", LOG_LINES)]
            flags = [(flag, "true") for flag, on in (("previous", previous), ("timestamps", stamps)) if on]
            try:
                text = await self._connection(cluster).text("GET", f"{path}/log", query=[*query, *flags])
            except ClusterRefused as error:
                if error.status not in (400, 404):  # 400: it has not started, or there is no previous one
                    raise self._connection(cluster).failure(error) from error
                continue
            parts.append(text if len(names) == 1 else f"==> {name} <==\n{text}")
        return "\n".join(parts).encode()[-LOG_LIMIT:].decode(errors="ignore")

    # -- writing -----------------------------------------------------------------------------------------------------

    async def write(self, seen: Thing, fields: Mapping[str, Json]) -> Thing:
        """See the port."""
        place = seen.place
        if place.kind == "guard":
            await self.guard(place.cluster, place.name, fields.get("rules"))
            return await self._guards(place.cluster).get(place.name) or Thing(place, "")
        if "whole" in fields:
            return await self._made(seen, fields["whole"])
        thing = seen if isinstance(seen, ReadThing) else await self._as_seen(seen, fields)
        operations = patch(thing, fields)
        if not any(o["op"] != "test" for o in operations):
            return thing
        target, resource = self._target(place.cluster), resources.RESOURCES[place.kind]
        path = self._path(place)
        await self._record(
            command(target.context, self._space(place), _typed(place, resource), thing, fields, operations)
        )
        try:
            body = await self._connection(place.cluster).send(
                "PATCH", path, query=AS_US, body=operations, sort=JSON_PATCH
            )
        except ClusterRefused as error:
            if error.status == 404:
                raise Changed(f"{place} is gone") from error
            if error.status == 409 or (error.status == 422 and not error.causes):
                raise Changed(await self._what_changed(thing, fields)) from error
            raise self._connection(place.cluster).failure(error) from error
        return read(place, body)

    async def _made(self, seen: Thing, whole: Json) -> Thing:
        """Makes the object that is not there, or takes it away as it was seen."""
        place, connection = seen.place, self._connection(seen.place.cluster)
        space, resource = self._space(place), resources.RESOURCES[place.kind]
        start = ["kubectl", "--context", self._target(place.cluster).context, "-n", space]
        try:
            if isinstance(whole, dict):
                text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
                await self._record(f"echo {shlex.quote(text)} | {shlex.join([*start, 'create', '-f', '-'])}")
                body = await connection.ask("POST", resource.path(space), query=AS_US, body=whole)
                return read(place, body)
            await self._record(shlex.join([*start, "delete", _typed(place, resource)]))
            only = {"resourceVersion": seen.version} if seen.version else {}
            going = {"propagationPolicy": "Background", "preconditions": only}
            await connection.ask("DELETE", self._path(place), body=going)
        except NoSuchObject:
            pass
        return Thing(place, "")

    async def disown(self, place: Place) -> None:
        """See the port."""
        path, connection = self._path(place), self._connection(place.cluster)
        body = await connection.find(path)
        operations = owned.disown(body) if body is not None else []
        if not operations:
            return
        start = ["kubectl", "--context", self._target(place.cluster).context, "-n", self._space(place)]
        typed = _typed(place, resources.RESOURCES[place.kind])
        await self._record(shlex.join([*start, "patch", typed, "--type=json", "-p", json.dumps(operations)]))
        try:
            await connection.send("PATCH", path, query=AS_US, body=operations, sort=JSON_PATCH)
        except ClusterRefused as error:
            if error.status == 409 or (error.status == 422 and not error.causes):
                raise Changed(f"{place} was written by somebody at the same moment") from error
            if error.status != 404:
                raise connection.failure(error) from error

    async def promote(self, place: Place) -> None:
        """See the port."""
        place, body = await self._runs(place)
        if place.kind != "rollout" or body is None:
            return
        target, path, status = self._target(place.cluster), self._path(place), body.get("status") or {}
        start = f"kubectl argo rollouts --context {target.context} -n {target.cluster.namespace}"
        if body["spec"].get("paused"):
            await self._record(f"{start} promote {place.name}")
            going = {"spec": {"paused": None}}
            await self._connection(place.cluster).ask("PATCH", path, query=AS_US, body=going, sort=MERGE_PATCH)
        if status.get("promoteFull") or status.get("stableRS") == status.get("currentPodHash"):
            return
        await self._record(f"{start} promote {place.name} --full")
        told = {"status": {"promoteFull": True}}
        await self._connection(place.cluster).ask("PATCH", f"{path}/status", query=AS_US, body=told, sort=MERGE_PATCH)

    async def _runs(self, place: Place) -> tuple[Place, Body | None]:
        """What runs a workload's pods, as it is: itself, or the Argo Rollout that takes its template from it."""
        thing = await self.get(place)
        body = thing.body if isinstance(thing, ReadThing) else None
        if thing is None or body is None or "rollout" not in thing.facts:
            return place, body
        leading = Place(place.cluster, "rollout", str(thing.facts["rollout"]))
        found = await self._connection(place.cluster).find(self._path(leading))
        if found is None:
            return place, body
        selector = {"selector": body["spec"].get("selector"), **found["spec"]}
        return leading, {**found, "spec": selector}

    async def delete_pod(self, place: Place, pod: str) -> None:
        """See the port."""
        target = self._target(place.cluster)
        path = resources.PODS.path(target.cluster.namespace, pod)
        body = await self._connection(place.cluster).find(path)
        if body is None or pods.is_ready(body) or body["metadata"].get("deletionTimestamp"):
            return
        meta = body["metadata"]
        await self._record(f"kubectl --context {target.context} -n {target.cluster.namespace} delete pod {pod}")
        only = {"preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}}
        try:
            await self._connection(place.cluster).ask("DELETE", path, body=only)
        except NoSuchObject:
            return

    async def probe(self, seen: Thing, fields: Mapping[str, Json], name: str) -> None:
        """See the port."""
        thing = seen if isinstance(seen, ReadThing) else await self._as_seen(seen, fields)
        await self._probes(seen.place.cluster).start(thing, self._path(seen.place), fields, name)

    async def probed(self, cluster: str, name: str) -> Pod | None:
        """See the port."""
        return await self._probes(cluster).look(name)

    async def through(self, cluster: str, name: str, port: int, path: str, headers: Mapping[str, str]) -> Reply:
        """See the port."""
        return await self._probes(cluster).ask(name, port, path, headers)

    async def end_probe(self, cluster: str, name: str) -> None:
        """See the port."""
        await self._probes(cluster).end(name)

    async def terminate(self, place: Place) -> None:
        """See the port. As Argo CD's own API does it; the controller then fails the operation and deletes its hooks."""
        thing = await self.get(place)
        if thing is None or thing.facts.get("operation") != "Running":
            return
        await self._record(f"argocd app terminate-op {self._space(place)}/{place.name}")
        at = "/status/operationState/phase"
        told = [{"op": "test", "path": at, "value": "Running"}, {"op": "replace", "path": at, "value": "Terminating"}]
        await self._connection(place.cluster).ask("PATCH", self._path(place), query=AS_US, body=told, sort=JSON_PATCH)

    async def refreshed(self, place: Place) -> Thing | None:
        """See the port. The request is one changing call; after a restart it is asked for again, which is harmless."""
        thing = await self.get(place)
        if not isinstance(thing, ReadThing):
            raise Changed(f"{place} is gone")
        if place.kind != "application":
            return await self._sourced(thing)
        asked = f"annotation/{REFRESH}"
        if asked in thing.fields:
            self._shared.refreshing.add(place)
            return None
        if place in self._shared.refreshing:
            self._shared.refreshing.discard(place)
            return thing
        await self.write(thing, {asked: "normal"})
        self._shared.refreshing.add(place)
        return None

    async def _sourced(self, thing: ReadThing) -> Thing:
        """What is Flux's, with what its source is at: that goes on being fetched while it is suspended."""
        ref = thing.body["spec"].get("sourceRef") or {}
        kind = resources.SOURCES.get(str(ref.get("kind") or ""))
        if kind is None:
            return thing
        space = str(ref.get("namespace") or self._space(thing.place))
        body = await self._connection(thing.place.cluster).find(kind.path(space, str(ref.get("name"))))
        revision = ((body or {}).get("status") or {}).get("artifact", {}).get("revision")
        return replace(thing, facts={**thing.facts, "source": revision}) if revision else thing

    # -- guards and rights -------------------------------------------------------------------------------------------

    async def guard(self, cluster: str, name: str, rules: Json) -> None:
        """See the port. ValueError for what are no rules."""
        await self._guards(cluster).put(name, rules)

    async def trial(self, cluster: str, name: str, rules: Json) -> Trial:
        """See the port. It needs no right but the one to patch workloads. ValueError for what are no rules."""
        return await self._guards(cluster).trial(name, rules)

    async def missing_rights(self, cluster: str) -> Sequence[str]:
        """See the port. What a cluster does not have (KEDA, Argo CD) needs no rights."""
        return await rights.missing(self._connection(cluster), self._target(cluster).cluster)

    async def _fault(self, cluster: str) -> str:
        try:
            await self._guards(cluster).me(anew=True)
        except (Unreachable, Denied, Retryable, NoSuchObject, Changed) as error:
            return str(error)
        return ""

    # -- without us ------------------------------------------------------------------------------------------------

    def by_hand(self, edits: Sequence[Edit]) -> Sequence[str]:
        """What a person types to make these edits so. Nothing is asked of a cluster."""

        def place_of(place: Place) -> tuple[str, str]:
            return self._target(place.cluster).context, self._space(place)

        return by_hand.commands(edits, place_of, self._shared.me)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _target(self, cluster: str) -> ClusterTarget:
        if cluster in self._targets:
            return self._targets[cluster]
        near = difflib.get_close_matches(cluster, self._targets, 1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self._targets) or 'none'}"
        raise LookupError(f"the catalogue has no cluster {cluster!r}; {known}")

    def _space(self, place: Place) -> str:
        known = self._target(place.cluster).cluster
        named = known.deployers(place.kind)
        if named is None:
            return known.namespace
        if place.name not in named:
            raise LookupError(f"the catalogue has no {place.kind} {place.name!r} in {place.cluster}")
        return named[place.name]

    def _path(self, place: Place) -> str:
        return resources.RESOURCES[place.kind].path(self._space(place), place.name)

    def _connection(self, cluster: str) -> Connection:
        self._target(cluster)
        return self._shared.connections[cluster]

    def _guards(self, cluster: str) -> Guards:
        return Guards(self._connection(cluster), self._target(cluster).cluster.namespace, self._record, self._shared.me)

    def _probes(self, cluster: str) -> Probes:
        target = self._target(cluster)
        return Probes(self._connection(cluster), target.context, target.cluster.namespace, self._record)

    async def _as_seen(self, seen: Thing, wanted: Mapping[str, Json]) -> ReadThing:
        """The object as it is, if the fields still are as they were seen."""
        now = await self.get(seen.place)
        if not isinstance(now, ReadThing):
            raise Changed(f"{seen.place} is gone")
        if other := _differing(seen, now, wanted):
            raise Changed(other)
        return now

    async def _what_changed(self, seen: ReadThing, wanted: Mapping[str, Json]) -> str:
        now = await self.get(seen.place)
        if now is None:
            return f"{seen.place} is gone"
        return _differing(seen, now, wanted) or f"{seen.place} has changed since it was read"


def _typed(place: Place, resource: resources.Resource) -> str:
    """How a person calls it: `deployment/shop-api`."""
    return f"{resource.qualified if resource.extension else place.kind}/{place.name}"


def _differing(seen: Thing, now: Thing, wanted: Collection[str]) -> str:
    """Which of the fields no longer holds what was seen; empty if they all do."""
    for name in wanted:
        was, there = seen.fields.get(name), now.fields.get(name)
        if was != there:
            by = now.by.get(name)
            who = f", set by {by.manager} at {by.at:%H:%M}" if by is not None else ""
            return f"{seen.place.target(name)} is {_show(there)} now{who}; it was {_show(was)}"
    return ""


def _show(value: Json) -> str:
    return "absent" if value is None else value if isinstance(value, str) else json.dumps(value)
