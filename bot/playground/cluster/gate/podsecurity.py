"""The label pod-security.kubernetes.io/enforce of a namespace: pods that break the standard are refused when they are
made, by whomever; a workload whose pods would be is stored all the same.

Invariants: `privileged` (or no label) lets everything in.

Source: k8s.io/pod-security-admission; of the standards, the rules that people meet.
"""

from __future__ import annotations

from collections.abc import Iterator

from bot.playground.cluster import resources
from bot.playground.cluster.failures import forbidden
from bot.playground.cluster.objects import Json, dig, labels_of
from bot.playground.cluster.store import Store

ENFORCE = "pod-security.kubernetes.io/enforce"


def check(store: Store, pod: Json, namespace: str, name: str) -> None:
    """Let a new pod pass or refuse it. ApiError 403."""
    space = store.get(resources.NAMESPACES, "", namespace) or {}
    level = labels_of(space).get(ENFORCE, "privileged")
    if wrong := ", ".join(_insecure(pod, level)):
        raise forbidden(resources.PODS, name, f'violates PodSecurity "{level}:latest": {wrong}')


def _insecure(pod: Json, level: str) -> Iterator[str]:
    spec: Json = pod.get("spec") or {}
    containers = [c for group in ("initContainers", "containers") for c in spec.get(group) or ()]
    if level in ("baseline", "restricted"):
        yield from _baseline(spec, containers)
    if level == "restricted":
        yield from _restricted(spec, containers)


def _baseline(spec: Json, containers: list[Json]) -> Iterator[str]:
    if on := [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]:
        yield f"host namespaces ({', '.join(f'{name}=true' for name in on)})"
    if paths := [v["name"] for v in spec.get("volumes") or () if "hostPath" in v]:
        yield f'hostPath volumes (volume "{paths[0]}")'
    for c in containers:
        if dig(c, "securityContext", "privileged"):
            yield f'privileged (container "{c["name"]}" must not set securityContext.privileged=true)'


def _restricted(spec: Json, containers: list[Json]) -> Iterator[str]:
    own: Json = spec.get("securityContext") or {}
    for c in containers:
        named, its = f'container "{c["name"]}"', c.get("securityContext") or {}
        if its.get("allowPrivilegeEscalation") is not False:
            yield (f"allowPrivilegeEscalation != false ({named} must set"
                   " securityContext.allowPrivilegeEscalation=false)")  # fmt: skip
        if "ALL" not in (dig(its, "capabilities", "drop") or ()):
            yield f'unrestricted capabilities ({named} must set securityContext.capabilities.drop=["ALL"])'
        if not its.get("runAsNonRoot", own.get("runAsNonRoot")):
            yield f"runAsNonRoot != true (pod or {named} must set securityContext.runAsNonRoot=true)"
        if dig(its, "seccompProfile", "type") is None and dig(own, "seccompProfile", "type") is None:
            yield (f"seccompProfile (pod or {named} must set securityContext.seccompProfile.type to"
                   ' "RuntimeDefault" or "Localhost")')  # fmt: skip
