"""Kubernetes as handlers see it: objects with named fields that are read, and written over what was read.

An edit's target is a place and a field, `eu-1/deployment/shop-api/image/app`; the same words name the object and the
part of it everywhere: in plans, on cards, in the record. The adapter alone knows the paths of the API behind them.

Fields, by kind (absent ones are None):
- deployment, statefulset, daemonset, rollout (Argo): `replicas`, `paused`, and their pod template; cronjob: `suspend`,
  and its own:
  `image/<container>`, `env/<container>/<NAME>`, `order/<container>` (names of its variables, as they follow one
  another), `container/<container>/<key>` (`args`, `resources`, ... as the API has them), `container/<container>` (all
  of it, with the list that it is `in`), `pod/<key>`, `pod-label/<name>`, `pod-annotation/<name>`;
- configmap: `data/<key>`; every kind: `annotation/<name>`, `label/<name>`;
- scaledobject and scaledjob (KEDA), hpa, application (Argo CD), kustomization, helmrelease, imageupdateautomation
  (Flux): the dotted path below the object, `spec.syncPolicy.automated`;
- guard (an admission policy of ours with its binding): `rules`, what it refuses, as JSON.

An environment variable's value is its text, or an object naming where it comes from
(`{"secret": name, "key": key}`): a secret's value is never read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, cast, get_args

from bot.ports import Json, Reply

Kind = Literal[
    "deployment", "statefulset", "daemonset", "cronjob", "rollout", "configmap", "scaledobject", "scaledjob", "hpa",
    "job", "application", "kustomization", "helmrelease", "imageupdateautomation", "guard",
]  # fmt: skip
_KINDS = frozenset(get_args(Kind))
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
WORKLOADS: tuple[Kind, ...] = ("deployment", "statefulset", "daemonset", "cronjob", "rollout")
"""Kinds that run pods from a template."""
FLUX: tuple[Kind, ...] = ("imageupdateautomation", "kustomization", "helmrelease")
"""Flux's, each behind what may undo a pause of it."""
WRITTEN: tuple[Kind, ...] = (*WORKLOADS, "configmap", "scaledobject", "application", *FLUX)
"""Kinds of which the bot writes fields."""
OURS = "rollback-bot"
"""The bot's own name as a `Writer`."""


def digest(image: str) -> str:
    """ "sha256:<64 hex>" of an image that is pinned by digest; empty for one that is not."""
    found = DIGEST.search(image.partition("@")[2])
    return found.group() if found else ""


class Changed(Exception):
    """Somebody has changed a field since it was read: nothing was written."""


class Denied(Exception):
    """The cluster refuses it; the message is the cluster's own (RBAC, admission, validation)."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A target of the catalogue. workers: `deployment/shop-worker`, what may mutate data; settings: names of the
    ConfigMaps that belong to the service; applications: `argocd/shop`; flux: `kustomization/flux-system/shop`; wave:
    rolled one wave after another; selector: of the labels that the service's workloads have, "" where the namespace
    holds nothing else; break_glass: groups of the cluster that no guard refuses;
    noise: parts of the titles of exceptions that are always there; probe: `deployment/shop-api:8080`, the workload of
    which a pod without traffic may be started, and where it is asked; "" where none may."""

    name: str
    namespace: str
    wave: int = 1
    workers: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    selector: str = ""
    break_glass: tuple[str, ...] = ()
    flux: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    probe: str = ""

    def deployers(self, kind: Kind) -> Mapping[str, str] | None:
        """Name -> namespace of the applications, or of Flux's objects of a kind, that deploy the service; None for
        other kinds, of which everything is in the service's namespace."""
        if kind == "application":
            named = [*self.applications]
        elif kind in FLUX:
            named = [each.removeprefix(f"{kind}/") for each in self.flux if each.startswith(f"{kind}/")]
        else:
            return None
        return {name: space for space, _, name in (each.partition("/") for each in named)}

    def spaces(self, kind: Kind) -> Sequence[str]:
        """The namespaces of its objects of a kind."""
        named = self.deployers(kind)
        return [self.namespace] if named is None else sorted({*named.values()})


@dataclass(frozen=True, slots=True)
class Place:
    """One object: `eu-1/deployment/shop-api`."""

    cluster: str
    kind: Kind
    name: str

    @classmethod
    def of(cls, target: str) -> Place:
        """The object that an edit's target is part of. ValueError."""
        cluster, kind, name, *_ = target.split("/")
        if kind not in _KINDS:
            raise ValueError(f"{target!r} names nothing in a cluster")
        return cls(cluster, cast(Kind, kind), name)

    def __str__(self) -> str:
        return f"{self.cluster}/{self.kind}/{self.name}"

    def target(self, field: str) -> str:
        """What an edit of the field names."""
        return f"{self}/{field}"


STARTING = 60.0
"""Seconds that a pod is given to start and become ready, when a rollout's time is told beforehand."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a workload's pods are: seen: the controller has seen the newest template (until then no pod counts as
    updated); failed: why it cannot finish (deadline exceeded), empty while it may.

    settle: seconds that a pod must be ready before it counts (minReadySeconds); at_once: how many pods are replaced at
    a time; patience: seconds without progress after which the cluster itself gives up, or would if it knew a deadline;
    arrived: False while its controller says that it is on its way (a canary that waits at a step); away: how many pods
    wait for a node that does not answer (a DaemonSet's).
    """

    wanted: int
    updated: int
    ready: int
    old: int = 0
    seen: bool = True
    failed: str = ""
    settle: float = 0.0
    at_once: int = 1
    patience: float = 600.0
    arrived: bool = True
    away: int = 0

    @property
    def serves(self) -> bool:
        """Complete, but for what waits for nodes that do not answer: nobody is served from there."""
        there = min(self.updated, self.ready)
        return self.complete or (self.seen and self.away > 0 and there >= self.wanted - self.away)

    @property
    def least(self) -> float:
        """Seconds that it takes to replace all of its pods, however quickly they start."""
        return math.ceil(self.wanted / max(1, self.at_once)) * self.settle

    @property
    def lasts(self) -> float:
        """Seconds that it takes to replace all of its pods while all goes well, at most."""
        return math.ceil(self.wanted / max(1, self.at_once)) * (self.settle + STARTING)

    @property
    def limit(self) -> float:
        """Seconds after which it is late by its own terms."""
        return self.lasts + self.patience

    @property
    def fresh(self) -> int:
        """How many ready pods run the newest template, at least: `ready` counts old ones too."""
        return max(0, min(self.updated, self.ready - self.old))

    @property
    def complete(self) -> bool:
        """Every pod runs the newest template and is ready, and no old one is left."""
        return self.seen and self.arrived and not self.old and self.updated == self.wanted and self.ready >= self.wanted


@dataclass(frozen=True, slots=True)
class Writer:
    """Who set a field last. manager: as the cluster knows it (`kubectl-edit`, `argocd-controller`)."""

    manager: str
    at: datetime


IMAGE = "image/"
"""Before the name of a container: the field that holds its image."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object as it was read. fields: by the names above, only those that are set; by: field -> who set it last,
    where the cluster knows; facts: read only, by kind, only those that are known:

    - cronjob: schedule, time_zone, starting_deadline (seconds), concurrency, last_schedule, last_success, created
      (RFC 3339), active (names of running jobs);
    - hpa, scaledobject: target (`deployment/shop-api`), min, max; hpa also replicas, desired; scaledobject also idle;
    - job: owners (`cronjob/settle`, controller or not), images, running, started and ended (RFC 3339;
      it ended well), failed (why, for good);
    - application: sync (`Synced`), revision, health, images, operation (its phase), message, reconciled (RFC 3339),
      drifted (`deployment/shop-api`: what differs from Git), history (revisions that it ran, oldest first);
    - kustomization, helmrelease: ready (of its condition: True, False, Unknown), message, applied (the revision that it
      applied last), seen (whether its controller has seen it as it is); kustomization also source (the revision that
      Git is at), once refreshed;
    - deployment: rollout, the Argo Rollout that takes its template from it and runs its pods;
    - rollout: phase, message, stable and current (hashes), workload (the Deployment with its template);
    - deployment, statefulset, daemonset: strategy; statefulset: order (`OrderedReady`); configmap: immutable;
    - every kind: owner, the controller whose own object it follows (`revision.serving.knative.dev/quote-00007`);
    - every kind but guards: owned, where managedFields name the bot as the last writer of something;
    - guard: altered, where it no longer says what its rules say (`binding`: it is not in force); since (RFC 3339).
    """

    place: Place
    version: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)
    rollout: Rollout | None = None
    by: Mapping[str, Writer] = field(default_factory=dict)

    @property
    def images(self) -> Mapping[str, str]:
        """Field ("image/api") -> image, of every container of its template."""
        return {name: str(self.fields[name]) for name in self.fields if name.startswith(IMAGE)}

    @property
    def whole(self) -> Json:
        """The object as it could be made anew, without what a cluster adds, to be read only; None where that is not
        known."""
        return None


def value_at(thing: Thing | None, target: str) -> Json:
    """The value of the field that an edit's target names; None where it is not set, or the object is not there."""
    return thing.fields.get(target.removeprefix(thing.place.target(""))) if thing is not None else None


def standing(guard: Thing | None, ours: Json) -> Json:
    """Where a guard stands: its rules, with what others have altered, if anything. One that is only half there (its
    binding is missing) stands for `ours`, so that an undo clears it away."""
    if guard is None:
        return None
    altered = guard.facts.get("altered")
    if altered == ["binding"]:
        return ours
    rules = guard.fields.get("rules")
    return {"rules": rules, "altered": altered} if altered else rules


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. waiting: why a container does not run (`ImagePullBackOff: ...`), empty if it does; runs: image of a
    container -> what it really is, as the node says (`registry.example/shop/api@sha256:...`), where it has; owner: what
    made it (`replicaset/shop-api-5d8f`, `job/settle-1`), empty for one that somebody made by hand; running, ended:
    names of its containers that run, and of those that have ended well; started: when the node took it."""

    name: str
    images: tuple[str, ...]
    ready: bool
    phase: str
    restarts: int = 0
    waiting: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    running: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What keeps a workload's newest template from running, in the cluster's own words where it has any.

    lasting: it will hardly pass by itself; blocking: names of pods whose deletion alone helps (a StatefulSet's that
    OrderedReady never replaces); nodes: where it waits for a node that does not answer.
    """

    why: str
    lasting: bool = False
    blocking: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """An event of the cluster about an object."""

    at: datetime
    about: str
    reason: str
    text: str
    warning: bool
    count: int = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial of a guard has shown. refused: the guard refuses (True), the cluster takes what it would refuse
    (False), or neither is known yet (None): others refused first, or there was nothing to try it on; words: whose,
    and what they said."""

    refused: bool | None
    words: str = ""


class Kubernetes(Protocol):
    """The clusters of one service. Reading and writing raise Unreachable (no answer: nothing is known), Denied;
    LookupError for a cluster that the catalogue does not name."""

    @property
    def clusters(self) -> Sequence[Cluster]:
        """In the order of their waves."""
        ...

    async def list(self, cluster: str, kind: Kind, *, everywhere: bool = False) -> Sequence[Thing]:
        """The service's objects of the kind: workloads by the target's selector, ConfigMaps and applications as
        catalogued, guards of ours; autoscalers of the whole namespace. None where the cluster has no such kind.
        everywhere: workloads of the whole namespace, whatever their labels."""
        ...

    async def get(self, place: Place) -> Thing | None:
        """One object; None if there is none."""
        ...

    async def write(self, seen: Thing, fields: Mapping[str, Json]) -> Thing:
        """Sets fields (None: removes) in one request, over the values that were seen: Changed if one differs. The field
        `whole` makes an object that is not there, or (None) takes it away."""
        ...

    async def disown(self, place: Place) -> None:
        """Gives up what the bot owns of an object by managedFields, changing no value, so that the next server-side
        apply of who deploys it meets no conflict. Changed where somebody writes at the same moment."""
        ...

    async def guard(self, cluster: str, name: str, rules: Json) -> None:
        """Puts an admission policy of ours and its binding there, or takes both away (rules None).

        rules: `bot.ports.guards.GuardRules.json`. A freeze refuses new workloads and changed pod templates, except of
        the bot, of its groups and users, and where every image is admitted; a ban refuses templates that hold a banned
        image, the bot's too. The same name again with other rules takes their place; the same rules do nothing.
        """
        ...

    async def trial(self, cluster: str, name: str, rules: Json) -> Trial:
        """Whether the cluster refuses what the guard of this name and these rules refuses, whether it stands or not:
        by dry runs on the service's workloads, one after another until one tells, which store nothing. It takes about
        a second until a new guard bites, and up to two after its end; each API server follows by itself."""
        ...

    async def terminate(self, place: Place) -> None:
        """Ends the sync of an Argo CD application that is running, its hooks with it. Nothing where none is."""
        ...

    async def refreshed(self, place: Place) -> Thing | None:
        """An Argo CD application after a refresh from Git, None while it is still refreshing; what is Flux's with what
        its source is at now."""
        ...

    async def pods(self, place: Place) -> Sequence[Pod]:
        """The pods of a workload."""
        ...

    async def every_pod(self, cluster: str) -> Sequence[Pod]:
        """The pods of the whole namespace that are not over, whoever made them."""
        ...

    async def replicasets(self, cluster: str) -> Mapping[str, str]:
        """The ReplicaSets of the whole namespace, each with what controls it (`deployment.apps/shop-api`), "" where
        nothing does."""
        ...

    async def hindrance(self, place: Place, now: datetime) -> Hindrance | None:
        """What keeps the pods of a workload's newest template from coming; None where nothing is known to."""
        ...

    async def delete_pod(self, place: Place, pod: str) -> None:
        """Deletes a pod of the workload, which its controller replaces. A pod that is ready, or goes already, is left
        alone; Changed where it changes meanwhile."""
        ...

    async def probe(self, seen: Thing, fields: Mapping[str, Json], name: str) -> None:
        """Starts a pod of this name, made of a workload's template as these fields would change it (the workload stays
        as it is), which gets no traffic and ends by itself after ten minutes. Nothing where it is there."""
        ...

    async def probed(self, cluster: str, name: str) -> Pod | None:
        """Such a pod as it is; None where it is not there."""
        ...

    async def through(self, cluster: str, name: str, port: int, path: str, headers: Mapping[str, str]) -> Reply:
        """What such a pod answers to a GET, asked through the API server. Unreachable where that has to answer itself,
        or for a header that does not pass it (Authorization)."""
        ...

    async def end_probe(self, cluster: str, name: str) -> None:
        """Takes such a pod away. Nothing where it is gone."""
        ...

    async def promote(self, place: Place) -> None:
        """Lets the Argo Rollout that this is, or that runs this Deployment, go over the steps that are left, analyses
        included, and go on where it is paused. Nothing where it is there already, or has been told."""
        ...

    async def events(self, cluster: str, about: Collection[str] = ()) -> Sequence[ClusterEvent]:
        """Events of the namespace, newest first; about: only of objects whose names begin so."""
        ...

    async def logs(
        self, cluster: str, pod: str, *, previous: bool = False, since: float = 3600, stamps: bool = False
    ) -> str:
        """What a pod's containers wrote, the newest 1 MiB at most; since: seconds back; stamps: each line begins with
        the moment at which the cluster had it. "" where there is none, or the pod is gone."""
        ...

    async def missing_rights(self, cluster: str) -> Sequence[str]:
        """What the bot may not do there and would have to ("patch deployments"), asked of the cluster itself."""
        ...
