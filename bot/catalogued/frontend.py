"""`site:` and `edge:` targets of `rollback.yaml`: where a frontend is published, and the caches before it.

    www: {site: "s3://shop-web/www", region: eu-central-1}
    cdn: {edge: "https://www.shop.example", cloudfront: E2EXAMPLE, backend: api, reports: /settings}
    varnish: {edge: "https://m.shop.example", purge: ["http://varnish:6081"], probes: [203.0.113.10]}

Invariants: no secret stands here, and nothing names a target that the service has not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from bot.catalogued.shapes import Variable, several
from bot.located import Path, Report
from bot.located.strict import Duration, Word

_KNOWN_KEYS = ConfigDict(extra="forbid")
_OURS = frozenset({"host", "content-length", "connection", "cookie"})


def folder_of_a_bucket(url: str) -> str:
    """Of s3://bucket/folder. ValueError."""
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9._-]{1,62}(/[^/\s]+)*/?", url):
        raise ValueError("must be a folder of a bucket, like s3://shop-web/www")
    return url.rstrip("/")


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in url):
        raise ValueError("must be an address like https://www.shop.example")
    if parts.username or parts.password:
        raise ValueError("no credentials in an address; they come from the environment")
    if parts.query or parts.fragment:
        raise ValueError("an address has no ? or # part; paths are put behind it")
    return url.rstrip("/")


def _store(url: str) -> str:
    return _address(url) if url else url


def _probe(address: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9a-fA-F:]+\](:[0-9]+)?", address):
        raise ValueError("must be a host or an IP address, with a port where it needs one, like 203.0.113.10")
    return address


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or name.lower() in _OURS:
        raise ValueError("must be a header of yours, like Fastly-Key")
    return name


Folder = Annotated[Word, AfterValidator(folder_of_a_bucket)]
Address = Annotated[str, AfterValidator(_address)]
Region = Annotated[str, Field(description="AWS region; left out: boto3's own.")]
StoreAddress = Annotated[
    str, AfterValidator(_store), Field(description="Address of a service that is not AWS itself, like MinIO.")
]
RoleArn = Annotated[str, Field(description="ARN of the role to take; left out: whoever the bot is.")]
AccessKeyId = Annotated[Variable | None, Field(description="Variable with an access key's id; else boto3's chain.")]
Secret = Annotated[Variable | None, Field(description="Variable with the access key itself.")]
Patience = Annotated[Duration, Field(gt=0, description="How long one answer may take.")]


@dataclass(frozen=True, slots=True)
class SiteTarget:
    """A folder of a bucket that the frontend is published in, and where its builds lie."""

    __pydantic_config__ = _KNOWN_KEYS

    site: Annotated[Folder, Field(description="Where it is published: s3://bucket/prefix.")]
    builds: Annotated[
        Folder | None,
        Field(description="What the prefix of a release's build is put behind; left out: the bucket of the site."),
    ] = None
    switch: Annotated[
        str, Field(description="The edge (a target) whose origin path is pointed at a build: nothing is copied.")
    ] = ""
    region: Region = ""
    endpoint: StoreAddress = ""
    role: RoleArn = ""
    key: AccessKeyId = None
    secret: Secret = None
    acl: Annotated[
        str,
        Field(pattern="^(public-read|private|bucket-owner-full-control)?$", description="ACL of what is written."),
    ] = ""
    timeout: Patience = 10.0

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its secrets."""
        return frozenset(filter(None, (self.key, self.secret)))


@dataclass(frozen=True, slots=True)
class EdgeTarget:
    """A cache, or a network of them, that people reach the frontend through."""

    __pydantic_config__ = _KNOWN_KEYS

    edge: Annotated[Address, Field(description="The address that people open.")]
    cloudfront: Annotated[str, Field(pattern="^[A-Z0-9]*$", description="Id of its CloudFront distribution.")] = ""
    origin: Annotated[str, Field(description="Id of the distribution's origin, where it has several.")] = ""
    purge: Annotated[
        tuple[Address, ...],
        BeforeValidator(several),
        Field(description="Addresses that a path is put behind to have it forgotten (Varnish, nginx, Fastly)."),
    ] = ()
    method: Annotated[str, Field(pattern="^[A-Z]+$", description="The HTTP method that purges.")] = "PURGE"
    headers: Annotated[
        Mapping[Annotated[Word, AfterValidator(_header)], Variable],
        Field(description="Header of a purge -> variable with its whole value."),
    ] = field(default_factory=dict)
    probes: Annotated[
        tuple[Annotated[Word, AfterValidator(_probe)], ...],
        BeforeValidator(several),
        Field(description="What is asked in place of the public name; left out: the addresses that it resolves to."),
    ] = ()
    backend: Annotated[str, Field(description="HTTP target of the service that the frontend works with.")] = ""
    reports: Annotated[
        str, Field(pattern="^(/.*)?$", description="Its page with the settings that the frontend's are compared with.")
    ] = ""
    region: Region = ""
    endpoint: StoreAddress = ""
    role: RoleArn = ""
    timeout: Patience = 10.0

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its secrets."""
        return frozenset(self.headers.values())


def check_frontend(targets: Mapping[str, object], path: Path, over_http: Mapping[str, bool], report: Report) -> None:
    """What sites and edges name, and what does not go together. path: of the targets; over_http: target -> whether it
    is reached so."""
    fronts = [n for n, t in targets.items() if isinstance(t, EdgeTarget) and t.cloudfront]
    pages = [n for n, http in over_http.items() if http]
    for name, target in targets.items():
        if isinstance(target, SiteTarget):
            _check_site(target, (*path, name), fronts, report)
        if isinstance(target, EdgeTarget):
            _check_edge(target, (*path, name), pages, report)


def _check_site(target: SiteTarget, path: Path, fronts: Collection[str], report: Report) -> None:
    if target.switch and target.switch not in fronts:
        what = f"no edge with a CloudFront distribution is named {target.switch!r}"
        report.add((*path, "switch"), what, word=target.switch, known=fronts)
    if bool(target.key) != bool(target.secret):
        report.add(path, "key and secret belong together: one variable for each half of an access key")


def _check_edge(target: EdgeTarget, path: Path, pages: Iterable[str], report: Report) -> None:
    if target.backend and target.backend not in (known := [*pages]):
        report.add((*path, "backend"), f"no HTTP target is named {target.backend!r}", word=target.backend, known=known)
    if bool(target.backend) != bool(target.reports):
        report.add(path, "backend and reports belong together: which target, and which page of it")
    if target.cloudfront and target.purge:
        report.add((*path, "purge"), "an edge is purged by CloudFront or over HTTP, not both; write two edges")
