"""The fields that the kinds have: a body's other fields are dropped with a warning, or refused, never kept.

A typed server knows no others, so what is misspelt in a patch changes nothing there. The table goes as deep as people
write by hand; below it, and in the other custom resources, everything is kept.

Source: k8s.io/api 1.36; fieldValidation (Ignore, Warn, Strict), k8s.io/apiserver/pkg/endpoints/handlers.
"""

from __future__ import annotations

from typing import Any

from bot.playground.cluster import resources
from bot.playground.cluster.objects import Json
from bot.playground.cluster.resources import Resource


class Fields:
    """The names that an object may have, and what lies under some of them; a list's items are looked at one by one."""

    def __init__(self, names: str, **below: Fields) -> None:
        self.names, self.below = frozenset(names.split()) | frozenset(below), below


_META = Fields(
    "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation"
    " labels managedFields name namespace ownerReferences resourceVersion selfLink uid"
)
_SELECTOR = Fields("matchExpressions matchLabels")
_PROBE = Fields(
    "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket"
    " terminationGracePeriodSeconds timeoutSeconds"
)
_CONTAINER = Fields(
    "args command image imagePullPolicy lifecycle name resizePolicy resources restartPolicy restartPolicyRules"
    " securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices workingDir",
    env=Fields("name value", valueFrom=Fields("configMapKeyRef fieldRef fileKeyRef resourceFieldRef secretKeyRef")),
    envFrom=Fields("configMapRef prefix secretRef"),
    ports=Fields("containerPort hostIP hostPort name protocol"),
    volumeMounts=Fields("mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr"),
    livenessProbe=_PROBE,
    readinessProbe=_PROBE,
    startupProbe=_PROBE,
)
_POD = Fields(
    "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks"
    " ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets"
    " nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims"
    " resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount"
    " serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations"
    " topologySpreadConstraints volumes workloadRef",
    containers=_CONTAINER,
    initContainers=_CONTAINER,
)
_TEMPLATE = Fields("", metadata=_META, spec=_POD)
_JOB = Fields(
    "activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy manualSelector"
    " maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy successPolicy suspend ttlSecondsAfterFinished",
    selector=_SELECTOR,
    template=_TEMPLATE,
)
_RULE = Fields("apiGroups apiVersions operations resourceNames resources scope")
_MATCH = Fields("matchPolicy namespaceSelector objectSelector", resourceRules=_RULE, excludeResourceRules=_RULE)
_SPECS = {
    resources.PODS.store: _POD,
    resources.DEPLOYMENTS.store: Fields(
        "minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit",
        selector=_SELECTOR,
        strategy=Fields("type", rollingUpdate=Fields("maxSurge maxUnavailable")),
        template=_TEMPLATE,
    ),
    resources.REPLICASETS.store: Fields("minReadySeconds replicas", selector=_SELECTOR, template=_TEMPLATE),
    resources.STATEFULSETS.store: Fields(
        "minReadySeconds ordinals persistentVolumeClaimRetentionPolicy podManagementPolicy replicas"
        " revisionHistoryLimit serviceName updateStrategy volumeClaimTemplates",
        selector=_SELECTOR,
        template=_TEMPLATE,
    ),
    resources.DAEMONSETS.store: Fields(
        "minReadySeconds revisionHistoryLimit updateStrategy", selector=_SELECTOR, template=_TEMPLATE
    ),
    resources.JOBS.store: _JOB,
    resources.CRONJOBS.store: Fields(
        "concurrencyPolicy failedJobsHistoryLimit schedule startingDeadlineSeconds successfulJobsHistoryLimit suspend"
        " timeZone",
        jobTemplate=Fields("", metadata=_META, spec=_JOB),
    ),
    resources.AUTOSCALERS.store: Fields(
        "behavior maxReplicas metrics minReplicas", scaleTargetRef=Fields("apiVersion kind name")
    ),
    resources.POLICIES.store: Fields(
        "auditAnnotations failurePolicy paramKind",
        matchConditions=Fields("expression name"),
        matchConstraints=_MATCH,
        validations=Fields("expression message messageExpression reason"),
        variables=Fields("expression name"),
    ),
    resources.BINDINGS.store: Fields("paramRef policyName validationActions", matchResources=_MATCH),
}
_APPLICATION = Fields(
    "destination ignoreDifferences info project revisionHistoryLimit source sourceHydrator sources",
    syncPolicy=Fields(
        "managedNamespaceMetadata retry syncOptions", automated=Fields("allowEmpty enabled prune selfHeal")
    ),
)
"""Argo CD's own schema prunes too: `automated.paused` changes nothing there."""
_BY_STORE = {store: Fields("apiVersion kind status", metadata=_META, spec=spec) for store, spec in _SPECS.items()} | {
    resources.CONFIGMAPS.store: Fields("apiVersion binaryData data immutable kind", metadata=_META),
    resources.APPLICATIONS.store: Fields("apiVersion kind operation status", metadata=_META, spec=_APPLICATION),
    resources.SECRETS.store: Fields("apiVersion data immutable kind stringData type", metadata=_META),
}


def known(resource: Resource, body: Json) -> tuple[Json, list[str]]:
    """The body without the fields that its kind has not, and their paths."""
    fields, unknown = _BY_STORE.get(resource.store), list[str]()
    return (_pruned(fields, body, "", unknown) if fields else body), unknown


def _pruned(fields: Fields, value: Any, at: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        return [_pruned(fields, item, f"{at}[{i}]", unknown) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        path = f"{at}.{name}" if at else name
        if name not in fields.names:
            unknown.append(path)
        else:
            below = fields.below.get(name)
            kept[name] = _pruned(below, item, path, unknown) if below else item
    return kept
