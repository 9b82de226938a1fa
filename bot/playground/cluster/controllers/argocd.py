"""A tiny Argo CD: it holds what runs against what Git says, and puts it back where it is told to.

`Git` is the repository that it reads; an Application may have several `sources`, of which one that has only a `ref`
renders nothing. A manifest with the annotation argocd.argoproj.io/hook is a hook: a sync waits until its Job has ended,
for ever if need be; `status.operationState.phase` Terminating ends such a sync and deletes its hooks.

As upstream, a push is seen at the next refresh (by annotation, or every three minutes), what happens in the cluster at
once; a new revision is synced when `automated`, the same one again only with `selfHeal`.

Invariants: it writes as its own user through admission, so a freeze stops it and shows in operationState.

Source: argo-cd controller/appcontroller.go (autoSync, refreshAppConditions).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bot.playground.cluster import patches, resources
from bot.playground.cluster.core import Core, Delete
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import (
    Json,
    annotations_of,
    condition,
    dig,
    is_going,
    is_true,
    name_of,
    namespace_of,
    stamp,
    unstamp,
)
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.store import Change, Key
from bot.playground.copied import copied

REFRESH = "argocd.argoproj.io/refresh"
HOOK = "argocd.argoproj.io/hook"
SKIP = "argocd.argoproj.io/skip-reconcile"
WHO = User.service_account("argocd", "argocd-application-controller")
COMPONENT = "argocd-application-controller"
_PERIOD = 180.0
_HEAL = 5.0
"""Seconds between two syncs of one revision."""


@dataclass
class Git:
    """Repositories: each path has its commits, each a list of manifests."""

    _commits: dict[tuple[str, str], list[tuple[str, list[Json]]]] = field(default_factory=dict)

    def push(self, repo: str, path: str, manifests: Iterable[Json]) -> str:
        """A new commit on the branch; its revision."""
        kept = copied(list(manifests))
        history = self._commits.setdefault((repo, path), [])
        said = json.dumps([len(history), repo, path, kept], sort_keys=True)
        revision = hashlib.sha1(said.encode(), usedforsecurity=False).hexdigest()
        history.append((revision, kept))
        return revision

    def heads(self, repo: str) -> dict[str, str]:
        """The newest commit of each path of a repository."""
        return {path: history[-1][0] for (where, path), history in self._commits.items() if where == repo}

    def read(self, repo: str, path: str, revision: str) -> tuple[str, list[Json]] | None:
        """What is at this revision; any name that is no commit is the branch. None where there is nothing."""
        history = self._commits.get((repo, path), [])
        named = [c for c in history if c[0] == revision]
        found = named or history[-1:]
        return found[0] if found else None


@dataclass(frozen=True)
class _Fetch:
    sources: list[Json]
    revision: str
    at: float


@dataclass
class Applications:
    """The controller."""

    core: Core
    git: Git
    _fetched: dict[Key, _Fetch] = field(default_factory=dict)

    def concerns(self, change: Change) -> Iterable[Key]:
        """Applications that manage what changed."""
        if change.store in (resources.EVENTS.store, resources.APPLICATIONS.store, resources.PODS.store):
            return []
        me = (change.new["kind"], namespace_of(change.new), name_of(change.new))
        return [
            (namespace_of(app), name_of(app))
            for app in self.core.all(resources.APPLICATIONS)
            if any((r["kind"], r.get("namespace", ""), r["name"]) == me for r in dig(app, "status", "resources") or ())
        ]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Compare, sync if that is its policy, and report."""
        app = self.core.find(resources.APPLICATIONS, namespace, name)
        if app is None or is_going(app) or annotations_of(app).get(SKIP) == "true":
            return None
        found = self._fetch(app)
        if found is None:
            told = {"status": "Unknown", "comparedTo": {"source": app["spec"].get("source")}}
            self._report(app, {"sync": told, "health": {"status": "Missing"}})
            return _PERIOD
        revision, manifests = found
        wait = self._fetched[namespace, name].at + _PERIOD - self.core.now()
        if self._waiting(app):
            self._observe(app, revision, manifests)
            return 1.0
        asked = app.get("operation")
        behind = self._differing(app, manifests)
        if asked is not None:
            wanted = dig(asked, "sync", "revision")
            at = self._read(app, wanted) if wanted else found
            self._sync(app, *(at or found), prune=bool(dig(asked, "sync", "prune")))
        elif behind or self._stale(app, manifests):
            wait = min(wait, self._auto(app, revision, manifests))
        self._observe(app, revision, manifests)
        if REFRESH in annotations_of(app):
            self.core.annotate(resources.APPLICATIONS, app, **{REFRESH: None})
        return wait

    def _fetch(self, app: Json) -> tuple[str, list[Json]] | None:
        """What Git said when it was last asked: at a refresh, for another source, or three minutes ago."""
        key, now, sources = (namespace_of(app), name_of(app)), self.core.now(), _sources(app)
        had = self._fetched.get(key)
        if had is None or REFRESH in annotations_of(app) or had.sources != sources or had.at + _PERIOD <= now:
            found = self._read(app)
            if found is None:
                return None
            had = self._fetched[key] = _Fetch(sources, found[0], now)
        return self._read(app, had.revision)

    def _read(self, app: Json, revision: str = "") -> tuple[str, list[Json]] | None:
        found = []
        for source in _sources(app):
            wanted = revision or source.get("targetRevision") or "HEAD"
            where = source.get("path") or source.get("chart") or ""
            if where and (read := self.git.read(source.get("repoURL") or "", where, wanted)) is not None:
                found.append(read)
        return (found[0][0], [m for _, manifests in found for m in manifests]) if found else None

    # -- hooks -----------------------------------------------------------------------------------------------------

    def _waiting(self, app: Json) -> bool:
        """Whether a sync waits for its hook still; one that was told to end is ended."""
        state = dig(app, "status", "operationState") or {}
        if state.get("phase") == "Terminating":
            for hook in self._hooks(app):
                self.core.delete(WHO, resources.JOBS, namespace_of(hook), name_of(hook), Delete("Background"))
            over = {"phase": "Failed", "message": "Operation terminated", "finishedAt": stamp(self.core.now())}
            self._report(app, {"operationState": state | over}, done=True)
            return True
        if state.get("phase") != "Running" or not state.get("hook"):
            return False
        return not any(is_true(h, "Complete") or is_true(h, "Failed") for h in self._hooks(app))

    def _hooks(self, app: Json) -> list[Json]:
        name = dig(app, "status", "operationState", "hook")
        space = dig(app, "spec", "destination", "namespace") or "default"
        found = self.core.find(resources.JOBS, space, name) if name else None
        return [found] if found is not None else []

    def _begin_hooks(self, app: Json, revision: str, manifests: list[Json]) -> bool:
        """Start the hooks of a sync; whether it has to wait for one."""
        ended = dig(app, "status", "operationState", "hook"), dig(app, "status", "operationState", "revision")
        for manifest in manifests:
            if HOOK not in annotations_of(manifest) or ended == (name_of(manifest), revision):
                continue
            self._apply(app, manifest)
            state = {"phase": "Running", "message": f"waiting for completion of hook batch/Job/{name_of(manifest)}",
                     "startedAt": stamp(self.core.now()), "hook": name_of(manifest), "revision": revision,
                     "operation": {"sync": {"revision": revision}, "initiatedBy": {"automated": True}}}  # fmt: skip
            self._report(app, {"operationState": state})
            return True
        return False

    # -- comparing -------------------------------------------------------------------------------------------------

    def _place(self, app: Json, manifest: Json) -> tuple[Resource, str, str] | None:
        resource = resources.by_kind(manifest["apiVersion"], manifest["kind"])
        if resource is None:
            return None
        space = namespace_of(manifest) or dig(app, "spec", "destination", "namespace") or "default"
        return resource, space if resource.namespaced else "", name_of(manifest)

    def _live(self, app: Json, manifest: Json) -> Json | None:
        place = self._place(app, manifest)
        return self.core.find(*place) if place else None

    def _differing(self, app: Json, manifests: list[Json]) -> list[Json]:
        """Manifests that the cluster does not hold as they are written."""
        return [m for m in manifests if HOOK not in annotations_of(m) and not _holds(self._live(app, m), m)]

    def _stale(self, app: Json, manifests: list[Json]) -> list[tuple[Resource, str, str]]:
        """What was synced once and is in Git no more."""
        wanted = [self._place(app, m) for m in manifests]
        found = []
        for row in dig(app, "status", "resources") or ():
            group = f"{row['group']}/{row['version']}" if row.get("group") else row["version"]
            resource = resources.by_kind(group, row["kind"])
            place = (resource, row.get("namespace", ""), row["name"]) if resource else None
            if place and place not in wanted and self.core.find(*place) is not None:
                found.append(place)
        return found

    # -- syncing ---------------------------------------------------------------------------------------------------

    def _auto(self, app: Json, revision: str, manifests: list[Json]) -> float:
        """Sync by itself where the policy says so; seconds until it is to be looked at again."""
        automated = dig(app, "spec", "syncPolicy", "automated")
        if automated is None or automated.get("enabled") is False:
            return _PERIOD
        last = dig(app, "status", "operationState") or {}
        if last.get("message") == "Operation terminated" and last.get("revision") == revision:
            return _PERIOD  # the same revision is not tried again
        if dig(last, "syncResult", "revision") == revision:
            if not automated.get("selfHeal"):
                return _PERIOD
            left = unstamp(last["finishedAt"]) + _HEAL - self.core.now()
            if left > 0:
                return left
        self._sync(app, revision, manifests, prune=bool(automated.get("prune")))
        return _HEAL

    def _sync(self, app: Json, revision: str, manifests: list[Json], *, prune: bool) -> None:
        began, failed = stamp(self.core.now()), list[str]()
        if self._begin_hooks(app, revision, manifests):
            return
        app = self.core.get(resources.APPLICATIONS, namespace_of(app), name_of(app))
        for manifest in self._differing(app, manifests):
            try:
                self._apply(app, manifest)
            except ApiError as error:
                failed.append(error.message)
        for resource, space, name in self._stale(app, manifests) if prune else ():
            try:
                self.core.delete(WHO, resource, space, name, Delete("Foreground"))
            except ApiError as error:
                failed.append(error.message)
        phase = "Failed" if failed else "Succeeded"
        message = "; ".join(failed) if failed else "successfully synced (all tasks run)"
        state = {
            "phase": phase,
            "message": message,
            "startedAt": began,
            "finishedAt": stamp(self.core.now()),
            "operation": app.get("operation") or {"sync": {"revision": revision}, "initiatedBy": {"automated": True}},
            "syncResult": {"revision": revision, "source": app["spec"].get("source")},
        }
        entry = {
            "id": len(dig(app, "status", "history") or ()),
            "revision": revision,
            "deployedAt": state["finishedAt"],
            "source": app["spec"].get("source"),
        }
        history = [*(dig(app, "status", "history") or ()), *([] if failed else [entry])]
        self._report(app, {"operationState": state, "history": history[-10:]}, done=True)
        self.core.event(
            app,
            "Warning" if failed else "Normal",
            "OperationCompleted",
            f"Sync operation to {revision} {phase.lower()}: {message}",
            COMPONENT,
        )

    def _apply(self, app: Json, manifest: Json) -> None:
        place = self._place(app, manifest)
        if place is None:
            raise ApiError(400, "BadRequest", f"there is no kind {manifest['kind']} in {manifest['apiVersion']}")
        resource, space, name = place
        merge = patches.merge if resource.custom else patches.strategic
        if self.core.find(resource, space, name) is None:
            self.core.create(WHO, resource, space, manifest)
        else:
            self.core.change(WHO, resource, space, name, lambda live: merge(live, manifest))

    # -- reporting -------------------------------------------------------------------------------------------------

    def _observe(self, app: Json, revision: str, manifests: list[Json]) -> None:
        app = self.core.get(resources.APPLICATIONS, namespace_of(app), name_of(app))
        rows, images, healths = [], set[str](), ["Healthy"]
        stale = self._stale(app, manifests)
        for manifest in manifests:
            place, live = self._place(app, manifest), self._live(app, manifest)
            if place is None or HOOK in annotations_of(manifest):
                continue
            resource, space, name = place
            health = _health(live)
            healths.append(health)
            images |= _images(live)
            rows.append(_row(resource, space, name, "Synced" if _holds(live, manifest) else "OutOfSync", health))
        rows += [_row(*place, "OutOfSync", "Healthy") | {"requiresPruning": True} for place in stale]
        synced = all(row["status"] == "Synced" for row in rows)
        order = ["Healthy", "Suspended", "Progressing", "Missing", "Degraded"]
        told = {"source": app["spec"].get("source"), "destination": app["spec"].get("destination")}
        status = {
            "sync": {"status": "Synced" if synced else "OutOfSync", "revision": revision, "comparedTo": told}
            | ({"revisions": [revision] * len(_sources(app))} if app["spec"].get("sources") else {}),
            "health": {"status": max(healths, key=order.index)},
            "summary": {"images": sorted(images)},
            "resources": rows,
            "sourceType": "Directory",
        }
        if {k: (app.get("status") or {}).get(k) for k in status} != status or not dig(app, "status", "reconciledAt"):
            self._report(app, status | {"reconciledAt": stamp(self.core.now())})

    def _report(self, app: Json, status: Json, *, done: bool = False) -> None:
        """Argo CD's Application has no status subresource: it is written with the object."""
        current = self.core.get(resources.APPLICATIONS, namespace_of(app), name_of(app))
        fresh = {k: v for k, v in current.items() if not (done and k == "operation")}
        fresh["status"] = (current.get("status") or {}) | status
        self.core.store.put(resources.APPLICATIONS, fresh)


def _sources(app: Json) -> list[Json]:
    one = app["spec"].get("source")
    return [one] if one else list(app["spec"].get("sources") or ())


def _holds(live: Any, wanted: Any) -> bool:
    """Whether everything that is written is so; what is not written is anybody's."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_holds(live.get(k), v) for k, v in wanted.items() if k != "status")
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(_holds, live, wanted))
    return bool(live == wanted)


def _health(live: Json | None) -> str:
    if live is None:
        return "Missing"
    if live["kind"] != "Deployment":
        return "Healthy"
    if live["spec"].get("paused"):
        return "Suspended"
    if (condition(live, "Progressing") or {}).get("reason") == "ProgressDeadlineExceeded":
        return "Degraded"
    status, wanted = live.get("status") or {}, live["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= live["metadata"]["generation"]
    done = (status.get("updatedReplicas") or 0) == (status.get("availableReplicas") or 0) == wanted
    return "Healthy" if seen and done and (status.get("replicas") or 0) == wanted else "Progressing"


def _images(live: Json | None) -> set[str]:
    spec = dig(live, "spec", "template", "spec") or dig(live, "spec", "jobTemplate", "spec", "template", "spec") or {}
    return {c["image"] for c in spec.get("containers") or ()}


def _row(resource: Resource, space: str, name: str, status: str, health: str) -> Json:
    row = {
        "group": resource.group,
        "version": resource.version,
        "kind": resource.kind,
        "namespace": space,
        "name": name,
        "status": status,
        "health": {"status": health},
    }
    return {k: v for k, v in row.items() if v}
