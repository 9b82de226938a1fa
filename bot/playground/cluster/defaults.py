"""What the API server fills in where a body says nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable

from bot.playground.cluster import resources
from bot.playground.cluster.objects import Json
from bot.playground.cluster.resources import Resource
from bot.playground.copied import copied


def defaulted(resource: Resource, obj: Json) -> Json:
    """A copy with the defaults of its kind."""
    result = copied(obj)
    fill = _BY_STORE.get(resource.store)
    if fill is not None and isinstance(result.get("spec", {}), dict):
        fill(result)
    return result


def _pod(spec: Json, *, restart: str = "Always") -> None:
    _fill(
        spec,
        restartPolicy=restart,
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for name in ("initContainers", "containers"):
        found = spec.get(name)
        for container in found if isinstance(found, list) else ():
            _container(container)


def _container(container: Json) -> None:
    image = str(container.get("image") or "")
    latest = "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest"))
    _fill(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if latest else "IfNotPresent",
    )
    for port in container.get("ports") or ():
        _fill(port, protocol="TCP")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") if isinstance(variable, dict) else None
        if isinstance(source, dict) and isinstance(source.get("fieldRef"), dict):
            _fill(source["fieldRef"], apiVersion="v1")
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _fill(container[probe], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if isinstance(container[probe].get("httpGet"), dict):
                _fill(container[probe]["httpGet"], path="/", scheme="HTTP")


def _template(spec: Json, *, restart: str = "Always") -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        _fill(template, metadata={})
        template["metadata"].setdefault("creationTimestamp", None)
        if isinstance(template.get("spec"), dict):
            _pod(template["spec"], restart=restart)


def _fill(where: Json, **values: object) -> None:
    for name, value in values.items():
        if where.get(name) is None:
            where[name] = value


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _fill(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _fill(spec["strategy"], rollingUpdate={})
        _fill(spec["strategy"]["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _template(spec)


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, replicas=1)
    _template(spec)


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    _fill(spec, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    _template(spec)


def _daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, revisionHistoryLimit=10)
    _fill(spec, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    _template(spec)


def _job_spec(spec: Json) -> None:
    _fill(spec, backoffLimit=6, suspend=False, completionMode="NonIndexed")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _fill(spec, parallelism=1)
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _template(spec, restart=template["spec"].get("restartPolicy") or "Always")


def _job(obj: Json) -> None:
    _job_spec(obj.setdefault("spec", {}))


def _cron_job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    template = spec.get("jobTemplate")
    if isinstance(template, dict):
        _fill(template, metadata={})
        inner = template.get("spec")
        pod = inner.get("template", {}).get("spec") if isinstance(inner, dict) else None
        if isinstance(pod, dict):
            _pod(pod)


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or ():
        _fill(port, protocol="TCP", targetPort=port.get("port"))


def _autoscaler(obj: Json) -> None:
    _fill(obj.setdefault("spec", {}), minReplicas=1)


def _policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, failurePolicy="Fail")
    if isinstance(spec.get("matchConstraints"), dict):
        _matching(spec["matchConstraints"])


def _binding(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if isinstance(spec.get("matchResources"), dict):
        _matching(spec["matchResources"])


def _matching(where: Json) -> None:
    _fill(where, matchPolicy="Equivalent", namespaceSelector={}, objectSelector={})
    for rule in where.get("resourceRules") or ():
        _fill(rule, scope="*")


def _secret(obj: Json) -> None:
    _fill(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in plain.items()}
        obj["data"] = (obj.get("data") or {}) | encoded


def _pod_object(obj: Json) -> None:
    if isinstance(obj.get("spec"), dict):
        _pod(obj["spec"])
        _fill(obj["spec"], serviceAccountName="default", enableServiceLinks=True)


_BY_STORE: dict[str, Callable[[Json], None]] = {
    resources.PODS.store: _pod_object,
    resources.DEPLOYMENTS.store: _deployment,
    resources.REPLICASETS.store: _replica_set,
    resources.STATEFULSETS.store: _stateful_set,
    resources.DAEMONSETS.store: _daemon_set,
    resources.JOBS.store: _job,
    resources.CRONJOBS.store: _cron_job,
    resources.SERVICES.store: _service,
    resources.SECRETS.store: _secret,
    resources.AUTOSCALERS.store: _autoscaler,
    resources.POLICIES.store: _policy,
    resources.BINDINGS.store: _binding,
}
