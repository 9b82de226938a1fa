"""The API over HTTP: what a URL and a verb ask for, whether it is allowed, and the answer in the shape that was wanted.

Invariants: every refusal is a Status object; a request is authenticated, then authorized, then admitted; it is noted
in the journal before anything is done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from bot.playground.cluster import discovery, failures, openapi, patches, protobuf, resources, scale
from bot.playground.cluster.core import Core, Delete
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.faults import Faults
from bot.playground.cluster.gate.access import Access, Attempt, User
from bot.playground.cluster.gate.reviews import review
from bot.playground.cluster.journal import Journal, Request
from bot.playground.cluster.objects import Json, name_of
from bot.playground.cluster.ownership import MANAGER
from bot.playground.cluster.reading import Pages, Scope, watch, watch_from
from bot.playground.cluster.resources import Resource, by_path
from bot.playground.cluster.tables import table

_PATCHES: Mapping[str, Callable[[Json, Any], Json]] = {
    "application/json-patch+json": patches.json_patch,
    "application/merge-patch+json": patches.merge,
    "application/strategic-merge-patch+json": patches.strategic,
}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
APPLY = "application/apply-patch+yaml"
LOGS = "log"
PROXY = "proxy"


@dataclass(frozen=True)
class Target:
    """What a URL names."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    part: str = ""
    rest: str = ""


Special = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]


def parse(path: str) -> Target:
    """What this path names. ApiError 404 where there is no such thing."""
    parts = [p for p in path.split("/") if p]
    if parts[:1] == ["api"]:
        group, version, parts = "", parts[1] if len(parts) > 1 else "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        raise failures.no_such_path()
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2 and (group or parts[2] not in ("status", "finalize")):
        namespace, parts = parts[1], parts[2:]
    resource = by_path(group, version, parts[0]) if parts else None
    if resource is None or (namespace and not resource.namespaced):
        raise failures.no_such_path()
    name, part = (parts[1:2] or [""])[0], (parts[2:3] or [""])[0]
    if (part and part not in resource.subresources) or (len(parts) > 3 and part != PROXY):
        raise failures.no_such_path()
    return Target(resource, namespace, name, part, "/".join(parts[3:]))


class Api:
    """The API server's front. specials: who answers `log` and `proxy`; bookmark_every: seconds."""

    def __init__(
        self,
        core: Core,
        access: Access,
        faults: Faults,
        journal: Journal,
        specials: Mapping[str, Special],
        bookmark_every: float = 1.0,
    ) -> None:
        self._core, self._access, self._faults, self._journal = core, access, faults, journal
        self._specials = specials
        self._pages = Pages(core.store)
        self._bookmark_every = bookmark_every
        self._watches: list[tuple[str, str, str, asyncio.Event]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        try:
            return await self._answer(request)
        except ApiError as error:
            self._core.warnings, self._core.strict = [], False
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
            return web.json_response(error.body(), status=error.status, headers=headers)

    def end_watches(self, verb: str = "watch", resource: str = "*", user: str = "*") -> int:
        """End the running watches of this resource and user; how many there were."""
        hit = [w for w in self._watches if resource in ("*", w[0]) and user in ("*", w[1])]
        for *_, ended in hit:
            ended.set()
        return len(hit)

    # -- who and what ----------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, named = _without_prefix(request.path)
        account, user = self._who(request, named)
        parts = [p for p in path.split("/") if p]
        if parts[:1] not in (["api"], ["apis"]) or len(parts) < (3 if parts[:1] == ["api"] else 4):
            return self._about(path, request.host, user)
        target = parse(path)
        verb = _verb(request, target)
        agent = request.headers.get("User-Agent", "").partition("/")[0]
        MANAGER.set(request.query.get("fieldManager") or agent or "unknown")
        wanted = f"{target.resource.plural}/{target.part}" if target.part else target.resource.plural
        noted = self._journal.note(
            Request(account, verb, wanted, target.namespace, target.name, request.query.get("dryRun") == "All")
        )
        try:
            response = await self._faulty(request, target, verb, wanted, account, user)
        except ApiError as error:
            noted.status = error.status
            raise
        noted.status = response.status
        noted.owners = verb == "patch" and await _about_owners(request)
        return response

    def _who(self, request: web.Request, named: str) -> tuple[str, User]:
        """kubectl keeps its token to itself over plain HTTP: there the URL's prefix says who asks."""
        sent = request.headers.get("Authorization")
        kind, _, token = (sent or "").partition(" ")
        account = self._access.who(token.strip()) if kind.lower() == "bearer" else named if sent is None else None
        if account not in self._access.users or named not in ("", account):
            raise failures.unauthorized()
        user = self._access.users[account]
        other = request.headers.get("Impersonate-User")
        if not other:
            return account, user
        self._access.demand(user, Attempt("impersonate", "", "users", "", "", other))
        return account, User(other, (*request.headers.getall("Impersonate-Group", ()), "system:authenticated"))

    def _about(self, path: str, address: str, user: User) -> web.Response:
        path = path.rstrip("/") or "/"
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        self._access.demand(user, Attempt("get", path=path))
        if path == "/openapi/v2":
            return web.Response(body=openapi.document(), content_type=openapi.MEDIA_TYPE)
        return web.json_response(discovery.document(path, address))

    # -- faults ----------------------------------------------------------------------------------------------------

    async def _faulty(
        self, request: web.Request, target: Target, verb: str, wanted: str, account: str, user: User
    ) -> web.StreamResponse:
        fault = self._faults.take(
            ("error", "delay", "refuse", "lose_answer", "hang"),
            verb=verb,
            resource=wanted,
            user=account,
            name=target.name,
        )
        if fault is None:
            return await self._allowed(request, target, verb, account, user)
        if fault.kind == "error":
            raise failures.generic(fault.status, fault.retry_after)
        if fault.kind in ("delay", "hang"):
            await asyncio.sleep(fault.seconds or 3600.0)
        if fault.kind in ("refuse", "hang"):
            return _dropped(request)
        response = await self._allowed(request, target, verb, account, user)
        return _dropped(request) if fault.kind == "lose_answer" else response

    # -- doing -----------------------------------------------------------------------------------------------------

    async def _allowed(
        self, request: web.Request, target: Target, verb: str, account: str, user: User
    ) -> web.StreamResponse:
        resource = target.resource
        name = target.name if resource is not resources.NAMESPACES or target.name else ""
        namespace = target.name if resource is resources.NAMESPACES else target.namespace
        self._access.demand(user, Attempt(verb, resource.group, resource.plural, target.part, namespace, name))
        if target.part in self._specials:
            self._core.get(resource, target.namespace, _bare(target.name))
            return await self._specials[target.part](request, target)
        if verb not in resource.verbs:
            raise failures.not_allowed(resource)
        if verb == "watch":
            return await self._watch(request, target, account)
        if verb in _VERBS.values() and (slow := self._core.webhooks.seconds(resource, target.part)):
            await asyncio.sleep(slow)
        match verb:
            case "get":
                obj = self._core.get(resource, target.namespace, target.name)
                return self._one(request, target, scale.scale_of(obj) if target.part == "scale" else obj)
            case "list":
                return self._list(request, target)
            case "create":
                return await self._create(request, target, user)
            case "update":
                return await self._update(request, target, user)
            case "patch":
                return await self._patch(request, target, user)
            case "delete":
                return await self._delete(request, target, user)
            case _:
                return await self._delete_all(request, target, user)

    def _begin(self, request: web.Request) -> None:
        """From here to the answer nothing else runs."""
        validation = request.query.get("fieldValidation", "Warn")
        if validation not in ("Ignore", "Warn", "Strict"):
            raise failures.bad_request(f'fieldValidation: Unsupported value: "{validation}"')
        self._core.warnings, self._core.strict = [], validation == "Strict"

    def _list(self, request: web.Request, target: Target) -> web.Response:
        resource = target.resource
        scope = Scope.of(resource, target.namespace, "", request.query)
        found, metadata = self._pages.page(scope, request.query)
        shown = [self._shown(resource, obj) for obj in found]
        if _wants_table(request):
            return web.json_response(table(resource, found, self._core.now(), metadata))
        if not resource.custom:
            shown = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in shown]
        return web.json_response(
            {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata, "items": shown}
        )

    async def _create(self, request: web.Request, target: Target, user: User) -> web.Response:
        resource = target.resource
        body = await _body(request, resource)
        if resource.kind.endswith("Review"):
            return web.json_response(review(self._access, user, resource, body), status=201)
        if target.part == "eviction":
            grace = (body.get("deleteOptions") or {}).get("gracePeriodSeconds")
            self._core.delete(user, resource, target.namespace, target.name, Delete(grace=grace))
            return web.json_response(failures.success({}), status=201)
        if target.name:
            raise failures.not_allowed(resource)
        if resource.namespaced and not target.namespace:
            raise failures.bad_request("an empty namespace may not be set during creation")
        body = _as_stored(resource, body)
        self._begin(request)
        obj = self._core.create(user, resource, target.namespace, body, dry_run=_dry(request))
        return self._one(request, target, obj, status=201)

    async def _update(self, request: web.Request, target: Target, user: User) -> web.Response:
        body, resource = await _body(request, target.resource), target.resource
        self._begin(request)
        if target.part == "scale":
            return self._scaled(request, target, user, lambda _: body)
        obj = self._core.update(
            user,
            resource,
            target.namespace,
            target.name,
            _as_stored(resource, body),
            part=target.part,
            dry_run=_dry(request),
        )
        return self._one(request, target, obj)

    async def _patch(self, request: web.Request, target: Target, user: User) -> web.Response:
        sent, resource = request.content_type, target.resource
        if sent == APPLY:
            return await self._apply(request, target, user)
        if sent not in _PATCHES or (resource.custom and sent == "application/strategic-merge-patch+json"):
            known = [*(k for k in _PATCHES if not (resource.custom and "strategic" in k)), APPLY]
            raise failures.unsupported_media(sent, ", ".join(known))
        body = _parsed(await request.read())
        self._begin(request)

        def patched(obj: Json) -> Json:
            return _PATCHES[sent](obj, body)

        if target.part == "scale":
            return self._scaled(request, target, user, patched)
        obj = self._core.change(
            user, resource, target.namespace, target.name, patched, part=target.part, dry_run=_dry(request)
        )
        return self._one(request, target, obj)

    async def _apply(self, request: web.Request, target: Target, user: User) -> web.Response:
        resource = target.resource
        if target.part:
            raise failures.bad_request(f"the playground applies no {target.part}: send a patch of another kind")
        if not request.query.get("fieldManager"):
            why = failures.required("fieldManager", "is required for apply patch")
            raise ApiError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why.field}: {why.message}')
        body = _parsed(await request.read())
        if not isinstance(body, dict):
            raise failures.bad_request("error decoding YAML: the body of an apply is an object")
        self._begin(request)
        obj, new = self._core.apply(
            user, resource, target.namespace, target.name, body, force=request.query.get("force") == "true",
            dry_run=_dry(request),
        )  # fmt: skip
        return self._one(request, target, obj, status=201 if new else 200)

    def _scaled(self, request: web.Request, target: Target, user: User, make: Callable[[Json], Json]) -> web.Response:
        resource = target.resource

        def scaled(obj: Json) -> Json:
            return scale.with_scale(resource, obj, make(scale.scale_of(obj)))

        obj = self._core.change(
            user, resource, target.namespace, target.name, scaled, part="scale", dry_run=_dry(request)
        )
        return self._one(request, target, scale.scale_of(obj))

    async def _delete(self, request: web.Request, target: Target, user: User) -> web.Response:
        how, dry_run = await _how(request)
        self._begin(request)
        resource = target.resource
        warnings = []
        if resource is resources.JOBS and not how.propagation:
            warnings.append(
                "child pods are preserved by default when jobs are deleted; set "
                "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
                "this warning"
            )
        obj, gone = self._core.delete(user, resource, target.namespace, target.name, how, dry_run=dry_run)
        self._core.warnings += warnings
        if not gone:
            return self._one(request, target, obj)
        details = {
            "name": name_of(obj),
            "group": resource.group,
            "kind": resource.plural,
            "uid": obj["metadata"]["uid"],
        }
        return web.json_response(failures.success({k: v for k, v in details.items() if v}), headers=self._warned())

    async def _delete_all(self, request: web.Request, target: Target, user: User) -> web.Response:
        how, dry_run = await _how(request)
        scope = Scope.of(target.resource, target.namespace, "", request.query)
        for obj in [o for o in self._core.all(target.resource, target.namespace) if scope.takes(o)]:
            self._core.delete(user, target.resource, target.namespace, name_of(obj), how, dry_run=dry_run)
        return self._list(request, target)

    async def _watch(self, request: web.Request, target: Target, account: str) -> web.StreamResponse:
        resource = target.resource
        scope = Scope.of(resource, target.namespace, target.name, request.query)
        watch_from(self._core.store, request.query)
        ended = asyncio.Event()
        me = (resource.plural, account, target.name, ended)
        events = watch(self._core.store, scope, request.query, self._bookmark_every, ended)
        cut = self._faults.take(
            ("close_watch",), verb="watch", resource=resource.plural, user=account, name=target.name
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        as_table, first = _wants_table(request), True
        response.enable_chunked_encoding()
        self._watches.append(me)
        try:
            await response.prepare(request)
            if cut is not None:
                ended.set()
            async for kind, obj in events:
                told: Json = self._shown(resource, obj) if kind != "ERROR" else obj
                if as_table and kind not in ("ERROR", "BOOKMARK"):
                    rv = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                    told, first = table(resource, [obj], self._core.now(), rv, header=first), False
                await response.write(json.dumps({"type": kind, "object": told}).encode() + b"\n")
            await response.write_eof()
        except ConnectionError:
            pass  # the client has left
        finally:
            self._watches.remove(me)
            await events.aclose()
        return response

    # -- answering -------------------------------------------------------------------------------------------------

    def _one(self, request: web.Request, target: Target, obj: Json, *, status: int = 200) -> web.Response:
        headers = self._warned()
        if _wants_table(request) and not target.part:
            rv = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return web.json_response(
                table(target.resource, [obj], self._core.now(), rv), status=status, headers=headers
            )
        return web.json_response(self._shown(target.resource, obj), status=status, headers=headers)

    def _warned(self) -> dict[str, str]:
        warnings, self._core.warnings, self._core.strict = self._core.warnings, [], False
        return {"Warning": ", ".join(f'299 - "{w}"' for w in warnings)} if warnings else {}

    @staticmethod
    def _shown(resource: Resource, obj: Json) -> Json:
        """An event in the form of the group that was asked."""
        if not resource.stored:
            return obj | {"apiVersion": "v1"} if resource is resources.EVENTS else obj
        same: Json = {k: obj[k] for k in ("metadata", "reason", "type", "eventTime") if k in obj}
        return {
            "kind": "Event",
            "apiVersion": resource.api_version,
            **same,
            "note": obj.get("message", ""),
            "regarding": obj["involvedObject"],
            "reportingController": obj.get("reportingComponent", ""),
            "reportingInstance": obj.get("reportingInstance", ""),
            "deprecatedCount": obj.get("count", 1),
            "deprecatedFirstTimestamp": obj.get("firstTimestamp"),
            "deprecatedLastTimestamp": obj.get("lastTimestamp"),
            "deprecatedSource": obj.get("source", {}),
        }


def _as_stored(resource: Resource, body: Json) -> Json:
    """An event of events.k8s.io in the form in which events are kept."""
    if not resource.stored:
        return body
    kept = {k: v for k, v in body.items() if k in ("metadata", "reason", "type", "eventTime", "action")}
    return kept | {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "message": body.get("note", ""),
        "involvedObject": body.get("regarding", {}),
        "reportingComponent": body.get("reportingController", ""),
        "reportingInstance": body.get("reportingInstance", ""),
        "count": 1,
    }


def _without_prefix(path: str) -> tuple[str, str]:
    """`/as/<user>/api/...` as `/api/...` and the user; "" where it names none."""
    parts = path.split("/", 3)
    return (f"/{(parts[3:] or [''])[0]}", parts[2]) if parts[1] == "as" and len(parts) > 2 else (path, "")


async def _about_owners(request: web.Request) -> bool:
    """Whether a patch that was carried out is about `managedFields` and nothing else."""
    if request.content_type != "application/json-patch+json":
        return False
    return all(op["path"].startswith("/metadata/managedFields") for op in _parsed(await request.read()))


def _verb(request: web.Request, target: Target) -> str:
    if request.method in ("GET", "HEAD"):
        if target.part in (LOGS, PROXY) or (target.name and "watch" not in request.query):
            return "get"
        return "watch" if request.query.get("watch") in ("true", "1") else "get" if target.name else "list"
    if request.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    verb = _VERBS.get(request.method)
    if verb is None or (verb != "create" and not target.name):
        raise failures.not_allowed(target.resource)
    return verb


def _bare(name: str) -> str:
    """The object of a proxy's `https:name:port`."""
    parts = name.split(":")
    return parts[1] if len(parts) == 3 else parts[0]


def _wants_table(request: web.Request) -> bool:
    return "as=Table" in request.headers.get("Accept", "")


def _dry(request: web.Request) -> bool:
    value = request.query.get("dryRun")
    if value not in (None, "", "All"):
        raise failures.bad_request(f'Invalid value: ["{value}"]: supported values: "All"')
    return value == "All"


async def _body(request: web.Request, resource: Resource | None = None) -> Json:
    if request.content_type == protobuf.MEDIA_TYPE:
        if resource is not None and resource.kind in protobuf.KINDS:
            return protobuf.decode(await request.read())
        told = (
            "the playground reads no objects in protobuf, which newer kubectls send for `create`: use `kubectl apply`, "
            "or `kubectl create --dry-run=client -o json | kubectl replace --force -f -`, which send JSON"
        )
        raise ApiError(415, "UnsupportedMediaType", told)
    if request.content_type not in ("application/json", "application/yaml", "application/octet-stream"):
        raise failures.unsupported_media(request.content_type, "application/json, application/yaml")
    body = _parsed(await request.read())
    if not isinstance(body, dict):
        raise failures.bad_request("the body of the request is not an object")
    return body


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        pass
    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise failures.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


async def _how(request: web.Request) -> tuple[Delete, bool]:
    body: Json = await _body(request) if request.can_read_body else {}
    guard = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    orphan = body.get("orphanDependents")
    propagation = body.get("propagationPolicy") or request.query.get("propagationPolicy") or ""
    if not propagation and orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        raise failures.bad_request(f'DeleteOptions: propagationPolicy: Unsupported value: "{propagation}"')
    how = Delete(
        propagation, None if grace is None else int(grace), guard.get("uid", ""), guard.get("resourceVersion", "")
    )
    return how, _dry(request) or "All" in (body.get("dryRun") or ())


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
