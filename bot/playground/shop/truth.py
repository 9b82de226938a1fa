"""How the shop really is, read from inside the clusters: for demos and tests that check what the bot claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.playground.cluster import Cluster
from bot.playground.cluster.objects import Json, annotations_of, dig, labels_of, name_of
from bot.playground.shop.manifests import NAMESPACE

_PAUSED = "autoscaling.keda.sh/paused-replicas"


@dataclass(frozen=True, slots=True)
class Second:
    """The second half. revision: of the schema; kinds: of jobs in the queue or in hand, with their number; aside: jobs
    that were set aside; owed: kind -> jobs of the books that are not done; pending: events that somebody took and did
    not finish; keys: release -> how many there are in the cache; synthetic: accounts that a journey has left; kept:
    payments that stand in a database alone that was kept when another took its name; closed: the shop, or its
    database, takes no writes."""

    revision: str
    kinds: Mapping[str, int]
    aside: int
    owed: Mapping[str, int]
    pending: int
    keys: Mapping[str, int]
    synthetic: int
    kept: frozenset[str]
    closed: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """running: cluster -> workload -> versions in its template and its pods, the unknown ones as "?"; paused: what was
    stopped, `eu-1/deployment/shop-worker`; failing: share of payments (0 to 1), None where nobody paid; queued: jobs
    not done; lost: payments that were thanked for and are not there, or have no job or receipt; doubled: payments
    with two receipts or settlements; second: None where the shop has no second half."""

    running: Mapping[str, Mapping[str, tuple[str, ...]]]
    paused: tuple[str, ...]
    failing: float | None
    queued: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    second: Second | None = None

    def serves(self, version: str) -> bool:
        """Whether this version runs everywhere and nothing else does."""
        return all(found == (version,) for one in self.running.values() for found in one.values())


def running(cluster: Cluster, names: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Workload -> versions. names: digest -> version."""
    pods = cluster.all("Pod", NAMESPACE)

    def versions(workload: Json, labels: Mapping[str, str]) -> tuple[str, ...]:
        template = dig(workload, "spec", "jobTemplate", "spec") or workload["spec"]
        mine = [p for p in pods if labels.items() <= labels_of(p).items() and not _over(p)]
        images = [c["image"] for p in [template["template"], *mine] for c in p["spec"]["containers"]]
        return tuple(sorted({names.get(image.partition("@")[2], "?") for image in images}))

    found = {
        name_of(d): versions(d, d["spec"]["selector"]["matchLabels"]) for d in cluster.all("Deployment", NAMESPACE)
    }
    return found | {name_of(c): versions(c, {"app": name_of(c)}) for c in cluster.all("CronJob", NAMESPACE)}


def paused(cluster: Cluster) -> Iterator[str]:
    """Whatever in the cluster is stopped."""
    for deployment in cluster.all("Deployment", NAMESPACE):
        if deployment["spec"]["replicas"] == 0 or deployment["spec"].get("paused"):
            yield f"{cluster.name}/deployment/{name_of(deployment)}"
    for cron in cluster.all("CronJob", NAMESPACE):
        if cron["spec"].get("suspend"):
            yield f"{cluster.name}/cronjob/{name_of(cron)}"
    for scaled in cluster.all("ScaledObject", NAMESPACE):
        if _PAUSED in annotations_of(scaled):
            yield f"{cluster.name}/scaledobject/{name_of(scaled)}"
    for app in cluster.all("Application", "argocd"):
        if dig(app, "spec", "syncPolicy", "automated") is None:
            yield f"{cluster.name}/application/{name_of(app)}"


def _over(pod: Json) -> bool:
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")
