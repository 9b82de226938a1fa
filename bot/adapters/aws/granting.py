"""The rights of the bot in AWS as IAM policies: what the adapters call, on what the catalogue names, and no more.

Invariants: each identity (the bot's own, a role that it takes, a key of its own) gets what is reached by it alone; the
same places give the same text.

`s3:ListBucket` has no condition on the prefix: without it a missing object is answered 403, and a HEAD names no prefix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.adapters.aws.account import Access
from bot.adapters.aws.buckets import Folder
from bot.adapters.aws.sites import KEPT, StoredSite

OWN = "the bot itself"
"""Whoever boto3's chain finds: an instance's or a pod's role, or a key in AWS_ACCESS_KEY_ID."""
_READ, _WRITE, _LIST, _DELETE = "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"
_INVALIDATE = ("cloudfront:CreateInvalidation", "cloudfront:GetInvalidation", "cloudfront:GetDistribution")
_POINT = ("cloudfront:GetDistributionConfig", "cloudfront:UpdateDistribution")


@dataclass(frozen=True, slots=True)
class Grant:
    """To whom, an action, and the resource that it is on."""

    identity: str
    action: str
    resource: str


def identity(access: Access) -> str:
    """Who reaches it, in words: a role by its ARN."""
    return access.role or (f"the key in {access.key}" if access.key else OWN)


def taking(accesses: Iterable[Access]) -> Sequence[Grant]:
    """Roles are taken by whoever has the key, or by the bot itself."""
    found = [(Access(key=a.key), a.role) for a in accesses if a.role]
    return [Grant(identity(taker), "sts:AssumeRole", role) for taker, role in found]


def of_site(site: StoredSite) -> Sequence[Grant]:
    """What publishing needs."""
    kept = site.builds.below(KEPT)
    who = identity(site.access)
    writes = [_WRITE, *(["s3:PutObjectAcl"] if site.acl else [])]
    return [
        *(Grant(who, _LIST, _bucket(folder)) for folder in (site.at, site.builds)),
        *(Grant(who, _READ, _objects(folder)) for folder in (site.at, site.builds, kept)),
        *(Grant(who, action, _objects(folder)) for folder in (site.at, kept) for action in writes),
        Grant(who, _DELETE, _objects(site.at)),
    ]


def of_distribution(id: str, access: Access, *, pointed: bool) -> Sequence[Grant]:
    """What having paths forgotten needs. pointed: it is also pointed at a build, where nothing is copied."""
    actions = [*_INVALIDATE, *(_POINT if pointed else ())]
    return [Grant(identity(access), action, _distribution(id)) for action in actions]


def of_backups(folder: Folder, access: Access) -> Sequence[Grant]:
    """What reading backups needs."""
    who = identity(access)
    return [Grant(who, _LIST, _bucket(folder)), Grant(who, _READ, _objects(folder))]


def of_files(folder: Folder) -> Sequence[Grant]:
    """What the bot's own files in a bucket need (`ROLLBACK_BLOBS_URL`)."""
    return [Grant(OWN, _LIST, _bucket(folder)), *(Grant(OWN, a, _objects(folder)) for a in (_READ, _WRITE, _DELETE))]


def policies(grants: Iterable[Grant]) -> Mapping[str, str]:
    """Identity -> its policy, in JSON. Actions on the same resources stand in one statement."""
    on: dict[str, dict[str, dict[str, None]]] = {}
    for g in grants:
        on.setdefault(g.identity, {}).setdefault(g.action, {})[g.resource] = None
    return {who: _policy(actions) for who, actions in on.items()}


def _policy(actions: Mapping[str, Iterable[str]]) -> str:
    alike: dict[tuple[str, ...], list[str]] = {}
    for action, resources in actions.items():
        alike.setdefault(_widest(resources), []).append(action)
    said = [{"Effect": "Allow", "Action": names, "Resource": [*on]} for on, names in alike.items()]
    return json.dumps({"Version": "2012-10-17", "Statement": said}, indent=2) + "\n"


def _widest(resources: Iterable[str]) -> tuple[str, ...]:
    """Without those that another one covers."""
    given = sorted(resources)
    wide = [r.removesuffix("*") for r in given if r.endswith("/*")]
    return tuple(r for r in given if not any(r.startswith(w) and r != f"{w}*" for w in wide))


def _bucket(folder: Folder) -> str:
    return f"arn:aws:s3:::{folder.bucket}"


def _objects(folder: Folder) -> str:
    return f"arn:aws:s3:::{folder.bucket}/{folder.key('*')}"


def _distribution(id: str) -> str:
    return f"arn:aws:cloudfront::*:distribution/{id}"
