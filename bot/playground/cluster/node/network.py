"""Services as loopback ports: each connection goes to a ready pod, one after the other.

Invariants: a service keeps its port for as long as it is there; without a ready pod a connection is closed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field

from bot.playground.cluster import resources
from bot.playground.cluster.core import Core
from bot.playground.cluster.node.kubelet import Kubelet
from bot.playground.cluster.objects import Json, dig, name_of, namespace_of
from bot.playground.cluster.store import Change

_CHUNK = 65_536


@dataclass
class _Listener:
    socket: socket.socket
    port: int
    turn: itertools.count[int] = field(default_factory=itertools.count)
    server: asyncio.Server | None = None


class Network:
    """The proxies of all services."""

    def __init__(self, core: Core, kubelet: Kubelet | None) -> None:
        self._core, self._kubelet = core, kubelet
        self._listeners: dict[tuple[str, str], _Listener] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        core.store.listeners.append(self._heard)

    def address(self, service: str, namespace: str) -> str:
        """`127.0.0.1:port` of a service. LookupError where there is none."""
        listener = self._listeners.get((namespace, service))
        if listener is None:
            known = ", ".join(f"{name}/{space}" for space, name in sorted(self._listeners)) or "none"
            raise LookupError(f"there is no service {service}/{namespace}; there are {known}")
        return f"127.0.0.1:{listener.port}"

    def behind(self, service: str, namespace: str) -> list[str]:
        """`127.0.0.1:port` of each ready pod of a service."""
        found = self._core.find(resources.SERVICES, namespace, service)
        return [f"127.0.0.1:{port}" for port in self.endpoints(found)] if found else []

    def variables(self, namespace: str) -> Mapping[str, str]:
        """What every container is told of the services around it."""
        found: dict[str, str] = {}
        for (space, name), listener in self._listeners.items():
            if space == namespace:
                stem = name.upper().replace("-", "_")
                found |= {f"{stem}_SERVICE_HOST": "127.0.0.1", f"{stem}_SERVICE_PORT": str(listener.port)}
        return found

    def endpoints(self, service: Json) -> list[int]:
        """The loopback ports of the ready pods behind a service."""
        target = dig(service, "spec", "ports", 0, "targetPort")
        pods = self._core.ready_pods(namespace_of(service), dig(service, "spec", "selector") or {})
        found = [self._kubelet.port(pod, target) for pod in pods] if self._kubelet else []
        return [port for port in found if port is not None]

    async def stop(self) -> None:
        """Close everything."""
        for listener in self._listeners.values():
            self._close(listener)
        self._listeners.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _heard(self, change: Change) -> None:
        if change.store != resources.SERVICES.store:
            return
        key = (namespace_of(change.new), name_of(change.new))
        if change.kind == "DELETED":
            self._close(self._listeners.pop(key))
        elif key not in self._listeners:
            bound = socket.create_server(("127.0.0.1", 0))
            listener = self._listeners[key] = _Listener(bound, bound.getsockname()[1])
            self._spawn(self._listen(key, listener))

    def _close(self, listener: _Listener) -> None:
        if listener.server is not None:
            listener.server.close()
        else:
            listener.socket.close()

    async def _listen(self, key: tuple[str, str], listener: _Listener) -> None:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._spawn(self._serve(key, listener, reader, writer))

        listener.server = await asyncio.start_server(connected, sock=listener.socket)

    async def _serve(
        self, key: tuple[str, str], listener: _Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            behind = await self._connect(key, next(listener.turn))
            if behind is None:
                return
            there = asyncio.get_running_loop().create_task(_pipe(reader, behind[1]))
            try:
                await _pipe(behind[0], writer)
            finally:
                there.cancel()
                behind[1].close()
        finally:
            writer.close()

    async def _connect(
        self, key: tuple[str, str], turn: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        service = self._core.find(resources.SERVICES, *key)
        ports = self.endpoints(service) if service else []
        for i in range(len(ports)):
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", ports[(turn + i) % len(ports)])
        return None

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
