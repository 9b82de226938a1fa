"""Requests that are made by the thousand go to the store directly; what is not plain is boto3's to ask again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bot.adapters.aws.account import Access, Account
from bot.adapters.aws.buckets import Folder, Headed, Objects
from bot.adapters.aws.sites import S3Sites
from bot.ports import Unreachable
from bot.ports.builds import Headers
from bot.ports.sites import held
from tests.fixtures.frontend_bucket import BAD, CREDENTIALS, GOOD, Bucket, manifest_of
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.s3 import spoiled
from tests.fixtures.served import everything, served

SITE = Folder("shop", "www")
COPIED = "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"
FAILED = "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>"
ODD = ("a b+c%20d.js", "caf\u00e9/\u4f60\u597d.js", "x?y=1&z#w.js", "plain~(1)!'*.js")


class Store:
    """Answers as the test says; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[str] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        own = "Boto3" not in request.headers.get("User-Agent", "")
        self.asked.append(f"{'own' if own else 'boto3'} {request.method}")
        await request.read()
        return self.answers.pop(0)


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    there = Store()
    async with served(everything(there.take)) as at:
        there.url = f"http://{at}"
        yield there


@pytest.fixture
async def objects(store: Store) -> AsyncIterator[Objects]:
    account = Account(Access("eu-central-1", store.url, key="S3_KEY", secret="S3_SECRET", timeout=5.0))
    yield Objects(account)
    await account.close()


async def recorded(command: str) -> None:
    pass


async def told(done: int) -> None:
    pass


def xml(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="application/xml", headers=headers)


async def test_a_copy_that_failed_after_its_200_is_asked_for_again(store: Store, objects: Objects) -> None:
    store.answers = [xml(200, FAILED), xml(200, COPIED)]
    await objects.copy(SITE, "a", "", SITE, "b", {})
    assert store.asked == ["own PUT", "boto3 PUT"]


@pytest.mark.parametrize("status", [500, 503, 429, 403, 301, 400])
async def test_what_is_no_plain_answer_is_asked_again_by_boto3(store: Store, objects: Objects, status: int) -> None:
    good = web.Response(headers={"ETag": '"e"', "Content-Type": "text/css", "Content-Length": "0"})
    store.answers = [xml(status, ""), good]
    assert await objects.head(SITE, "a") == Headed(0, "e", Headers("text/css"))
    assert store.asked == ["own HEAD", "boto3 HEAD"]


async def test_a_bucket_that_lies_elsewhere_is_left_to_boto3_from_then_on(store: Store, objects: Objects) -> None:
    store.answers = [xml(301, ""), xml(404, ""), xml(404, "")]
    assert await objects.head(SITE, "a") is None
    assert await objects.head(SITE, "b") is None
    assert store.asked == ["own HEAD", "boto3 HEAD", "boto3 HEAD"]


async def test_a_larger_object_than_was_promised_is_not_read(store: Store, objects: Objects) -> None:
    store.answers = [web.Response(body=bytes(3_000_000)), web.Response(body=bytes(3_000_000))]
    with pytest.raises(ValueError, match=r"read s3://shop/www/a: 3000000 bytes, more than 1000"):
        await objects.small(SITE, "a", 1000)


async def test_files_of_any_name_come_by_one_request_each_with_their_headers(bucket: Bucket) -> None:
    files = {**dict.fromkeys(ODD, b"1"), "index.html": b"<html>"}
    build, manifest = bucket.build("2.4.0", files), manifest_of(files)
    sites, through = S3Sites({"www": bucket.target()}), list[str]()

    await sites.manifest("www", build)
    account = sites.account("www")
    account.client("s3").meta.events.register("before-call.s3", lambda model, **_: through.append(model.name))
    await sites.bind(recorded).add("www", build, [*manifest.files.values()], told)
    assert bucket.whole(files, manifest) == []
    assert await sites.differing("www", manifest) == {}
    assert {*through} == {"ListObjectsV2"}  # what is there; the rest is signed only
    await sites.close()


@pytest.fixture(params=["ignores them", "answers 501"])
async def careless(bucket: Bucket, request: pytest.FixtureRequest) -> AsyncIterator[Bucket]:
    """The same bucket through a store that knows no conditions."""
    conditions = {"If-Match", "If-None-Match"}

    async def refuse(asked: web.Request, body: bytes) -> web.StreamResponse | None:
        refused = request.param == "answers 501" and conditions & {*asked.headers}
        return xml(501, "<Error><Code>NotImplemented</Code></Error>") if refused else None

    async with spoiled(bucket, refuse, conditions) as found:
        yield found


async def test_where_a_store_knows_no_conditions_each_write_is_looked_at_just_before(careless: Bucket) -> None:
    good, bad = careless.build("2.4.0", GOOD), careless.build("2.4.1", BAD)
    careless.publish(BAD)
    sites, then = S3Sites({"www": careless.target()}).bind(recorded), manifest_of(GOOD).files
    for key in ("config.json", "index.html"):
        now = (await sites.look("www", [key]))[key]
        await sites.replace("www", key, now, held(then[key]), (good, bad))
        assert careless.there()[key][0] == GOOD[key]
    assert sites.account("www").conditional is False
    now = (await sites.look("www", ["logo.png"]))["logo.png"]
    careless.put("www/logo.png", b"somebody else's")
    with pytest.raises(Unreachable, match=r"www/logo\.png was changed by somebody else just now"):
        await sites.replace("www", "logo.png", now, held(then["logo.png"]), (good, bad))
    assert careless.there()["logo.png"][0] == b"somebody else's"
    await sites.close()


async def test_a_store_that_knows_conditions_is_found_out_by_one_write_and_then_held_to_them(bucket: Bucket) -> None:
    good, bad = bucket.build("2.4.0", GOOD), bucket.build("2.4.1", BAD)
    bucket.publish(BAD)
    sites, then = S3Sites({"www": bucket.target()}).bind(recorded), manifest_of(GOOD).files
    now = await sites.look("www", ["config.json", "logo.png"])
    await sites.replace("www", "config.json", now["config.json"], held(then["config.json"]), (good, bad))
    assert sites.account("www").conditional is True
    bucket.put("www/logo.png", b"somebody else's")
    with pytest.raises(Unreachable, match=r"www/logo\.png was changed by somebody else just now"):
        await sites.replace("www", "logo.png", now["logo.png"], held(then["logo.png"]), (good, bad))
    await sites.close()
