"""Admission webhooks of other people: what rewrites objects, and what refuses them, before or beside the policies.

    cluster.webhooks.add(mirrored("registry.example/", "mirror.internal/cache/"))
    cluster.webhooks.add(verified(lambda image: image in known))
    cluster.webhooks.add(Webhook("quality.example", ("deployments",), fails="connection refused", seconds=10))

Invariants: those that mutate come first, in the order in which they were added; dry runs are shown to them as well;
admission policies and their bindings never are, so that nothing can lock the cluster up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.playground.cluster import resources
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.gate.admission import Asked
from bot.playground.cluster.objects import Json, dig
from bot.playground.cluster.resources import Resource
from bot.playground.copied import copied

WORKLOADS = ("deployments", "statefulsets", "daemonsets", "replicasets", "cronjobs", "jobs", "pods")


@dataclass(frozen=True, slots=True)
class Webhook:
    """resources: plurals that it is asked about, on CREATE and UPDATE; mutate: the object as it wants it; refuse: why
    not, "" where it may; fails: what went wrong when it was called, "" where it answers; seconds: until then."""

    name: str
    resources: tuple[str, ...]
    mutate: Callable[[Json], Json] | None = None
    refuse: Callable[[Json], str] | None = None
    fails: str = ""
    seconds: float = 0.0

    def concerns(self, asked: Asked) -> bool:
        """Whether it is asked about this."""
        return asked.new is not None and self.about(asked.resource, asked.subresource)

    def about(self, resource: Resource, part: str) -> bool:
        """The same, of writing one of this kind. part: the subresource."""
        guarding = resource in (resources.POLICIES, resources.BINDINGS)
        return resource.plural in self.resources and not part and not guarding


class Webhooks:
    """Those of one cluster."""

    def __init__(self) -> None:
        self._known: list[Webhook] = []

    def add(self, webhook: Webhook) -> None:
        """From now on it is asked."""
        self._known.append(webhook)

    def remove(self, name: str) -> None:
        """It is asked no more. Harmless again."""
        self._known = [w for w in self._known if w.name != name]

    def seconds(self, resource: Resource, part: str) -> float:
        """How long their answers take, together, to a write of this kind."""
        return sum(w.seconds for w in self._known if w.about(resource, part))

    def mutate(self, asked: Asked) -> Json | None:
        """The object as they have it. ApiError 500 where one fails."""
        made = asked.new
        for webhook in self._known:
            if webhook.mutate is not None and webhook.concerns(asked) and made is not None:
                self._call(webhook)
                made = webhook.mutate(copied(made))
        return made

    def check(self, asked: Asked) -> None:
        """Let it pass or refuse it. ApiError."""
        for webhook in self._known:
            if webhook.mutate is None and webhook.concerns(asked):
                self._call(webhook)
                why = webhook.refuse(asked.new or {}) if webhook.refuse is not None else ""
                if why:
                    told = f'admission webhook "{webhook.name}" denied the request: {why}'
                    raise ApiError(400, "BadRequest", told)

    def _call(self, webhook: Webhook) -> None:
        if webhook.fails:
            told = (
                f'failed calling webhook "{webhook.name}": failed to call webhook: Post "https://{webhook.name}.svc:443'
            )
            raise ApiError(
                500, "InternalError", f'Internal error occurred: {told}/mutate?timeout=10s": {webhook.fails}'
            )


# -- two that many have ----------------------------------------------------------------------------------------------


def mirrored(
    prefix: str, mirror: str, kinds: tuple[str, ...] = ("deployments", "statefulsets", "daemonsets")
) -> Webhook:
    """Rewrites images that begin with `prefix`: `mirror` comes in front of them."""

    def mutate(obj: Json) -> Json:
        for container in _containers(obj):
            if str(container.get("image", "")).startswith(prefix):
                container["image"] = mirror + container["image"]
        return obj

    return Webhook("mutate.kyverno.svc-fail", kinds, mutate=mutate)


def verified(known: Callable[[str], bool], name: str = "verify-signatures") -> Webhook:
    """Refuses images that cannot be found, or are not signed; what a policy engine makes of a rule about Pods holds
    for everything that has a template too."""

    def refuse(obj: Json) -> str:
        bad = [c["image"] for c in _containers(obj) if not known(c.get("image", ""))]
        return f"policy {name} fail: image verification failed for {bad[0]}: MANIFEST_UNKNOWN" if bad else ""

    def passes(obj: Json) -> Json:
        if why := refuse(obj):
            told = f'admission webhook "mutate.kyverno.svc-fail" denied the request: {why}'
            raise ApiError(400, "BadRequest", told)
        return obj

    return Webhook("mutate.kyverno.svc-fail", WORKLOADS, mutate=passes)


def _containers(obj: Json) -> Iterator[Json]:
    paths = (("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec"), ("spec",))
    for path in paths:
        for group in ("initContainers", "containers"):
            yield from dig(obj, *path, group) or ()
