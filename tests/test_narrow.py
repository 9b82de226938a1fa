"""A handler gets the ports that it declares."""

from __future__ import annotations

import pytest

from bot.narrow import PORT_NAMES, UndeclaredPort, narrow
from bot.ports import Ports
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
    with pytest.raises(AttributeError, match="there is no port 'secrets'"):
        getattr(narrow(given(), PORT_NAMES), "secrets")  # noqa: B009


def test_a_port_that_the_test_does_not_give_is_named() -> None:
    with pytest.raises(AttributeError, match="this test gives no port 'http'"):
        narrow(ports(blobs=MemoryBlobs()), {"http"}).http  # noqa: B018
    with pytest.raises(TypeError, match="no such port: htpp"):
        ports(htpp=1)


async def test_blobs_in_memory_give_back_what_was_put() -> None:
    blobs = MemoryBlobs()
    blob = await blobs.put(b"rows", "text/csv")
    assert (blob.size, await blobs.get(blob), await blobs.put(b"rows", "text/csv")) == (4, b"rows", blob)
