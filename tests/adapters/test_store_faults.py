"""Stores that answer slowly, with 503, with a torn connection, or not at all; and builds of many files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from aiohttp import web

from bot.adapters.aws.account import ATTEMPTS, Access
from bot.adapters.aws.buckets import Folder, ListedObject
from bot.adapters.aws.known_objects import KnownObjects
from bot.adapters.aws.sites import S3Sites, StoredSite
from bot.adapters.backups.shelves import ProcessMemory
from bot.ports import Unreachable
from bot.ports.backups import Memory
from bot.ports.builds import MANIFEST_LIMIT, Manifest
from bot.ports.sites import Missing, StoreRefused, held
from tests.fixtures.frontend_bucket import CREDENTIALS, Bucket, manifest_of
from tests.fixtures.s3 import PAGE
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.served import Answer, everything, served
from tests.fixtures.waiting import longest_turn


class Store:
    """A store that answers with one function. asked: how often."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.asked = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        assert self.answer is not None
        return await self.answer(request)


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    there = Store()
    async with served(everything(there.take)) as at:
        there.url = f"http://{at}"
        yield there


def sites(store: Store, timeout: float = 20.0, memory: Memory | None = None, **more: str) -> S3Sites:
    given = {"key": "S3_KEY", "secret": "S3_SECRET"} | more
    access = Access("eu-central-1", store.url, timeout=timeout, **given)
    return S3Sites({"www": StoredSite(Folder("shop", "www"), Folder("shop"), access)}, memory=memory)


def refusing(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>Please wait.</Message></Error>"

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/xml")

    return answer


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (503, "SlowDown", Unreachable, "list s3://shop/www: SlowDown, Please wait."),
        (500, "InternalError", Unreachable, "InternalError"),
        (403, "AccessDenied", StoreRefused, "list s3://shop/www: AccessDenied, Please wait."),
        (403, "SignatureDoesNotMatch", StoreRefused, "SignatureDoesNotMatch"),
        (400, "ExpiredToken", StoreRefused, "ExpiredToken"),
        (404, "NoSuchBucket", Missing, "NoSuchBucket"),
    ],
)
async def test_what_a_store_answers_is_told_in_our_words(
    store: Store, status: int, code: str, error: type[Exception], words: str
) -> None:
    store.answer = refusing(status, code)
    s3 = sites(store)
    with pytest.raises(error) as told:
        await s3.differing("www", manifest_of({"index.html": b"1"}))
    assert words in str(told.value)
    assert store.asked == (ATTEMPTS if status >= 500 else 1)
    assert words in (await s3.ping())["www"]
    await s3.close()


async def test_a_store_that_hangs_holds_up_nobody_else_and_is_given_up_in_time(store: Store) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    store.answer = hang
    s3 = sites(store, timeout=0.3)
    began = time.monotonic()
    asking = asyncio.create_task(s3.differing("www", manifest_of({"index.html": b"1"})))
    await asyncio.sleep(0.05)
    assert not asking.done()  # the loop is free meanwhile
    with pytest.raises(Unreachable, match="list s3://shop/www: no answer in time"):
        await asking
    assert time.monotonic() - began < 20
    await s3.close()


async def test_a_torn_connection_is_unreachable(store: Store) -> None:
    async def tear(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "ETag": '"x"'})
        await response.prepare(request)
        await response.write(b"<half")
        assert request.transport is not None
        request.transport.close()
        return response

    store.answer = tear
    s3 = sites(store)
    for call in (s3.differing("www", manifest_of({"index.html": b"1"})), s3.read("www", "index.html")):
        with pytest.raises(Unreachable):
            await call
    await s3.close()


async def test_a_variable_that_is_not_set_is_named_and_nobody_is_asked(store: Store) -> None:
    store.answer = refusing(500, "x")
    s3 = sites(store, secret="S3_NOT_SET")
    assert (await s3.ping())["www"] == "S3_NOT_SET is not set in the bot's environment"
    assert store.asked == 0
    await s3.close()


# -- many files ----------------------------------------------------------------------------------------------------


def test_a_manifest_of_twenty_thousand_files_is_read_in_a_second() -> None:
    names = ["index.html", *(f"assets/chunk {n}+%-{n:08x}f.js" for n in range(20_000))]
    text = manifest_of(dict.fromkeys(names, b"1")).dump()
    assert len(text) < MANIFEST_LIMIT
    began = time.process_time()
    manifest = Manifest.load(text)
    assert time.process_time() - began < 3
    assert len(manifest.files) == 20_001 and manifest.dump() == text


def listing(names: Sequence[str], etag: str) -> Answer:
    """Pages of a thousand names."""

    async def answer(request: web.Request) -> web.Response:
        first = int(request.query.get("continuation-token", "0"))
        items = "".join(
            f"<Contents><Key>www/{quote(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>1</Size></Contents>"
            for name in names[first : first + 1000]
        )
        more = first + 1000 < len(names)
        token = f"<NextContinuationToken>{first + 1000}</NextContinuationToken>" if more else ""
        head = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        return web.Response(text=f"<ListBucketResult>{head}{items}</ListBucketResult>", content_type="application/xml")

    return answer


async def test_twenty_thousand_files_that_are_known_are_compared_by_twenty_requests_and_hold_nobody_up(
    store: Store,
) -> None:
    names = ["index.html", *(f"assets/chunk {n}+%-{n:08x}f.js" for n in range(19_999))]
    manifest, memory, known = manifest_of(dict.fromkeys(names, b"1")), ProcessMemory(), KnownObjects()
    etag, modified = manifest.files["index.html"].md5, datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    there = ListedObject(1, etag, modified, settled=True)
    for f in manifest.files.values():
        known.learn((store.url, "s3://shop/www"), f.key, there, held(f))
    await known.keep((store.url, "s3://shop/www"), memory, dict.fromkeys(names, there))
    store.answer = listing(names, etag)
    s3 = sites(store, memory=memory)
    async with longest_turn() as turns:
        assert await s3.differing("www", manifest) == {}
    assert store.asked == 20
    assert max(turns) < 0.3, f"the loop was held for {max(turns):.2f} s of the processor"
    await s3.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('"format": 1', "'format': 2"),
        ('"index.html": {', '"../index.html": {'),
        ('"index.html": {', '"/index.html": {'),
        ('"index.html": {', '"a//b.html": {'),
        ('"size": 1', '"size": -1'),
        ('"type": "text/html', '"type": "\\ntext/html'),
        ('"files"', '"filse"'),
    ],
)
def test_a_manifest_that_is_none_is_refused_whole(change: str, words: str) -> None:
    text = manifest_of({"index.html": b"1"}).dump().decode()
    assert change in text
    with pytest.raises(ValueError, match=r"frontend-manifest\.json is not one"):
        Manifest.load(text.replace(change, words.replace("'", '"'), 1).encode())


async def test_listings_of_more_than_a_page_are_read_to_their_end(bucket: Bucket) -> None:
    files = {"index.html": b"1", **{f"a/{n:04}-1a2b3c4d.js": b"1" for n in range(2 * PAGE + 1)}}
    manifest = manifest_of(files)
    for key in files:
        bucket.put(f"www/{key}", b"1", manifest.files[key].headers)
    first = bucket.s3.list_objects_v2(Bucket=bucket.name, Prefix="www/")
    assert first["IsTruncated"] and len(first["Contents"]) == PAGE, "else this shows nothing"
    s3 = S3Sites({"www": bucket.target()})
    assert await s3.differing("www", manifest) == {}
    await s3.close()
