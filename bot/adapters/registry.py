"""`ports.registry` over the Registry HTTP API v2: whether a manifest is there, and what an image is, by digest.

Credentials are Docker's: the text of DOCKER_AUTH_CONFIG, else `config.json` in DOCKER_CONFIG or ~/.docker. They are
read anew for each look, since tokens in them are renewed by others.

Invariants:
- it only reads, so nothing is recorded and one that does not answer is asked at most once a call;
- a registry's credentials go to that registry, and over HTTPS to the token service that it names, and nowhere else: a
  redirect is followed without them, no proxy or netrc of the environment plays a part, and no message holds them;
- plain HTTP is spoken only with this machine.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import json
import os
import re
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bot.adapters.session import Session
from bot.ports import Unreachable
from bot.ports.registry import RegistryRefused

ANSWER_LIMIT = 256 * 1024
"""Bytes of a token service's answer; more is not read."""
HUB = "registry-1.docker.io"
HUB_CREDENTIALS = "https://index.docker.io/v1/"
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
REDIRECTS = 3
"""How many are followed."""
T = TypeVar("T")
_NAME = r"(?P<name>[a-z0-9A-Z][\w./:-]*?)"
_IMAGE = re.compile(_NAME + r"(?::\w[\w.-]*)?@(?P<digest>sha256:[0-9a-f]{64})")
_TAGGED = re.compile(_NAME + r"(?::(?P<digest>\w[\w.-]{0,127}))?")
_PARTS = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by digest, or by the tag that stands for it. host: of its registry; name: of its repository there."""

    host: str
    name: str
    digest: str

    @classmethod
    def of(cls, image: str, *, tagged: bool = False) -> Reference:
        """As Docker reads it: without a host it is Docker Hub's. tagged: a tag will do. ValueError."""
        found = _IMAGE.fullmatch(image) or (_TAGGED.fullmatch(image) if tagged else None)
        if found is None or ".." in found["name"]:
            raise ValueError(f"{image!r} is no image by digest (name@sha256:...)")
        digest = found["digest"] or "latest"
        host, slash, rest = found["name"].partition("/")
        if slash and ("." in host or ":" in host or host == "localhost"):
            if host in ("docker.io", "index.docker.io"):
                return cls(HUB, rest if "/" in rest else f"library/{rest}", digest)
            return cls(host, rest, digest)
        return cls(HUB, found["name"] if slash else f"library/{found['name']}", digest)

    @property
    def what(self) -> str:
        """Its repository, as people name it."""
        return f"{self.host}/{self.name}"

    @property
    def url(self) -> URL:
        """Of its manifest."""
        return URL(f"{'http' if _here(self.host) else 'https'}://{self.host}/v2/{self.name}/manifests/{self.digest}")


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back: of a manifest the body too, where that was asked for."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Credentials:
    """For one registry. basic: as an Authorization header has them; renewal: an identity token. Never shown."""

    basic: str = ""
    renewal: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


class RegistryClient:
    """Implements `bot.ports.registry.ImageRegistry`. timeout: seconds for one look, tokens included;
    environment: where DOCKER_AUTH_CONFIG, DOCKER_CONFIG and HOME are looked up; trust: which certificates are."""

    def __init__(
        self, timeout: float = 5.0, environment: Mapping[str, str] = os.environ, trust: ssl.SSLContext | None = None
    ) -> None:
        self._timeout, self._environment = timeout, environment
        self._known: dict[str, frozenset[str]] = {}
        self._session = Session(trust)

    async def close(self) -> None:
        """End every connection. Harmless again."""
        await self._session.close()

    async def has(self, image: str) -> bool:
        """Whether it is there. ValueError (no image by digest), RegistryRefused, Unreachable."""
        there = Reference.of(image)
        return await self._within(there, self._asked(there, "HEAD")) is not None

    async def digests(self, image: str) -> frozenset[str]:
        """See the port. What an image by digest is never changes, so it is asked for once."""
        there = Reference.of(image, tagged=True)
        if (known := self._known.get(image)) is not None:
            return known
        answer = await self._within(there, self._asked(there, "GET"))
        if answer is None:
            return frozenset()
        said = _json(answer.body)
        manifests = said.get("manifests")
        own = there.digest if ":" in there.digest else f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        parts = (
            {str(m.get("digest")) for m in manifests if isinstance(m, dict)} if isinstance(manifests, list) else set()
        )
        found = frozenset({own, *parts})
        if ":" in there.digest:
            self._known[image] = found
        return found

    async def _within(self, there: Reference, asked: Awaitable[T]) -> T:
        """The answer in time. Unreachable."""
        what = there.what
        try:
            async with asyncio.timeout(self._timeout):
                return await asked
        except TimeoutError as error:
            raise Unreachable(f"{what}: no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise Unreachable(
                f"{what}: its certificate is not trusted (ROLLBACK_CA_FILE names a company's own)"
            ) from error
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"{what}: no connection to {error.host}:{error.port}") from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"{what}: the connection broke before the answer was whole") from error

    async def _asked(self, there: Reference, method: str) -> Answered | None:
        """The manifest; None where there is none. RegistryRefused, Unreachable."""
        url, what = there.url, there.what
        answer = Answered(0, CIMultiDictProxy(CIMultiDict()))
        login = _login(there.host, await asyncio.to_thread(_docker_config, self._environment))
        for _ in range(REDIRECTS + 1):
            answer = await self._once(method, url, "")
            if answer.status == 401:
                asked = answer.headers.getall("WWW-Authenticate", [])
                answer = await self._once(method, url, await self._authorization(there, asked, login, what))
            if answer.status in (301, 302, 307, 308) and (to := _redirected(url, answer.headers.get("Location", ""))):
                if to.authority != url.authority:
                    login = Credentials()  # whoever it is, they are not theirs
                    there = Reference(to.authority, there.name, there.digest)
                url = to
                continue
            break
        if answer.status == 405 and method == "HEAD":
            return await self._asked(there, "GET")
        if answer.status == 200:
            return answer
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            raise RegistryRefused(f"{what}: refuses us ({answer.status})")
        raise Unreachable(f"{what}: answered {answer.status}")

    async def _once(self, method: str, url: URL, authorization: str) -> Answered:
        headers = {"Accept": MANIFESTS} | ({"Authorization": authorization} if authorization else {})
        async with self._session.opened.request(method, url, headers=headers, allow_redirects=False) as answer:
            body = await _read(answer.content, f"{url.host}") if method == "GET" and answer.status == 200 else b""
            return Answered(answer.status, answer.headers, body)

    async def _authorization(self, there: Reference, asked: list[str], login: Credentials, what: str) -> str:
        """The header that the registry asks for. RegistryRefused, Unreachable."""
        schemes = {scheme.lower(): rest for scheme, _, rest in (a.partition(" ") for a in asked)}
        if "bearer" in schemes:
            return f"Bearer {await self._token(there, dict(_PARTS.findall(schemes['bearer'])), login, what)}"
        if "basic" in schemes and login.basic:
            return f"Basic {login.basic}"
        raise RegistryRefused(f"{what}: wants a login; there is none for {there.host} in Docker's configuration")

    async def _token(self, there: Reference, asked: Mapping[str, str], login: Credentials, what: str) -> str:
        realm = URL(asked.get("realm", ""))
        if realm.scheme != "https" and not (_here(there.host) and _here(realm.authority)):
            raise RegistryRefused(
                f"{what}: names a token service that is not reached over HTTPS ({realm.host or 'none'})"
            )
        wanted = {"service": asked.get("service", there.host), "scope": f"repository:{there.name}:pull"}
        if login.renewal:
            body = {"grant_type": "refresh_token", "refresh_token": login.renewal, "client_id": "rollback-bot"} | wanted
            request = self._session.opened.post(realm, data=body, allow_redirects=False)
        else:
            headers = {"Authorization": f"Basic {login.basic}"} if login.basic else {}
            request = self._session.opened.get(realm.update_query(wanted), headers=headers, allow_redirects=False)
        async with request as answer:
            if answer.status >= 500:
                raise Unreachable(f"{what}: its token service {realm.authority} answered {answer.status}")
            if answer.status != 200:
                raise RegistryRefused(f"{what}: its token service {realm.authority} refuses us ({answer.status})")
            said = _json(await _read(answer.content, what))
        token = said.get("token") or said.get("access_token")
        if not isinstance(token, str) or not token.isprintable():
            raise Unreachable(f"{what}: its token service {realm.authority} gave no token")
        return token


def _redirected(url: URL, location: str) -> URL | None:
    """Where a redirect leads; None where that is nowhere, or would be spoken in the clear."""
    try:
        to = url.join(URL(location)) if location else None
    except ValueError:
        return None
    if to is None or not to.host or to.user or to.password:
        return None
    return to if to.scheme == "https" or (to.scheme == "http" and _here(to.authority)) else None


async def _read(content: aiohttp.StreamReader, what: str) -> bytes:
    raw = b""
    async for chunk in content.iter_chunked(64 * 1024):
        raw += chunk
        if len(raw) > ANSWER_LIMIT:
            raise Unreachable(f"{what}: its token service answers without end")
    return raw


def _here(host: str) -> bool:
    """Whether a host, perhaps with a port, is this machine."""
    name = URL(f"//{host}").host or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _docker_config(environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Docker's configuration, as it is now; empty where there is none or it cannot be read."""
    text = environment.get("DOCKER_AUTH_CONFIG", "")
    if not text:
        folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", "/")) / ".docker")
        try:
            text = (Path(folder) / "config.json").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return {}
    return _json(text)


def _login(host: str, config: Mapping[str, Any]) -> Credentials:
    """What the configuration has for a registry; nothing where it has nothing."""
    auths = config.get("auths")
    for key in (host, f"https://{host}", f"https://{host}/v1/", *([HUB_CREDENTIALS] if host == HUB else [])):
        found = auths.get(key) if isinstance(auths, dict) else None
        if isinstance(found, dict):
            pair = f"{found.get('username', '')}:{found.get('password', '')}"
            basic = found.get("auth") or (base64.b64encode(pair.encode()).decode() if len(pair) > 1 else "")
            return Credentials(str(basic), str(found.get("identitytoken") or ""))
    return Credentials()


def _json(text: str | bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
