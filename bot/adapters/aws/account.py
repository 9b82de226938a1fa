"""How an AWS service is asked: by boto3 in threads of its own, in time, with few repeats; its answers in our words.

Invariants:
- no call runs on the event loop, and none in the loop's own pool, which others need: a store that hangs holds up nobody
  else; a client is made once for each service, since making one takes long;
- a request is sent at most three times within a second or so (botocore's "standard" mode), four where it went through
  `signed` first; what lasts longer is the engine's to wait out;
- credentials are boto3's own chain, the names of variables, or a role taken with them; they are never shown;
- only a certificate file that is handed over is trusted beside the usual roots: SSL_CERT_FILE does not reach boto3.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bot.adapters.aws.signed import Signed
from bot.ports import Unreachable
from bot.ports.sites import Missing, StoreRefused

T = TypeVar("T")
THREADS = 24
"""Calls at once; more are no faster, since signing takes the interpreter's time."""
ATTEMPTS = 3
"""Requests for one call, in all."""
CONNECT = 3.0
"""Seconds until a connection must stand."""
_DENIED = frozenset(
    {
        "403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthFailure", "ExpiredToken",
        "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch",
        "UnrecognizedClientException", "InvalidToken", "AccountProblem",
    }
)  # fmt: skip
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "InvalidationBatchAlreadyExists"})
_BUSY = frozenset({"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyInvalidationsInProgress"})
_GONE = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchDistribution", "NoSuchInvalidation"})


@dataclass(frozen=True, slots=True)
class Access:
    """How a service is reached. region, endpoint: "" for boto3's own; role: ARN of one that is taken; key, secret:
    names of the environment variables with an access key, "" for boto3's own chain; timeout: seconds for one answer."""

    region: str = ""
    endpoint: str = ""
    role: str = ""
    key: str = ""
    secret: str = ""
    timeout: float = 10.0

    @property
    def place(self) -> str:
        """What tells this service's names from the same names elsewhere: AWS itself, or the store's address."""
        return self.endpoint.rstrip("/") or "aws"

    @property
    def options(self) -> list[str]:
        """What a typed `aws` command needs to reach the same place."""
        found = ["--endpoint-url", self.endpoint] if self.endpoint else []
        return [*found, *(["--region", self.region] if self.region else [])]


class Absent(Exception):
    """What was asked for is not there. code: what the service calls it."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


class WriteConflict(Exception):
    """Somebody else has changed it since it was looked at."""


class Unsupported(Exception):
    """The store does not know this request."""


class Account:
    """One way into AWS or into a store like it. ca_file: certificates trusted in place of the bundled roots."""

    def __init__(
        self, access: Access, ca_file: Path | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.access, self._ca_file, self._environment = access, ca_file, environment
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._own: Any = None
        self.signed = Signed(self, ca_file, CONNECT)
        self.conditional: bool | None = None
        """Whether the store holds a write to the version that it names; None: not known yet."""
        self.trying = asyncio.Lock()
        """Held while that is found out."""

    async def call(self, service: str, what: str, operation: str, **given: Any) -> Any:
        """The answer to a request. what: it in words, for errors. Unreachable, StoreRefused, Absent, WriteConflict."""
        return await self.run(what, lambda: getattr(self.client(service), operation)(**given))

    async def run(self, what: str, work: Callable[[], T]) -> T:
        """What `work` gives, run in a thread of ours; its errors in our words, as `call`."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, "aws")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, contextvars.copy_context().run, self._told, what, work)

    def _told(self, what: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            raise in_our_words(what, error) from error

    def client(self, service: str) -> Any:
        """boto3's, made once. To be used in a thread of ours."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def _made(self, service: str) -> Any:
        from botocore.config import Config

        a = self.access
        config = Config(
            connect_timeout=CONNECT, read_timeout=a.timeout, max_pool_connections=THREADS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3={"addressing_style": "path"} if a.endpoint else {},
        )  # fmt: skip
        return self._session().client(
            service, region_name=a.region or None, endpoint_url=a.endpoint or None, config=config,
            verify=str(self._ca_file) if self._ca_file is not None else None,
        )  # fmt: skip

    def credentials(self) -> Any:
        """boto3's, as they are now. To be used in a thread of ours: they may have to be fetched. StoreRefused."""
        self.client("s3")
        with self._lock:
            found = self._own.get_credentials()
        if found is None:
            raise StoreRefused("the bot has no AWS credentials")
        return found.get_frozen_credentials()

    def _session(self) -> Any:
        if self._own is None:
            self._own = self._opened()
        return self._own

    def _opened(self) -> Any:
        import boto3
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
        from botocore.session import Session

        a = self.access
        keys = (
            {"aws_access_key_id": self._value(a.key), "aws_secret_access_key": self._value(a.secret)} if a.key else {}
        )
        own = boto3.Session(region_name=a.region or None, **keys)
        if not a.role:
            return own
        source = own.get_credentials()
        if source is None:
            raise StoreRefused(f"{a.role} cannot be taken: the bot has no AWS credentials of its own")
        extra = {"RoleSessionName": "rollback-bot"}
        fetcher = AssumeRoleCredentialFetcher(self._sts(own), source, a.role, extra_args=extra)
        taken = Session()
        taken._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
        return boto3.Session(botocore_session=taken, region_name=a.region or None)

    def _sts(self, own: Any) -> Callable[..., Any]:
        """Makes the client that roles are taken with; where the store has an address of its own, it is asked."""

        def made(service: str, **how: Any) -> Any:
            verify = str(self._ca_file) if self._ca_file is not None else None
            region = own.region_name or "us-east-1"
            return own.client(service, region, endpoint_url=self.access.endpoint or None, verify=verify, **how)

        return made

    def _value(self, variable: str) -> str:
        value = self._environment.get(variable, "")
        if not value:
            raise StoreRefused(f"{variable} is not set in the bot's environment")
        return value

    async def close(self) -> None:
        """End every connection. Harmless again."""
        await self.signed.close()
        pool, self._pool = self._pool, None
        clients, self._clients = self._clients, {}
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        for client in clients.values():
            client.close()


def in_our_words(what: str, error: Exception) -> Exception:
    """The same fault as one of ours."""
    if isinstance(
        error, (Unreachable, StoreRefused, Missing, Absent, WriteConflict, Unsupported, ValueError, LookupError)
    ):
        return error
    from botocore import exceptions as b

    match error:
        case b.ClientError():
            return _answered(what, error)
        case b.NoCredentialsError() | b.PartialCredentialsError() | b.CredentialRetrievalError() | b.ProfileNotFound():
            return StoreRefused(f"{what}: the bot has no AWS credentials ({_first(error)})")
        case b.ParamValidationError():
            return ValueError(f"{what}: {_first(error)}")
        case b.SSLError():
            return Unreachable(f"{what}: its certificate is not trusted (ROLLBACK_CA_FILE names a company's own)")
        case b.ReadTimeoutError() | b.ConnectTimeoutError():
            return Unreachable(f"{what}: no answer in time")
        case b.BotoCoreError() | OSError():
            return Unreachable(f"{what}: {_first(error)}")
    return error


def _answered(what: str, error: Any) -> Exception:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, text = str(said.get("Code", status)), str(said.get("Message", "")).splitlines()[:1]
    words = f"{what}: {code}{f', {text[0][:200]}' if text and text[0] else ''}"
    if code in _GONE or (status == 404 and code != "NoSuchUpload"):
        return Absent(code, words)
    if status in (409, 412) or code in _CHANGED:
        return WriteConflict(words)
    if status == 501 or code == "NotImplemented":
        return Unsupported(words)
    if code in _DENIED or status in (401, 403):
        return StoreRefused(words)
    if status >= 500 or status == 429 or code in _BUSY:
        return Unreachable(words)
    return StoreRefused(words)


def _first(error: Exception) -> str:
    """The first line of what it says."""
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
