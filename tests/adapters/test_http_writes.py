"""HTTP targets: every kind of write, secrets that stand in the environment, and whose certificates are trusted."""

from __future__ import annotations

import asyncio
import shlex
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.async_app import AsyncApp

from bot.adapters.http import HttpEndpoint
from bot.adapters.registry import RegistryClient
from bot.catalogue import load_catalogue
from bot.located import Faults
from bot.node.paging import Pager
from bot.ports import Unreachable
from bot.redaction.redactor import Redactor
from bot.settings import Settings, SettingsError
from bot.slack.hear.socket import Socket
from bot.slack.publish.calls import Calls, Down, quiet_client
from bot.targets.factory import adapters_of
from bot.tls import trust
from tests.adapters.test_http import Commands, Reach, Serve, commands, reach, serve
from tests.fixtures.served import everything, served
from tests.fixtures.waiting import until

__all__ = ["commands", "reach", "serve"]

TLS = Path(__file__).parent.parent / "tls"


# -- the other writes --------------------------------------------------------------------------------------------------

Heard = list[tuple[str, str, dict[str, str], str]]


async def _hears(serve: Serve, heard: Heard, status: int = 200) -> str:
    async def answer(request: web.Request) -> web.Response:
        heard.append((request.method, request.path, dict(request.headers), await request.text()))
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 307 else {})

    return await serve(answer)


async def test_each_write_is_recorded_then_sent_once_in_its_own_form(
    serve: Serve, reach: Reach, commands: Commands
) -> None:
    heard: Heard = []
    http = reach(it=HttpEndpoint(await _hears(serve, heard)))
    await http.patch("it", "/flags/x", {"on": False}, if_match='"1"')
    await http.post("it", "/purge", {"paths": ["/"]}, key="run-7/purge/1")
    await http.delete("it", "/flags/x", if_match='"2"', key="run-7/x/1")
    assert [(m, p, body) for m, p, _, body in heard] == [
        ("PATCH", "/flags/x", '{"on": false}'), ("POST", "/purge", '{"paths": ["/"]}'), ("DELETE", "/flags/x", ""),
    ]  # fmt: skip
    patch, post, delete = (h for _, _, h, _ in heard)
    assert patch["Content-Type"] == "application/merge-patch+json" and patch["If-Match"] == '"1"'
    assert post["Idempotency-Key"] == "run-7/purge/1" and delete["If-Match"] == '"2"'
    assert [c.split()[2] for c in commands] == ["PATCH", "POST", "DELETE"]
    assert "-d" not in shlex.split(commands[2])
    with pytest.raises(ValueError, match="done twice"):
        await http.post("it", "/purge", {}, key=" ")
    assert len(heard) == 3


@pytest.mark.parametrize("write", ["put", "patch", "post", "delete"])
async def test_no_write_follows_a_redirect_and_none_is_sent_unrecorded(serve: Serve, reach: Reach, write: str) -> None:
    async def superseded(command: str) -> None:
        raise RuntimeError("superseded")

    heard: Heard = []
    http = reach(it=HttpEndpoint(await _hears(serve, heard, 307)))
    given: tuple[Any, ...] = ("it", "/x") if write == "delete" else ("it", "/x", {"a": 1})
    key = {"key": "k"} if write == "post" else {}
    assert (await getattr(http, write)(*given, **key)).status == 307
    with pytest.raises(RuntimeError, match="superseded"):
        await getattr(http.bind(superseded), write)(*given, **key)
    assert [path for _, path, _, _ in heard] == ["/x"]


async def test_secrets_come_from_the_environment_and_are_recorded_by_their_variables(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "sesame-open-1")
    monkeypatch.setenv("SHOP_KEY", "sesame-open-2")
    heard: Heard = []
    text = CATALOGUE.replace("URL", await _hears(serve, heard))
    knows, recorded = Redactor(), list[str]()
    adapters = adapters_of(Settings(), load_catalogue(text, "r"), knows)["shop"]

    async def record(command: str) -> None:
        recorded.append(command)

    http = adapters.http.bind(record)
    await http.put("api", "/x", {"release": "2.4.0"})
    await http.put("api", "/y", {"note": "sesame-open-2"})
    assert heard[0][2]["Authorization"] == "Bearer sesame-open-1" and heard[0][2]["X-Api-Key"] == "sesame-open-2"
    assert "X-Api-Key: $SHOP_KEY" in recorded[0] and '--oauth2-bearer "$SHOP_TOKEN"' in recorded[0]
    assert knows.text(recorded[0]) == recorded[0] and "sesame" not in "".join(recorded)
    assert "-d @body.json" in recorded[1] and recorded[1].endswith("# body.json: it holds a secret, 25 bytes")
    assert knows.text("it was sesame-open-1") == "it was [redacted:secret]"
    await adapters.close()


async def test_a_variable_that_is_not_set_is_named_and_nothing_is_sent(serve: Serve) -> None:
    heard: Heard = []
    adapters = adapters_of(Settings(), load_catalogue(CATALOGUE.replace("URL", await _hears(serve, heard)), "r"))[
        "shop"
    ]
    assert "SHOP_KEY, SHOP_TOKEN: not set" in (await adapters.ping())["api"]
    with pytest.raises(Unreachable, match="SHOP_TOKEN"):
        await adapters.http.bind(_recorded).put("api", "/x", {})
    await adapters.close()
    assert heard == []


async def _recorded(command: str) -> None:
    """Kept nowhere."""


CATALOGUE = """\
services:
  shop: {targets: {api: {http: "URL", token: SHOP_TOKEN, headers: {X-Api-Key: SHOP_KEY}}}}
roles: {commander: {people: [ana]}, approver: {people: [cho]}}
people: {ana: Ana, cho: Cho}
"""


@pytest.mark.parametrize(
    ("was", "now", "what"),
    [
        ("SHOP_TOKEN", "sesame-open-1", "name of an environment variable"),
        ("X-Api-Key", "Idempotency-Key", "a header of yours"),
    ],
)
def test_a_secret_or_a_header_of_ours_in_the_catalogue_is_a_mistake(was: str, now: str, what: str) -> None:
    with pytest.raises(Faults, match=what):
        load_catalogue(CATALOGUE.replace("URL", "http://api").replace(was, now), "r")


# -- whom to trust -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def private(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server with a certificate of a company's own authority; variables that libraries read are unset."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/link":
            link = web.WebSocketResponse()
            await link.prepare(request)
            async for _ in link:
                pass
            return link
        return web.json_response({"ok": True, "status": "success"})

    async with served(everything(answer), context) as at:
        yield f"https://{at}"


@pytest.mark.parametrize("trusted", [True, False])
async def test_one_setting_says_which_authority_every_client_trusts(private: str, trusted: bool) -> None:
    settings = Settings(ca_file=TLS / "cert.pem" if trusted else None)
    given = trust(settings.ca_file)
    text = CATALOGUE.replace("URL", private).replace(", token: SHOP_TOKEN, headers: {X-Api-Key: SHOP_KEY}", "")
    adapters = adapters_of(settings, load_catalogue(text, "r"))["shop"]
    slack = quiet_client("xoxb-1", f"{private}/api/", given)

    async def goes(call: Awaitable[object]) -> bool:
        try:
            return bool(await call) or True
        except aiohttp.ClientError:
            return False

    assert (await adapters.ping() == {"api": ""}) is trusted
    assert (await Pager(f"{private}/v2", "key", trust=given).ping() == "") is trusted
    assert await goes(slack.auth_test()) is trusted
    await adapters.close()


@pytest.fixture
async def beside(private: str) -> AsyncIterator[str]:
    """A server on this machine that sends on to the other one: to upload, to a socket, to where images are."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/api/files.getUploadURLExternal":
                return web.json_response({"ok": True, "upload_url": f"{private}/upload", "file_id": "F1"})
            case "/api/apps.connections.open":
                return web.json_response({"ok": True, "url": f"wss{private.removeprefix('https')}/link"})
        return web.Response(status=307, headers={"Location": f"{private}{request.path}"})

    async with served(everything(answer)) as at:
        yield at


@pytest.mark.parametrize("trusted", [True, False])
async def test_what_others_send_the_bot_on_to_is_checked_as_well(beside: str, trusted: bool) -> None:
    given = trust(TLS / "cert.pem" if trusted else None)
    image, images = f"{beside}/shop/api@sha256:{'a' * 64}", RegistryClient(10.0, {}, given)
    calls = Calls(quiet_client("xoxb-1", f"http://{beside}/api/", given), 10.0)
    socket = Socket(AsyncApp(token="xoxb-1", signing_secret="x"), "xapp-1", f"http://{beside}/api/", trust=given)
    running = asyncio.create_task(socket.run())
    try:
        if trusted:
            assert await images.has(image) and await calls.upload("a.md", b"text") == "F1"
            await until(lambda: socket.state == "")
        else:
            with pytest.raises(Unreachable, match="its certificate is not trusted"):
                await images.has(image)
            with pytest.raises(Down, match=r"bytes of a\.md could not be sent: .*certificate"):
                await calls.upload("a.md", b"text")
            await until(lambda: "certificate" in socket.state)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await socket.close()
        await images.close()


def test_a_file_without_certificates_is_told_by_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of the kind")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(SettingsError, match=r"ROLLBACK_CA_FILE: .*holds no certificates"):
            trust(tmp_path / name)
