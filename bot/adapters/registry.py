"""`ports.registry` over the Registry HTTP API v2: whether a manifest is there, asked with HEAD by its digest.

Credentials are Docker's: the text of DOCKER_AUTH_CONFIG, else `config.json` in DOCKER_CONFIG or ~/.docker. They are
read anew for each look, since tokens in them are renewed by others.

Invariants:
- it only reads, so nothing is recorded and one that does not answer is asked at most once a call;
- a registry's credentials go to that registry, and over HTTPS to the token service that it names, and nowhere else:
  no redirect is followed, no proxy or netrc of the environment plays a part, and no message holds them;
- plain HTTP is spoken only with this machine.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from bot.adapters.session import Session
from bot.ports import Unreachable
from bot.ports.registry import Refused

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
_IMAGE = re.compile(r"(?P<name>[a-z0-9A-Z][\w./:-]*?)(?::\w[\w.-]*)?@(?P<digest>sha256:[0-9a-f]{64})")
_PARTS = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by digest. host: of its registry; name: of its repository there."""

    host: str
    name: str
    digest: str

    @classmethod
    def of(cls, image: str) -> Reference:
        """As Docker reads it: without a host it is Docker Hub's. ValueError."""
        found = _IMAGE.fullmatch(image)
        if found is None or ".." in found["name"]:
            raise ValueError(f"{image!r} is no image by digest (name@sha256:...)")
        host, slash, rest = found["name"].partition("/")
        if slash and ("." in host or ":" in host or host == "localhost"):
            if host in ("docker.io", "index.docker.io"):
                return cls(HUB, rest if "/" in rest else f"library/{rest}", found["digest"])
            return cls(host, rest, found["digest"])
        return cls(HUB, found["name"] if slash else f"library/{found['name']}", found["digest"])

    @property
    def url(self) -> URL:
        """Of its manifest."""
        return URL(f"{'http' if _here(self.host) else 'https'}://{self.host}/v2/{self.name}/manifests/{self.digest}")


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
        self._session = Session(trust)

    async def close(self) -> None:
        """End every connection. Harmless again."""
        await self._session.close()

    async def has(self, image: str) -> bool:
        """Whether it is there. ValueError (no image by digest), Refused, Unreachable."""
        there = Reference.of(image)
        what = f"{there.host}/{there.name}"
        try:
            async with asyncio.timeout(self._timeout):
                return await self._has(there, what)
        except TimeoutError as error:
            raise Unreachable(f"{what}: no answer within {self._timeout:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"{what}: no connection to {error.host}:{error.port}") from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"{what}: the connection broke before the answer was whole") from error

    async def _has(self, there: Reference, what: str) -> bool:
        status, headers = await self._head(there, "")
        if status == 401:
            login = _login(there.host, await asyncio.to_thread(_docker_config, self._environment))
            asked = headers.getall("WWW-Authenticate", [])
            status, _ = await self._head(there, await self._authorization(there, asked, login, what))
        if status == 200:
            return True
        if status == 404:
            return False
        if status in (401, 403):
            raise Refused(f"{what}: refuses us ({status})")
        raise Unreachable(f"{what}: answered {status}")

    async def _head(self, there: Reference, authorization: str) -> tuple[int, Any]:
        headers = {"Accept": MANIFESTS} | ({"Authorization": authorization} if authorization else {})
        async with self._session.opened.head(there.url, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers

    async def _authorization(self, there: Reference, asked: list[str], login: Credentials, what: str) -> str:
        """The header that the registry asks for. Refused, Unreachable."""
        schemes = {scheme.lower(): rest for scheme, _, rest in (a.partition(" ") for a in asked)}
        if "bearer" in schemes:
            return f"Bearer {await self._token(there, dict(_PARTS.findall(schemes['bearer'])), login, what)}"
        if "basic" in schemes and login.basic:
            return f"Basic {login.basic}"
        raise Refused(f"{what}: wants a login; there is none for {there.host} in Docker's configuration")

    async def _token(self, there: Reference, asked: Mapping[str, str], login: Credentials, what: str) -> str:
        realm = URL(asked.get("realm", ""))
        if realm.scheme != "https" and not (_here(there.host) and _here(realm.authority)):
            raise Refused(f"{what}: names a token service that is not reached over HTTPS ({realm.host or 'none'})")
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
                raise Refused(f"{what}: its token service {realm.authority} refuses us ({answer.status})")
            said = _json(await _read(answer.content, what))
        token = said.get("token") or said.get("access_token")
        if not isinstance(token, str) or not token.isprintable():
            raise Unreachable(f"{what}: its token service {realm.authority} gave no token")
        return token


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
