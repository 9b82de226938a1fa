"""Bring the schema of a service's databases up to the revision that a release needs, by that release's migrations: what
rolling forward again needs once the schema was taken down.

One revision is one transaction; after each, stamp and schema are read back. See docs/databases.md.
"""

from collections.abc import Collection, Mapping

from bot.contract import Action, Change, Ctx, ReadCtx, Receipt, Value
from bot.schemas import moving
from bot.schemas.ways import SchemaParams


class SchemaUpgradeParams(SchemaParams):
    """Up to which revision, by whose migrations."""


class SchemaUpgrade(Action[SchemaUpgradeParams]):
    """Brings the schema up, one revision at a time."""

    name = "schema.upgrade"
    needs = frozenset({"databases", "blobs"})
    destructive = True
    Params = SchemaUpgradeParams

    async def plan(self, ctx: ReadCtx, p: SchemaUpgradeParams) -> Change:
        return await moving.plan(ctx, p, "up")

    async def observe(self, ctx: ReadCtx, p: SchemaUpgradeParams, targets: Collection[str]) -> Mapping[str, Value]:
        return await moving.observe(ctx, p, targets)

    async def apply(self, ctx: Ctx, p: SchemaUpgradeParams, change: Change) -> Receipt:
        return await moving.apply(ctx, p, change)
