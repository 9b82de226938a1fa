"""What stands in the shop's repository: the manifests of a release, and those around it that no release changes.

A release's manifests are what CI applies and what Argo CD compares with. Replicas that an autoscaler moves are not
among them, nor is `checkout.kill_switch`: that key belongs to the people who run the shop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.playground.cluster.objects import Json
from bot.playground.shop.releases import SERVICE, VERSIONS

NAMESPACE = "shop"
SETTINGS = "shop-settings"
KILL_SWITCH = "checkout.kill_switch"
REPOSITORY = "https://git.example/shop/deploy.git"
_PART_OF = {"app.kubernetes.io/part-of": SERVICE}
_GRACE = 5
PORT = 8080
"""Where the API listens in its pods."""


@dataclass(frozen=True)
class Site:
    """One cluster as the shop uses it. settings_url: where pods read the ConfigMap; scaled: KEDA scales the worker;
    schedule: when the cron runs; database: a file, or the address of PostgreSQL with a login, kept in a Secret; cache:
    Valkey's address, and provider: of payments, where the shop has its second half."""

    cluster: str
    settings_url: str
    database: str
    scaled: bool
    schedule: str
    cache: str = ""
    provider: str = ""

    @property
    def path(self) -> str:
        """The folder of the repository."""
        return f"clusters/{self.cluster}"


def release(site: Site, version: str, images: Mapping[str, str]) -> list[Json]:
    """The manifests of a release in one cluster, in the order in which CI applies them."""
    env = VERSIONS[version].env
    api, worker, settle = images["shop-api"], images["shop-worker"], images["shop-settle"]
    return [
        _object("v1", "ConfigMap", SETTINGS, data=dict(VERSIONS[version].settings)),
        _deployment("shop-api-canary", "shop-api", "canary", 1, _pod(site, api, env, probe=True)),
        _deployment("shop-api", "shop-api", "stable", None, _pod(site, api, env, probe=True)),
        _deployment(
            "shop-worker", "shop-worker", "stable", None if site.scaled else 1, _pod(site, worker, {}, port=True)
        ),
        _cron(site, settle),
    ]


def first_replicas(manifest: Json) -> Json:
    """The same for its first time: an autoscaler takes over from here."""
    if manifest["kind"] != "Deployment" or "replicas" in manifest["spec"]:
        return manifest
    return manifest | {"spec": manifest["spec"] | {"replicas": 2}}


def around(site: Site) -> list[Json]:
    """What is there before the first release."""
    secret = {"kind": "Secret", "apiVersion": "v1", "stringData": {"path": site.database}}
    secret["metadata"] = {"name": "shop-database", "namespace": NAMESPACE, "labels": _PART_OF}
    ports = [{"port": 80, "targetPort": PORT}]
    found = [
        secret,
        _object("v1", "ConfigMap", SETTINGS, data={KILL_SWITCH: "false"}),
        _object("v1", "Service", "shop-api", spec={"selector": {"app": "shop-api"}, "ports": ports}),
        _object("autoscaling/v2", "HorizontalPodAutoscaler", "shop-api", spec=_autoscaling("shop-api")),
    ]
    return [*found, _scaled_object()] if site.scaled else found


def application(site: Site) -> Json:
    """Argo CD's: it keeps the cluster as the repository says."""
    destination = {"server": "https://kubernetes.default.svc", "namespace": NAMESPACE}
    spec = {
        "project": "default",
        "source": {"repoURL": REPOSITORY, "path": site.path, "targetRevision": "main"},
        "destination": destination,
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
    }
    meta = {"name": SERVICE, "namespace": "argocd", "labels": _PART_OF}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": spec}


def _object(api_version: str, kind: str, name: str, **rest: object) -> Json:
    meta = {"name": name, "namespace": NAMESPACE, "labels": _PART_OF}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def _deployment(name: str, app: str, track: str, replicas: int | None, pod: Json) -> Json:
    labels = {"app": app, "track": track}
    spec: Json = {"selector": {"matchLabels": labels}, "progressDeadlineSeconds": 120}
    spec["template"] = {"metadata": {"labels": {**_PART_OF, **labels}}, "spec": pod}
    spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return _object("apps/v1", "Deployment", name, spec=spec | ({} if replicas is None else {"replicas": replicas}))


def _pod(site: Site, image: str, env: Mapping[str, str], *, probe: bool = False, port: bool = False) -> Json:
    variables: list[Json] = [{"name": name, "value": value} for name, value in env.items()]
    variables += [
        {"name": "CLUSTER", "value": site.cluster},
        {"name": "SETTINGS_URL", "value": site.settings_url},
        {"name": "DATABASE", "valueFrom": {"secretKeyRef": {"name": "shop-database", "key": "path"}}},
    ]
    if site.cache:
        variables += [{"name": "CACHE", "value": site.cache}, {"name": "PROVIDER", "value": site.provider}]
    container: Json = {"name": "app", "image": image, "env": variables}
    if port and site.cache:
        container["ports"] = [{"containerPort": PORT}]
    if probe:
        ready = {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 2, "timeoutSeconds": 5}
        container |= {"ports": [{"containerPort": PORT}], "readinessProbe": ready}
    return {"containers": [container], "terminationGracePeriodSeconds": _GRACE}


def _cron(site: Site, image: str) -> Json:
    pod = _pod(site, image, {}) | {"restartPolicy": "Never"}
    template = {"metadata": {"labels": {**_PART_OF, "app": "shop-settle"}}, "spec": pod}
    job = {"spec": {"backoffLimit": 0, "activeDeadlineSeconds": 30, "template": template}}
    spec = {"schedule": site.schedule, "concurrencyPolicy": "Forbid", "jobTemplate": job}
    return _object("batch/v1", "CronJob", "shop-settle", spec=spec)


def _autoscaling(target: str) -> Json:
    busy = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    return {
        "minReplicas": 2,
        "maxReplicas": 4,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "metrics": [{"type": "Resource", "resource": busy}],
    }


def _scaled_object() -> Json:
    trigger = {"type": "postgresql", "metadata": {"query": "select count(*) from jobs", "targetQueryValue": "50"}}
    target = {"name": "shop-worker"}
    spec = {"scaleTargetRef": target, "minReplicaCount": 1, "maxReplicaCount": 4, "triggers": [trigger]}
    return _object("keda.sh/v1alpha1", "ScaledObject", "shop-worker", spec=spec)
