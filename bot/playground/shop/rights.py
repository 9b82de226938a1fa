"""Who may do what in the shop's clusters: the bot what rolling back needs and no more, CI, the people, the pods.

The bot's rights are those of deploy/kubernetes/rights, which `rollback-bot rights kubernetes` writes; a test compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.playground.cluster import User
from bot.playground.cluster.objects import Json

BREAK_GLASS = "break-glass"
"""The group that a freeze admits."""
USERS = {
    "dee": User.person("dee@example.com", "shop-team"),
    "shop": User.service_account("shop", "shop"),
}
"""Users beside those that every cluster has: a colleague, and the shop's own pods."""

_WRITTEN = ["get", "list", "patch"]


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str]) -> Json:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


_BOT_IN_THE_SERVICE = [
    _rule("apps", ["deployments", "statefulsets", "daemonsets"], [*_WRITTEN, "create", "delete"]),
    _rule("batch", ["cronjobs"], [*_WRITTEN, "create", "delete"]),
    _rule("batch", ["jobs"], ["list"]),
    _rule("", ["configmaps"], _WRITTEN),
    _rule("apps", ["replicasets"], ["list"]),
    _rule("", ["pods"], ["get", "list", "delete", "create"]),
    _rule("", ["pods/proxy"], ["get"]),
    _rule("", ["pods/log"], ["get"]),
    _rule("", ["events"], ["list"]),
    _rule("autoscaling", ["horizontalpodautoscalers"], _WRITTEN),
    _rule("keda.sh", ["scaledobjects", "scaledjobs"], _WRITTEN),
    _rule("argoproj.io", ["rollouts"], _WRITTEN),
    _rule("argoproj.io", ["rollouts/status"], ["get", "patch"]),
]
_BOT_IN_ARGOCD = [_rule("argoproj.io", ["applications"], _WRITTEN)]
_BOT_IN_FLUX = [
    _rule("kustomize.toolkit.fluxcd.io", ["kustomizations"], _WRITTEN),
    _rule("helm.toolkit.fluxcd.io", ["helmreleases"], _WRITTEN),
    _rule("image.toolkit.fluxcd.io", ["imageupdateautomations"], _WRITTEN),
    _rule("source.toolkit.fluxcd.io", ["gitrepositories", "ocirepositories", "buckets"], ["get"]),
]
_POLICIES = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]
_BOT_EVERYWHERE = [
    _rule("admissionregistration.k8s.io", _POLICIES, [*_WRITTEN, "create", "delete"]),
    _rule("", ["nodes"], ["get"]),
]
_BOT = {"kind": "ServiceAccount", "name": "rollback-bot", "namespace": "rollback-bot"}
_TEAM = {"kind": "Group", "name": "shop-team", "apiGroup": "rbac.authorization.k8s.io"}
_PODS = {"kind": "ServiceAccount", "name": "shop", "namespace": "shop"}


def rights(namespace: str) -> list[Json]:
    """Roles and their bindings, over those of a new cluster."""
    return [
        _role("ClusterRole", "rollback-bot", "", _BOT_EVERYWHERE),
        _role("Role", "rollback-bot", namespace, _BOT_IN_THE_SERVICE),
        _bound("rollback-bot", namespace, _BOT),
        _role("Role", "rollback-bot", "argocd", _BOT_IN_ARGOCD),
        _bound("rollback-bot", "argocd", _BOT),
        _role("Role", "rollback-bot", "flux-system", _BOT_IN_FLUX),
        _bound("rollback-bot", "flux-system", _BOT),
        _role("Role", "settings", namespace, [_rule("", ["configmaps"], ["get"])]),
        _bound("settings", namespace, _PODS),
        _bound("edit", namespace, _TEAM, "ClusterRole"),
    ]


def _role(kind: str, name: str, namespace: str, rules: Sequence[Json]) -> Json:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": meta, "rules": list(rules)}


def _bound(name: str, namespace: str, subject: Json, kind: str = "Role") -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [subject],
    }
