"""The guards of one cluster: put there, read back, tried out and taken away; what they are made of is in `guard`.

Invariants:
- the policy is put before its binding and taken away after it, so that nothing half done refuses anything;
- what is there and not the bot's is neither changed nor taken away;
- a trial is a dry run: nothing is stored.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bot.adapters.kubernetes import guard
from bot.adapters.kubernetes.connection import JSON_PATCH, Body, Connection, Missing, Query, Refused
from bot.adapters.kubernetes.resources import BINDING, POLICY, RESOURCES, Resource
from bot.ports import Json, Record
from bot.ports.kubernetes import WORKLOADS, Denied, Kind, Place, Thing

_WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Guards:
    """namespace: of the service; known: cluster -> our user name there, once it was asked."""

    def __init__(self, connection: Connection, namespace: str, record: Record, known: dict[str, str]) -> None:
        self._connection, self._namespace = connection, namespace
        self._record, self._known = record, known

    async def me(self, *, anew: bool = False) -> str:
        """Our own user name, as the cluster has it."""
        cluster = self._connection.cluster
        if anew or cluster not in self._known:
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            answer = await self._connection.ask("POST", _WHOAMI, body=body)
            self._known[cluster] = answer["status"]["userInfo"]["username"]
        return self._known[cluster]

    async def get(self, name: str) -> Thing | None:
        """The guard of this name."""
        policy, binding = await asyncio.gather(
            self._connection.find(POLICY.path("", name)), self._connection.find(BINDING.path("", name))
        )
        return await self._thing(name, policy, binding) if policy is not None else None

    async def every(self) -> Sequence[Thing]:
        """All guards of ours."""
        ours: Query = [("labelSelector", ",".join(f"{k}={v}" for k, v in guard.OURS.items()))]
        policies, bindings = await asyncio.gather(
            self._connection.every(POLICY.path(""), query=ours), self._connection.every(BINDING.path(""), query=ours)
        )
        bound = {b["metadata"]["name"]: b for b in bindings}
        names = [(p["metadata"]["name"], p) for p in policies]
        return [await self._thing(name, policy, bound.get(name)) for name, policy in names]

    async def _thing(self, name: str, policy: Body, binding: Body | None) -> Thing:
        """Rules that are in force, as they were put; facts say what is not as we made it."""
        place = Place(self._connection.cluster, "guard", name)
        rules, version = guard.rules_of(policy), policy["metadata"].get("resourceVersion", "")
        if rules is None:
            return Thing(place, version, facts={"altered": ["metadata"]})
        wrong = guard.altered(policy, guard.policy(name, rules, await self.me()))
        bound = guard.binding(name, self._namespace)
        wrong += [f"binding.{path}" for path in guard.altered(binding, bound)] if binding is not None else ["binding"]
        given: dict[str, Json] = {"rules": rules} if binding is not None else {}
        return Thing(place, version, given, {"altered": [*wrong]} if wrong else {})

    async def put(self, name: str, rules: Json) -> None:
        """Have it say these rules; None takes it away. ValueError for what are no rules."""
        if rules is None:
            await self._take_away(BINDING, name)
            await self._take_away(POLICY, name)
            return
        await self._put(POLICY, name, guard.policy(name, rules, await self.me()))
        await self._put(BINDING, name, guard.binding(name, self._namespace))

    async def bites(self, name: str) -> bool:
        """Whether the cluster refuses what it refuses, by now."""
        found = await self.get(name)
        if found is None or "rules" not in found.fields:
            return False
        labels, image = guard.probe(found.fields["rules"])
        query = [("limit", "1"), *([("labelSelector", labels)] if labels else [])]
        for kind in WORKLOADS:
            resource = RESOURCES[kind]
            answer = await self._connection.ask("GET", resource.path(self._namespace), query=query)
            for body in answer.get("items") or ():
                path = resource.path(self._namespace, body["metadata"]["name"])
                return await self._refuses(name, path, guard.trial(kind, body, image))
        raise Denied(f"{self._connection.cluster}: {self._namespace} has no workload that {name} could be tried on")

    async def refusal(self, images: Mapping[str, str], selector: str) -> str:
        """The words of who refuses one of these images (workload -> image); empty where none is refused."""
        query = [("labelSelector", selector)] if selector else []
        lists = await asyncio.gather(
            *(self._connection.every(RESOURCES[kind].path(self._namespace), query=query) for kind in WORKLOADS)
        )
        bodies = {body["metadata"]["name"]: (kind, body) for kind, found in zip(WORKLOADS, lists, strict=True)
                  for body in found}  # fmt: skip
        if not bodies:
            return ""
        other = next(iter(bodies))
        tried = {(name if name in bodies else other, image) for name, image in images.items()}
        said = await asyncio.gather(*(self._words(*bodies[name], image) for name, image in sorted(tried)))
        return next(filter(None, said), "")

    async def _words(self, kind: Kind, body: Body, image: str) -> str:
        path = RESOURCES[kind].path(self._namespace, body["metadata"]["name"])
        trial = guard.trial(kind, body, image)
        try:
            await self._connection.send("PATCH", path, query=[("dryRun", "All")], body=trial, sort=JSON_PATCH)
        except Refused as error:
            if error.status in (403, 422):
                return error.words
            raise self._connection.failure(error) from error
        return ""

    async def _refuses(self, name: str, path: str, trial: object) -> bool:
        try:
            await self._connection.send("PATCH", path, query=[("dryRun", "All")], body=trial, sort=JSON_PATCH)
        except Refused as error:
            if f"ValidatingAdmissionPolicy '{name}'" in error.words:
                return True
            if error.status == 404 or (error.status == 422 and not error.causes):
                return False  # the workload has changed since: the next look tries again
            raise self._connection.failure(error) from error
        return False

    async def _put(self, resource: Resource, name: str, made: dict[str, Any]) -> None:
        path = resource.path("", name)
        there = await self._connection.find(path)
        if there is not None and not guard.is_ours(there):
            raise Denied(f"{self._connection.cluster}: {resource.qualified} {name} is there already, and not the bot's")
        if there is not None and not guard.altered(there, made) and guard.rules_of(there) == guard.rules_of(made):
            return
        text = shlex.quote(json.dumps(made, ensure_ascii=False))
        await self._record(f"echo {text} | {shlex.join(self._kubectl)} apply -f -")
        if there is None:
            await self._connection.ask("POST", resource.path(""), body=made)
            return
        parts = {f"/metadata/{key}": made["metadata"].get(key, {}) for key in ("labels", "annotations")}
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": there["metadata"]["resourceVersion"]}
        added = [{"op": "add", "path": at, "value": value} for at, value in {**parts, "/spec": made["spec"]}.items()]
        await self._connection.ask("PATCH", path, body=[version, *added], sort=JSON_PATCH)

    async def _take_away(self, resource: Resource, name: str) -> None:
        path = resource.path("", name)
        there = await self._connection.find(path)
        if there is None:
            return
        if not guard.is_ours(there):
            raise Denied(f"{self._connection.cluster}: {resource.qualified} {name} is not the bot's; it is left there")
        await self._record(shlex.join([*self._kubectl, "delete", resource.qualified, name]))
        try:
            await self._connection.ask("DELETE", path)
        except Missing:
            return  # somebody was faster

    @property
    def _kubectl(self) -> list[str]:
        return ["kubectl", "--context", self._connection.context]
