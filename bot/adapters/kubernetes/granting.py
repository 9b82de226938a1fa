"""The rights of the bot's account as manifests for `kubectl apply`: what `rights.missing` asks for, and nothing beside.

Invariants: both read one list (`rights.wanted`), so that what is granted is what is asked for; the same clusters give
the same text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from bot.adapters.kubernetes.rights import wanted
from bot.ports.kubernetes import Cluster

ACCOUNT = "rollback-bot"
"""The account and its namespace; its roles are called so too."""
GUARDS = "rollback-bot-guards"
"""The ClusterRole, and its binding."""
_RBAC = "rbac.authorization.k8s.io"
_WHY: Mapping[str, str] = {
    "deployments": "put back; create, delete: what somebody deleted comes back, an undo takes it away again",
    "cronjobs": "suspended, put back",
    "configmaps": "settings are put back",
    "horizontalpodautoscalers": "what scales a worker; patch: what holds it at 0 is kept from waking it",
    "jobs": "running ones are waited for",
    "pods": "why none comes; delete: what a StatefulSet never replaces; create: only for a probe",
    "replicasets": "why no pod comes, whose pods run",
    "pods/log": "evidence",
    "events": "why no pod comes, evidence",
    "pods/proxy": "a probe is asked",
    "rollouts": "where Argo Rollouts is installed",
    "rollouts/status": "steps of a canary are skipped",
    "scaledobjects": "where KEDA is installed",
    "nodes": "which one a DaemonSet waits for",
    "validatingadmissionpolicies": "freeze and ban",
    "applications": "Argo CD is paused",
    "kustomizations": "Flux is suspended",
    "gitrepositories": "where Git is, while Flux is suspended",
}
"""Resource -> what it is needed for, written behind its rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Resources of a group that are used alike."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    @property
    def line(self) -> str:
        """As a role has it, with what it is for."""
        said = {"apiGroups": [self.group], "resources": [*self.resources], "verbs": [*self.verbs]}
        why = "; ".join(_WHY[name] for name in self.resources if name in _WHY)
        return f"  - {_flow(said)}{f'  # {why}' if why else ''}"


def roles(clusters: Iterable[Cluster]) -> Mapping[str, Sequence[Rule]]:
    """Namespace -> the rules of the bot's role there, "" for the whole cluster, which comes last. clusters: targets
    that lie in one cluster; where several share a namespace the role has what any of them needs."""
    used: dict[str, dict[tuple[str, str], dict[str, None]]] = {}
    for cluster in clusters:
        for resource, space in wanted(cluster):
            verbs = used.setdefault(space, {}).setdefault((resource.group, resource.plural), {})
            verbs.update(dict.fromkeys(resource.verbs))
    return {space: _rules(used[space]) for space in sorted(used, key=lambda space: (not space, space))}


def _rules(used: Mapping[tuple[str, str], Iterable[str]]) -> Sequence[Rule]:
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), verbs in used.items():
        alike.setdefault((group, tuple(verbs)), []).append(plural)
    return [Rule(group, tuple(plurals), verbs) for (group, verbs), plurals in alike.items()]


def manifests(clusters: Iterable[Cluster]) -> str:
    """The account, its roles, and what binds it to them, as YAML."""
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ACCOUNT}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": ACCOUNT}},
    ]
    found = [_document(said) for said in documents]
    for space, rules in roles(clusters).items():
        kind, name = ("Role", ACCOUNT) if space else ("ClusterRole", GUARDS)
        meta = {"name": name, "namespace": space} if space else {"name": name}
        version = f"{_RBAC}/v1"
        role = _document({"apiVersion": version, "kind": kind, "metadata": meta})
        found.append("\n".join([f"{role}rules:", *(rule.line for rule in rules), ""]))
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": ACCOUNT}
        bound = {"roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name}, "subjects": [subject]}
        found.append(_document({"apiVersion": version, "kind": f"{kind}Binding", "metadata": meta, **bound}))
    return "---\n".join(found)


def _document(said: Mapping[str, object]) -> str:
    return "".join(f"{key}: {_flow(value)}\n" for key, value in said.items())


def _flow(value: object) -> str:
    said: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize)
    return said.removesuffix("\n").removesuffix("\n...")
