"""`ports.http` over real HTTP: documents of the catalogue's targets, read and written.

Invariants:
- nothing but a catalogued target is ever asked: a path stays below the target's URL, a redirect is followed only
  there and only while reading, no proxy or netrc of the environment plays a part, and a target's headers (its
  credentials) go nowhere else, neither to another host nor into a record or an error;
- `record` is awaited right before a write is sent; if it raises, nothing is sent;
- a write is sent once. Its answer may be lost (`Unreachable`): whether it was carried out is then unknown, and only
  the handler may decide to look and send another. aiohttp repeats a PUT by itself when the connection breaks; that
  is prevented here (`_once`), and connections are not kept, so that no write meets one which is closed already.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import shlex
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import unquote

import aiohttp
from aiohttp import ClientHandlerType
from multidict import CIMultiDictProxy
from yarl import URL

from bot.adapters.session import Session
from bot.ports import Json, Page, Record, Reply, Unreachable, Where, unbound

ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer, unpacked; more is not read."""
REDIRECTS = 3
SHOWN = 8 * 1024
"""Characters of a body that a record holds; a larger one is named by its digest."""


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """One endpoint of the catalogue.

    url: where it lies, path included; timeout: seconds for a whole request; headers: sent along, never shown;
    ping: the path that `ping` reads; variables: header -> the environment variable that it comes from, which is what a
    recorded command shows; token: of a bearer token, alike; lacking: those of them that are not set; page: its
    health page, entry: the page that visitors open, where it has one. ValueError where the URL is none.
    """

    url: str
    timeout: float = 5.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ping: str = "/"
    variables: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    lacking: tuple[str, ...] = ()
    page: Page | None = None
    entry: Page | None = None

    def sent(self) -> dict[str, str]:
        """The headers to send. Unreachable where a value for one is missing."""
        if self.lacking:
            which = ", ".join(self.lacking)
            raise Unreachable(f"{URL(self.url).host} is not asked, {which}: not set in the bot's environment")
        return dict(self.headers)

    def __post_init__(self) -> None:
        url = URL(self.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"{self.url!r} is no http:// or https:// URL")
        if url.user or url.password:
            raise ValueError(f"the URL of {url.host} holds a user or password; give them as headers")
        if url.query_string or url.fragment:
            raise ValueError(f"{self.url!r}: a target's URL has neither ? nor #")

    @property
    def where(self) -> Where:
        """Which place it is: the address as it is asked, whatever header goes along."""
        url = URL(self.url)
        port = "" if url.is_default_port() else f":{url.explicit_port}"
        host = f"[{url.host}]" if ":" in (url.host or "") else url.host
        at = f"{url.scheme}://{host}{port}{url.raw_path.rstrip('/')}"
        return Where(at, sha256(at.encode()).hexdigest()[:32], "http")

    def below(self, path: str) -> URL:
        """The URL of a path below this one; ValueError for a path that would lead elsewhere."""
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError(f"path {path!r} must start with one /")
        if any(ord(c) < 33 for c in unquote(path)) or "#" in path:
            raise ValueError(f"path {path!r} holds a character that has no place there")
        if _climbs(path):
            raise ValueError(f"path {path!r} leads out of the target")
        return URL(self.url.rstrip("/") + path)

    def redirected(self, url: URL, location: str, what: str) -> URL:
        """Where a redirect from `url` leads; Unreachable unless that lies below this URL."""
        base = URL(self.url)
        try:
            to = url.join(URL(location))
        except ValueError:
            raise Unreachable(f"{what}: sends us nowhere ({location[:80]!r})") from None
        same = (to.scheme, to.host, to.port) == (base.scheme, base.host, base.port)
        if same and to.path.startswith(base.path.rstrip("/") + "/") and not _climbs(to.raw_path):
            return to
        raise Unreachable(f"{what}: sends us elsewhere, to {to.scheme}://{to.authority}; not followed")


def _climbs(path: str) -> bool:
    """Whether some server would take a part of the path for `..`, however often it was quoted."""
    path = path.partition("?")[0]
    while (once := unquote(path)) != path:
        path = once
    return any(part.partition(";")[0] in (".", "..") for part in path.replace("\\", "/").split("/"))


class HttpClient:
    """Implements `bot.ports.Http` for a set of targets; `bind` makes the copy that an attempt may write through."""

    def __init__(
        self,
        targets: Mapping[str, HttpEndpoint],
        record: Record = unbound,
        *,
        trust: ssl.SSLContext | None = None,
        secret: Callable[[Json], bool] = lambda body: False,
        _connection: Session | None = None,
    ) -> None:
        """trust: which certificates are; secret: whether a body holds one, and is not recorded."""
        self._targets, self._record, self._secret = dict(targets), record, secret
        self._connection = _connection or Session(trust)

    def bind(self, record: Record) -> HttpClient:
        """The same targets and connections, writing only after `record`."""
        return HttpClient(self._targets, record, secret=self._secret, _connection=self._connection)

    @property
    def pages(self) -> Mapping[str, Page]:
        """See the port."""
        return {name: target.page for name, target in self._targets.items() if target.page is not None}

    @property
    def entries(self) -> Mapping[str, Page]:
        """See the port."""
        return {name: target.entry for name, target in self._targets.items() if target.entry is not None}

    def where(self) -> Mapping[str, Where]:
        """Target -> which place it is."""
        return {name: target.where for name, target in self._targets.items()}

    async def close(self) -> None:
        """End every connection, those of the copies too. Harmless again."""
        await self._connection.close()

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where it answers and lets us in. Reads only."""
        faults = await asyncio.gather(*(self._fault(name) for name in self._targets))
        return dict(zip(self._targets, faults, strict=True))

    async def get(self, target: str, path: str) -> Reply:
        """Read. LookupError, ValueError (path), Unreachable."""
        there = self._target(target)
        url = there.below(path)
        what = f"GET {target}{path}"
        for _ in range(REDIRECTS + 1):
            reply = await self._send(there, what, "GET", url, there.sent())
            if reply.status not in (301, 302, 303, 307, 308) or "location" not in reply.headers:
                return reply
            url = there.redirected(url, reply.headers["location"], what)
        raise Unreachable(f"{what}: sends us round in circles")

    async def put(
        self, target: str, path: str, body: Json, *, if_match: str | None = None, key: str | None = None
    ) -> Reply:
        """Write once, after `record`. LookupError, ValueError (path, body), Unreachable: it may be done or not."""
        return await self._write("PUT", target, path, body, "application/json", if_match, key)

    async def patch(
        self, target: str, path: str, body: Json, *, if_match: str | None = None, key: str | None = None
    ) -> Reply:
        """A merge patch, sent once, after `record`. As `put`."""
        return await self._write("PATCH", target, path, body, "application/merge-patch+json", if_match, key)

    async def post(self, target: str, path: str, body: Json, *, key: str) -> Reply:
        """Sent once, after `record`, with a key that is not empty (ValueError). As `put`."""
        if not key.strip():
            raise ValueError(f"POST {target}{path}: without a key it might be done twice")
        return await self._write("POST", target, path, body, "application/json", None, key)

    async def delete(self, target: str, path: str, *, if_match: str | None = None, key: str | None = None) -> Reply:
        """Sent once, after `record`. As `put`."""
        return await self._write("DELETE", target, path, None, None, if_match, key)

    async def _write(
        self, method: str, target: str, path: str, body: Json, type: str | None, if_match: str | None, key: str | None
    ) -> Reply:
        """type: of the body; None: there is none."""
        there = self._target(target)
        url = there.below(path)
        given = {"Content-Type": type, "If-Match": if_match, "Idempotency-Key": key}
        ours = {name: value for name, value in given.items() if value is not None}
        data = json.dumps(body, ensure_ascii=False, allow_nan=False) if type is not None else ""
        instead = ""
        if type is not None and self._secret(body):
            instead = "it holds a secret"  # a digest would let it be guessed
        elif len(data) > SHOWN:
            instead = f"sha256:{sha256(data.encode()).hexdigest()}"
        await self._record(_curl(method, url, ours, there, data, instead))
        what = f"{method} {target}{path}"
        return await self._send(there, what, method, url, {**there.sent(), **ours}, data.encode())

    async def _send(
        self,
        target: HttpEndpoint,
        what: str,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        data: bytes | None = None,
    ) -> Reply:
        return await exchange(self._connection.opened, what, method, url, headers, data, target.timeout)

    def by_hand(self, target: str, path: str, field: str, value: Json) -> str:
        """What a person types to set one field of a document, and leave the rest as it is. LookupError, ValueError."""
        there = self._target(target)
        url = shlex.quote(str(there.below(path)))
        own = "".join(f' -H "{name}: ${variable}"' for name, variable in there.variables.items())
        own += f' --oauth2-bearer "${there.token}"' if there.token else ""
        change = shlex.quote(f".{json.dumps(field)} = {json.dumps(value, ensure_ascii=False)}")
        write = "curl -fsS -X PUT -H 'Content-Type: application/json' --data-binary @-"
        return f"curl -fsS {url}{own} | jq {change} | {write} {url}{own}"

    async def _fault(self, name: str) -> str:
        try:
            reply = await self.get(name, self._targets[name].ping)
        except (Unreachable, ValueError) as error:
            return str(error)
        return (
            f"GET {name}{self._targets[name].ping}: refuses us ({reply.status})" if reply.status in (401, 403) else ""
        )

    def _target(self, name: str) -> HttpEndpoint:
        if name in self._targets:
            return self._targets[name]
        near = difflib.get_close_matches(name, self._targets, 1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(self._targets)) or 'none'}"
        raise LookupError(f"the catalogue has no HTTP target {name!r}; {known}")


async def exchange(
    session: aiohttp.ClientSession,
    what: str,
    method: str,
    url: URL,
    headers: Mapping[str, str],
    data: bytes | None,
    timeout: float,
) -> Reply:
    """One request, sent once, no redirect followed. what: how it is called in an error, which holds no header;
    timeout: seconds. Unreachable."""
    unsure = "" if method == "GET" else "; whether it took the change is unknown"
    try:
        async with session.request(
            method, url, data=data or None, headers=headers, allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout), middlewares=(_once,),
        ) as answer:  # fmt: skip
            raw = await _read(answer.content)
            if raw is None:
                raise Unreachable(f"{what}: answered {answer.status} with more than {ANSWER_LIMIT} bytes{unsure}")
            return _reply(answer.status, answer.headers, raw, answer.charset)
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"{what}: no connection to {url.authority} ({_cause(error)})") from error
    except TimeoutError as error:
        raise Unreachable(f"{what}: no answer within {timeout:g} s{unsure}") from error
    except (aiohttp.ClientError, _Broken) as error:
        raise Unreachable(f"{what}: the connection broke before the answer was whole{unsure}") from error


class _Broken(Exception):
    """The connection ended early. No ClientError, which aiohttp would answer by sending the request again."""


async def _once(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(str(error)) from error


async def _read(content: aiohttp.StreamReader) -> bytes | None:
    """The body; None where it is above the limit."""
    raw = bytearray()
    async for chunk in content.iter_chunked(64 * 1024):
        raw += chunk
        if len(raw) > ANSWER_LIMIT:
            return None
    return bytes(raw)


def _reply(status: int, headers: CIMultiDictProxy[str], raw: bytes, charset: str | None) -> Reply:
    names = {name.lower() for name in headers}
    try:
        text = raw.decode(charset or "utf-8", errors="replace")
    except LookupError:  # a name that is no encoding
        text = raw.decode(errors="replace")
    known = {name: ", ".join(headers.getall(name)) for name in names}
    return Reply(status, known, text, _json(text) if "json" in known.get("content-type", "") else None)


def _json(text: str) -> Json:
    try:
        value: Json = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return value


def _no_number(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _curl(method: str, url: URL, headers: Mapping[str, str], target: HttpEndpoint, data: str, instead: str) -> str:
    """What a person would have typed; the target's own headers by the variables that hold them. instead: what is said
    of a body that is not shown."""
    shown = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    body = ["-d", "@body.json" if instead else data] if data else []
    own = [f'-H "{name}: ${variable}"' for name, variable in target.variables.items()]
    own += [f'--oauth2-bearer "${target.token}"'] if target.token else []
    said = f"  # body.json: {instead}, {len(data.encode())} bytes" if instead else ""
    return " ".join([shlex.join(["curl", "-X", method, str(url), *shown, *body]), *own]) + said


def _cause(error: aiohttp.ClientConnectorError) -> str:
    why = (error.os_error.strerror or str(error.os_error) or type(error).__name__).lower()
    return "nothing answers there" if why.startswith("connect call failed") else why
