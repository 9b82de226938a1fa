"""One folder of a bucket, by requests that are one each; nothing here decides or records.

Invariants:
- keys are raw, as listed: whatever others put there (empty segments, control characters, "+" and "%") is read;
- a body is compared with what was asked for by its bytes: an ETag says that two objects are the same only where it is
  an MD5 (no dash in it), and never that they differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bot.adapters.aws.account import Absent, Account, WriteConflict
from bot.adapters.aws.signed import StoreAnswer
from bot.ports.builds import Headers
from bot.ports.sites import Missing

CHUNK = 1024 * 1024
COPY_LIMIT = 5 * 1024**3
"""Bytes that one CopyObject takes."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A bucket, and a prefix in it without slashes at its ends ("" for all of it)."""

    bucket: str
    prefix: str = ""

    @classmethod
    def of(cls, url: str) -> Folder:
        """Of "s3://bucket/prefix". ValueError."""
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise ValueError(f"{url!r} is not s3://bucket/prefix")
        return cls(bucket, prefix.strip("/"))

    def key(self, name: str) -> str:
        """The whole key of a name below it."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def below(self, prefix: str) -> Folder:
        """A folder in it."""
        return Folder(self.bucket, self.key(prefix))

    def __str__(self) -> str:
        return f"s3://{self.bucket}{f'/{self.prefix}' if self.prefix else ''}"


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing has it. settled: its last change is so long ago that another one would show."""

    size: int
    etag: str
    modified: float
    settled: bool

    @property
    def md5(self) -> str:
        """Hex digits, where the ETag can be one."""
        return self.etag if len(self.etag) == 32 and "-" not in self.etag else ""


@dataclass(frozen=True, slots=True)
class Headed:
    """An object as it answers for itself."""

    size: int
    etag: str
    headers: Headers


class Objects:
    """Requests to one store."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def listed(self, folder: Folder) -> dict[str, ListedObject]:
        """Name below the folder -> what is listed of it. Missing where there is no such bucket."""
        prefix = folder.key("")

        def pages() -> dict[str, ListedObject]:
            found: dict[str, ListedObject] = {}
            paginator = self._account.client("s3").get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=folder.bucket, Prefix=prefix):
                now = _date(page)
                for item in page.get("Contents", ()):
                    at = item["LastModified"].timestamp()
                    settled = now is not None and now - at >= 2  # both are told in whole seconds
                    found[item["Key"][len(prefix) :]] = ListedObject(item["Size"], item["ETag"].strip('"'), at, settled)
            return found

        try:
            return await self._account.run(f"list {folder}", pages)
        except Absent as error:
            raise Missing(str(error)) from error

    async def head(self, folder: Folder, name: str) -> Headed | None:
        """What it is; None where it is not there."""
        what, key = f"read {folder}/{name}", folder.key(name)
        if (answer := await self._account.signed.send(what, "HEAD", folder.bucket, key, {})) is not None:
            return _headed(answer)
        try:
            said = await self._account.call("s3", what, "head_object", Bucket=folder.bucket, Key=key)
        except Absent as error:
            _unless_bucket(error)
            return None
        return Headed(said["ContentLength"], said["ETag"].strip('"'), _headers(said))

    async def digest(self, folder: Folder, name: str) -> tuple[Headed, str] | None:
        """What it is, and the SHA-256 of its bytes in hex; all of them are read."""

        def read() -> tuple[Headed, str]:
            said = self._account.client("s3").get_object(Bucket=folder.bucket, Key=folder.key(name))
            sha, size = hashlib.sha256(), 0
            for chunk in said["Body"].iter_chunks(CHUNK):
                sha.update(chunk)
                size += len(chunk)
            return Headed(size, said["ETag"].strip('"'), _headers(said)), sha.hexdigest()

        try:
            return await self._account.run(f"read {folder}/{name}", read)
        except Absent as error:
            _unless_bucket(error)
            return None

    async def read(self, folder: Folder, name: str, limit: int) -> tuple[bytes, str] | None:
        """Its bytes and ETag; None where it is not there. ValueError above the limit."""
        what, key = f"read {folder}/{name}", folder.key(name)

        def read() -> tuple[bytes, str]:
            said = self._account.client("s3").get_object(Bucket=folder.bucket, Key=key)
            if said["ContentLength"] > limit:
                said["Body"].close()
                raise ValueError(f"{what}: {said['ContentLength']} bytes, more than {limit}")
            return said["Body"].read(), said["ETag"].strip('"')

        try:
            return await self._account.run(what, read)
        except Absent as error:
            _unless_bucket(error)
            return None

    async def small(self, folder: Folder, name: str, limit: int) -> tuple[bytes, str] | None:
        """As `read`, of an object that is known to be small: one of thousands."""
        what = f"read {folder}/{name}"
        answer = await self._account.signed.send(what, "GET", folder.bucket, folder.key(name), {})
        if answer is None or answer.status != 200:
            return await self.read(folder, name, limit)
        return answer.body, answer.headers.get("ETag", "").strip('"')

    async def put(self, folder: Folder, name: str, data: bytes, headers: Mapping[str, str], over: str | None) -> None:
        """Write it over the version that was read (its ETag; None: only where there is nothing). WriteConflict."""
        what, how = f"write {folder}/{name}", {"If-None-Match": "*"} if over is None else {"If-Match": f'"{over}"'}
        answer = await self._account.signed.send(
            what, "PUT", folder.bucket, folder.key(name), _wire(headers) | how, data
        )
        if answer is not None:
            if answer.status == 412:
                raise WriteConflict(f"{what}: it is another one by now")
            return
        guard = {"IfNoneMatch": "*"} if over is None else {"IfMatch": f'"{over}"'}
        await self._put(folder, name, Body=data, **headers, **guard)

    async def put_any(self, folder: Folder, name: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Write it, whatever is there."""
        await self._put(folder, name, Body=data, **headers)

    async def _put(self, folder: Folder, name: str, **given: Any) -> None:
        what = f"write {folder}/{name}"
        try:
            await self._account.call("s3", what, "put_object", Bucket=folder.bucket, Key=folder.key(name), **given)
        except Absent as error:
            raise Missing(str(error)) from error

    async def copy(
        self, source: Folder, name: str, etag: str, to: Folder, as_: str, headers: Mapping[str, str]
    ) -> None:
        """Copy within the store, with these headers in place of the source's. Missing; WriteConflict where the source
        is not this version any more."""
        what, key = f"copy {source}/{name} to {to}/{as_}", to.key(as_)
        how = {"x-amz-copy-source": quote(f"/{source.bucket}/{source.key(name)}", safe="/~"),
               "x-amz-metadata-directive": "REPLACE"}  # fmt: skip
        how |= {"x-amz-copy-source-if-match": f'"{etag}"'} if etag else {}
        answer = await self._account.signed.send(what, "PUT", to.bucket, key, _wire(headers) | how)
        if answer is not None:
            if answer.status == 412:
                raise WriteConflict(f"{what}: it is another one by now")
            return
        said = {"CopySource": {"Bucket": source.bucket, "Key": source.key(name)}, "MetadataDirective": "REPLACE"}
        guard = {"CopySourceIfMatch": f'"{etag}"'} if etag else {}
        try:
            await self._account.call(
                "s3", what, "copy_object", Bucket=to.bucket, Key=key, **said, **guard, **headers,
            )  # fmt: skip
        except Absent as error:
            raise Missing(str(error)) from error

    async def delete(self, folder: Folder, name: str) -> None:
        """Remove it; harmless where it is not there."""
        await self._account.call(
            "s3", f"remove {folder}/{name}", "delete_object", Bucket=folder.bucket, Key=folder.key(name)
        )


def sent(headers: Headers, acl: str = "") -> dict[str, str]:
    """As boto3 takes them."""
    given = {
        "ContentType": headers.type,
        "CacheControl": headers.cache,
        "ContentEncoding": headers.encoding,
        "ACL": acl,
    }
    return {name: value for name, value in given.items() if value}


_WIRE = {
    "ContentType": "Content-Type", "CacheControl": "Cache-Control", "ContentEncoding": "Content-Encoding",
    "ACL": "x-amz-acl",
}  # fmt: skip


def _wire(given: Mapping[str, str]) -> dict[str, str]:
    """Of what boto3 takes, the headers that it sends."""
    return {_WIRE[name]: value for name, value in given.items()}


def _headed(answer: StoreAnswer) -> Headed | None:
    if answer.status == 404:
        return None
    said = {name: answer.headers.get(header, "") for name, header in _WIRE.items()}
    return Headed(int(answer.headers["Content-Length"]), answer.headers.get("ETag", "").strip('"'), _headers(said))


def _headers(said: Mapping[str, Any]) -> Headers:
    encoding = said.get("ContentEncoding", "")
    kept = ",".join(part for part in (p.strip() for p in encoding.split(",")) if part and part != "aws-chunked")
    return Headers(said.get("ContentType", ""), said.get("CacheControl", ""), kept)


def _unless_bucket(error: Absent) -> None:
    """Missing where it is the bucket that is not there."""
    if error.code == "NoSuchBucket":
        raise Missing(str(error)) from error


def _date(page: Mapping[str, Any]) -> float | None:
    """The store's clock when it answered."""
    from email.utils import parsedate_to_datetime

    said = page.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        found: datetime = parsedate_to_datetime(said)
    except ValueError:
        return None
    return found.timestamp()
