"""Valkey servers for tests, one and a cluster of three, and the real adapter to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bot.adapters.redis import Pacing, RedisCaches, RedisTarget, Server
from bot.adapters.redis.line import Word, opened, reached
from bot.adapters.redis.sweep import UNPACED
from bot.playground.free_port import free_port
from bot.playground.valkey import private_valkey
from bot.ports import Json, Ports, Record
from bot.ports.caches import Cache, Queue
from bot.testing import PortsFor, ports

JOBS = Queue(
    "jobs", "shop:jobs", kind="/kind", at="/at", dead="shop:jobs:dead", done="shop:jobs:done",
    kinds={"2.4.0": ("order.confirm", "mail.send"), "2.4.1": ("order.confirm", "mail.send", "coupon.settle")},
)  # fmt: skip
MAIL = replace(JOBS, name="mail", key="shop:mail", group="mailers", at="", dead="", done="", claim=60.0)
PREFIXES = ("shop:{release}:", "shop:prices:")


def raw(port: int, *command: Word) -> Any:
    """The answer to one command, asked by a program that is not ours to test: plain sockets."""
    parts = [p if isinstance(p, bytes) else str(p).encode() for p in command]
    packed = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)
    with socket.create_connection(("127.0.0.1", port), 5) as s, s.makefile("rb") as answers:
        s.sendall(packed)
        return _answer(answers)


def _answer(answers: Any) -> Any:
    line = answers.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else answers.read(int(rest) + 2)[:-2]
    return [_answer(answers) for _ in range(int(rest))] if kind == b"*" else rest


def fill(port: int, keys: Sequence[bytes], value: bytes = b"x") -> None:
    """Puts keys there, all in one go."""
    with socket.create_connection(("127.0.0.1", port), 30) as s, s.makefile("rb") as answers:
        for i in range(0, len(keys), 5000):
            page = keys[i : i + 5000]
            s.sendall(
                b"".join(
                    b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(k), k, len(value), value) for k in page
                )
            )
            for _ in page:
                answers.readline()


@dataclass
class Served:
    """A server under test, as a target of the catalogue."""

    server: Server
    cache: Cache = field(default_factory=lambda: Cache("cache", PREFIXES, (JOBS, MAIL)))
    pacing: Pacing = UNPACED

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def adapter(self) -> RedisCaches:
        return RedisCaches([RedisTarget(self.cache, self.server, self.pacing)])

    @property
    def ports_for(self) -> PortsFor:
        """Ports as wiring makes them."""

        def bound(record: Record) -> Ports:
            return ports(caches=self.adapter.bind(record))

        return bound

    async def ask(self, *command: Word) -> Any:
        """One command to one server."""
        async with opened(self.server) as line:
            return await line.ask(*command)

    async def keys(self) -> set[bytes]:
        """All keys, of every node."""
        async with reached(self.server) as cluster:
            return {key for line in cluster.lines for key in await line.ask("KEYS", "*")}

    async def world(self) -> Mapping[str, Json]:
        """All that a flush or a move could touch."""
        found: dict[str, Json] = {}
        for key in sorted(await self.keys()):
            name = key.decode(errors="backslashreplace")
            async with reached(self.server) as cluster:
                found[name] = _plain(await _content(cluster.of(name), key))
        return found


async def _content(line: Any, key: bytes) -> Any:
    kind = bytes(await line.ask("TYPE", key)).decode()
    ways: dict[str, tuple[Word, ...]] = {
        "string": ("GET", key), "list": ("LRANGE", key, 0, -1), "hash": ("HGETALL", key),
        "zset": ("ZRANGE", key, 0, -1), "stream": ("XRANGE", key, "-", "+"),
    }  # fmt: skip
    answer = await line.ask(*ways[kind])
    if kind == "stream":  # a job that was moved has another id and nothing else
        named = ([*zip(fields[::2], fields[1::2], strict=True)] for _, fields in answer)
        return [[w for name, value in f if name != b"rollback-bot:id" for w in (name, value)] for f in named]
    return answer


def _plain(value: Any) -> Json:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return [_plain(v) for v in value] if isinstance(value, list) else value


@contextmanager
def one_server(*options: str, password: str = "") -> Iterator[Served]:
    """One server on loopback."""
    with private_valkey(*options, password=password) as place:
        yield Served(Server("127.0.0.1", int(place.rpartition(":")[2]), timeout=5.0, password=password))


@contextmanager
def cluster_of_three() -> Iterator[Served]:
    """A cluster of three primaries."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            port = free_port()
            bus = free_port()
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "3000")
            stack.enter_context(private_valkey(*options, port=port))
            found.append((port, bus))
        shares = [(0, 5460), (5461, 10922), (10923, 16383)]
        for (port, _), (low, high) in zip(found, shares, strict=True):
            raw(port, "CLUSTER", "ADDSLOTSRANGE", low, high)
        for port, bus in found[1:]:
            raw(found[0][0], "CLUSTER", "MEET", "127.0.0.1", port, bus)
        yield Served(Server("127.0.0.1", found[0][0], cluster=True, timeout=5.0))


async def settled(served: Served) -> None:
    """Waits until every node of a cluster knows the others."""
    for _ in range(500):
        said = [s for s in await served.ask("CLUSTER", "SLOTS")]
        states = [b"cluster_state:ok" in bytes(raw(int(s[2][1]), "CLUSTER", "INFO")) for s in said]
        if len(said) == 3 and all(states):
            return
        await asyncio.sleep(0.02)
    raise RuntimeError("the cluster did not come up")


@contextlib.asynccontextmanager
async def watched(served: Served) -> AsyncIterator[set[str]]:
    """The commands that reach the server meanwhile, by name, as MONITOR sees them."""
    seen: set[str] = set()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"MONITOR\r\n")
    await reader.readline()

    async def read() -> None:
        while row := await reader.readline():
            words = row.split(b'"')
            if len(words) > 1:
                seen.add(words[1].decode().upper())

    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        await asyncio.sleep(0.05)
        task.cancel()
        writer.close()
