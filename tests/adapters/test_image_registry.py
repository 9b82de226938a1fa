"""The registry adapter over real sockets: plain registries, those that want a token, and those that misbehave."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from bot.adapters.registry import HUB, Reference, RegistryClient
from bot.playground.cluster import Registry
from bot.ports import Unreachable
from bot.ports.registry import RegistryRefused
from tests.fixtures.served import everything, served

DIGEST = f"sha256:{'a' * 64}"
LOGIN = base64.b64encode(b"bot:s3cr3t").decode()
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves everything with one function; `127.0.0.1:port`."""
    async with AsyncExitStack() as stack:
        yield lambda answer: stack.enter_async_context(served(everything(answer)))


async def has(image: str, config: object = None, timeout: float = 2.0) -> bool:
    client = RegistryClient(timeout, {"DOCKER_AUTH_CONFIG": json.dumps(config or {})})
    try:
        return await client.has(image)
    finally:
        await client.close()


class TokenRegistry:
    """A registry that wants a token from a service, which may want a login."""

    def __init__(self, login: str = "") -> None:
        self.login, self.seen = login, list[tuple[str, str]]()
        self.host = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        self.seen.append((f"{request.method} {request.path}", given.partition(" ")[0]))
        if request.path == "/token":
            form = await request.post()
            renewed = form.get("refresh_token") == "renew-me"
            if self.login and given != f"Basic {self.login}" and not renewed:
                return web.json_response({}, status=401)
            wanted = str(form.get("scope") or request.query.get("scope"))
            return web.json_response({"token": f"token-for-{wanted}"})
        if given != "Bearer token-for-repository:shop/api:pull":
            realm = f'Bearer realm="http://{self.host}/token",service="registry",scope="repository:shop/api:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        return web.Response()


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "host", "name"),
    [
        ("registry.example/shop/api", "registry.example", "shop/api"),
        ("registry.example:5000/api:2.4.0", "registry.example:5000", "api"),
        ("localhost/api", "localhost", "api"),
        ("shop/api", HUB, "shop/api"),
        ("nginx", HUB, "library/nginx"),
        ("docker.io/nginx:1", HUB, "library/nginx"),
    ],
)
def test_an_image_names_its_registry_as_for_docker(image: str, host: str, name: str) -> None:
    assert Reference.of(f"{image}@{DIGEST}") == Reference(host, name, DIGEST)


@pytest.mark.parametrize(
    "image", ["shop/api:2.4.0", f"a/../b@{DIGEST}", f"@{DIGEST}", "api@sha256:12", f"a b@{DIGEST}"]
)
async def test_what_is_no_image_by_digest_is_not_asked_for(image: str) -> None:
    with pytest.raises(ValueError, match="no image by digest"):
        await has(image)


def test_only_this_machine_is_asked_over_plain_http() -> None:
    assert Reference.of(f"registry.example/api@{DIGEST}").url.scheme == "https"
    assert Reference.of(f"127.0.0.1:5000/api@{DIGEST}").url.scheme == "http"


# -- answers -------------------------------------------------------------------------------------------------------


async def test_an_image_is_there_until_it_is_removed() -> None:
    async with Registry() as registry:
        image = registry.add(f"{registry.host}/shop/api", "2.4.0", ["true"])
        assert await has(image)
        assert registry.requests == [f"HEAD shop/api {image.partition('@')[2]}"]
        registry.remove(f"{registry.host}/shop/api", image.partition("@")[2])
        assert not await has(image)


@pytest.mark.parametrize("status", [302, 429, 500, 503])
async def test_another_answer_says_nothing(serve: Serve, status: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    with pytest.raises(Unreachable, match=f"answered {status}"):
        await has(f"{await serve(answer)}/shop/api@{DIGEST}")


# -- redirects, and what an image is: BR-22 ---------------------------------------------------------------------------


REDIRECT = (Path(__file__).parents[1] / "cases/kubernetes/br22-redirect.txt").read_text(encoding="utf-8")
"""What a vanity name answers."""


@pytest.mark.parametrize("status", [302, int(REDIRECT.partition("HTTP/1.1 3")[2][:2]) + 300])
async def test_a_redirect_is_followed_without_credentials(serve: Serve, status: int) -> None:
    heard: list[tuple[str, str]] = []

    async def real(request: web.Request) -> web.StreamResponse:
        heard.append((request.method, request.headers.get("Authorization", "")))
        return web.Response()

    other = await serve(real)

    async def vanity(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Basic {LOGIN}":
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=x"})
        return web.Response(status=status, headers={"Location": f"http://{other}{request.path}"})

    front = await serve(vanity)
    assert await has(f"{front}/shop/api@{DIGEST}", {"auths": {front: {"auth": LOGIN}, other: {"auth": LOGIN}}})
    assert heard == [("HEAD", "")]


@pytest.mark.parametrize("where", ["http://registry.example/x", "ftp://127.0.0.1/x", "http://a:b@127.0.0.1/x", ""])
async def test_a_redirect_into_the_clear_or_to_nowhere_is_not_followed(serve: Serve, where: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": where})

    with pytest.raises(Unreachable, match="answered 307"):
        await has(f"{await serve(answer)}/shop/api@{DIGEST}")


async def test_where_head_is_not_allowed_the_manifest_is_got(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"schemaVersion": 2}) if request.method == "GET" else web.Response(status=405)

    assert await has(f"{await serve(answer)}/shop/api@{DIGEST}")


async def test_an_index_goes_by_its_own_digest_and_its_platforms_and_is_asked_for_once(serve: Serve) -> None:
    asked: list[str] = []
    platform = f"sha256:{'c' * 64}"
    index = json.dumps({"schemaVersion": 2, "manifests": [{"digest": platform}]}).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if "application/vnd.oci.image.index.v1+json" not in request.headers["Accept"]:
            return web.Response(status=404)
        return web.Response(body=index, content_type="application/vnd.oci.image.index.v1+json")

    host = await serve(answer)
    client = RegistryClient(2.0, {})
    try:
        for _ in range(2):
            assert await client.digests(f"{host}/shop/api@{DIGEST}") == {DIGEST, platform}
        own = f"sha256:{hashlib.sha256(index).hexdigest()}"
        assert await client.digests(f"{host}/shop/api:2.4.0") == {own, platform}
    finally:
        await client.close()
    assert asked == [f"/v2/shop/api/manifests/{DIGEST}", "/v2/shop/api/manifests/2.4.0"]


async def test_a_registry_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"127.0.0.1:9/shop/api: no connection to 127.0.0.1:9"):
        await has(f"127.0.0.1:9/shop/api@{DIGEST}")


async def test_a_registry_that_hangs_is_unreachable_in_time(serve: Serve) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Unreachable, match=r"no answer within 0.1 s"):
        await has(f"{await serve(hang)}/shop/api@{DIGEST}", timeout=0.1)


async def test_a_refusal_is_told_as_one(serve: Serve) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=403)

    with pytest.raises(RegistryRefused, match=r"shop/api: refuses us \(403\)"):
        await has(f"{await serve(refuse)}/shop/api@{DIGEST}")


# -- logins --------------------------------------------------------------------------------------------------------


async def test_a_token_is_fetched_where_the_registry_wants_one(serve: Serve) -> None:
    registry = TokenRegistry()
    registry.host = await serve(registry.answer)
    assert await has(f"{registry.host}/shop/api@{DIGEST}")
    manifest = f"HEAD /v2/shop/api/manifests/{DIGEST}"
    assert registry.seen == [(manifest, ""), ("GET /token", ""), (manifest, "Bearer")]


@pytest.mark.parametrize(
    "entry", [{"auth": LOGIN}, {"username": "bot", "password": "s3cr3t"}, {"identitytoken": "renew-me"}]
)
async def test_the_token_service_is_given_the_login_of_dockers_configuration(
    serve: Serve, entry: dict[str, str]
) -> None:
    registry = TokenRegistry(LOGIN)
    registry.host = await serve(registry.answer)
    assert await has(f"{registry.host}/shop/api@{DIGEST}", {"auths": {registry.host: entry}})


async def test_a_login_that_is_missing_is_a_refusal(serve: Serve) -> None:
    registry = TokenRegistry(LOGIN)
    registry.host = await serve(registry.answer)
    with pytest.raises(RegistryRefused, match=r"its token service .* refuses us \(401\)"):
        await has(f"{registry.host}/shop/api@{DIGEST}", {"auths": {"registry.example": {"auth": LOGIN}}})


async def test_a_registry_that_wants_a_login_itself_gets_it(serve: Serve) -> None:
    async def basic(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == f"Basic {LOGIN}":
            return web.Response()
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="registry"'})

    host = await serve(basic)
    assert await has(f"{host}/shop/api@{DIGEST}", {"auths": {f"https://{host}": {"auth": LOGIN}}})
    with pytest.raises(RegistryRefused, match="wants a login; there is none for"):
        await has(f"{host}/shop/api@{DIGEST}")


async def test_credentials_go_to_no_token_service_over_plain_http(serve: Serve) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="http://evil.example/token"'})

    host = await serve(elsewhere)
    with pytest.raises(RegistryRefused, match=r"not reached over HTTPS \(evil.example\)") as refused:
        await has(f"{host}/shop/api@{DIGEST}", {"auths": {host: {"auth": LOGIN}}})
    assert LOGIN not in str(refused.value)


@pytest.mark.parametrize("body", ["[]", "no json", '{"token": 1}', '{"token": "a\\nb"}'])
async def test_a_token_service_that_gives_no_token_says_nothing(serve: Serve, body: str) -> None:
    host = ""

    async def odd(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.Response(text=body)
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{host}/token"'})

    host = await serve(odd)
    with pytest.raises(Unreachable, match="gave no token"):
        await has(f"{host}/shop/api@{DIGEST}")


async def test_a_login_is_read_anew_for_each_look(serve: Serve, tmp_path: Path) -> None:
    registry = TokenRegistry(LOGIN)
    registry.host = await serve(registry.answer)
    client = RegistryClient(2.0, {"DOCKER_CONFIG": str(tmp_path)})
    with pytest.raises(RegistryRefused):
        await client.has(f"{registry.host}/shop/api@{DIGEST}")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": LOGIN}}}))
    assert await client.has(f"{registry.host}/shop/api@{DIGEST}")
    await client.close()
