"""A tiny Flux: what a GitRepository holds is applied over whatever stands there, again and again, unless suspended.

- GitRepository: looks at Git once an interval, or when `reconcile.fluxcd.io/requestedAt` changes; `status.artifact`.
- Kustomization: applies the manifests at `spec.path` at each new artifact and each interval, so drift goes back within
  one; objects with `kustomize.toolkit.fluxcd.io/reconcile: disabled` in the cluster are left alone.
- HelmRelease: its chart is a path of a GitRepository, `spec.values.images` (container -> image) all that is templated.
  It upgrades when chart or spec change, and puts drift back only with `driftDetection.mode: enabled`.
- ImageUpdateAutomation: stored, commits nothing.

Invariants: what is suspended does nothing, not even to its status; conflicts are forced, as both controllers do; both
write through admission, so a freeze stops them and shows in the condition Ready.

Source: fluxcd.io docs of kustomize-controller and helm-controller (`.spec.suspend`, drift, `.spec.driftDetection`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.playground.cluster import ownership, resources
from bot.playground.cluster.controllers.argocd import Git
from bot.playground.cluster.core import Core
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    annotations_of,
    dig,
    is_going,
    name_of,
    namespace_of,
    with_condition,
)
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.store import Change, Key
from bot.playground.copied import copied

ASKED = "reconcile.fluxcd.io/requestedAt"
DISABLED = "kustomize.toolkit.fluxcd.io/reconcile"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class _Seen:
    """What made an object be looked at, and when that was."""

    state: str
    at: float


@dataclass
class Flux:
    """The controllers of its four kinds."""

    core: Core
    git: Git
    _fetched: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """(address, artifact) -> path -> the commit that it has there."""
    _seen: dict[tuple[str, Key], _Seen] = field(default_factory=dict)

    def concerns(self, change: Change) -> Iterable[Key]:
        """What applies from a repository that has something new."""
        if change.store != resources.GIT_REPOSITORIES.store:
            return []
        me = (namespace_of(change.new), name_of(change.new))
        every = (o for r in (resources.KUSTOMIZATIONS, resources.HELM_RELEASES) for o in self.core.all(r))
        return [(namespace_of(o), name_of(o)) for o in every if _source(o) == me]

    # -- sources ---------------------------------------------------------------------------------------------------

    def fetch(self, namespace: str, name: str) -> float | None:
        """Looks what Git holds."""
        repo = self.core.find(resources.GIT_REPOSITORIES, namespace, name)
        if repo is None or is_going(repo) or repo["spec"].get("suspend"):
            return None
        left = self._left(resources.GIT_REPOSITORIES, repo, annotations_of(repo).get(ASKED, ""))
        if left > 0:
            return left
        heads = self.git.heads(repo["spec"]["url"])
        if heads:
            said = hashlib.sha1(json.dumps(heads, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
            revision = f"{dig(repo, 'spec', 'ref', 'branch') or 'main'}@sha1:{said}"
            self._fetched[repo["spec"]["url"], revision] = heads
            self._report(resources.GIT_REPOSITORIES, repo, "Succeeded", "", artifact={"revision": revision})
        return _interval(repo)

    def _manifests(self, made: Json, path: str) -> tuple[str, list[Json]] | None:
        """What its source has at the path, and the artifact's revision."""
        repo = self.core.find(resources.GIT_REPOSITORIES, *_source(made))
        revision = str(dig(repo, "status", "artifact", "revision") or "")
        address = str(dig(repo, "spec", "url") or "")
        at = self._fetched.get((address, revision), {}).get(path)
        found = self.git.read(address, path, at) if at else None
        return (revision, found[1]) if found else None

    # -- what applies ------------------------------------------------------------------------------------------------

    def kustomize(self, namespace: str, name: str) -> float | None:
        """Applies what Git says."""
        resource, made = resources.KUSTOMIZATIONS, self.core.find(resources.KUSTOMIZATIONS, namespace, name)
        if made is None or is_going(made) or made["spec"].get("suspend"):
            return None
        found = self._manifests(made, str(made["spec"]["path"]).removeprefix("./").strip("/"))
        if found is None:
            self._report(resource, made, "ArtifactFailed", "its source has no artifact")
            return _interval(made)
        revision, manifests = found
        left = self._left(resource, made, f"{revision} {annotations_of(made).get(ASKED, '')}")
        if left > 0:
            return left
        failed = self._applied(made, "kustomize", manifests)
        applied = {} if failed else {"lastAppliedRevision": revision}
        self._report(resource, made, "ReconciliationFailed" if failed else "ReconciliationSucceeded", failed,
                     lastAttemptedRevision=revision, **applied)  # fmt: skip
        return _interval(made)

    def upgrade(self, namespace: str, name: str) -> float | None:
        """Upgrades a release whose chart or spec has changed."""
        resource, made = resources.HELM_RELEASES, self.core.find(resources.HELM_RELEASES, namespace, name)
        if made is None or is_going(made) or made["spec"].get("suspend"):
            return None
        chart = str(dig(made, "spec", "chart", "spec", "chart") or "")
        found = self._manifests(made, chart.removeprefix("./"))
        if found is None:
            self._report(resource, made, "ArtifactFailed", "its chart has no artifact")
            return _interval(made)
        spec = {k: v for k, v in made["spec"].items() if k != "suspend"}
        wanted = hashlib.sha256(json.dumps([found[1], spec], sort_keys=True).encode()).hexdigest()
        last = dig(made, "status", "history", 0, "digest")
        heals = dig(made, "spec", "driftDetection", "mode") == "enabled"
        if last == f"sha256:{wanted}" and not heals:
            self._report(resource, made, "UpgradeSucceeded", "")
            return _interval(made)
        if self._left(resource, made, wanted) > 0:
            return _interval(made)
        images = dig(made, "spec", "values", "images") or {}
        failed = self._applied(made, "helm", [_with_images(m, images) for m in found[1]])
        past = [{"digest": f"sha256:{wanted}", "status": "failed" if failed else "deployed"}]
        self._report(resource, made, "UpgradeFailed" if failed else "UpgradeSucceeded", failed, history=past,
                     lastAttemptedRevision=found[0])  # fmt: skip
        return _interval(made)

    def _disabled(self, resource: Resource, space: str, manifest: Json) -> bool:
        live = self.core.find(resource, space, name_of(manifest))
        return live is not None and annotations_of(live).get(DISABLED) == "disabled"

    def _applied(self, made: Json, who: str, manifests: Iterable[Json]) -> str:
        """Forces all of them on the cluster; what was refused, in the server's words."""
        manager, failed = f"{who}-controller", list[str]()
        user = User.service_account("flux-system", manager)
        marks = {f"{who}.toolkit.fluxcd.io/{k}": v for k, v in (("name", name_of(made)),
                                                               ("namespace", namespace_of(made)))}  # fmt: skip
        for manifest in manifests:
            body = copied(manifest)
            body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | marks
            token = ownership.MANAGER.set(manager)
            try:
                resource, space = _place(made, manifest)
                if self._disabled(resource, space, manifest):
                    continue
                self.core.apply(user, resource, space, name_of(manifest), body, force=True, dry_run=False)
            except ApiError as error:
                failed.append(error.message)
            finally:
                ownership.MANAGER.reset(token)
        return "; ".join(failed)

    # -- how -----------------------------------------------------------------------------------------------------------

    def _left(self, resource: Resource, made: Json, what: str) -> float:
        """Seconds until it is due again where nothing of it is new; it counts as looked at where there are none."""
        key = (resource.store, (namespace_of(made), name_of(made)))
        state, seen = f"{made['metadata']['generation']} {what}", self._seen.get(key)
        left = seen.at + _interval(made) - self.core.now() if seen is not None and seen.state == state else 0.0
        if left <= 0:
            self._seen[key] = _Seen(state, self.core.now())
        return left

    def _report(self, resource: Resource, made: Json, reason: str, failed: str, **status: object) -> None:
        well = not failed
        said = dig(made, "status", "conditions")
        ready = with_condition(said, "Ready", well, reason, failed or "applied", self.core.now())
        self.core.set_status(
            resource, made, {**status, "conditions": ready, "observedGeneration": made["metadata"]["generation"]}
        )


def _source(made: Json) -> Key:
    ref = dig(made, "spec", "sourceRef") or dig(made, "spec", "chart", "spec", "sourceRef") or {}
    return str(ref.get("namespace") or namespace_of(made)), str(ref.get("name") or "")


def _place(made: Json, manifest: Json) -> tuple[Resource, str]:
    resource = resources.by_kind(manifest["apiVersion"], manifest["kind"])
    if resource is None:
        raise ApiError(400, "BadRequest", f"there is no kind {manifest['kind']} in {manifest['apiVersion']}")
    space = namespace_of(manifest) or dig(made, "spec", "targetNamespace") or namespace_of(made)
    return resource, space if resource.namespaced else ""


def _with_images(manifest: Json, images: Json) -> Json:
    made = copied(manifest)
    for container in dig(made, "spec", "template", "spec", "containers") or ():
        container["image"] = images.get(container["name"], container["image"])
    return made


def _interval(made: Json) -> float:
    """Seconds, of `1m30s`."""
    found = re.findall(r"(\d+)([smh])", str(made["spec"].get("interval") or "10m"))
    return sum(float(n) * _UNITS[unit] for n, unit in found)
