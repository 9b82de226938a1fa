"""Where the API keeps each kind, and what the bot must be allowed to do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.ports.kubernetes import Kind


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the API. verbs: those that the adapter uses on it; extension: not every cluster has it."""

    group: str
    version: str
    plural: str
    verbs: tuple[str, ...]
    extension: bool = False

    def path(self, namespace: str, name: str = "") -> str:
        """Where the API has it; a namespace of "" for what has none."""
        start = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{start}{within}/{self.plural}" + (f"/{name}" if name else "")

    @property
    def qualified(self) -> str:
        """As kubectl and RBAC name it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_WRITTEN = ("get", "list", "patch")
_MADE = (*_WRITTEN, "create", "delete")
"""Of what is brought back where it is gone, and taken away again by an undo."""

RESOURCES: Mapping[Kind, Resource] = {
    "deployment": Resource("apps", "v1", "deployments", _MADE),
    "statefulset": Resource("apps", "v1", "statefulsets", _MADE),
    "daemonset": Resource("apps", "v1", "daemonsets", _MADE),
    "cronjob": Resource("batch", "v1", "cronjobs", _MADE),
    "rollout": Resource("argoproj.io", "v1alpha1", "rollouts", _WRITTEN, extension=True),
    "configmap": Resource("", "v1", "configmaps", _WRITTEN),
    "hpa": Resource("autoscaling", "v2", "horizontalpodautoscalers", _WRITTEN),
    "scaledobject": Resource("keda.sh", "v1alpha1", "scaledobjects", _WRITTEN, extension=True),
    "scaledjob": Resource("keda.sh", "v1alpha1", "scaledjobs", _WRITTEN, extension=True),
    "job": Resource("batch", "v1", "jobs", ("list",)),
    "application": Resource("argoproj.io", "v1alpha1", "applications", _WRITTEN, extension=True),
    "kustomization": Resource("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", _WRITTEN, extension=True),
    "helmrelease": Resource("helm.toolkit.fluxcd.io", "v2", "helmreleases", _WRITTEN, extension=True),
    "imageupdateautomation": Resource(
        "image.toolkit.fluxcd.io", "v1", "imageupdateautomations", _WRITTEN, extension=True
    ),
}
SOURCES: Mapping[str, Resource] = {
    kind: Resource("source.toolkit.fluxcd.io", "v1", plural, ("get",), extension=True)
    for kind, plural in (
        ("GitRepository", "gitrepositories"), ("OCIRepository", "ocirepositories"), ("Bucket", "buckets"),
    )
}  # fmt: skip
"""Where a Kustomization of Flux reads from."""
PODS = Resource("", "v1", "pods", ("get", "list", "delete"))
PROBES = (Resource("", "v1", "pods", ("create",)), Resource("", "v1", "pods/proxy", ("get",)))
"""For a pod without traffic, where the catalogue lets one be started."""
REPLICASETS = Resource("apps", "v1", "replicasets", ("list",))
NODES = Resource("", "v1", "nodes", ("get",))
LOGS = Resource("", "v1", "pods/log", ("get",))
EVENTS = Resource("", "v1", "events", ("list",))
JOBS = RESOURCES["job"]
ROLLOUT_STATUS = Resource("argoproj.io", "v1alpha1", "rollouts/status", ("get", "patch"), extension=True)
_GUARDING = ("get", "list", "create", "patch", "delete")
POLICY = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", _GUARDING)
BINDING = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", _GUARDING)
