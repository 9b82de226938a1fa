"""Connections to a Redis or Valkey server, and to the primaries of a cluster: a command goes out once, or not at all.

hiredis packs and parses; what lies around it is this little. redis-py's clients repeat a command up to ten times when
no answer comes (8.1.0), which moves a job twice, and take half as long again for a flush; where hiredis is missing
they fall back to a parser in Python without a word.

Invariants:
- a line is opened for what a caller does and closed behind it: no command meets a connection that is closed already;
- no answer, not in time, or an answer that says "not now" is Unreachable; a refusal is CacheRefused, in its words;
- once an answer is missing the line is cut: the next command never gets the answer to another.
"""

from __future__ import annotations

import asyncio
import binascii
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import hiredis

from bot.ports import Unreachable
from bot.ports.caches import CacheRefused

Argument = bytes | str | int
"""A part of a command."""
SLOTS = 16384
"""What the keys of a cluster are spread over."""
_NOT_NOW = (
    "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "BUSY", "MOVED", "ASK", "NOREPLICAS", "UNBLOCKED",
)  # fmt: skip
"""First words of answers that another moment, or another node, gives otherwise."""
_LOGIN = ("NOAUTH", "WRONGPASS")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Where a server is, and how one logs in. timeout: seconds for one answer; lacking: variables of its login that are
    not set; trust: which certificates are, None without TLS; variable: that holds the password, for recorded
    commands."""

    host: str
    port: int
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    variable: str = ""
    lacking: tuple[str, ...] = ()
    cluster: bool = False
    timeout: float = 5.0
    trust: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def at(self) -> str:
        """ "redis://cache.internal:6379/0": which place it is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}/{'cluster' if self.cluster else self.db}"


class NodeConnection(asyncio.Protocol):
    """An open connection to one node. name: how it is called in words; node: its host and port."""

    def __init__(self, node: tuple[str, int], timeout: float) -> None:
        self.name, self.node, self._timeout = f"{node[0]}:{node[1]}", node, timeout
        self._reader = hiredis.Reader()
        self._answers: deque[Any] = deque()
        self._awaited: deque[tuple[int, asyncio.Future[list[Any]]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._ended = ""
        self._gone = asyncio.Event()

    async def ask(self, *command: Argument) -> Any:
        """The answer, as the protocol has it: bytes, whole numbers, lists, None. Unreachable, CacheRefused."""
        [answer] = await self.ask_all([command])
        return answer

    async def ask_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The answers to several commands that go out at once. Raises for the first that failed, once all have
        answered."""
        return await self.answers(self.send(commands)) if commands else []

    def send(self, commands: Sequence[Sequence[Argument]]) -> asyncio.Future[list[Any]]:
        """Sends commands, behind those that are under way. What comes of it is for `answers`, in the same order."""
        if self._transport is None or self._ended:
            raise Unreachable(f"{self.name}: {self._ended or 'the connection is closed'}")
        arrived: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._awaited.append((len(commands), arrived))
        self._transport.write(b"".join(hiredis.pack_command(tuple(c)) for c in commands))  # type: ignore[arg-type]
        return arrived

    async def answers(self, arrived: asyncio.Future[list[Any]]) -> list[Any]:
        """Waits for what was sent. Unreachable, CacheRefused."""
        try:
            async with asyncio.timeout(self._timeout):
                found = await arrived
        except TimeoutError:
            self._cut(f"no answer within {self._timeout:g} s")
            raise Unreachable(f"{self.name}: {self._ended}") from None
        except asyncio.CancelledError:
            self._cut("the call was cancelled")
            raise
        for answer in found:
            if isinstance(answer, hiredis.ReplyError):
                raise _told(self.name, str(answer))
        return found

    async def close(self) -> None:
        """Hangs up."""
        self._cut("the connection is closed")
        await self._gone.wait()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Some more of the answers."""
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self._answers.append(answer)
        except hiredis.ProtocolError:
            self._cut("what answers there is no Redis")
            return
        while self._awaited and len(self._answers) >= self._awaited[0][0]:
            many, arrived = self._awaited.popleft()
            found = [self._answers.popleft() for _ in range(many)]
            if not arrived.done():
                arrived.set_result(found)

    def connection_lost(self, error: Exception | None) -> None:
        """It was closed, by whomever."""
        self._cut("the connection broke before the answer was whole")
        self._gone.set()

    def _cut(self, why: str) -> None:
        self._ended = self._ended or why
        if self._transport is not None:
            self._transport.abort()
        while self._awaited:
            _, arrived = self._awaited.popleft()
            if not arrived.done():
                arrived.set_exception(Unreachable(f"{self.name}: {self._ended}"))
                arrived.exception()  # whoever waits hears of it; where nobody does, nobody needs to


def _told(name: str, said: str) -> Exception:
    """What an error of the server is to the port."""
    first = said.partition(" ")[0]
    if first in _NOT_NOW:
        return Unreachable(f"{name}: cannot answer now ({said})")
    if first in _LOGIN:
        return CacheRefused(f"{name} does not let us in: {said}")
    return CacheRefused(f"{name} refuses: {said}")


@asynccontextmanager
async def opened(server: RedisServer, node: tuple[str, int] | None = None) -> AsyncIterator[NodeConnection]:
    """A line to the server, or to one of its nodes. Unreachable, CacheRefused."""
    line = NodeConnection(node or (server.host, server.port), server.timeout)
    if server.lacking:
        raise Unreachable(f"{line.name} is not asked, {', '.join(server.lacking)}: not set in the bot's environment")
    await _connect(line, server)
    try:
        if server.password:
            await line.ask("AUTH", *([server.username] if server.username else []), server.password)
        if server.db and not server.cluster:
            await line.ask("SELECT", server.db)
        yield line
    finally:
        await line.close()


async def _connect(line: NodeConnection, server: RedisServer) -> None:
    host, port = line.node
    try:
        async with asyncio.timeout(server.timeout):
            await asyncio.get_running_loop().create_connection(lambda: line, host, port, ssl=server.trust)
    except TimeoutError:
        raise Unreachable(f"{line.name}: no connection within {server.timeout:g} s") from None
    except ssl.SSLError as error:
        raise Unreachable(f"{line.name}: no connection (TLS: {error.reason or error})") from error
    except OSError as error:
        raise Unreachable(f"{line.name}: no connection ({_why(error)})") from error


def _why(error: OSError) -> str:
    return "refused" if isinstance(error, ConnectionRefusedError) else (error.strerror or str(error)).lower()


class RedisCluster:
    """The primaries of a server: one where it is no cluster. A key is asked for where it lies."""

    def __init__(self, lines: Sequence[NodeConnection], slots: Sequence[tuple[int, int, NodeConnection]]) -> None:
        self.lines, self._slots = lines, slots

    def of(self, key: str) -> NodeConnection:
        """The line to where this key lies."""
        if not self._slots:
            return self.lines[0]
        slot = slot_of(key)
        return next(line for first, last, line in self._slots if first <= slot <= last)


def slot_of(key: str) -> int:
    """Where a key of a cluster lies: by its part in braces, where it has one."""
    opening = key.find("{")
    closing = key.find("}", opening + 1) if opening >= 0 else -1
    part = key[opening + 1 : closing] if closing > opening + 1 else key
    return binascii.crc_hqx(part.encode(), 0) % SLOTS


@asynccontextmanager
async def reached(server: RedisServer) -> AsyncIterator[RedisCluster]:
    """Lines to all of its primaries. Unreachable where one does not answer: what lies there would be passed over."""
    async with opened(server) as first:
        if not server.cluster:
            yield RedisCluster([first], [])
            return
        ranges = [(int(low), int(high), _node(server, primary)) for low, high, primary, *_ in
                  await first.ask("CLUSTER", "SLOTS")]  # fmt: skip
        covered = sum(high - low + 1 for low, high, _ in ranges)
        if covered < SLOTS:
            raise Unreachable(f"{first.name}: {SLOTS - covered} of {SLOTS} slots of the cluster are with no node")
        async with AsyncExitStack() as stack:
            nodes = dict.fromkeys(node for _, _, node in ranges)
            lines = {n: await stack.enter_async_context(opened(server, n)) for n in nodes}
            yield RedisCluster([*lines.values()], [(low, high, lines[n]) for low, high, n in ranges])


def _node(server: RedisServer, said: Sequence[Any]) -> tuple[str, int]:
    """Host and port of a node, as the cluster says it; it may not know its own name."""
    host = said[0].decode() if said[0] else ""
    return (host if host not in ("", "?") else server.host, int(said[1]))


def pairs(answer: Sequence[Any]) -> dict[str, Any]:
    """A flat answer (name, value, name, value) by name."""
    return {bytes(name).decode(): value for name, value in zip(answer[::2], answer[1::2], strict=False)}
