"""`ports.edges`: CloudFront, caches that are purged over HTTP (Varnish, nginx, Fastly and their like), and what an edge
serves, asked of each of its addresses as a browser without a cookie would.

Invariants:
- a purge is recorded first, as the command that does it, without the value of any header that a variable holds;
- an address of the catalogue is asked in place of the public name, which goes along as Host and is what its
  certificate must be for; no redirect is followed, no proxy of the environment plays a part;
- nothing conditional is asked and nothing is unpacked unseen: what is compared is what came.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
import socket
import ssl
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp
from yarl import URL

from bot.adapters.aws.account import Access, Account
from bot.adapters.aws.cloudfront import Distribution
from bot.ports import Record, Unreachable, Where, unbound
from bot.ports.edges import Edge, EdgeAnswer, Origin
from bot.ports.sites import Missing, StoreRefused

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of a body that are read at most."""
KEPT = 1024 * 1024
"""Bytes up to which a body is handed on."""
AT_ONCE = 12
"""Requests to one edge at once."""
RESOLVED = 8
"""Addresses of a name that are asked at most."""
NOTHING_THERE = (404, 410, 412)
"""How caches say that they hold nothing to forget."""


@dataclass(frozen=True, slots=True)
class EdgeEndpoint:
    """An edge of the catalogue. url: the public address; cloudfront: a distribution's id; origin: id of its origin;
    purge: addresses that a path is put behind; method: what purges; headers: sent along when purging, never shown;
    variables: header -> the variable it comes from; lacking: those of them that are not set; addresses: asked in place
    of the name."""

    url: str
    timeout: float = 10.0
    cloudfront: str = ""
    origin: str = ""
    access: Access = field(default_factory=Access)
    purge: tuple[str, ...] = ()
    method: str = "PURGE"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    backend: str = ""
    reports: str = ""

    @property
    def where(self) -> Where:
        """Which place it is."""
        by = f"distribution {self.cloudfront}" if self.cloudfront else ", ".join(self.purge) or "nothing to purge by"
        identity = "\n".join((self.url, self.cloudfront, self.origin, self.access.place, *self.purge))
        return Where(f"{self.url} ({by})", hashlib.sha256(identity.encode()).hexdigest()[:32], "edges")

    def edge(self, name: str) -> Edge:
        """As handlers know it."""
        by = "cloudfront" if self.cloudfront else "purge" if self.purge else ""
        return Edge(name, self.url, by, self.cloudfront, self.addresses, self.backend, self.reports)  # type: ignore[arg-type]  # fmt: skip


@dataclass
class _Shared:
    """What all copies of an adapter share."""

    trust: ssl.SSLContext | None
    accounts: dict[Access, Account] = field(default_factory=dict)
    session: aiohttp.ClientSession | None = None

    @property
    def opened(self) -> aiohttp.ClientSession:
        """Made inside the running loop; each request has a connection of its own."""
        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, ssl=self.trust or True, limit=64),
                cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            )  # fmt: skip
        return self.session


class EdgesClient:
    """Implements `bot.ports.edges.Edges`; `bind` makes the copy that an attempt may write through."""

    def __init__(
        self,
        targets: Mapping[str, EdgeEndpoint],
        record: Record = unbound,
        *,
        trust: ssl.SSLContext | None = None,
        ca_file: Path | None = None,
        _shared: _Shared | None = None,
    ) -> None:
        self._targets, self._record, self._ca_file = dict(targets), record, ca_file
        self._shared = _shared or _Shared(trust)

    def bind(self, record: Record) -> EdgesClient:
        """The same edges and connections, writing only after `record`."""
        return EdgesClient(self._targets, record, ca_file=self._ca_file, _shared=self._shared)

    @property
    def edges(self) -> Sequence[Edge]:
        """See the port."""
        return [t.edge(name) for name, t in self._targets.items()]

    def where(self) -> Mapping[str, Where]:
        """Target -> which place it is."""
        return {name: target.where for name, target in self._targets.items()}

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where an address answers, and CloudFront lets us in. Reads only."""
        faults = await asyncio.gather(*map(self._fault, self._targets))
        return dict(zip(self._targets, faults, strict=True))

    async def close(self) -> None:
        """End every connection, those of the copies too. Harmless again."""
        session, self._shared.session = self._shared.session, None
        if session is not None:
            await session.close()
        accounts = [*self._shared.accounts.values()]
        self._shared.accounts.clear()
        for account in accounts:
            await account.close()

    # -- forgetting ------------------------------------------------------------------------------------------------

    async def invalidate(self, edge: str, paths: Sequence[str], key: str) -> str:
        """See the port."""
        t = self._there(edge)
        if t.cloudfront:
            reference = f"{key}-{hashlib.sha256(chr(10).join(paths).encode()).hexdigest()[:16]}"
            await self._record(self._distribution(t).typed(paths, t.access.options))
            return await self._distribution(t).invalidate(paths, reference)
        if t.lacking:
            raise StoreRefused(f"{edge} is not purged, {', '.join(t.lacking)}: not set in the bot's environment")
        for base in t.purge:
            await self._record(_curl(t, base, paths))
            gate = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._purge(t, base, path, gate) for path in paths))
        return ""

    async def _purge(self, t: EdgeEndpoint, base: str, path: str, gate: asyncio.Semaphore) -> None:
        what, host = f"{t.method} {base}{path}", _host(URL(t.url))
        async with gate:
            try:
                async with self._shared.opened.request(
                    t.method, _below(base, path), headers={"Host": host, **t.headers}, allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=t.timeout),
                ) as answer:  # fmt: skip
                    said = answer.status
                    await answer.content.read(1024)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unreachable(f"{what}: {_why(error, t.timeout)}") from error
        if said in (401, 403, 405, 501):
            raise StoreRefused(f"{what}: refused ({said})")
        if not (200 <= said < 300 or said in NOTHING_THERE):
            raise Unreachable(f"{what}: answered {said}")

    async def invalidated(self, edge: str, id: str) -> bool:
        """See the port."""
        t = self._there(edge)
        return not id or await self._distribution(t).invalidated(id)

    def commands(self, edge: str, paths: Sequence[str]) -> Sequence[str]:
        """See the port."""
        t = self._there(edge)
        if t.cloudfront:
            return [self._distribution(t).typed(paths, t.access.options)]
        return [_curl(t, base, paths) for base in t.purge]

    # -- where it reads --------------------------------------------------------------------------------------------

    async def origin(self, edge: str) -> Origin:
        """See the port."""
        return await self._distribution(self._there(edge)).origin()

    async def point(self, edge: str, path: str, over: Origin) -> None:
        """See the port."""
        t = self._there(edge)
        await self._record(self._distribution(t).pointed(path, over, t.access.options))
        await self._distribution(t).point(path, over)

    # -- what it serves --------------------------------------------------------------------------------------------

    async def served(self, edge: str, paths: Collection[str]) -> Sequence[EdgeAnswer]:
        """See the port."""
        t = self._there(edge)
        try:
            addresses = list(t.addresses) or await self._resolved(t)
        except OSError as error:
            host = URL(t.url).host or ""
            return [EdgeAnswer(host, path, fault=f"its name does not resolve ({error})") for path in paths]
        gate = asyncio.Semaphore(AT_ONCE)
        asked = [self._one(t, address, path, gate) for address in addresses for path in paths]
        return await asyncio.gather(*asked)

    async def _one(self, t: EdgeEndpoint, address: str, path: str, gate: asyncio.Semaphore) -> EdgeAnswer:
        public = URL(t.url)
        at = URL(f"{public.scheme}://{_bracketed(address)}")
        if at.explicit_port is None and public.explicit_port is not None:
            at = at.with_port(public.explicit_port)
        url = _below(f"{at}{public.raw_path.rstrip('/')}".rstrip("/"), path)
        headers = {"Host": _host(public), "Accept-Encoding": "identity", "User-Agent": "rollback-bot"}
        named = public.host if public.scheme == "https" else None
        async with gate:
            try:
                async with self._shared.opened.get(
                    url, headers=headers, allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=t.timeout), server_hostname=named,
                ) as answer:  # fmt: skip
                    raw = await _body(answer.content)
                    known = {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                return EdgeAnswer(address, path, fault=_why(error, t.timeout))
        if raw is None:
            return EdgeAnswer(address, path, status, known, fault=f"more than {BODY_LIMIT} bytes")
        plain = _unpacked(raw, known.get("content-encoding", ""))
        digests = frozenset(hashlib.sha256(body).hexdigest() for body in (raw, plain) if body is not None)
        body = plain if plain is not None else raw
        return EdgeAnswer(address, path, status, known, body if len(body) <= KEPT else b"", digests)

    async def _resolved(self, t: EdgeEndpoint) -> list[str]:
        public = URL(t.url)
        found = await asyncio.get_running_loop().getaddrinfo(
            public.host or "", public.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))[:RESOLVED]
        return [f"[{a}]:{public.port}" if ":" in a else f"{a}:{public.port}" for a in addresses]

    # -- how -------------------------------------------------------------------------------------------------------

    async def _fault(self, name: str) -> str:
        t = self._targets[name]
        seen = await self.served(name, ["/"])
        if seen and all(s.fault for s in seen):
            return f"{t.url}: {seen[0].fault}"
        try:
            if t.cloudfront:
                await self._distribution(t).ping()
        except (Unreachable, StoreRefused, Missing) as error:
            return str(error)
        return f"{', '.join(t.lacking)}: not set in the bot's environment" if t.lacking else ""

    def _distribution(self, t: EdgeEndpoint) -> Distribution:
        if not t.cloudfront:
            raise Missing(f"{t.url} is no CloudFront distribution")
        if t.access not in self._shared.accounts:
            self._shared.accounts[t.access] = Account(t.access, self._ca_file)
        return Distribution(self._shared.accounts[t.access], t.cloudfront, t.origin)

    def _there(self, name: str) -> EdgeEndpoint:
        if name not in self._targets:
            known = ", ".join(sorted(self._targets)) or "none"
            raise LookupError(f"the catalogue has no edge {name!r}; there are {known}")
        return self._targets[name]


def _below(base: str, path: str) -> URL:
    """A path of ours, which is not quoted yet, behind an address."""
    return URL(base.rstrip("/") + quote(path, safe="/-_.~!$'(),;:@&=+*"), encoded=True)


def _host(url: URL) -> str:
    """As browsers send it: without the usual port. Caches keep an object for each Host."""
    host = _bracketed(url.host or "")
    return host if url.is_default_port() else f"{host}:{url.port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if address.count(":") > 1 and not address.startswith("[") else address


def _curl(t: EdgeEndpoint, base: str, paths: Sequence[str]) -> str:
    own = "".join(f' -H "{name}: ${variable}"' for name, variable in t.variables.items())
    urls = shlex.join(str(_below(base, path)) for path in paths)
    return f"curl -fsS -X {t.method} -H {shlex.quote(f'Host: {_host(URL(t.url))}')}{own} {urls}"


async def _body(content: aiohttp.StreamReader) -> bytes | None:
    raw = bytearray()
    async for chunk in content.iter_chunked(256 * 1024):
        raw += chunk
        if len(raw) > BODY_LIMIT:
            return None
    return bytes(raw)


def _unpacked(raw: bytes, encoding: str) -> bytes | None:
    """The body without its packing; None where it came without, or cannot be unpacked."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return None
    unpacker = zlib.decompressobj(wbits=47)
    try:
        plain = unpacker.decompress(raw, BODY_LIMIT)
    except zlib.error:
        return None
    return plain if unpacker.eof else None


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not for that name, or not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        errno = error.os_error.errno
        return f"no connection ({os.strerror(errno).lower() if errno else error.os_error})"
    return "the connection broke before the answer was whole"
