"""The `scale` subresource: replicas alone, for whoever may change nothing else."""

from __future__ import annotations

from bot.playground.cluster import failures
from bot.playground.cluster.objects import Json, dig
from bot.playground.cluster.resources import Resource


def scale_of(obj: Json) -> Json:
    """The Scale of a workload."""
    meta = {
        name: obj["metadata"][name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in obj["metadata"]
    }
    labels = dig(obj, "spec", "selector", "matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": {"replicas": dig(obj, "spec", "replicas") or 0},
        "status": {
            "replicas": dig(obj, "status", "replicas") or 0,
            "selector": ",".join(f"{k}={v}" for k, v in labels.items()),
        },
    }


def with_scale(resource: Resource, obj: Json, scale: Json) -> Json:
    """The workload with these replicas. ApiError 422, 400."""
    if scale.get("kind", "Scale") != "Scale":
        raise failures.bad_request(f"the object provided is a {scale.get('kind')}, not a Scale")
    replicas = dig(scale, "spec", "replicas")
    if replicas is None:
        replicas = 0
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        why = failures.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise failures.unprocessable(resource, str(dig(obj, "metadata", "name")), [why])
    given = scale.get("metadata") or {}
    meta = obj["metadata"] | {k: given[k] for k in ("resourceVersion", "uid") if given.get(k)}
    return obj | {"spec": obj["spec"] | {"replicas": replicas}, "metadata": meta}
