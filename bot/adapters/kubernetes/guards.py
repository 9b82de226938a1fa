"""The guards of one cluster: put there, read back, tried out and taken away; `admission_policy` has what they say.

Invariants:
- the policy is put before its binding and taken away after it, so that nothing half done refuses anything;
- what is there and not the bot's is neither changed nor taken away;
- a trial is a dry run: nothing is stored.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from bot.adapters.kubernetes import admission_policy as guard
from bot.adapters.kubernetes.connection import AS_US, JSON_PATCH, Body, ClusterRefused, Connection, NoSuchObject, Query
from bot.adapters.kubernetes.resources import BINDING, POLICY, RESOURCES, Resource
from bot.ports import Json, Record
from bot.ports.guards import GuardRules
from bot.ports.kubernetes import WORKLOADS, Denied, Place, Thing, Trial

_NAMED = re.compile(r"ValidatingAdmissionPolicy '(rollback-[^']+)'")
TRIALS = 8
"""Dry runs of one trial, at most: behind a slow webhook each may take its time."""
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
        wrong = guard.altered(policy, guard.made_of(policy) or guard.policy(name, rules, await self.me()))
        bound = guard.binding(name, self._namespace)
        wrong += [f"binding.{path}" for path in guard.altered(binding, bound)] if binding is not None else ["binding"]
        given: dict[str, Json] = {"rules": rules} if binding is not None else {}
        since: dict[str, Json] = {"since": at} if (at := policy["metadata"].get("creationTimestamp")) else {}
        return Thing(place, version, given, {"altered": [*wrong], **since} if wrong else since)

    async def put(self, name: str, rules: Json) -> None:
        """Have it say these rules; None takes it away. ValueError for what are no rules."""
        if rules is None:
            await self._take_away(BINDING, name)
            await self._take_away(POLICY, name)
            return
        await self._put(POLICY, name, guard.policy(name, rules, await self.me()))
        await self._put(BINDING, name, guard.binding(name, self._namespace))

    async def trial(self, name: str, rules: Json) -> Trial:
        """Try it on workloads until one tells. Whose words answer a refusal is chance where several refuse: only our
        own name proves that ours does, or that of another ban of ours on the same image while this one stands; and only
        a request that passes proves that it does not."""
        words, tried = "", 0
        for kind in WORKLOADS:
            path = RESOURCES[kind].path(self._namespace)
            query: Query = [("labelSelector", labels)] if (labels := guard.about(rules)) else []
            try:
                bodies = await self._connection.every(path, query=query)
            except NoSuchObject:  # the cluster has no such kind: Argo Rollouts is not installed
                continue
            for body in bodies:
                for digest, patch in guard.trials(kind, body, rules):
                    tried += 1
                    said = await self._said(f"{path}/{body['metadata']['name']}", patch)
                    if said is None:
                        return Trial(False)
                    if f"ValidatingAdmissionPolicy '{name}'" in said or await self._twin(name, said, digest):
                        return Trial(True, said)
                    words = words or said
                    if tried >= TRIALS:
                        return Trial(None, words)
        return Trial(None, words or f"{self._namespace} has no workload that it could be tried on")

    async def _twin(self, name: str, said: str, digest: str) -> bool:
        """Whether another guard of ours has answered that bans the same image, in place of this one, which stands."""
        found = _NAMED.search(said)
        if found is None:
            return False
        mine, other = await asyncio.gather(self.get(name), self.get(found[1]))
        bans = GuardRules.read(other.fields.get("rules")) if other is not None else None
        return mine is not None and "rules" in mine.fields and bans is not None and digest in bans.banned

    async def _said(self, path: str, patch: object) -> str | None:
        """In whose words a dry run is refused; None where it passes, empty where the workload has changed since."""
        try:
            await self._connection.send("PATCH", path, query=[("dryRun", "All")], body=patch, sort=JSON_PATCH)
        except ClusterRefused as error:
            if error.status == 404 or (error.status == 422 and not error.causes):
                return ""
            by_others = error.status in (400, 403, 422) or (error.status == 500 and "webhook" in error.words)
            if not by_others or "cannot patch resource" in error.words:
                raise self._connection.failure(error) from error
            return error.words
        return None

    async def _put(self, resource: Resource, name: str, made: dict[str, Any]) -> None:
        path = resource.path("", name)
        there = await self._connection.find(path)
        if there is not None and not guard.is_ours(there):
            raise Denied(f"{self._connection.cluster}: {resource.qualified} {name} is there already, and not the bot's")
        if there is not None and guard.same(there, made):
            return
        text = shlex.quote(json.dumps(made, ensure_ascii=False))
        await self._record(f"echo {text} | {shlex.join(self._kubectl)} apply -f -")
        if there is None:
            await self._connection.ask("POST", resource.path(""), query=AS_US, body=made)
            return
        parts = {f"/metadata/{key}": made["metadata"].get(key, {}) for key in ("labels", "annotations")}
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": there["metadata"]["resourceVersion"]}
        added = [{"op": "add", "path": at, "value": value} for at, value in {**parts, "/spec": made["spec"]}.items()]
        await self._connection.ask("PATCH", path, query=AS_US, body=[version, *added], sort=JSON_PATCH)

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
        except NoSuchObject:
            return  # somebody was faster

    @property
    def _kubectl(self) -> list[str]:
        return ["kubectl", "--context", self._connection.context]
