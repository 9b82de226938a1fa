"""One cluster over `kubernetes.aio`: a request and its answer as plain JSON, and every way in which it can fail.

Invariants:
- the client takes more than a second to import, so it is imported on the first request, outside the event loop;
- a request is sent once; only where the cluster did not know us (401) is the kubeconfig read anew and it is sent again;
- it leads to one place: a kubeconfig that leads elsewhere when it is read again, or elsewhere than was approved, is
  refused before anything is sent;
- a refusal is told in the cluster's own words: 429, and 503 with Retry-After, are Retryable (the cluster took
  nothing), another 5xx is Unreachable (it may have), and so is 401 after the second try (nobody can say what is there),
  409 is Changed, 404 is NoSuchObject, anything else is Denied.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from bot.contract import Retryable
from bot.ports import Unreachable, Where
from bot.ports.kubernetes import OURS, Changed, Denied

T = TypeVar("T")
Body = Mapping[str, Any]
"""An object of the API, as JSON has it."""
Query = Sequence[tuple[str, str]]

AS_US: Query = (("fieldManager", OURS),)
"""In whose name fields are set, whatever the client calls itself."""
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
PAGE = 500
"""Objects of one page of a list."""
SHORT = 256 * 1024
"""Characters of an answer that is read at once; a longer one in a thread, so that others get their turn."""
_RESTARTS = 3
"""How often a list is begun again whose pages have expired."""


@dataclass
class ClusterRefused(Exception):
    """The cluster answered, and not with what was wanted.

    words: the message of its Status; causes: whether the Status names what is wrong with the body (a failed `test` of
    a JSON patch does not); after: seconds of Retry-After, where given.
    """

    status: int
    words: str
    causes: bool = False
    after: float | None = None

    def __str__(self) -> str:
        return self.words


class NoSuchObject(LookupError):
    """There is no such object, or the cluster has no such kind."""


class Connection:
    """One context of a kubeconfig, and a namespace behind it. timeout: seconds for a whole request; kubeconfig: paths
    parted by ':', "" for KUBECONFIG, ~/.kube/config or, where neither is there, the service account of the pod that
    this runs in."""

    def __init__(self, cluster: str, context: str, namespace: str, timeout: float, kubeconfig: str = "") -> None:
        self.cluster, self.context, self._namespace = cluster, context, namespace
        self._timeout, self._kubeconfig = timeout, kubeconfig
        self._held = ""
        self.led_elsewhere = False
        self._client: Any = None
        self._retired: Any = None
        self._opening = asyncio.Lock()

    async def where(self) -> Where:
        """Which place it leads to; without a digest where that cannot be found out now."""
        try:
            return self._where(await self._open())
        except Unreachable as error:
            return Where(f"not known ({error})", "", "kubernetes")

    def hold(self, digest: str) -> None:
        """From here on it leads to the place of this digest, or nowhere."""
        if self._held not in ("", digest):
            raise Unreachable(f"{self.cluster}: context {self.context!r} leads elsewhere than was approved")
        self._held = digest

    def _where(self, client: Any) -> Where:
        return place(client.configuration, self._namespace)

    async def close(self) -> None:
        """End its connections. Harmless again."""
        await self._retire(self._client)
        await self._retire(None)

    async def ask(
        self, method: str, path: str, *, query: Query = (), body: object = None, sort: str = "application/json"
    ) -> Any:
        """The answer, as JSON. NoSuchObject, Changed, Denied, Retryable, Unreachable. sort: of the body."""
        try:
            return await self.send(method, path, query=query, body=body, sort=sort)
        except ClusterRefused as error:
            raise self.failure(error) from error

    async def find(self, path: str) -> Body | None:
        """One object, None if there is none. Denied, Retryable, Unreachable."""
        try:
            found: Body = await self.ask("GET", path)
        except NoSuchObject:
            return None
        return found

    def failure(self, error: ClusterRefused) -> Exception:
        """A refusal as the port tells it."""
        text = f"{self.cluster}: {error}"
        if error.status == 404:
            return NoSuchObject(text)
        if error.status == 409:
            return Changed(text)
        if error.status == 401:  # no missing right: it does not know who we are, until the token is renewed
            return Unreachable(f"{text}: it does not know the bot (401), look at its token or certificate")
        if error.status == 429 or (error.status == 503 and error.after is not None):
            return Retryable(text, after=error.after if error.after is not None else 5.0)
        return Unreachable(f"{text} ({error.status})") if error.status >= 500 else Denied(text)

    async def send(
        self, method: str, path: str, *, query: Query = (), body: object = None, sort: str = "application/json"
    ) -> Any:
        """The answer, as JSON. ClusterRefused, Unreachable."""
        return await _decoded(await self.text(method, path, query=query, body=body, sort=sort), json.loads)

    async def text(
        self, method: str, path: str, *, query: Query = (), body: object = None, sort: str = "application/json"
    ) -> str:
        """The answer as text. ClusterRefused, Unreachable."""
        for again in (False, True):
            client = await self._open()
            try:
                return await self._once(client, method, path, query, body, sort)
            except ClusterRefused as error:
                if error.status != 401 or again:
                    raise
                await self._retire(client)  # tokens are renewed by whoever writes the kubeconfig
        raise AssertionError("the second attempt returns or raises")

    async def every(self, path: str, *, query: Query = ()) -> list[Body]:
        """All items of a list. NoSuchObject, Denied, Retryable, Unreachable."""
        return await self.read(path, lambda body: body, query=query)

    async def read(self, path: str, read: Callable[[Body], T], *, query: Query = ()) -> list[T]:
        """All items of a list as `read` makes them, page by page: what it leaves out of one is not kept. Long pages are
        read in a thread. NoSuchObject, Denied, Retryable, Unreachable."""

        def of_page(text: str) -> tuple[list[T], str]:
            answer = json.loads(text)
            more = (answer.get("metadata") or {}).get("continue")
            return [read(body) for body in answer.get("items") or ()], more or ""

        for _ in range(_RESTARTS):
            found: list[T] = []
            more = ""
            try:
                while True:
                    page = [*query, ("limit", str(PAGE)), *([("continue", more)] if more else [])]
                    items, more = await _decoded(await self.text("GET", path, query=page), of_page)
                    found += items
                    if not more:
                        return found
            except ClusterRefused as error:
                if error.status != 410:  # the pages that were left have expired: from the beginning
                    raise self.failure(error) from error
        raise Unreachable(f"{self.cluster}: the list changes faster than it can be read")

    async def passed(self, path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], str]:
        """What something behind the API server answers to a GET: status, headers by name in lower case, text.
        Unreachable where nothing is behind it, or it does not let us through."""
        status, named, text = await self._answer(await self._open(), "GET", path, (), None, dict(headers))
        if not 200 <= status < 300 and _is_status(text):
            raise Unreachable(f"{self.cluster}: {_refused(status, text, {})}")
        return status, {name.lower(): value for name, value in named.items()}, text

    async def _once(self, client: Any, method: str, path: str, query: Query, body: object, sort: str) -> str:
        headers = {"Accept": "application/json, */*", "Content-Type": sort}
        status, named, text = await self._answer(client, method, path, query, body, headers)
        if not 200 <= status < 300:
            raise _refused(status, text, named)
        return text

    async def _answer(
        self, client: Any, method: str, path: str, query: Query, body: object, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], str]:
        unsure = "" if method == "GET" else "; whether it took the change is unknown"
        request = await client.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            limit = aiohttp.ClientTimeout(total=self._timeout)
            answer = await client.call_api(*request, _request_timeout=limit)
            raw = await answer.read()
        except aiohttp.ClientConnectorError as error:
            where = f"{error.host}:{error.port}"
            raise Unreachable(f"{self.cluster}: no connection to {where} ({_cause(error)})") from error
        except TimeoutError as error:
            raise Unreachable(f"{self.cluster}: no answer within {self._timeout:g} s{unsure}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{self.cluster}: the connection broke before the answer was whole{unsure}") from error
        return answer.status, answer.headers, raw.decode(errors="replace")

    async def _retire(self, client: Any) -> None:
        """Use it no more; it ends when the next one retires, since others may still wait for its answers."""
        if client is None or client is self._client:
            self._client = None
            before, self._retired = self._retired, client
            if before is not None:
                await before.close()

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                made = await self._made()
                try:
                    self.hold(self._where(made).digest)
                except Unreachable:
                    self.led_elsewhere = True
                    await made.close()
                    raise
                self._client = made
            return self._client

    async def _made(self) -> Any:
        kubernetes = await asyncio.to_thread(_imported)
        configuration = kubernetes.client.Configuration()
        configuration.api_key = {}
        files = self._files()
        try:
            if files:
                await kubernetes.config.load_kube_config(
                    files, self.context, client_configuration=configuration, persist_config=False
                )
            else:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
            client = kubernetes.client.ApiClient(configuration)
        except Exception as error:  # whatever is wrong with it; only the library's own words surely hold no secret
            said = str(error) if isinstance(error, kubernetes.config.ConfigException) else type(error).__name__
            place = files or "the kubeconfig (there is none, and this is no pod)"
            raise Unreachable(f"{self.cluster}: context {self.context!r} of {place}: {said}") from error
        client.user_agent = "rollback-bot"
        return client

    def _files(self) -> str:
        named = self._kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        found = [path for path in named.split(os.pathsep) if path and Path(path).expanduser().is_file()]
        if not found and self._kubeconfig:
            raise Unreachable(f"{self.cluster}: there is no kubeconfig at {self._kubeconfig}")
        return os.pathsep.join(found)


def place(configuration: Any, namespace: str) -> Where:
    """Which place a client's configuration leads to: address, who vouches for it, and the way there. Neither the name
    of the context nor who we are there plays a part."""
    url, way = URL(configuration.host), URL(configuration.proxy or "")
    server = str(url.with_user(None).with_query(None).with_fragment(None)).rstrip("/")
    vouches = _authority(configuration)
    means = (
        f", vouched for by {vouches[:8]}" if vouches else "",
        f", as {configuration.tls_server_name}" if configuration.tls_server_name else "",
        f", through {way.with_user(None).with_query(None)}" if configuration.proxy else "",
    )
    at = f"{server}{''.join(means)}, namespace {namespace}"
    return Where(at, sha256(f"{vouches} {at}".encode()).hexdigest()[:32], "kubernetes")


def _authority(configuration: Any) -> str:
    """Digest of the certificates that vouch for the cluster, whatever their order; empty where none is named."""
    try:
        text = Path(configuration.ssl_ca_cert).read_text("ascii", "replace") if configuration.ssl_ca_cert else ""
    except OSError:
        text = ""
    blocks = sorted("".join(b.split()) for b in re.findall(r"-----BEGIN CERTIFICATE-----([^-]+)-----END", text))
    return sha256(" ".join(blocks).encode()).hexdigest() if blocks else ""


def _imported() -> Any:
    import kubernetes.aio.client
    import kubernetes.aio.config

    return kubernetes.aio


def _is_status(text: str) -> bool:
    """Whether this is the API server's own answer."""
    try:
        said = json.loads(text)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("kind") == "Status" and said.get("apiVersion") == "v1"


def _refused(status: int, text: str, headers: Mapping[str, str]) -> ClusterRefused:
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    words = said.get("message") or text.strip()[:300] or f"it answered {status} and said nothing"
    after = headers.get("Retry-After") or ""
    causes = (said.get("details") or {}).get("causes")
    return ClusterRefused(status, str(words), bool(causes), float(after) if after.isdigit() else None)


def _cause(error: aiohttp.ClientConnectorError) -> str:
    why = (error.os_error.strerror or str(error.os_error) or type(error).__name__).lower()
    return "nothing answers there" if why.startswith("connect call failed") else why


async def _decoded(text: str, how: Callable[[str], T]) -> T:
    """What an answer says; a long one is read in a thread."""
    return how(text) if len(text) <= SHORT else await asyncio.to_thread(how, text)
