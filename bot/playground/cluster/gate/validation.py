"""The bodies that the API server refuses with 422, as far as people get them wrong.

Invariants: a body that passes can be worked with by every controller here without looking twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from zoneinfo import ZoneInfo

from bot.cron import parse
from bot.playground.cluster import resources
from bot.playground.cluster.failures import Cause, invalid, required
from bot.playground.cluster.gate.admission import check_binding, check_policy
from bot.playground.cluster.objects import Json, dig
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.selectors import selects

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def problems(resource: Resource, obj: Json, old: Json | None) -> list[Cause]:
    """Everything that is wrong with a body, or with its difference from what is stored."""
    found = _metadata(resource, obj)
    check = _BY_STORE.get(resource.store)
    if check is not None:
        if "spec" in obj and not isinstance(obj["spec"], dict):
            return [invalid("spec", obj["spec"], "must be an object")]
        found += check(obj)
    return found or (list(_changed(resource, obj, old)) if old is not None else [])


def _metadata(resource: Resource, obj: Json) -> list[Cause]:
    name = obj["metadata"].get("name") or ""
    rbac = resource.group == "rbac.authorization.k8s.io"
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if not rbac and (len(name) > 253 or not _SUBDOMAIN.fullmatch(name)):
        return [invalid("metadata.name", name, _SUBDOMAIN_RULE)]
    if resource in (resources.SERVICES, resources.NAMESPACES) and not _LABEL.fullmatch(name):
        return [invalid("metadata.name", name, _LABEL_RULE)]
    if resource is resources.CRONJOBS and len(name) > 52:
        return [invalid("metadata.name", name, "must be no more than 52 characters")]
    found = []
    for where in ("labels", "annotations"):
        for key, value in (obj["metadata"].get(where) or {}).items():
            if not isinstance(value, str):
                found.append(invalid(f"metadata.{where}", f"{key}={value}", "must be a string"))
    for value in (obj["metadata"].get("labels") or {}).values():
        if isinstance(value, str) and (
            len(value) > 63 or not re.fullmatch(r"([A-Za-z0-9]([-\w.]*[A-Za-z0-9])?)?", value)
        ):
            found.append(
                invalid(
                    "metadata.labels",
                    value,
                    "a valid label must be an empty string or consist of "
                    "alphanumeric characters, '-', '_' or '.', 63 at most",
                )
            )
    return found


def _pod_spec(spec: Any, at: str, restart: tuple[str, ...]) -> list[Cause]:
    if not isinstance(spec, dict) or not isinstance(spec.get("containers"), list) or not spec["containers"]:
        return [required(f"{at}.containers")]
    found: list[Cause] = []
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            found += _container(container, f"{at}.{group}[{i}]", names)
    if spec.get("restartPolicy", restart[0]) not in restart:
        listed = ", ".join(f'"{value}"' for value in restart)
        wrong = f'Unsupported value: "{spec["restartPolicy"]}": supported values: {listed}'
        found.append(Cause(f"{at}.restartPolicy", wrong, "FieldValueNotSupported"))
    return found


def _container(container: Any, at: str, names: set[str]) -> list[Cause]:
    if not isinstance(container, dict):
        return [invalid(at, container, "must be an object")]
    found, name = [], container.get("name") or ""
    if not name:
        found.append(required(f"{at}.name"))
    elif not _LABEL.fullmatch(name) or len(name) > 63:
        found.append(invalid(f"{at}.name", name, _LABEL_RULE))
    elif name in names:
        found.append(Cause(f"{at}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate"))
    names.add(name)
    image = container.get("image")
    if not image:
        found.append(required(f"{at}.image"))
    elif not isinstance(image, str) or image != image.strip():
        found.append(invalid(f"{at}.image", image, "must not have leading or trailing whitespace"))
    for i, item in enumerate(container.get("env") or ()):
        found += _env(item, f"{at}.env[{i}]")
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        handlers = set(container.get(probe) or {}) & {"httpGet", "exec", "tcpSocket", "grpc"}
        if container.get(probe) and len(handlers) != 1:
            found.append(required(f"{at}.{probe}", "must specify a handler type"))
    return found


def _env(item: Json, at: str) -> list[Cause]:
    name = item.get("name") or ""
    if not name:
        return [required(f"{at}.name")]
    if not _ENV_NAME.fullmatch(name):
        return [
            invalid(
                f"{at}.name",
                name,
                "a valid environment variable name must consist only of printable ASCII characters other than '='",
            )
        ]
    if item.get("value") and item.get("valueFrom"):
        return [invalid(f"{at}.valueFrom", "", "may not be specified when `value` is not empty")]
    if item.get("value") is not None and not isinstance(item["value"], str):
        return [invalid(f"{at}.value", item["value"], "must be a string")]
    return []


def _workload(obj: Json) -> list[Cause]:
    spec = obj.get("spec") or {}
    found = _count(spec, "spec.replicas", "replicas")
    selector = spec.get("selector")
    template = spec.get("template") or {}
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        found.append(required("spec.selector"))
    elif not selects(selector, dig(template, "metadata", "labels") or {}):
        labels = dig(template, "metadata", "labels") or {}
        found.append(invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"))
    return found + _pod_spec(template.get("spec"), "spec.template.spec", ("Always",))


def _deployment(obj: Json) -> list[Cause]:
    found = _workload(obj)
    spec = obj["spec"]
    rolling = dig(spec, "strategy", "rollingUpdate") or {}
    if str(rolling.get("maxSurge")) in ("0", "0%") and str(rolling.get("maxUnavailable")) in ("0", "0%"):
        found.append(invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0"))
    kind = dig(spec, "strategy", "type")
    if kind not in ("RollingUpdate", "Recreate"):
        found.append(Cause("spec.strategy.type", f'Unsupported value: "{kind}"', "FieldValueNotSupported"))
    if spec["progressDeadlineSeconds"] <= spec.get("minReadySeconds", 0):
        found.append(
            invalid(
                "spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"], "must be greater than minReadySeconds"
            )
        )
    return found


def _count(spec: Json, at: str, name: str) -> list[Cause]:
    value = spec.get(name)
    if value is None:
        return []
    if not isinstance(value, int) or isinstance(value, bool):
        return [invalid(at, value, "must be an integer")]
    return [invalid(at, value, "must be greater than or equal to 0")] if value < 0 else []


def _job(obj: Json, at: str = "spec") -> list[Cause]:
    spec: Json = obj
    for step in at.split("."):
        spec = spec.get(step) or {}
    found = [c for n in ("parallelism", "completions", "backoffLimit") for c in _count(spec, f"{at}.{n}", n)]
    template = dig(spec, "template", "spec") or {}
    policy = template.get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        told = 'Required value: valid values: "OnFailure", "Never"'
        if policy:
            told = f'Unsupported value: "{policy}": supported values: "OnFailure", "Never"'
        found.append(Cause(f"{at}.template.spec.restartPolicy", told))
    return found + _pod_spec(template, f"{at}.template.spec", ("OnFailure", "Never", "Always"))


def _cron_job(obj: Json) -> list[Cause]:
    spec = obj["spec"]
    found = []
    schedule = spec.get("schedule") or ""
    if not schedule:
        found.append(required("spec.schedule"))
    elif "TZ=" in schedule:
        found.append(
            invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
        )
    elif (why := cron_problem(schedule)) is not None:
        found.append(invalid("spec.schedule", schedule, why))
    zone = spec.get("timeZone")
    if zone is not None and not _zone_exists(zone):
        found.append(invalid("spec.timeZone", zone, f"unknown time zone {zone}"))
    if spec["concurrencyPolicy"] not in ("Allow", "Forbid", "Replace"):
        found.append(Cause("spec.concurrencyPolicy", f'Unsupported value: "{spec["concurrencyPolicy"]}"'))
    return found + _job(obj, "spec.jobTemplate.spec")


def cron_problem(schedule: str) -> str | None:
    """Why a schedule is none that Kubernetes takes."""
    try:
        parse(schedule)
    except ValueError as error:
        return str(error)
    return None


def _zone_exists(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return False
    return zone != "Local"


def _autoscaler(obj: Json) -> list[Cause]:
    spec = obj["spec"]
    most, least = spec.get("maxReplicas"), spec["minReplicas"]
    found = []
    if not isinstance(most, int) or most < 1:
        found.append(invalid("spec.maxReplicas", most or 0, "must be greater than 0"))
    elif most < least:
        found.append(invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    outside = any(m.get("type") in ("External", "Object") for m in spec.get("metrics") or ())
    if least < 0 or (least == 0 and not outside):  # 0 needs a metric that is measured without pods
        found.append(invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    for name in ("kind", "name"):
        if not dig(spec, "scaleTargetRef", name):
            found.append(required(f"spec.scaleTargetRef.{name}"))
    return found


def _data(obj: Json) -> list[Cause]:
    data = obj.get("data") or {}
    found = [
        invalid(f"data[{k}]", k, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'")
        for k in data
        if not _CONFIG_KEY.fullmatch(k)
    ]
    return found + [invalid(f"data[{k}]", v, "must be a string") for k, v in data.items() if not isinstance(v, str)]


def _service(obj: Json) -> list[Cause]:
    spec = obj["spec"]
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec["type"] != "ExternalName":
        return [required("spec.ports")]
    return [
        invalid(f"spec.ports[{i}].port", p.get("port") or 0, "must be between 1 and 65535, inclusive")
        for i, p in enumerate(spec.get("ports") or ())
        if not 1 <= int(p.get("port") or 0) <= 65535
    ]


def _binding(obj: Json) -> list[Cause]:
    return [] if dig(obj, "roleRef", "name") else [required("roleRef.name")]


def _scaled_object(obj: Json) -> list[Cause]:
    found = [] if dig(obj, "spec", "scaleTargetRef", "name") else [required("spec.scaleTargetRef.name")]
    return found if dig(obj, "spec", "triggers") else [*found, required("spec.triggers")]


def _application(obj: Json) -> list[Cause]:
    wanted = ("project", "destination")
    return [required(f"spec.{name}") for name in wanted if not dig(obj, "spec", name)]


def _changed(resource: Resource, obj: Json, old: Json) -> Iterable[Cause]:
    """Fields that stay as they were created."""
    for path in _IMMUTABLE.get(resource.store, ()):
        if dig(obj, *path) != dig(old, *path):
            yield invalid(".".join(path), _brief(dig(obj, *path)), "field is immutable")
    sealed = resource in (resources.CONFIGMAPS, resources.SECRETS) and old.get("immutable")
    if sealed and (obj.get("data") != old.get("data") or not obj.get("immutable")):
        yield Cause("data", "Forbidden: field is immutable when `immutable` is set", "FieldValueForbidden")
    if resource is resources.PODS and _pod_frozen(obj) != _pod_frozen(old):
        yield Cause(
            "spec",
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds`",
            "FieldValueForbidden",
        )


def _brief(value: Any) -> Any:
    return value if isinstance(value, str | int) else str(value)


def _pod_frozen(pod: Json) -> Json:
    free = {"activeDeadlineSeconds", "tolerations", "nodeName", "terminationGracePeriodSeconds"}
    spec = {k: v for k, v in pod.get("spec", {}).items() if k not in free}
    for group in ("containers", "initContainers"):
        if group in spec:
            spec[group] = [{k: v for k, v in c.items() if k != "image"} for c in spec[group]]
    return spec


_IMMUTABLE: dict[str, tuple[tuple[str, ...], ...]] = {
    resources.DEPLOYMENTS.store: (("spec", "selector"),),
    resources.REPLICASETS.store: (("spec", "selector"),),
    resources.STATEFULSETS.store: (("spec", "selector"), ("spec", "serviceName")),
    resources.DAEMONSETS.store: (("spec", "selector"),),
    resources.JOBS.store: (("spec", "selector"), ("spec", "template"), ("spec", "completions")),
    resources.SECRETS.store: (("type",),),
    "rolebindings.rbac.authorization.k8s.io": (("roleRef",),),
    "clusterrolebindings.rbac.authorization.k8s.io": (("roleRef",),),
}

_BY_STORE: dict[str, Callable[[Json], list[Cause]]] = {
    resources.PODS.store: lambda o: _pod_spec(o.get("spec"), "spec", ("Always", "OnFailure", "Never")),
    resources.DEPLOYMENTS.store: _deployment,
    resources.REPLICASETS.store: _workload,
    resources.STATEFULSETS.store: _workload,
    resources.DAEMONSETS.store: _workload,
    resources.JOBS.store: _job,
    resources.CRONJOBS.store: _cron_job,
    resources.AUTOSCALERS.store: _autoscaler,
    resources.CONFIGMAPS.store: _data,
    resources.SECRETS.store: _data,
    resources.SERVICES.store: _service,
    resources.POLICIES.store: check_policy,
    resources.BINDINGS.store: check_binding,
    resources.SCALED_OBJECTS.store: _scaled_object,
    resources.APPLICATIONS.store: _application,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
}
