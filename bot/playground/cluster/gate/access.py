"""Who asks, and what they may: tokens, groups, and the rules of RBAC.

Invariants: every answer comes from the rules in force, so a review and a refusal agree; `system:masters` may all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.playground.cluster.failures import ApiError, forbidden
from bot.playground.cluster.objects import Json, name_of
from bot.playground.cluster.resources import Resource, of
from bot.playground.cluster.store import Store

_ROLES = of("roles.rbac.authorization.k8s.io")
_ROLE_BINDINGS = of("rolebindings.rbac.authorization.k8s.io")
_CLUSTER_ROLES = of("clusterroles.rbac.authorization.k8s.io")
_CLUSTER_BINDINGS = of("clusterrolebindings.rbac.authorization.k8s.io")

MASTERS = "system:masters"


@dataclass(frozen=True)
class User:
    """Somebody with a token."""

    name: str
    groups: tuple[str, ...] = ()

    @classmethod
    def service_account(cls, namespace: str, name: str) -> User:
        """A program in the cluster."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return cls(f"system:serviceaccount:{namespace}:{name}", groups)

    @classmethod
    def person(cls, name: str, *groups: str) -> User:
        """Somebody at a keyboard."""
        return cls(name, (*groups, "system:authenticated"))


SYSTEM = User("system:apiserver", (MASTERS, "system:authenticated"))

USERS: Mapping[str, User] = {
    "admin": User.person("kubernetes-admin", MASTERS),
    "bot": User.service_account("rollback-bot", "rollback-bot"),
    "ci": User.service_account("ci", "deployer"),
    "argocd": User.service_account("argocd", "argocd-application-controller"),
    "break-glass": User.person("dana@example.com", "break-glass"),
    "nobody": User.person("mallory@example.com"),
}
"""The people and programs of every new cluster, by the name that `Cluster.kubeconfig` takes."""


@dataclass(frozen=True)
class Attempt:
    """What somebody wants to do. path: instead of a resource, for what is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def wanted(self) -> str:
        """As rules name it: `deployments/scale`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Access:
    """The rules in force. users: by token name."""

    def __init__(self, store: Store, users: Mapping[str, User]) -> None:
        self._store = store
        self.users = dict(users)

    def token(self, name: str) -> str:
        """The bearer token of this user. KeyError."""
        self.users[name]
        return f"playground-{name}"

    def who(self, token: str) -> str | None:
        """Whose token it is, by name."""
        name = token.removeprefix("playground-")
        return name if name != token and name in self.users else None

    def allowed(self, user: User, attempt: Attempt) -> str | None:
        """Why the rules allow it, or None."""
        if MASTERS in user.groups:
            return ""
        for rule, why in self._rules(user, attempt.namespace):
            if _allows(rule, attempt):
                return why
        return None

    def demand(self, user: User, attempt: Attempt) -> None:
        """Refuse what the rules do not allow. ApiError 403."""
        if self.allowed(user, attempt) is not None:
            return
        if attempt.path:
            message = f'forbidden: User "{user.name}" cannot {attempt.verb} path "{attempt.path}"'
            raise ApiError(403, "Forbidden", message)
        where = f' in the namespace "{attempt.namespace}"' if attempt.namespace else " at the cluster scope"
        why = (
            f'User "{user.name}" cannot {attempt.verb} resource "{attempt.wanted}" '
            f'in API group "{attempt.group}"{where}'
        )
        raise forbidden(Resource(attempt.group, "", attempt.resource, ""), attempt.name, why)

    def rules(self, user: User, namespace: str) -> list[Json]:
        """All rules that are this user's in this namespace."""
        if MASTERS in user.groups:
            return [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        return [rule for rule, _ in self._rules(user, namespace)]

    def _rules(self, user: User, namespace: str) -> Iterable[tuple[Json, str]]:
        for binding in self._store.all(_CLUSTER_BINDINGS):
            yield from self._bound(user, binding, "ClusterRoleBinding")
        if namespace:
            for binding in self._store.all(_ROLE_BINDINGS, namespace):
                yield from self._bound(user, binding, "RoleBinding")

    def _bound(self, user: User, binding: Json, kind: str) -> Iterable[tuple[Json, str]]:
        subject = next((s for s in binding.get("subjects") or () if _is(user, s, binding)), None)
        if subject is None:
            return
        ref = binding["roleRef"]
        space = "" if ref["kind"] == "ClusterRole" else binding["metadata"]["namespace"]
        role = self._store.get(_ROLES if space else _CLUSTER_ROLES, space, ref["name"])
        bound = f"{name_of(binding)}/{space}" if space else name_of(binding)
        subject_told = f'{subject["kind"]} "{subject["name"]}"'
        why = f'RBAC: allowed by {kind} "{bound}" of {ref["kind"]} "{ref["name"]}" to {subject_told}'
        for rule in (role or {}).get("rules") or ():
            yield rule, why


def _is(user: User, subject: Json, binding: Json) -> bool:
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case _:
            space = subject.get("namespace") or binding["metadata"].get("namespace")
            return user.name == f"system:serviceaccount:{space}:{subject['name']}"


def _allows(rule: Json, attempt: Attempt) -> bool:
    if not _has(rule.get("verbs"), attempt.verb):
        return False
    if attempt.path:
        return any(
            u in ("*", attempt.path) or (u.endswith("*") and attempt.path.startswith(u[:-1]))
            for u in rule.get("nonResourceURLs") or ()
        )
    wanted = {attempt.wanted} | ({f"*/{attempt.subresource}"} if attempt.subresource else set())
    resources = set(rule.get("resources") or ())
    names = rule.get("resourceNames")
    return (
        _has(rule.get("apiGroups"), attempt.group)
        and bool("*" in resources or wanted & resources)
        and (not names or attempt.name in names)
    )


def _has(values: Iterable[str] | None, wanted: str) -> bool:
    found = set(values or ())
    return "*" in found or wanted in found


# -- what every cluster begins with --------------------------------------------------------------------------------

_READ = ["get", "list", "watch"]
_OURS = ["get", "list", "patch"]
_WRITE = [*_READ, "create", "update", "patch", "delete", "deletecollection"]
_WORK = [
    {"apiGroups": ["apps"], "resources": ["*"], "verbs": _WRITE},
    {"apiGroups": ["batch"], "resources": ["*"], "verbs": _WRITE},
    {"apiGroups": ["autoscaling"], "resources": ["*"], "verbs": _WRITE},
    {"apiGroups": ["policy"], "resources": ["*"], "verbs": _WRITE},
    {
        "apiGroups": [""],
        "resources": [
            "configmaps",
            "pods",
            "pods/eviction",
            "pods/proxy",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
        "verbs": _WRITE,
    },
    {
        "apiGroups": ["", "events.k8s.io"],
        "resources": ["events", "namespaces", "pods/log", "pods/status"],
        "verbs": _READ,
    },
]
_SOURCES = ["gitrepositories", "ocirepositories", "buckets"]
_MAKING = ["create", "delete"]
_BOT = [
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": [*_OURS, *_MAKING]},
    {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": [*_OURS, *_MAKING]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": _OURS},
    {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": _OURS},
    {"apiGroups": ["keda.sh"], "resources": ["scaledobjects", "scaledjobs"], "verbs": _OURS},
    {"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": _OURS},
    {"apiGroups": ["argoproj.io"], "resources": ["rollouts/status"], "verbs": ["get", "patch"]},
    {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": _OURS},
    {"apiGroups": ["kustomize.toolkit.fluxcd.io"], "resources": ["kustomizations"], "verbs": _OURS},
    {"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"], "verbs": _OURS},
    {"apiGroups": ["image.toolkit.fluxcd.io"], "resources": ["imageupdateautomations"], "verbs": _OURS},
    {"apiGroups": ["source.toolkit.fluxcd.io"], "resources": _SOURCES, "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        "verbs": ["get", "list", "create", "patch", "delete"],
    },
]
"""The rules of deploy/kubernetes/rights, all in one; a test compares them."""
_BASIC = [
    {
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        "verbs": ["create"],
    },
    {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
]
_DISCOVERY = [
    {
        "nonResourceURLs": [
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/openapi",
            "/openapi/*",
            "/readyz",
            "/version",
            "/version/",
        ],
        "verbs": ["get"],
    },
]


def _role(name: str, rules: list[Json]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def _bind(name: str, role: str, kind: str, subject: str, namespace: str = "") -> Json:
    who = {"kind": kind, "name": subject} | ({"namespace": namespace} if namespace else {})
    who |= {} if namespace else {"apiGroup": "rbac.authorization.k8s.io"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [who],
    }


def standard_roles() -> list[Json]:
    """The roles that a new cluster has; the bot's holds what deploy/kubernetes/rights gives it and no more."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    reading = [rule | {"verbs": _READ} for rule in _WORK]
    return [
        _role("cluster-admin", everything),
        _role("edit", _WORK),
        _role("view", reading),
        _role("rollback-bot", _BOT),
        _role("system:basic-user", _BASIC),
        _role("system:discovery", _DISCOVERY),
        _bind("system:basic-user", "system:basic-user", "Group", "system:authenticated"),
        _bind("system:discovery", "system:discovery", "Group", "system:authenticated"),
        _bind("rollback-bot", "rollback-bot", "ServiceAccount", "rollback-bot", "rollback-bot"),
        _bind("ci-deployer", "edit", "ServiceAccount", "deployer", "ci"),
        _bind("argocd", "cluster-admin", "ServiceAccount", "argocd-application-controller", "argocd"),
        _bind("break-glass", "cluster-admin", "Group", "break-glass"),
    ]
