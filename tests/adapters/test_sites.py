"""Sites in S3, over a real S3 server: what is read, what is written, and what is typed for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web

from bot.adapters.aws.buckets import ListedObject
from bot.adapters.aws.known_objects import KnownObjects
from bot.adapters.aws.sites import S3Sites
from bot.adapters.backups.shelves import ProcessMemory
from bot.ports import ReadOnly, Unreachable
from bot.ports.builds import Build, Headers
from bot.ports.sites import Missing, StoredObject, StoreRefused, held
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket, bucket_on, manifest_of
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.s3 import spoiled
from tests.fixtures.waiting import until

Named = list[str]


@pytest.fixture
async def commands() -> Named:
    return []


@pytest.fixture
async def sites(bucket: Bucket, commands: Named) -> AsyncIterator[S3Sites]:
    async def record(command: str) -> None:
        commands.append(command)

    s3 = S3Sites({"www": bucket.target()})
    yield s3.bind(record)
    await s3.close()


async def nothing(done: int) -> None:
    pass


async def test_a_manifest_is_held_to_its_digest(bucket: Bucket, sites: S3Sites) -> None:
    build = bucket.build("2.4.0", GOOD)
    assert (await sites.manifest("www", build)).files.keys() == GOOD.keys()
    with pytest.raises(ValueError, match="is another one than was registered"):
        await sites.manifest("www", Build(build.prefix, f"sha256:{'0' * 64}"))
    with pytest.raises(Missing, match=r"builds/9 has no frontend-manifest\.json"):
        await sites.manifest("www", Build("builds/9", build.digest))


async def test_what_is_missing_cut_or_other_in_a_build_is_named(bucket: Bucket, sites: S3Sites) -> None:
    build = bucket.build("2.4.0", GOOD)
    manifest = await sites.manifest("www", build)
    assert await sites.incomplete("www", build, manifest) == {}
    bucket.put("builds/2.4.0/logo.png", b"\x89PNG 0ld")
    bucket.put("builds/2.4.0/config.json", b"{}")
    bucket.s3.delete_object(Bucket=bucket.name, Key="builds/2.4.0/index.html")
    assert await sites.incomplete("www", build, manifest) == {
        "index.html": "missing",
        "config.json": "2 bytes, not 32",
        "logo.png": "other content than its manifest says",
    }


async def test_content_is_compared_where_an_etag_is_no_digest(bucket: Bucket, sites: S3Sites) -> None:
    manifest = manifest_of({"index.html": b"1", "big.bin": b"x" * (6 * 1024 * 1024)})
    upload = bucket.s3.create_multipart_upload(Bucket=bucket.name, Key="www/big.bin", ContentType="a/b")
    part = bucket.s3.upload_part(
        Bucket=bucket.name, Key="www/big.bin", PartNumber=1, UploadId=upload["UploadId"], Body=b"x" * (6 * 1024 * 1024)
    )
    bucket.s3.complete_multipart_upload(
        Bucket=bucket.name, Key="www/big.bin", UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    found = await sites.differing("www", manifest)
    assert found["index.html"] is None
    there = found["big.bin"]
    assert there is not None and there.sha256 == manifest.files["big.bin"].sha256  # only its headers are wrong


async def test_wrong_headers_alone_make_a_file_differ(bucket: Bucket, sites: S3Sites) -> None:
    manifest = manifest_of(GOOD)
    bucket.publish(GOOD)
    assert await sites.differing("www", manifest) == {}
    f = manifest.files["logo.png"]
    bucket.put("www/logo.png", GOOD["logo.png"], Headers("image/png", "max-age=1"))
    assert await sites.differing("www", manifest) == {
        "logo.png": StoredObject(f.size, f.sha256, Headers("image/png", "max-age=1"))
    }


async def test_headers_that_change_later_are_seen_although_they_were_known(bucket: Bucket, sites: S3Sites) -> None:
    manifest = manifest_of(GOOD)
    bucket.publish(GOOD)
    await sites.differing("www", manifest)
    bucket.s3.copy_object(
        Bucket=bucket.name, Key="www/index.html", CopySource={"Bucket": bucket.name, "Key": "www/index.html"},
        MetadataDirective="REPLACE", ContentType="text/html", CacheControl="max-age=600",
    )  # fmt: skip
    assert [*await sites.differing("www", manifest)] == ["index.html"]


async def test_what_one_process_has_seen_another_does_not_ask_for_again(bucket: Bucket) -> None:
    build, manifest, memory, asked = bucket.build("2.4.0", GOOD), manifest_of(GOOD), ProcessMemory(), Named()
    bucket.publish(GOOD)

    async def count(request: web.Request, body: bytes) -> None:
        asked.append(request.method)

    async with spoiled(bucket, count) as counted:
        first = S3Sites({"www": counted.target()}, memory=memory)
        gone = Build("builds/gone", build.digest)
        assert await first.look_over("www", [build, gone]) == len(GOOD)
        await until(lambda: _nothing_new(first, build))  # what was written just now may change once more, unseen
        await first.close()
        bucket.put("www/logo.png", GOOD["logo.png"], Headers("image/png", "max-age=1"))
        asked.clear()
        second = S3Sites({"www": counted.target()}, memory=memory)
        await second.manifest("www", build)
        assert [*await second.differing("www", manifest)] == ["logo.png"]
        assert asked.count("HEAD") == 1
        await second.close()


async def test_of_a_switched_site_the_builds_own_files_are_known(bucket: Bucket) -> None:
    build, memory, asked = bucket.build("2.4.0", GOOD, served=True), ProcessMemory(), Named()

    async def count(request: web.Request, body: bytes) -> None:
        asked.append(request.method)

    async with spoiled(bucket, count) as counted:
        target = counted.target(switch="cdn")
        first, second = S3Sites({"www": target}, memory=memory), S3Sites({"www": target}, memory=memory)
        assert await first.look_over("www", [build]) == len(GOOD)
        await until(lambda: _nothing_new(first, build))
        asked.clear()
        assert await second.incomplete("www", build, await second.manifest("www", build)) == {}
        assert "HEAD" not in asked
        await first.close()
        await second.close()


async def _nothing_new(sites: S3Sites, build: Build) -> bool:
    return await sites.look_over("www", [build]) == 0


@pytest.mark.parametrize("text", ["", "x", "c$@(M;0p8C", "{}"])
async def test_a_kept_text_that_is_none_is_as_if_nothing_was_kept(text: str) -> None:
    memory, known, at = ProcessMemory(), KnownObjects(), ("aws", "s3://shop/www")
    there = {"a": ListedObject(1, "0" * 32, 1.0, settled=True)}
    known.learn(at, "a", there["a"], StoredObject(1, "f" * 64, Headers("text/css")))
    await known.keep(at, memory, there)
    (name,) = memory.texts
    memory.texts[name] = text
    other = KnownObjects()
    await other.recall(at, memory)
    assert other.unknown(at, ["a"], there) == ["a"]
    await known.keep(at, memory, there)
    await other.recall(at, memory)
    assert other.held(at, "a", there["a"]) == StoredObject(1, "f" * 64, Headers("text/css"))
    assert other.held(at, "a", ListedObject(1, "1" * 32, 1.0, settled=True)) is None


async def test_added_files_have_the_headers_of_the_manifest(bucket: Bucket, sites: S3Sites, commands: Named) -> None:
    packed = {"index.html": b"1", "app-1a2b3c4d.js": b"\x1f\x8bpacked"}
    manifest = manifest_of(packed, encodings={"app-1a2b3c4d.js": "gzip"})
    build = bucket.build("p", packed, manifest)
    await sites.add("www", build, [*manifest.files.values()], nothing)
    assert bucket.whole(packed, manifest) == []
    [command] = commands
    assert command.startswith(f"aws --endpoint-url {bucket.url} --region eu-central-1 s3 cp --recursive")
    assert "s3://" in command and "--include app-1a2b3c4d.js" in command


async def test_nothing_is_added_from_a_build_that_is_not_whole(bucket: Bucket, sites: S3Sites, commands: Named) -> None:
    build = bucket.build("2.4.0", GOOD)
    manifest = await sites.manifest("www", build)
    bucket.put("builds/2.4.0/logo.png", b"\x89PNG 0ld")
    with pytest.raises(Missing, match=r"logo\.png: other content"):
        await sites.add("www", build, [*manifest.files.values()], nothing)
    assert commands == [] and bucket.there() == {}


async def test_what_is_replaced_comes_back_from_a_build_or_from_what_was_kept(
    bucket: Bucket, sites: S3Sites, commands: Named
) -> None:
    good = bucket.build("2.4.0", GOOD)
    manifest = await sites.manifest("www", good)
    bucket.put("www/index.html", b"by hand", Headers("text/html", "max-age=5"))
    before = (await sites.look("www", ["index.html"]))["index.html"]
    assert before is not None
    then = held(manifest.files["index.html"])
    await sites.replace("www", "index.html", before, then, [good])
    assert bucket.there()["index.html"][0] == GOOD["index.html"]
    assert [c.partition(" s3api ")[2].split()[0] for c in commands] == ["copy-object", "copy-object"]
    await sites.replace("www", "index.html", then, before, [good])
    assert bucket.there()["index.html"] == (b"by hand", Headers("text/html", "max-age=5"))
    assert len(commands) == 3  # what a build has is not kept


async def test_a_large_object_is_copied_within_the_store(bucket: Bucket, sites: S3Sites) -> None:
    files = {"index.html": b"1", "film.mp4": b"y" * (2 * 1024 * 1024)}
    build = bucket.build("f", files)
    manifest = await sites.manifest("www", build)
    bucket.put("www/film.mp4", b"other", Headers("video/mp4"))
    now = (await sites.look("www", ["film.mp4"]))["film.mp4"]
    await sites.replace("www", "film.mp4", now, held(manifest.files["film.mp4"]), [build])
    assert bucket.there()["film.mp4"] == (files["film.mp4"], manifest.files["film.mp4"].headers)


async def test_two_writers_do_not_undo_each_other(bucket: Bucket, sites: S3Sites) -> None:
    bucket.put("www/index.html", b"first", Headers("text/html"))
    now = (await sites.look("www", ["index.html"]))["index.html"]
    writes = [sites.write("www", "index.html", now, text, Headers("text/html")) for text in (b"one", b"two")]
    done = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(d) for d in done].count(Unreachable) == 1
    won = b"one" if done[0] is None else b"two"
    assert bucket.there()["index.html"][0] == won


async def test_only_what_a_step_has_added_is_removed(bucket: Bucket, sites: S3Sites) -> None:
    bucket.put("www/a.html", b"a", Headers("text/html"))
    ours = (await sites.look("www", ["a.html"]))["a.html"]
    assert ours is not None
    bucket.put("www/a.html", b"theirs", Headers("text/html"))
    with pytest.raises(StoreRefused, match="holds something else by now"):
        await sites.remove("www", "a.html", ours)
    bucket.put("www/a.html", b"a", Headers("text/html"))
    await sites.remove("www", "a.html", ours)
    assert bucket.there() == {}
    await sites.remove("www", "a.html", ours)


async def test_nothing_is_written_where_the_record_refuses(bucket: Bucket, sites: S3Sites) -> None:
    build = bucket.build("2.4.0", GOOD)
    manifest = await sites.manifest("www", build)
    bucket.publish(BAD)
    before = bucket.there("")
    s3 = S3Sites({"www": bucket.target()})
    now = await s3.look("www", ["index.html"])
    calls = [
        s3.add("www", build, [*manifest.files.values()], nothing),
        s3.replace("www", "index.html", now["index.html"], held(manifest.files["index.html"]), [build]),
        s3.write("www", "sw.js", (await s3.look("www", ["sw.js"]))["sw.js"], b"x", Headers("text/javascript")),
        s3.remove("www", "index.html", now["index.html"] or held(manifest.files["index.html"])),
    ]
    for call in calls:
        with pytest.raises(ReadOnly):
            await call
    assert bucket.there("") == before
    await s3.close()


@pytest.mark.parametrize("name", ["folder//double", "tab\there", "release/", "a+b %41.txt", "日本.html"])
async def test_whatever_others_named_their_objects_is_listed(bucket: Bucket, sites: S3Sites, name: str) -> None:
    bucket.put(f"www/{name}", b"theirs")
    bucket.publish(GOOD)
    assert await sites.differing("www", manifest_of(GOOD)) == {}


async def test_a_bucket_that_is_not_there_is_missing_and_told_by_ping(bucket: Bucket) -> None:
    gone = Bucket(bucket.url, "no-such-bucket", bucket.s3)
    s3 = S3Sites({"www": gone.target()})
    with pytest.raises(Missing, match="NoSuchBucket"):
        await s3.differing("www", manifest_of(GOOD))
    assert "NoSuchBucket" in (await s3.ping())["www"]
    await s3.close()


async def test_a_place_is_told_by_store_bucket_and_folders_not_by_credentials(bucket: Bucket) -> None:
    def digest(*sites: object) -> Sequence[str]:
        return [S3Sites({"www": s}).where()["www"].digest for s in sites]  # type: ignore[dict-item]

    one, same, other, elsewhere = digest(
        bucket.target(),
        Bucket(bucket.url, bucket.name, bucket.s3, "private").target(),
        bucket.target("b"),
        bucket_on(bucket.url, "other-b").target(),
    )
    assert one == same and len({one, other, elsewhere}) == 3
