"""What keeps a workload's pods from coming, out of what the cluster says about exactly this workload, now.

Invariants:
- a condition or an event counts only where it is about the newest ReplicaSet (or the set itself) by its uid and not
  older than that, and than an hour: events of any age lie beside it, and `api` is also how `api-canary` begins;
- what people can do is told before what is merely happening;
- nothing is looked at that the bot may not read: the answer is then poorer, never an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from bot.adapters.kubernetes import pods, resources
from bot.adapters.kubernetes.connection import Body, Connection, NoSuchObject
from bot.ports.kubernetes import Denied, Hindrance, Place

STUCK = ("ImagePull", "ErrImage", "InvalidImage", "CrashLoop", "CreateContainer", "RunContainer")
"""How the reasons begin for which a pod will hardly start by itself."""
RECENT = timedelta(hours=1)
REVISION = "deployment.kubernetes.io/revision"
_HASHES = ("pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash")


class Hindrances:
    """Of one cluster's namespace. now: the moment, aware."""

    def __init__(self, connection: Connection, namespace: str, now: datetime) -> None:
        self._connection, self._namespace, self._now = connection, namespace, now

    async def of(self, place: Place, body: Body) -> Hindrance | None:
        """Why its newest template does not run yet; None where nothing speaks against it."""
        there = await self._pods(body)
        if place.kind == "statefulset" and (found := blocked(body, there)):
            return found
        newest = await self._newest(place, body)
        if found := refused(newest if newest is not None else body):
            return found
        fresh = [p for p in there if is_fresh(p, newest, body)]
        if found := unfit(fresh):
            return found
        if place.kind == "rollout" and (found := waits(body)):
            return found
        if place.kind == "daemonset" and (nodes := await self._away(there)):
            words = ", ".join(f"node {name} is {state}" for name, state in nodes.items())
            why = f"{words}: its pod can be neither replaced nor started"
            return Hindrance(why, lasting=True, nodes=tuple(nodes))
        return await self._said(newest if newest is not None else body)

    async def away(self, body: Body) -> Sequence[str]:
        """Nodes that do not answer, where pods of a DaemonSet wait for them."""
        return [*await self._away(await self._pods(body))]

    async def _pods(self, body: Body) -> Sequence[Body]:
        path, query = resources.PODS.path(self._namespace), [("labelSelector", pods.of_workload(body))]
        return await self._readable(lambda: self._connection.every(path, query=query))

    async def _readable(self, ask: Callable[[], Awaitable[Sequence[Body]]]) -> Sequence[Body]:
        try:
            return await ask()
        except (Denied, NoSuchObject):
            return []

    async def _newest(self, place: Place, body: Body) -> Body | None:
        """The ReplicaSet of the present template; None where the kind has none, or it is not there yet."""
        if place.kind not in ("deployment", "rollout"):
            return None
        path, query = resources.REPLICASETS.path(self._namespace), [("labelSelector", pods.of_workload(body))]
        found = await self._readable(lambda: self._connection.every(path, query=query))
        return next((s for s in found if pods.controlled(s, body) and _is_newest(s, body)), None)

    async def _away(self, there: Sequence[Body]) -> dict[str, str]:
        """Nodes that do not answer, where its pods wait for them, and how they are."""
        unready = [p for p in there if not pods.is_ready(p) or p["metadata"].get("deletionTimestamp")]
        names = sorted({str(node) for p in unready if (node := p["spec"].get("nodeName"))})
        found = {}
        for name in names:
            try:
                node = await self._connection.find(resources.NODES.path("", name))
            except Denied:
                continue
            if node is None or not _node_is_ready(node):
                found[name] = "NotReady" if node is not None else "gone"
        return found

    async def _said(self, about: Body) -> Hindrance | None:
        """The newest warning about this very object."""
        meta, path = about["metadata"], resources.EVENTS.path(self._namespace)
        query = [("fieldSelector", f"involvedObject.uid={meta['uid']}")]
        found = [pods.said(e) for e in await self._readable(lambda: self._connection.every(path, query=query))]
        since = self._now.astimezone(UTC) - RECENT
        recent = sorted((e for e in found if e.warning and e.at >= since), key=lambda e: e.at)
        if not recent:
            return None
        newest = recent[-1]
        return Hindrance(f"{newest.reason}: {newest.text} ({newest.at:%H:%M} UTC)")


# -- pure ------------------------------------------------------------------------------------------------------------


def blocked(body: Body, there: Sequence[Body]) -> Hindrance | None:
    """Pods of a StatefulSet that OrderedReady never replaces: not ready, of another revision than is to run."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    update = spec.get("updateStrategy") or {}
    if spec.get("podManagementPolicy", "OrderedReady") != "OrderedReady" or update.get("type") == "OnDelete":
        return None
    kept = int((update.get("rollingUpdate") or {}).get("partition") or 0)
    found = [
        p
        for p in there
        if pods.controlled(p, body)
        and _ordinal(p) >= kept
        and not p["metadata"].get("deletionTimestamp")
        and not pods.is_ready(p)
        and (p["metadata"].get("labels") or {}).get("controller-revision-hash") != status.get("updateRevision")
    ]
    if not found:
        return None
    names = sorted((p["metadata"]["name"] for p in found), key=_trailing)
    said = f" ({waiting})" if (waiting := pods.read(found[0]).waiting) else ""
    why = (
        f"{', '.join(names)} runs another template and is not ready{said}: OrderedReady never replaces such a pod; "
        f"kubectl delete pod {' '.join(names)} helps"
    )
    return Hindrance(why, lasting=True, blocking=tuple(names))


def refused(body: Body) -> Hindrance | None:
    """What the API server says to the making of pods: quota, PodSecurity, a namespace that goes."""
    for c in (body.get("status") or {}).get("conditions") or ():
        if c["type"] == "ReplicaFailure" and c["status"] == "True":
            message = " ".join(str(c.get("message") or "").split())
            return Hindrance(f"{c.get('reason') or 'FailedCreate'}: {message}")
    return None


def waits(body: Body) -> Hindrance | None:
    """What an Argo Rollout waits for: a step of its canary, a person, an analysis."""
    status = body.get("status") or {}
    if (body.get("spec") or {}).get("paused"):
        return Hindrance("Paused: somebody has paused the Rollout (spec.paused)")
    if status.get("phase") in ("Paused", "Degraded"):
        reasons = [str(c.get("reason")) for c in status.get("pauseConditions") or ()]
        return Hindrance(f"{status['phase']}: {', '.join(reasons) or status.get('message') or 'it does not say why'}")
    return None


def unfit(fresh: Sequence[Body]) -> Hindrance | None:
    """A pod of the newest template that something keeps from running, the worst first."""
    found = [pod for pod in map(pods.read, fresh) if pod.waiting]
    found.sort(key=lambda pod: not pod.waiting.startswith(STUCK))
    if not found:
        return None
    return Hindrance(f"{found[0].name}: {found[0].waiting}", lasting=found[0].waiting.startswith(STUCK))


def is_fresh(pod: Body, newest: Body | None, body: Body) -> bool:
    """Whether a pod runs the newest template: by its hash where that is known, else by its images."""
    labels = pod["metadata"].get("labels") or {}
    if newest is not None:
        theirs = newest["metadata"].get("labels") or {}
        return any(labels.get(key) == theirs[key] for key in _HASHES if key in theirs)
    if update := (body.get("status") or {}).get("updateRevision"):
        return bool(labels.get("controller-revision-hash") == update)
    spec = (((body.get("spec") or {}).get("template") or {}).get("spec")) or {}
    return _images(pod["spec"]) == _images(spec)


def _images(spec: Body) -> set[str]:
    return {c["image"] for group in ("initContainers", "containers") for c in spec.get(group) or () if c.get("image")}


def _is_newest(replica_set: Body, body: Body) -> bool:
    if wanted := (body.get("status") or {}).get("currentPodHash"):  # of a Rollout
        return bool((replica_set["metadata"].get("labels") or {}).get("rollouts-pod-template-hash") == wanted)
    mine = (body["metadata"].get("annotations") or {}).get(REVISION)
    return mine is not None and (replica_set["metadata"].get("annotations") or {}).get(REVISION) == mine


def _node_is_ready(node: Body) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return all(c["status"] == "True" for c in conditions if c["type"] == "Ready")


def _ordinal(pod: Body) -> int:
    return _trailing(pod["metadata"]["name"])


def _trailing(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0
