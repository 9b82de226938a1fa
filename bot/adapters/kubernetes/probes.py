"""A pod of another release beside a workload, which gets no traffic: to see what that release does before it serves.

Invariants:
- it is made of the workload's own template as the cluster itself would change it (a dry run), without its labels: no
  Service leads to it, no controller takes it for one of its own;
- it never starts twice: a container that ends is a finding; and it ends by itself, if nobody else ends it;
- what is asked of it goes through the API server, which takes the Authorization header for itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from bot.adapters.kubernetes import pods, resources
from bot.adapters.kubernetes.connection import AS_US, JSON_PATCH, Body, Connection, NoSuchObject
from bot.adapters.kubernetes.fields import ReadThing, patch
from bot.ports import Json, Record, Reply, Unreachable
from bot.ports.kubernetes import OURS, Changed, Pod

LONGEST = 600
"""Seconds after which the cluster itself ends one."""
LABELS = {"app.kubernetes.io/managed-by": OURS}
"""All that it is labelled with."""
_TAKEN = "authorization"


@dataclass(frozen=True)
class Probes:
    """Those of one namespace. context: of the kubeconfig, for recorded commands."""

    connection: Connection
    context: str
    namespace: str
    record: Record

    async def start(self, of: ReadThing, path: str, fields: Mapping[str, Json], name: str) -> None:
        """Makes it, where it is not there. path: of the workload. Denied, Changed, Unreachable, Retryable."""
        if await self._find(name) is not None:
            return
        body, operations = of.body, patch(of, fields)
        if any(o["op"] != "test" for o in operations):
            trial = (*AS_US, ("dryRun", "All"))
            body = await self.connection.ask("PATCH", path, query=trial, body=operations, sort=JSON_PATCH)
        whole = pod(body, name, self.namespace)
        images = ",".join(c["image"] for c in whole["spec"]["containers"])
        typed = [*self._kubectl, "run", name, f"--image={images}", "--restart=Never"]
        await self.record(f"{shlex.join(typed)}  # else as the template of {of.place.kind}/{of.place.name} says")
        try:
            await self.connection.ask("POST", self._path(), query=AS_US, body=whole)
        except Changed:
            return  # an attempt before this one has made it

    async def look(self, name: str) -> Pod | None:
        """As it is; None where it is not there."""
        body = await self._find(name)
        return pods.read(body) if body is not None else None

    async def ask(self, name: str, port: int, path: str, headers: Mapping[str, str]) -> Reply:
        """What it answers to a GET. Unreachable, where it is the API server that answers as well."""
        if any(key.lower() == _TAKEN for key in headers):
            raise Unreachable("a header Authorization does not pass the API server")
        status, named, text = await self.connection.passed(f"{self._path(name)}:{port}/proxy{path}", headers)
        value = _json(text) if "json" in named.get("content-type", "") else None
        return Reply(status, named, text, value)

    async def end(self, name: str) -> None:
        """Takes it away. Nothing where it is gone, or goes."""
        body = await self._find(name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        await self.record(shlex.join([*self._kubectl, "delete", "pod", name]))
        try:
            await self.connection.ask("DELETE", self._path(name), body={"gracePeriodSeconds": 5})
        except NoSuchObject:
            return

    @property
    def _kubectl(self) -> list[str]:
        return ["kubectl", "--context", self.context, "-n", self.namespace]

    async def _find(self, name: str) -> Body | None:
        return await self.connection.find(self._path(name))

    def _path(self, name: str = "") -> str:
        return resources.PODS.path(self.namespace, name)


def pod(workload: Body, name: str, namespace: str) -> Body:
    """The pod that is made of a workload's template."""
    template = workload["spec"]["template"]
    noted = (template.get("metadata") or {}).get("annotations")
    meta = {"name": name, "namespace": namespace, "labels": LABELS, **({"annotations": noted} if noted else {})}
    spec = {k: v for k, v in template["spec"].items() if k not in ("nodeName", "subdomain", "hostname")}
    spec |= {"restartPolicy": "Never", "activeDeadlineSeconds": LONGEST}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _json(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError:
        return None
    return value
