"""CloudFront: having paths forgotten, and where a distribution reads.

Invariants:
- an invalidation is begun once for a reference: asked again with the same one, CloudFront answers with the first;
- a distribution's configuration is written over the version that was read, and only one origin's path differs.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from bot.adapters.aws.account import Absent, Account, WriteConflict
from bot.ports.edges import Origin
from bot.ports.sites import Missing


class Distribution:
    """One distribution. origin: id of the origin whose path is meant, "" where it has only one."""

    def __init__(self, account: Account, id: str, origin: str = "") -> None:
        self._account, self.id, self._origin = account, id, origin

    async def ping(self) -> None:
        """StoreRefused, Unreachable or Missing unless it may be read."""
        await self._asked("read", "get_distribution", Id=self.id)

    async def invalidate(self, paths: Sequence[str], reference: str) -> str:
        """The id of what was begun, now or before. ValueError where the reference stands for other paths."""
        batch = {"Paths": {"Quantity": len(paths), "Items": quoted(paths)}, "CallerReference": reference}
        try:
            said = await self._asked("purge", "create_invalidation", DistributionId=self.id, InvalidationBatch=batch)
        except WriteConflict as error:
            raise ValueError(str(error)) from error
        return str(said["Invalidation"]["Id"])

    async def invalidated(self, id: str) -> bool:
        """Whether it is done."""
        said = await self._asked("read", "get_invalidation", DistributionId=self.id, Id=id)
        return str(said["Invalidation"]["Status"]).casefold() == "completed"

    async def origin(self) -> Origin:
        """Where it reads. Missing where it has no such origin, or several and none is named."""
        config, version = await self._config()
        said = await self._asked("read", "get_distribution", Id=self.id)
        deployed = str(said["Distribution"]["Status"]).casefold() == "deployed"
        return Origin(str(self._chosen(config).get("OriginPath", "")), deployed, version)

    async def point(self, path: str, over: Origin) -> None:
        """Have it read there. ValueError where its configuration was changed since."""
        config, version = await self._config()
        if version != over.version:
            raise ValueError(f"distribution {self.id} was changed by somebody else just now")
        wanted = copy.deepcopy(config)
        self._chosen(wanted)["OriginPath"] = path
        try:
            await self._asked("write", "update_distribution", Id=self.id, IfMatch=version, DistributionConfig=wanted)
        except WriteConflict as error:
            raise ValueError(str(error)) from error

    def typed(self, paths: Sequence[str], options: Sequence[str]) -> str:
        """What a person types to have paths forgotten."""
        command = ["cloudfront", "create-invalidation", "--distribution-id", self.id, "--paths", *quoted(paths)]
        return shlex.join(["aws", *options, *command])

    def pointed(self, path: str, over: Origin, options: Sequence[str]) -> str:
        """What a person types to have it read there."""
        command = ["cloudfront", "update-distribution", "--id", self.id, "--if-match", over.version]
        said = shlex.join(["aws", *options, *command, "--distribution-config", "file://config.json"])
        return f"{said}  # config.json: as it is, with OriginPath {over.path or '(none)'} -> {path or '(none)'}"

    async def _config(self) -> tuple[dict[str, Any], str]:
        said = await self._asked("read", "get_distribution_config", Id=self.id)
        return said["DistributionConfig"], str(said["ETag"])

    def _chosen(self, config: dict[str, Any]) -> dict[str, Any]:
        origins: list[dict[str, Any]] = config["Origins"]["Items"]
        fitting = [o for o in origins if self._origin in ("", o["Id"])]
        if len(fitting) != 1:
            known = ", ".join(o["Id"] for o in origins)
            raise Missing(f"distribution {self.id}: name one of its origins ({known}) in the catalogue")
        return fitting[0]

    async def _asked(self, verb: str, operation: str, **given: Any) -> Any:
        try:
            return await self._account.call("cloudfront", f"{verb} distribution {self.id}", operation, **given)
        except Absent as error:
            raise Missing(str(error)) from error


def quoted(paths: Sequence[str]) -> list[str]:
    """As CloudFront wants them: percent-encoded, stars left as they are."""
    return [quote(path, safe="/*-_.~!$'(),;:@&=+") for path in paths]
