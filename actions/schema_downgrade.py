"""Take the schema of a service's databases back to the revision that a release needs, by the migrations of the release
that is removed: only they know the way down.

What goes is counted, shown with a ceiling, counted again and exported right before it goes. One revision is one
transaction; after each, stamp and schema are read back. See docs/databases.md.
"""

from collections.abc import Collection, Mapping

from bot.contract import Action, Change, Ctx, ReadCtx, Receipt, Value
from bot.schemas import moving
from bot.schemas.ways import SchemaParams


class SchemaDowngradeParams(SchemaParams):
    """Down to which revision, by whose migrations."""


class SchemaDowngrade(Action[SchemaDowngradeParams]):
    """Takes the schema down, one revision at a time."""

    name = "schema.downgrade"
    needs = frozenset({"databases", "blobs"})
    destructive = True
    Params = SchemaDowngradeParams

    async def plan(self, ctx: ReadCtx, p: SchemaDowngradeParams) -> Change:
        return await moving.plan(ctx, p, "down")

    async def observe(self, ctx: ReadCtx, p: SchemaDowngradeParams, targets: Collection[str]) -> Mapping[str, Value]:
        return await moving.observe(ctx, p, targets)

    async def apply(self, ctx: Ctx, p: SchemaDowngradeParams, change: Change) -> Receipt:
        return await moving.apply(ctx, p, change)
