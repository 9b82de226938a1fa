"""A `backups:` target of `rollback.yaml`: where a database's backups lie, and what is expected of the newest.

    dumps: {backups: "s3://shop-backups/main", region: eu-central-1, of: db}
    dumps: {backups: /var/backups/shop, names: "shop-%Y%m%d-%H%M.dump", of: db, max_age: 26h, least: 0.5}

Invariants: the bot only reads there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from bot.catalogued.frontend import AccessKeyId, Patience, Region, RoleArn, Secret, StoreAddress, folder_of_a_bucket
from bot.located.strict import Duration, Slug, Text
from bot.ports.backup_names import NamePattern

_KNOWN_KEYS = ConfigDict(extra="forbid")


def _folder(path: str) -> str:
    if path.startswith("s3://"):
        return folder_of_a_bucket(path)
    if "://" in path:
        raise ValueError("must be a folder, like /var/backups/shop, or one of a bucket, like s3://shop-backups/main")
    if not path.startswith("/") or any(part in (".", "..") for part in path.split("/")):
        raise ValueError("must be a whole path, like /var/backups/shop: the bot may be started anywhere")
    return path.rstrip("/") or "/"


def _named_like(pattern: str) -> str:
    NamePattern(pattern)
    return pattern


@dataclass(frozen=True, slots=True)
class BackupsTarget:
    """Backups of a database, as a job of yours leaves them: archives of pg_dump. The bot reads them, and never makes,
    moves or deletes one."""

    __pydantic_config__ = _KNOWN_KEYS

    backups: Annotated[
        str, AfterValidator(_folder), Field(description="Folder in which they lie, on a disk or in a bucket.")
    ]
    names: Annotated[
        Text,
        AfterValidator(_named_like),
        Field(
            description="What their names look like: * and ? stand for anything, %Y, %m, %d, %H, %M, %S, %s and %z for "
            "the moment at which the dump began (UTC without %z). What was written after it is not in the backup; "
            "without it the moment counts at which the file was written last."
        ),
    ] = "*"
    of: Annotated[
        Slug | None,
        Field(description="The database (a target of the service) that they are of; left out: its only one."),
    ] = None
    max_age: Annotated[Duration, Field(gt=0, description="How old the newest may be.")] = 24 * 3600.0
    least: Annotated[
        float, Field(ge=0, le=1, description="Share of the size of the one before that the newest must have, 0 to 1.")
    ] = 0.5
    programs: Annotated[
        str | None,
        Field(
            pattern="^/",
            description="Folder of the pg_restore that reads and restores them; left out: the newest on the PATH or "
            "where the system keeps its versions.",
        ),
    ] = None
    region: Region = ""
    endpoint: StoreAddress = ""
    role: RoleArn = ""
    key: AccessKeyId = None
    secret: Secret = None
    timeout: Patience = 10.0

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its secrets."""
        return frozenset(filter(None, (self.key, self.secret)))
