"""Lists in pages, and watches: how clients follow what is in the store.

Invariants: the pages of one list show one moment, whatever is written between them, until the past is compacted; a
watch tells each change once, in order, as its selector sees it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from bot.playground.cluster import failures
from bot.playground.cluster.objects import Json, name_of, namespace_of
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.selectors import Matches, field_selector, label_selector
from bot.playground.cluster.store import Change, Store

_PAGES_KEPT = 64


@dataclass(frozen=True)
class Scope:
    """What of a kind is asked for."""

    resource: Resource
    namespace: str
    matches: Matches

    @classmethod
    def of(cls, resource: Resource, namespace: str, name: str, query: Mapping[str, str]) -> Scope:
        """From a request. ApiError 400."""
        labels = label_selector(query.get("labelSelector", ""))
        fields = field_selector(resource, query.get("fieldSelector", ""))
        return cls(resource, namespace, lambda obj: (not name or name_of(obj) == name) and labels(obj) and fields(obj))

    def takes(self, obj: Json | None) -> bool:
        """Whether this object is meant."""
        return obj is not None and (not self.namespace or namespace_of(obj) == self.namespace) and self.matches(obj)


@dataclass
class Pages:
    """Lists that were begun."""

    store: Store
    _moments: dict[int, list[Json]] = field(default_factory=dict)

    def page(self, scope: Scope, query: Mapping[str, str]) -> tuple[list[Json], Json]:
        """The objects of one page and the list's metadata. ApiError 400, 410."""
        limit = _number(query.get("limit", ""), "limit")
        start, revision, found = 0, self.store.revision, [o for o in self.store.all(scope.resource, scope.namespace)]
        if query.get("continue"):
            revision, start = _continued(query["continue"])
            if revision < self.store.floor or revision not in self._moments:
                raise failures.expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a "
                    "new list without the continue parameter."
                )
            found = self._moments[revision]
        else:
            self._too_new(query)
            found = [o for o in found if scope.takes(o)]
        metadata: Json = {"resourceVersion": str(revision)}
        page = found[start : start + limit] if limit else found[start:]
        left = len(found) - start - len(page)
        if left > 0:
            self._keep(revision, found)
            token = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start + len(page)})
            metadata["continue"] = base64.urlsafe_b64encode(token.encode()).decode()
            metadata["remainingItemCount"] = left
        return page, metadata

    def _too_new(self, query: Mapping[str, str]) -> None:
        asked = _number(query.get("resourceVersion", ""), "resourceVersion")
        if query.get("resourceVersionMatch") == "Exact" and asked != self.store.revision:
            raise failures.expired(f"The resourceVersion for the provided list is too old: {asked}")
        if asked > self.store.revision:
            raise _too_large(asked, self.store.revision)

    def _keep(self, revision: int, found: list[Json]) -> None:
        self._moments[revision] = found
        for old in list(self._moments)[:-_PAGES_KEPT]:
            del self._moments[old]


def _continued(token: str) -> tuple[int, int]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token))
        return int(read["rv"]), int(read["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise failures.bad_request("continue key is not valid") from error


def _number(text: str, name: str) -> int:
    if not text:
        return 0
    if not text.isdigit():
        raise failures.bad_request(f"invalid {name}: {text!r}")
    return int(text)


def _too_large(asked: int, current: int) -> failures.ApiError:
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return failures.ApiError(
        504, "Timeout", message, {"causes": [{"reason": "ResourceVersionTooLarge"}]}, retry_after=1
    )


def watch_from(store: Store, query: Mapping[str, str]) -> int:
    """The revision after which a watch begins, 0 to begin with what is there. ApiError 400, 504."""
    position = _number(query.get("resourceVersion", ""), "resourceVersion")
    if position > store.revision:
        raise _too_large(position, store.revision)
    return position


async def watch(
    store: Store, scope: Scope, query: Mapping[str, str], bookmark_every: float, ended: asyncio.Event
) -> AsyncGenerator[tuple[str, Json], None]:
    """The events of a watch, until it times out or `ended` is set. bookmark_every: seconds."""
    position = watch_from(store, query)
    bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
    deadline = _number(query.get("timeoutSeconds", ""), "timeoutSeconds") or 1800
    if position == 0 or query.get("sendInitialEvents") == "true":
        position = store.revision
        for obj in store.all(scope.resource, scope.namespace):
            if scope.takes(obj):
                yield "ADDED", obj
        if query.get("sendInitialEvents") == "true" and bookmarks:
            yield "BOOKMARK", _bookmark(scope.resource, position, {"k8s.io/initial-events-end": "true"})
    loop = asyncio.get_running_loop()
    end, marked = loop.time() + deadline, loop.time()
    while not ended.is_set():
        try:
            changes = store.since(scope.resource.store, position)
        except LookupError as error:
            yield "ERROR", failures.expired(str(error.args[0])).body()
            return
        position = store.revision
        for change in changes:
            told = seen(scope, change)
            if told is not None:
                yield told, change.new
        now = loop.time()
        if now >= end:
            break
        if bookmarks and now - marked >= bookmark_every:
            marked = now
            yield "BOOKMARK", _bookmark(scope.resource, position, {})
        if position == store.revision:
            await _either(store.moved, ended, min(end - now, bookmark_every if bookmarks else end - now))
    if bookmarks:
        yield "BOOKMARK", _bookmark(scope.resource, position, {})


async def _either(moved: asyncio.Event, ended: asyncio.Event, seconds: float) -> None:
    tasks = [asyncio.ensure_future(moved.wait()), asyncio.ensure_future(ended.wait())]
    try:
        await asyncio.wait(tasks, timeout=max(0.001, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def seen(scope: Scope, change: Change) -> str | None:
    """How a change looks through a selector: what comes to match is added, what no longer does is deleted."""
    before, after = scope.takes(change.old), change.kind != "DELETED" and scope.takes(change.new)
    if before and after:
        return "MODIFIED"
    if before or after:
        return "ADDED" if after else "DELETED"
    return None


def _bookmark(resource: Resource, revision: int, annotations: Json) -> Json:
    meta: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
    meta |= {"annotations": annotations} if annotations else {}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
