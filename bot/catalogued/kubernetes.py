"""A `kubernetes:` target of `rollback.yaml`: a namespace of a cluster, and what of it the bot may change.

    eu-1: {kubernetes: eu-1, namespace: shop, wave: 1, workers: [deployment/shop-worker], settings: [shop-settings],
           applications: [argocd/shop], flux: [kustomization/flux-system/shop], break_glass: [sre]}

Invariants: no workload, ConfigMap or application is changed that is not named here or found by its release's images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from bot.catalogued.shapes import either, several
from bot.located.strict import Duration, Text, Word
from bot.ports.kubernetes import FLUX

_KNOWN_KEYS = ConfigDict(extra="forbid")


def _split(known: Collection[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        first, slash, rest = word.partition("/")
        if not slash or not rest or "/" in rest or (known and first not in known):
            raise ValueError(f"must be {either(known) or 'namespace'}/name, like {_EXAMPLES[bool(known)]}")
        return word

    return check


_EXAMPLES = {True: "deployment/shop-worker", False: "argocd/shop"}


def _worker(word: str) -> str:
    if word.startswith("daemonset/"):
        raise ValueError(f"{word}: a DaemonSet cannot be paused, it has no replicas; stop what it works on instead")
    return _split(("deployment", "cronjob", "statefulset", "rollout", "scaledjob"))(word)


Worker = Annotated[Word, AfterValidator(_worker)]
Application = Annotated[Word, AfterValidator(_split(()))]


def _flux(word: str) -> str:
    kind, _, where = word.partition("/")
    if kind not in FLUX or not all(part and "/" not in part for part in where.partition("/")[::2]):
        raise ValueError(f"must be {either(FLUX)}, its namespace and name, like kustomization/flux-system/shop")
    return word


Flux = Annotated[Word, AfterValidator(_flux)]


@dataclass(frozen=True, slots=True)
class KubernetesTarget:
    """A namespace of a Kubernetes cluster that the service runs in."""

    __pydantic_config__ = _KNOWN_KEYS

    kubernetes: Annotated[Word, Field(description="Context of the kubeconfig (ROLLBACK_KUBECONFIG).")]
    namespace: Annotated[Word, Field(description="Namespace of the service.")]
    wave: Annotated[int, Field(ge=1, description="Clusters are rolled back one wave after another.")] = 1
    workers: Annotated[
        tuple[Worker, ...],
        BeforeValidator(several),
        Field(description="What is paused: deployment/…, statefulset/…, rollout/…, cronjob/… or scaledjob/…."),
    ] = ()
    settings: Annotated[
        tuple[Word, ...], BeforeValidator(several), Field(description="Names of the ConfigMaps that are restored.")
    ] = ()
    applications: Annotated[
        tuple[Application, ...], BeforeValidator(several), Field(description="Argo CD applications: namespace/name.")
    ] = ()
    selector: Annotated[
        str, Field(description="Label selector of the service's workloads, where others share the namespace.")
    ] = ""
    break_glass: Annotated[
        tuple[Word, ...], BeforeValidator(several), Field(description="Groups of the cluster that no freeze binds.")
    ] = ()
    timeout: Annotated[Duration, Field(gt=0, description="How long one answer may take.")] = 10.0
    flux: Annotated[
        tuple[Flux, ...],
        BeforeValidator(several),
        Field(description="What of Flux is suspended: kustomization/…, helmrelease/… or imageupdateautomation/…."),
    ] = ()
    noise: Annotated[
        tuple[Text, ...],
        BeforeValidator(several),
        Field(description="Exceptions in the logs that are always there, each by a part of its first line."),
    ] = ()
    probe: Annotated[
        str,
        Field(
            pattern=r"^$|^(deployment|statefulset)/[a-z0-9][a-z0-9.-]*:[1-9][0-9]{0,4}$",
            description="Workload and port of which a pod without traffic may be started: deployment/shop-api:8080.",
        ),
    ] = ""
