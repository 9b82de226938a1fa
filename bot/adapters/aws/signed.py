"""S3 requests that are made by the thousand, one for each file of a build: signed by botocore, sent on the loop.

A request through a boto3 client takes 2 ms of the interpreter's time, most of it for parameters and events that these
few requests do without; sent like this it takes a fifth of that.

Invariants:
- only an answer that says yes, "not there" to a HEAD, or "changed meanwhile" counts; on any other one, and where a
  connection breaks, the same request is made once more by boto3, which repeats, follows a bucket to its region and has
  the words. So every request that goes this way must be harmless when it comes twice;
- a copy has been made only where the body says so: S3 answers 200 before it knows;
- addresses, credentials and signatures are boto3's: nothing of them is made here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yarl

from bot.ports import Unreachable

if TYPE_CHECKING:
    from bot.adapters.aws.account import Account

AT_ONCE = 32
"""Requests under way; more are no faster."""
LARGEST = 2 * 1024 * 1024
"""Bytes of an answer that is read whole here."""
FRESH = 30.0
"""Seconds that credentials are used before boto3 is asked whether they have changed; it renews them minutes ahead."""
_AUTOMATIC = ("Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What a store said. status: 200-206, 404 (only to a HEAD) or 412."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Way:
    """How a bucket is reached."""

    base: str
    region: str
    proxy: str | None


class Signed:
    """Requests of one account."""

    def __init__(self, account: Account, ca_file: Path | None, connect: float) -> None:
        self._account, self._ca_file, self._connect = account, ca_file, connect
        self._ways: dict[str, _Way | None] = {}
        self._session: aiohttp.ClientSession | None = None
        self._credentials: tuple[float, Any] | None = None
        self._free = asyncio.Semaphore(AT_ONCE)

    async def send(
        self, what: str, method: str, bucket: str, key: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> StoreAnswer | None:
        """The answer, or None where boto3 has to ask instead. what: it in words. Unreachable where none comes in time;
        whatever making a client raises."""
        way = await self._way(bucket)
        if way is None:
            return None
        async with self._free:
            try:
                return await self._sent(way, method, key, headers, body)
            except TimeoutError as error:  # to ask again would take as long again
                raise Unreachable(f"{what}: no answer in time") from error
            except (aiohttp.ClientError, OSError):
                return None

    async def _sent(
        self, way: _Way, method: str, key: str, headers: Mapping[str, str], body: bytes | None
    ) -> StoreAnswer | None:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.utils import percent_encode

        said = dict(headers)
        if body is not None:  # some buckets refuse to write what comes without a digest
            said["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(body).digest()).decode()
        url = f"{way.base}/{percent_encode(key, safe='/~')}"
        request = AWSRequest(method, url, headers=said, data=body or b"")
        S3SigV4Auth(await self._keys(), "s3", way.region).add_auth(request)
        async with self._opened().request(
            method, yarl.URL(url, encoded=True), headers=dict(request.headers.items()), data=body, proxy=way.proxy,
            allow_redirects=False,
        ) as response:  # fmt: skip
            if method == "GET" and (response.content_length or 0) > LARGEST:
                return None
            read = await response.read()
            if response.status == 200 and "x-amz-copy-source" in headers and b"CopyObjectResult>" not in read:
                return None
            return (
                StoreAnswer(response.status, response.headers, read)
                if self._counts(way, method, response.status)
                else None
            )

    def _counts(self, way: _Way, method: str, status: int) -> bool:
        if status in (301, 307, 400):  # it lies in another region, as a rule, which boto3 finds
            self._ways = {bucket: None if w == way else w for bucket, w in self._ways.items()}
        if status == 403:
            self._credentials = None
        return 200 <= status < 300 or status == 412 or (method == "HEAD" and status == 404)

    async def _way(self, bucket: str) -> _Way | None:
        """None for what has rules of its own: access points by ARN, directory buckets."""
        if bucket not in self._ways:
            other = bucket.startswith("arn:") or bucket.endswith(("--x-s3", "--xa-s3"))
            self._ways[bucket] = (
                None if other else await self._account.run(f"reach {bucket}", lambda: self._found(bucket))
            )
        return self._ways[bucket]

    def _found(self, bucket: str) -> _Way | None:
        """In a thread: boto3 knows the address that it would use itself."""
        from botocore.utils import get_environ_proxies

        client = self._account.client("s3")
        address, _, _ = client.generate_presigned_url("head_bucket", Params={"Bucket": bucket}).partition("?")
        proxies = get_environ_proxies(address)
        proxy = proxies.get(address.partition(":")[0])
        return _Way(address.rstrip("/"), client.meta.region_name, proxy)

    async def _keys(self) -> Any:
        now = time.monotonic()
        if self._credentials is None or now - self._credentials[0] > FRESH:
            found = await self._account.run("sign a request", self._account.credentials)
            self._credentials = (now, found)
        return self._credentials[1]

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trust = ssl.create_default_context(cafile=str(self._ca_file)) if self._ca_file is not None else True
            limits = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=self._connect,
                                           sock_read=self._account.access.timeout)  # fmt: skip
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust, limit=AT_ONCE), cookie_jar=aiohttp.DummyCookieJar(),
                timeout=limits, auto_decompress=False, skip_auto_headers=_AUTOMATIC,
            )  # fmt: skip
        return self._session

    async def close(self) -> None:
        """End every connection. Harmless again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
