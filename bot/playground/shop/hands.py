"""People and programs with kubectl: what they do to a cluster goes through its API, as themselves.

Invariants: what the cluster refuses is told in its own words; a cluster that cannot be reached is `Unreached`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType

import aiohttp

from bot.playground.cluster import Cluster, resources
from bot.playground.cluster.objects import Json, name_of, namespace_of
from bot.playground.cluster.resources import Resource

_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


class NotDone(Exception):
    """The cluster refused it; the text is the cluster's own."""


class Unreached(NotDone):
    """Nobody answered."""


@dataclass
class Hands:
    """Somebody at work: `async with Hands(cluster, "ci") as hands: await hands.apply(manifest)`.

    user: as `Cluster.kubeconfig` takes it, and the field manager that the cluster writes down.
    """

    cluster: Cluster
    user: str
    _http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Hands:
        headers = {"Authorization": f"Bearer {self.cluster.access.token(self.user)}"}
        self._http = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(10.0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def apply(self, manifest: Json, first: Json | None = None, *, dry_run: bool = False) -> None:
        """Merge it into what is there, or create it (`first`: what is created instead). NotDone."""
        resource = _of(manifest)
        path = _path(resource, namespace_of(manifest), name_of(manifest))
        sort = _MERGE if resource.custom else _STRATEGIC
        merge = (path, manifest, sort, dry_run)
        status, words = await self._send("PATCH", *merge)
        if status == 404:
            status, words = await self._send("POST", path.rpartition("/")[0], first or manifest, dry_run=dry_run)
            if status == 409:  # somebody else, as Argo CD, was faster
                status, words = await self._send("PATCH", *merge)
        if status >= 300:
            raise NotDone(words)

    async def merge(self, kind: str, namespace: str, name: str, change: Json, part: str = "") -> None:
        """A merge patch. part: a subresource, as `scale`. NotDone."""
        resource = next(r for r in resources.RESOURCES if r.kind == kind)
        path = _path(resource, namespace, name) + (f"/{part}" if part else "")
        status, words = await self._send("PATCH", path, change, _MERGE)
        if status >= 300:
            raise NotDone(words)

    async def create(self, manifest: Json) -> None:
        """Something new. NotDone."""
        path = _path(_of(manifest), namespace_of(manifest), "")
        status, words = await self._send("POST", path, manifest)
        if status >= 300:
            raise NotDone(words)

    async def _send(
        self, method: str, path: str, body: Json, sort: str = "application/json", dry_run: bool = False
    ) -> tuple[int, str]:
        if self._http is None:
            raise RuntimeError("hands are used as a context")
        url = f"{self.cluster.url}{path}?fieldManager={self.user}" + ("&dryRun=All" if dry_run else "")
        try:
            async with self._http.request(method, url, data=json.dumps(body), headers={"Content-Type": sort}) as answer:
                found = await answer.json()
                return answer.status, str(found.get("message", ""))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreached(f"{self.cluster.name} cannot be reached: {error}") from error


def _of(manifest: Json) -> Resource:
    found = resources.by_kind(manifest["apiVersion"], manifest["kind"])
    if found is None:
        raise LookupError(f"there is no {manifest['kind']} in {manifest['apiVersion']}")
    return found


def _path(resource: Resource, namespace: str, name: str) -> str:
    start = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    within = f"/namespaces/{namespace}" if resource.namespaced else ""
    return f"{start}{within}/{resource.plural}" + (f"/{name}" if name else "")
