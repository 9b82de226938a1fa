"""What can be done to objects, whoever does it: a client through HTTP, or a controller.

The same steps for every kind: defaults, rules of the kind, admission, storage. Who may do it is asked by the HTTP side;
admission is asked here, since policies bind controllers too.

Invariants: nothing is stored by a dry run; metadata that is the server's own is never taken from a body; the generation
grows exactly when something beside metadata and status changes; an object with finalizers, or a pod on a node, goes
only when they are done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bot.playground.cluster import failures, ownership, resources
from bot.playground.cluster.defaults import defaulted
from bot.playground.cluster.fields import known
from bot.playground.cluster.gate import podsecurity, quotas
from bot.playground.cluster.gate.access import SYSTEM, User
from bot.playground.cluster.gate.admission import Admission, Asked
from bot.playground.cluster.gate.validation import problems
from bot.playground.cluster.gate.webhooks import Webhooks
from bot.playground.cluster.normal import written
from bot.playground.cluster.objects import (
    Json,
    annotations_of,
    created_at,
    dig,
    is_going,
    labels_of,
    micro_stamp,
    name_of,
    namespace_of,
    new_uid,
    stamp,
    suffix,
    uid_of,
)
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.selectors import selects
from bot.playground.cluster.store import Store
from bot.playground.copied import copied
from bot.playground.workspace.clock import Clock

FOREGROUND = "foregroundDeletion"
_COUNTED = {
    resources.REPLICASETS.store: ("replicas",),
    resources.STATEFULSETS.store: ("replicas", "availableReplicas"),
    resources.DAEMONSETS.store: (
        "currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady",
    ),
    resources.AUTOSCALERS.store: ("desiredReplicas",),
}  # fmt: skip
"""Counts that a status always has."""
_EVENTS_KEPT = 3600.0
"""Seconds; the server's own --event-ttl."""


@dataclass(frozen=True)
class Delete:
    """How something is to go. propagation: Background, Foreground, Orphan or "" for the kind's default."""

    propagation: str = ""
    grace: int | None = None
    uid: str = ""
    resource_version: str = ""


class Core:
    """The objects of one cluster and the rules for changing them.

    warnings: of the request in hand, for its answer; strict: whether that request wants unknown fields refused.
    """

    def __init__(self, store: Store, admission: Admission, clock: Clock) -> None:
        self.store, self.admission, self.clock = store, admission, clock
        self.webhooks = Webhooks()
        self.warnings: list[str] = []
        self.strict = False
        self._service_count = 0

    def now(self) -> float:
        """Unix seconds."""
        return self.clock.time()

    # -- reading ---------------------------------------------------------------------------------------------------

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object, or None."""
        return self.store.get(resource, namespace, name)

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The object. ApiError 404."""
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise failures.not_found(resource, name)
        return found

    def all(self, resource: Resource, namespace: str = "") -> list[Json]:
        """All of a kind in a namespace, or everywhere."""
        return self.store.all(resource, namespace)

    def owned(self, resource: Resource, owner: Json) -> list[Json]:
        """What this object controls, oldest first."""
        uid = uid_of(owner)
        found = [
            obj
            for obj in self.store.all(resource, namespace_of(owner))
            if any(r.get("controller") and r["uid"] == uid for r in obj["metadata"].get("ownerReferences") or ())
        ]
        return sorted(found, key=lambda o: (created_at(o), int(o["metadata"]["resourceVersion"])))

    # -- creating --------------------------------------------------------------------------------------------------

    def create(
        self,
        user: User,
        resource: Resource,
        namespace: str,
        body: Json,
        *,
        dry_run: bool = False,
        applied: bool = False,
    ) -> Json:
        """A new object. applied: its managedFields are made already. ApiError."""
        obj = self._typed(resource, namespace, body)
        obj["metadata"] = self._born(obj["metadata"])
        if resource.has_status:
            obj.pop("status", None)
        obj = written(resource, defaulted(resource, obj))
        name = name_of(obj)
        if resource.namespaced:
            self._open(resource, namespace, name)
        asked = Asked(user, "CREATE", resource, namespace, name, obj, None, "", dry_run)
        if not applied:
            self._own(resource, {}, obj, "")
        obj = self._rewritten(asked)
        self._refuse(resource, obj, None)
        self._admit(replace(asked, new=obj))
        if self.store.get(resource, namespace, name) is not None:
            raise failures.already_exists(resource, name)
        if resource is resources.PODS:
            self._within_quota(namespace, obj)
        self._first_status(resource, obj)
        return obj if dry_run else self.store.put(resource, obj)

    def apply(
        self, user: User, resource: Resource, namespace: str, name: str, body: Json, *, force: bool, dry_run: bool
    ) -> tuple[Json, bool]:
        """Server-side apply as the present manager; the object, and whether it is new. ApiError."""
        meta = body.get("metadata") or {}
        if meta.get("managedFields"):
            raise failures.bad_request("metadata.managedFields must be nil")
        given = self._typed(resource, namespace, body | {"metadata": meta | {"name": meta.get("name") or name}})
        live, now = self.find(resource, namespace, name), self.now()
        if live is None:
            made = ownership.applied(resource, None, given, force=force, now=now)
            return self.create(user, resource, namespace, made, dry_run=dry_run, applied=True), True

        def merged(old: Json) -> Json:
            return self._typed(resource, namespace, ownership.applied(resource, old, given, force=force, now=now))

        return self._change(user, resource, namespace, name, merged, "", dry_run, applied=True), False

    def _typed(self, resource: Resource, namespace: str, body: Json) -> Json:
        if not isinstance(body.get("metadata", {}), dict):
            raise failures.bad_request("the object provided is unrecognized (must be of type " + resource.kind + ")")
        kind, version = body.get("kind") or resource.kind, body.get("apiVersion") or resource.api_version
        if (kind, version) != (resource.kind, resource.api_version):
            group_version = f"{version}, Kind={kind}"
            raise failures.bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f'no kind "{kind}" is registered for {group_version}'
            )
        obj: Json = {"kind": resource.kind, "apiVersion": resource.api_version, **copied(body)}
        obj, unknown = known(resource, obj)
        self._unknown(unknown)
        obj["metadata"] = obj.get("metadata") or {}
        given = obj["metadata"].get("namespace")
        if not resource.namespaced:
            obj["metadata"].pop("namespace", None)
        elif given and given != namespace:
            raise failures.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        else:
            obj["metadata"]["namespace"] = namespace
        return obj

    def _unknown(self, fields: list[str]) -> None:
        told = [f'unknown field "{field}"' for field in fields]
        if told and self.strict:
            raise failures.bad_request(f"strict decoding error: {', '.join(told)}")
        self.warnings += told

    def _born(self, metadata: Json) -> Json:
        if metadata.get("resourceVersion"):
            raise failures.bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + suffix()
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(name, None)
        return metadata | {"uid": new_uid(), "creationTimestamp": stamp(self.now()), "generation": 1}

    def _open(self, resource: Resource, namespace: str, name: str) -> None:
        space = self.store.get(resources.NAMESPACES, "", namespace)
        if space is None:
            raise failures.not_found(resources.NAMESPACES, namespace)
        if is_going(space):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise failures.forbidden(resource, name, why)

    def _within_quota(self, namespace: str, pod: Json) -> None:
        there = self.store.all(resources.PODS, namespace)
        if why := quotas.refusal(self.store.all(resources.QUOTAS, namespace), there, pod):
            raise failures.forbidden(resources.PODS, name_of(pod), why)

    def _first_status(self, resource: Resource, obj: Json) -> None:
        if not resource.spec:
            obj["metadata"].pop("generation", None)
        if resource is resources.PODS:
            obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        elif resource is resources.NAMESPACES:
            obj["spec"], obj["status"] = {"finalizers": ["kubernetes"]}, {"phase": "Active"}
            labels = labels_of(obj) | {"kubernetes.io/metadata.name": name_of(obj)}
            obj["metadata"]["labels"] = labels
        elif resource is resources.SERVICES and not obj["spec"].get("clusterIP"):
            self._service_count += 1
            address = f"10.96.{self._service_count // 250}.{self._service_count % 250 + 1}"
            obj["spec"] |= {"clusterIP": address, "clusterIPs": [address]}
            obj["status"] = {"loadBalancer": {}}
        elif resource is resources.JOBS and not obj["spec"].get("selector"):
            uid = uid_of(obj)
            labels = {
                "batch.kubernetes.io/controller-uid": uid,
                "controller-uid": uid,
                "batch.kubernetes.io/job-name": name_of(obj),
                "job-name": name_of(obj),
            }
            meta = obj["spec"]["template"].setdefault("metadata", {})
            meta["labels"] = (meta.get("labels") or {}) | labels
            obj["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        if resource.has_status and "status" not in obj:
            obj["status"] = dict.fromkeys(_COUNTED.get(resource.store, ()), 0)
        if resource is resources.POLICIES:
            obj["status"] = {"observedGeneration": 1, "typeChecking": {}}

    # -- changing --------------------------------------------------------------------------------------------------

    def update(
        self,
        user: User,
        resource: Resource,
        namespace: str,
        name: str,
        body: Json,
        *,
        part: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Put a whole object in the place of the stored one. part: "" or "status". ApiError."""
        obj = self._typed(resource, namespace, body)
        if name_of(obj) != name:
            raise failures.bad_request(
                f"the name of the object ({name_of(obj)}) does not match the name on the URL ({name})"
            )
        return self._change(user, resource, namespace, name, lambda _: obj, part, dry_run)

    def change(
        self,
        user: User,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Callable[[Json], Json],
        *,
        part: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Make of the stored object what `patch` makes of it. ApiError."""

        def patched(old: Json) -> Json:
            new = patch(old)
            if name_of(new) != name or (resource.namespaced and namespace_of(new) != namespace):
                raise failures.bad_request("the name or namespace of an object cannot be patched")
            return self._typed(resource, namespace, new)

        return self._change(user, resource, namespace, name, patched, part, dry_run)

    def _change(
        self,
        user: User,
        resource: Resource,
        namespace: str,
        name: str,
        make: Callable[[Json], Json],
        part: str,
        dry_run: bool,
        *,
        applied: bool = False,
    ) -> Json:
        old = self.get(resource, namespace, name)
        given = make(old)
        self._refuse_stale(resource, name, given["metadata"], old["metadata"])
        new = _carried(resource, given, old, part)
        asked = Asked(user, "UPDATE", resource, namespace, name, new, old, part, dry_run)
        if part != "status":
            new = written(resource, defaulted(resource, new))
            if not applied:
                self._own(resource, old, new, part)
            new = self._rewritten(replace(asked, new=new))
            self._refuse(resource, new, old)
            if resource.spec and _essence(new) != _essence(old):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        self._admit(replace(asked, new=new))
        if dry_run:
            return new
        if is_going(new) and not new["metadata"].get("finalizers") and resource is not resources.PODS:
            self.store.remove(resource, old)
            return new
        return self.store.put(resource, new)

    def _own(self, resource: Resource, old: Json, new: Json, part: str) -> None:
        """Note who set what, where the write came through the API."""
        if ownership.MANAGER.get():
            entries = ownership.updated(resource, old, new, part, self.now())
            kept = {k: v for k, v in new["metadata"].items() if k != "managedFields"}
            new["metadata"] = kept | ({"managedFields": entries} if entries else {})

    def _rewritten(self, asked: Asked) -> Json:
        """The object as webhooks have it. ApiError."""
        given = asked.new or {}
        made = self.webhooks.mutate(asked)
        return given if made is None or made is given else written(asked.resource, defaulted(asked.resource, made))

    def _refuse_stale(self, resource: Resource, name: str, given: Json, kept: Json) -> None:
        version = given.get("resourceVersion")
        if version and version != kept["resourceVersion"]:
            raise failures.conflict(resource, name)
        if given.get("uid") and given["uid"] != kept["uid"]:
            why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {kept['uid']}"
            raise failures.conflict(resource, name, why)

    # -- what controllers and the kubelet write --------------------------------------------------------------------

    def set_status(self, resource: Resource, obj: Json, status: Mapping[str, Any]) -> Json:
        """Merge these fields into an object's status, None removing one; nothing is written where nothing changes."""
        current = self.find(resource, namespace_of(obj), name_of(obj))
        if current is None or uid_of(current) != uid_of(obj):
            return obj
        merged = {k: v for k, v in ((current.get("status") or {}) | dict(status)).items() if v is not None}
        if merged == current.get("status"):
            return current
        return self.store.put(resource, current | {"status": copied(merged)})

    def annotate(self, resource: Resource, obj: Json, **values: str | None) -> Json:
        """Set annotations of an object, None removing one. Names are given with `/` and `.` as a mapping's keys."""
        current = self.get(resource, namespace_of(obj), name_of(obj))
        merged = {k: v for k, v in (annotations_of(current) | values).items() if v is not None}
        return self.store.put(resource, current | {"metadata": current["metadata"] | {"annotations": merged}})

    def spec_change(self, user: User, resource: Resource, obj: Json, **fields: Any) -> Json:
        """Set fields of an object's spec as this user. ApiError where a policy refuses."""

        def patch(current: Json) -> Json:
            return current | {"spec": current.get("spec", {}) | fields}

        return self.change(user, resource, namespace_of(obj), name_of(obj), patch)

    # -- going -----------------------------------------------------------------------------------------------------

    def delete(
        self,
        user: User,
        resource: Resource,
        namespace: str,
        name: str,
        how: Delete | None = None,
        *,
        dry_run: bool = False,
    ) -> tuple[Json, bool]:
        """Tell an object to go; the object, and whether it is gone at once. ApiError."""
        how, old = how or Delete(), self.get(resource, namespace, name)
        self._refuse_stale(resource, name, {"resourceVersion": how.resource_version, "uid": how.uid}, old["metadata"])
        self._admit(Asked(user, "DELETE", resource, namespace, name, None, old, "", dry_run))
        if dry_run:
            return old, True
        return self._leave(resource, old, how)

    def _leave(self, resource: Resource, old: Json, how: Delete) -> tuple[Json, bool]:
        finalizers = list(old["metadata"].get("finalizers") or ())
        propagation = how.propagation or ("Orphan" if resource is resources.JOBS else "Background")
        if propagation == "Orphan":
            self._orphan(old)
        if propagation == "Foreground" and FOREGROUND not in finalizers and self.dependents(old):
            finalizers.append(FOREGROUND)
        grace = self._grace(resource, old, how)
        waits = bool(finalizers) or grace > 0 or resource is resources.NAMESPACES
        if not waits:
            self.store.remove(resource, old)
            return old, True
        if is_going(old) and grace >= (old["metadata"].get("deletionGracePeriodSeconds") or 0):
            return old, False
        meta = old["metadata"] | {"deletionTimestamp": stamp(self.now() + grace), "deletionGracePeriodSeconds": grace}
        meta |= {"finalizers": finalizers} if finalizers else {}
        gone = old | {"metadata": meta}
        if resource is resources.NAMESPACES:
            gone = gone | {"status": {"phase": "Terminating"}}
        return self.store.put(resource, gone), False

    def _grace(self, resource: Resource, old: Json, how: Delete) -> int:
        if resource is not resources.PODS or not dig(old, "spec", "nodeName"):
            return 0
        if dig(old, "status", "phase") in ("Succeeded", "Failed"):
            return 0
        return how.grace if how.grace is not None else int(old["spec"].get("terminationGracePeriodSeconds", 30))

    def finish(self, resource: Resource, obj: Json) -> None:
        """It is done with: take it away, whatever it waited for."""
        current = self.find(resource, namespace_of(obj), name_of(obj))
        if current is not None and uid_of(current) == uid_of(obj):
            self.store.remove(resource, current)

    def dependents(self, owner: Json) -> list[tuple[Resource, Json]]:
        """Everything that names this object as an owner."""
        uid, found = uid_of(owner), []
        for store in self.store.stores():
            for obj in self.store.all(resources.of(store)):
                if any(r["uid"] == uid for r in obj["metadata"].get("ownerReferences") or ()):
                    found.append((resources.of(store), obj))
        return found

    def _orphan(self, owner: Json) -> None:
        for resource, obj in self.dependents(owner):
            left = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != uid_of(owner)]
            meta = {k: v for k, v in obj["metadata"].items() if k != "ownerReferences"}
            self.store.put(resource, obj | {"metadata": meta | ({"ownerReferences": left} if left else {})})

    # -- events ----------------------------------------------------------------------------------------------------

    def event(self, obj: Json, kind: str, reason: str, message: str, component: str) -> None:
        """Tell something about an object; the same told again is counted."""
        now, space = self.now(), namespace_of(obj) or "default"
        about = {
            "kind": obj["kind"],
            "namespace": namespace_of(obj),
            "name": name_of(obj),
            "uid": uid_of(obj),
            "apiVersion": obj["apiVersion"],
            "resourceVersion": obj["metadata"].get("resourceVersion", ""),
        }
        for old in self.store.all(resources.EVENTS, space):
            told = (old["involvedObject"]["uid"], old["reason"], old["message"])
            if told == (uid_of(obj), reason, message):
                self.store.put(resources.EVENTS, old | {"count": old["count"] + 1, "lastTimestamp": stamp(now)})
                return
        meta = {
            "name": f"{name_of(obj)}.{int(now * 1e9):x}{suffix(4)}",
            "namespace": space,
            "uid": new_uid(),
            "creationTimestamp": stamp(now),
        }
        self.store.put(
            resources.EVENTS,
            {
                "kind": "Event",
                "apiVersion": "v1",
                "metadata": meta,
                "involvedObject": about,
                "reason": reason,
                "message": message,
                "source": {"component": component},
                "firstTimestamp": stamp(now),
                "lastTimestamp": stamp(now),
                "count": 1,
                "type": kind,
                "eventTime": micro_stamp(now),
                "reportingComponent": component,
                "reportingInstance": "",
            },
        )

    def forget_event(self, namespace: str, name: str) -> float | None:
        """Events vanish after an hour; seconds until this one does."""
        event = self.find(resources.EVENTS, namespace, name)
        if event is None:
            return None
        left = created_at(event) + _EVENTS_KEPT - self.now()
        if left > 0:
            return left
        self.store.remove(resources.EVENTS, event)
        return None

    # -- inside ----------------------------------------------------------------------------------------------------

    def _refuse(self, resource: Resource, obj: Json, old: Json | None) -> None:
        causes = problems(resource, obj, old)
        if causes:
            raise failures.unprocessable(resource, name_of(obj), causes)

    def _admit(self, asked: Asked) -> None:
        self.warnings += self.admission.check(asked)
        self.webhooks.check(asked)
        if asked.resource is resources.PODS and asked.operation == "CREATE" and asked.new is not None:
            podsecurity.check(self.store, asked.new, asked.namespace, asked.name)

    def ready_pods(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        """Pods that a service with this selector sends people to."""
        return [
            pod
            for pod in self.store.all(resources.PODS, namespace)
            if selector
            and not is_going(pod)
            and selects({"matchLabels": selector}, labels_of(pod))
            and pod_is_ready(pod)
        ]


def pod_is_ready(pod: Json) -> bool:
    """The Ready condition."""
    conditions = dig(pod, "status", "conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _carried(resource: Resource, given: Json, old: Json, part: str) -> Json:
    """What is stored of a body: the server's own metadata stays, and of spec and status only the part asked for."""
    if part == "status":
        return old | {"status": given.get("status") or {}, "metadata": old["metadata"]}
    kept = {
        name: old["metadata"][name]
        for name in (
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
            "name",
            "namespace",
            "generateName",
        )
        if name in old["metadata"]
    }
    own = ("generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
    meta = {k: v for k, v in given["metadata"].items() if k not in own and v is not None}
    if not meta.get("managedFields"):
        kept |= {k: v for k, v in old["metadata"].items() if k == "managedFields"}
    new = given | {"metadata": meta | kept}
    if resource.has_status:
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    if resource is resources.SERVICES:
        addresses = {n: old["spec"][n] for n in ("clusterIP", "clusterIPs") if n in old["spec"]}
        new = new | {"spec": addresses | new.get("spec", {})}
    return new


def _essence(obj: Json) -> Json:
    return {k: v for k, v in obj.items() if k not in ("metadata", "status")}


__all__ = ["FOREGROUND", "SYSTEM", "Core", "Delete", "pod_is_ready"]
