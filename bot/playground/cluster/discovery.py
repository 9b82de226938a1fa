"""What a client learns before its first request: groups, resources and the version.

Source: the discovery of a 1.36 server; a client that asks for aggregated discovery gets the older form, which it takes.
"""

from __future__ import annotations

from bot.playground.cluster.failures import no_such_path
from bot.playground.cluster.objects import Json
from bot.playground.cluster.resources import RESOURCES, Resource

VERSION = "v1.36.0"
_SUBRESOURCES = {
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "log": ("", "v1", "", ["get"]),
    "proxy": ("", "v1", "", ["create", "delete", "get", "patch", "update"]),
}
_PROXIES = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions"}


def document(path: str, address: str) -> Json:
    """What GET of this path answers. ApiError 404."""
    parts = [p for p in path.split("/") if p]
    if path == "/version":
        major, minor = VERSION.removeprefix("v").split(".")[:2]
        return {
            "major": major, "minor": minor, "gitVersion": VERSION, "gitCommit": "0" * 40, "gitTreeState": "clean",
            "buildDate": "2026-04-22T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
        }  # fmt: skip
    if parts == ["api"]:
        local = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": local}
    if parts == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in _groups()]}
    if len(parts) == 2 and parts[0] == "apis" and parts[1] in _groups():
        return {"kind": "APIGroup", "apiVersion": "v1"} | _group(parts[1])
    if parts == ["api", "v1"]:
        return _resources("", "v1")
    if len(parts) == 3 and parts[0] == "apis":
        return _resources(parts[1], parts[2])
    if parts == ["openapi", "v3"]:
        return {"paths": {}}
    raise no_such_path()


def _groups() -> list[str]:
    return list(dict.fromkeys(r.group for r in RESOURCES if r.group))


def _group(name: str) -> Json:
    versions = dict.fromkeys(r.version for r in RESOURCES if r.group == name)
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(group: str, version: str) -> Json:
    found = [r for r in RESOURCES if (r.group, r.version) == (group, version)]
    if not found:
        raise no_such_path()
    listed = [
        entry
        for resource in found
        for entry in (_entry(resource), *map(lambda s: _sub(resource, s), resource.subresources))
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": listed,
    }


def _entry(resource: Resource) -> Json:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    entry |= {"shortNames": list(resource.short)} if resource.short else {}
    return entry | ({"categories": list(resource.categories)} if resource.categories else {})


def _sub(resource: Resource, name: str) -> Json:
    entry: Json = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if name == "status":
        return entry | {"kind": resource.kind, "verbs": ["get", "patch", "update"]}
    group, version, kind, verbs = _SUBRESOURCES[name]
    entry |= {"group": group, "version": version} if group else {}
    return entry | {"kind": kind or _PROXIES.get(resource.plural, resource.kind), "verbs": verbs}
