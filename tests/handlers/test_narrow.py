"""A handler gets the ports that it declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from bot.adapters.journeys import Walks
from bot.adapters.session import Session
from bot.contract import Change, Edit, Effect, Scope
from bot.handlers.narrow import PORT_NAMES, UndeclaredPort, narrow
from bot.ports import Page, Ports, Unreachable
from bot.ports.journeys import Journey, Request
from bot.ports.kubernetes import Cluster, Kind, Place, Thing
from bot.ports.metrics import Monitor
from bot.testing import MemoryBlobs, ports


def given() -> Ports:
    return ports(http=object(), blobs=MemoryBlobs())


def test_a_declared_port_is_the_port_itself() -> None:
    ours = given()
    assert narrow(ours, {"blobs"}).blobs is ours.blobs


def test_an_undeclared_port_is_refused_by_name() -> None:
    with pytest.raises(UndeclaredPort, match="port 'http' was used, but needs declares blobs; add 'http' to needs"):
        narrow(given(), ("blobs",)).http  # noqa: B018
    with pytest.raises(UndeclaredPort, match="needs declares nothing"):
        narrow(given(), ()).http  # noqa: B018


def test_needing_what_is_no_port_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="needs names what is no port: htpp; ports are"):
        narrow(given(), {"http", "htpp"})


def test_there_is_nothing_else_behind_it() -> None:
    with pytest.raises(AttributeError, match="there is no port 'keys'"):
        getattr(narrow(given(), PORT_NAMES), "keys")  # noqa: B009


def test_a_port_that_the_test_does_not_give_is_named() -> None:
    with pytest.raises(AttributeError, match="this test gives no port 'http'"):
        narrow(ports(blobs=MemoryBlobs()), {"http"}).http  # noqa: B018
    with pytest.raises(TypeError, match="no such port: htpp"):
        ports(htpp=1)


async def test_blobs_in_memory_give_back_what_was_put() -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put(b"rows", "text/csv")
    assert (blob.size, await blobs.get(blob), await blobs.put(b"rows", "text/csv")) == (4, b"rows", blob)


# -- parts -------------------------------------------------------------------------------------------------------------


@dataclass
class Places:
    """Two clusters with a worker each, and what was asked of them."""

    asked: list[str] = field(default_factory=list)

    @property
    def clusters(self) -> Sequence[Cluster]:
        return [Cluster("eu-1", "shop"), Cluster("us-1", "shop")]

    async def list(self, cluster: str, kind: Kind) -> Sequence[Thing]:
        self.asked.append(cluster)
        return [Thing(Place(cluster, kind, name), "1") for name in ("api", "worker")]

    async def get(self, place: Place) -> Thing | None:
        self.asked.append(place.cluster)
        return Thing(place, "1")

    async def bites(self, cluster: str) -> str:
        return f"{cluster} bites"


def seen(places: Places, scope: Scope) -> Any:
    return narrow(ports(kubernetes=places), {"kubernetes"}, scope).kubernetes


async def test_a_cluster_that_is_left_out_is_not_there_and_is_not_asked() -> None:
    places = Places()
    port = seen(places, Scope(frozenset({"us-1"})))
    assert [c.name for c in port.clusters] == ["eu-1"]
    assert await port.get(Place("eu-1", "deployment", "api")) is not None
    with pytest.raises(Unreachable) as away:
        await port.list("us-1", "deployment")
    assert away.value.parts == {"us-1": "the run goes on without it"} and places.asked == ["eu-1"]
    assert await port.bites("eu-1") == "eu-1 bites"


async def test_a_workload_that_is_left_out_is_neither_listed_nor_found() -> None:
    port = seen(Places(), Scope(frozenset({"us-1/deployment/worker"})))
    assert [c.name for c in port.clusters] == ["eu-1", "us-1"]
    assert [t.place.name for t in await port.list("us-1", "deployment")] == ["api"]
    assert [t.place.name for t in await port.list("eu-1", "deployment")] == ["api", "worker"]
    assert await port.get(Place("us-1", "deployment", "worker")) is None


async def test_what_is_done_for_a_part_alone_sees_that_part_alone() -> None:
    port = seen(Places(), Scope(only=frozenset({"us-1/deployment/worker"})))
    assert [c.name for c in port.clusters] == ["us-1"]
    assert [t.place.name for t in await port.list("us-1", "deployment")] == ["worker"]
    change = Change("x", (Edit("us-1/deployment/worker/replicas", 1, 0), Edit("us-1/deployment/api/replicas", 1, 0)),
                    (Effect("post"), Effect("us-1/deployment/worker is unblocked")))  # fmt: skip
    only = Scope(only=frozenset({"us-1/deployment/worker"})).of(change)
    assert [e.target for e in only.edits] == ["us-1/deployment/worker/replicas"]
    assert [e.what for e in only.effects] == ["us-1/deployment/worker is unblocked"]


def test_a_journey_is_not_walked_on_the_ways_into_a_cluster_that_is_left_out() -> None:
    get = (Request("GET", "/"),)
    both = Journey("shelf", "Shelf", ("api-eu", "api-us"), get, ways={"api-eu": "eu-1", "api-us": "us-1"})
    one = Journey("us", "Us", ("api-us",), get, ways={"api-us": "us-1"})
    free = Journey("free", "Free", ("api",), get)
    walks = Walks("shop", {j.name: j for j in (both, one, free)}, {}, Session())
    seen = narrow(ports(journeys=walks), {"journeys"}, Scope(frozenset({"us-1"}))).journeys
    assert {n: j.targets for n, j in seen.catalogued.items()} == {"shelf": ("api-eu",), "free": ("api",)}
    assert narrow(ports(journeys=walks), {"journeys"}).journeys is walks


def test_the_ways_into_a_cluster_that_is_left_out_are_not_asked_how_they_are() -> None:
    class Web:
        pages: ClassVar = {n: Page("/healthz", cluster=c) for n, c in (("eu", "eu-1"), ("us", "us-1"), ("site", ""))}
        entries = pages

    port = narrow(ports(http=Web()), {"http"}, Scope(frozenset({"us-1"}))).http
    assert [*port.pages] == [*port.entries] == ["eu", "site"]


def test_monitors_that_are_left_out_or_watch_what_is_are_not_there_and_are_still_catalogued() -> None:
    class Watching:
        catalogued = True
        monitors: ClassVar = [Monitor("prom"), Monitor("eu", cluster="eu-1"), Monitor("us", cluster="us-1")]

    def seen(scope: Scope) -> Any:
        return narrow(ports(metrics=Watching()), {"metrics"}, scope).metrics

    assert [m.name for m in seen(Scope(frozenset({"us-1"}))).monitors] == ["prom", "eu"]
    assert [m.name for m in seen(Scope(frozenset({"prom", "eu"}))).monitors] == ["us"]
    assert seen(Scope(frozenset({"prom", "eu", "us"}))).catalogued
