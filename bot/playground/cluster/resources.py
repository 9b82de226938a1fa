"""The table of what the API serves. Everything else about HTTP, storage and watching is the same for all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind of object.

    stored: the resource whose objects these are, another's where two groups show the same ones; selectable: fields that
    a field selector may name beside metadata.name and metadata.namespace; spec: whether it has a generation.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL
    selectable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spec: bool = True
    custom: bool = False
    stored: str = ""

    @property
    def api_version(self) -> str:
        """As objects name it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages name it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def store(self) -> str:
        """Where its objects are kept."""
        return self.stored or self.qualified

    @property
    def has_status(self) -> bool:
        """Whether status is written through a subresource of its own."""
        return "status" in self.subresources


_STATUS = ("status",)
_SCALED = ("scale", "status")
_EVENT_FIELDS = {
    f"involvedObject.{name}": ("involvedObject", name) for name in ("kind", "name", "namespace", "uid", "apiVersion")
} | {"reason": ("reason",), "type": ("type",), "reportingComponent": ("reportingComponent",)}


def _flux(group: str, plural: str, kind: str, short: str, version: str = "v1") -> Resource:
    return Resource(f"{group}.toolkit.fluxcd.io", version, plural, kind, True, (short,), (), _STATUS, custom=True)


RESOURCES = (
    Resource(
        "",
        "v1",
        "namespaces",
        "Namespace",
        False,
        ("ns",),
        (),
        _STATUS,
        selectable={"status.phase": ("status", "phase")},
        spec=False,
    ),
    Resource("", "v1", "nodes", "Node", False, ("no",), (), _STATUS, spec=False),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        True,
        ("po",),
        ("all",),
        ("eviction", "log", "proxy", "status"),
        selectable={
            "status.phase": ("status", "phase"),
            "spec.nodeName": ("spec", "nodeName"),
            "spec.restartPolicy": ("spec", "restartPolicy"),
            "status.podIP": ("status", "podIP"),
        },
    ),
    Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",), spec=False),
    Resource("", "v1", "secrets", "Secret", True, spec=False, selectable={"type": ("type",)}),
    Resource("", "v1", "services", "Service", True, ("svc",), ("all",), ("proxy", "status"), spec=False),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), spec=False),
    Resource("", "v1", "resourcequotas", "ResourceQuota", True, ("quota",), (), _STATUS, spec=False),
    Resource("", "v1", "events", "Event", True, ("ev",), spec=False, selectable=_EVENT_FIELDS),
    Resource(
        "events.k8s.io",
        "v1",
        "events",
        "Event",
        True,
        ("ev",),
        spec=False,
        stored="events",
        selectable={"reason": ("reason",), "type": ("type",)},
    ),
    Resource("apps", "v1", "deployments", "Deployment", True, ("deploy",), ("all",), _SCALED),
    Resource("apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), ("all",), _SCALED),
    Resource("apps", "v1", "statefulsets", "StatefulSet", True, ("sts",), ("all",), _SCALED),
    Resource("apps", "v1", "daemonsets", "DaemonSet", True, ("ds",), ("all",), _STATUS),
    Resource(
        "batch",
        "v1",
        "jobs",
        "Job",
        True,
        (),
        ("all",),
        _STATUS,
        selectable={"status.successful": ("status", "succeeded")},
    ),
    Resource("batch", "v1", "cronjobs", "CronJob", True, ("cj",), ("all",), _STATUS),
    Resource(
        "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, ("hpa",), ("all",), _STATUS
    ),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, ("pdb",), (), _STATUS),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        False,
        (),
        ("api-extensions",),
        _STATUS,
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        False,
        (),
        ("api-extensions",),
    ),
    Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", spec=False),
    Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", spec=False),
    Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False, spec=False),
    Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False, spec=False),
    Resource(
        "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=("create",)
    ),
    Resource(
        "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=("create",)
    ),
    Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False, verbs=("create",)),
    Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=("create",)),
    Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", True, ("so",), (), _STATUS, custom=True),
    Resource("keda.sh", "v1alpha1", "scaledjobs", "ScaledJob", True, ("sj",), (), _STATUS, custom=True),
    Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout", True, ("ro",), (), _SCALED, custom=True),
    Resource("argoproj.io", "v1alpha1", "applicationsets", "ApplicationSet", True, ("appset",), (), (), custom=True),
    Resource("argoproj.io", "v1alpha1", "applications", "Application", True, ("app", "apps"), (), (), custom=True),
    _flux("source", "gitrepositories", "GitRepository", "gitrepo"),
    _flux("source", "ocirepositories", "OCIRepository", "ocirepo"),
    _flux("source", "buckets", "Bucket", "bucket"),
    _flux("kustomize", "kustomizations", "Kustomization", "ks"),
    _flux("helm", "helmreleases", "HelmRelease", "hr", "v2"),
    _flux("image", "imageupdateautomations", "ImageUpdateAutomation", "iua"),
)
"""Everything that is served, in the order of discovery."""

_BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND = {(r.api_version, r.kind): r for r in RESOURCES}
_BY_STORE = {r.store: r for r in reversed(RESOURCES)}


def by_path(group: str, version: str, plural: str) -> Resource | None:
    """As a URL names it."""
    return _BY_PATH.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Resource | None:
    """As an object names it."""
    return _BY_KIND.get((api_version, kind))


def of(qualified: str) -> Resource:
    """By its qualified name, as `deployments.apps`. KeyError."""
    return _BY_STORE[qualified]


PODS = of("pods")
EVENTS = of("events")
NAMESPACES = of("namespaces")
NODES = of("nodes")
SERVICES = of("services")
QUOTAS = of("resourcequotas")
CONFIGMAPS = of("configmaps")
SECRETS = of("secrets")
DEPLOYMENTS = of("deployments.apps")
REPLICASETS = of("replicasets.apps")
STATEFULSETS = of("statefulsets.apps")
DAEMONSETS = of("daemonsets.apps")
JOBS = of("jobs.batch")
CRONJOBS = of("cronjobs.batch")
AUTOSCALERS = of("horizontalpodautoscalers.autoscaling")
POLICIES = of("validatingadmissionpolicies.admissionregistration.k8s.io")
BINDINGS = of("validatingadmissionpolicybindings.admissionregistration.k8s.io")
SCALED_OBJECTS = of("scaledobjects.keda.sh")
SCALED_JOBS = of("scaledjobs.keda.sh")
ROLLOUTS = of("rollouts.argoproj.io")
APPLICATION_SETS = of("applicationsets.argoproj.io")
APPLICATIONS = of("applications.argoproj.io")
GIT_REPOSITORIES = of("gitrepositories.source.toolkit.fluxcd.io")
KUSTOMIZATIONS = of("kustomizations.kustomize.toolkit.fluxcd.io")
HELM_RELEASES = of("helmreleases.helm.toolkit.fluxcd.io")
