"""Leave the schema as it is: nothing is lost, and the older release runs on the newer schema.

There is nothing to do, and all the same somebody decides it: where it is proven that the release works on the schema
nobody need be asked, where it is not a dba is. What cannot be read by the older release is named.
"""

from collections.abc import Collection, Mapping

from bot.contract import Action, Change, Ctx, Fact, ReadCtx, Receipt, Value
from bot.schemas import ways
from bot.schemas.proof import ProofParams, proof


class SchemaKeepParams(ProofParams):
    """What can prove that it may be kept."""


class SchemaKeep(Action[SchemaKeepParams]):
    """Keeps the schema, and says whether that is proven."""

    name = "schema.keep"
    needs = frozenset({"databases", "kubernetes"})
    Params = SchemaKeepParams

    async def plan(self, ctx: ReadCtx, p: SchemaKeepParams) -> Change:
        found = await ways.ways(ctx, p)
        if not found:
            return Change("no database is catalogued with migrations: there is nothing to keep")
        known = await proof(ctx, p, found)
        word = "Proven" if known.proven else "Not proven"
        at = ", ".join(f"{w.at.name} stays at {w.stamp}" for w in found)
        foreign = [(w, what, n) for w in found for what, n in w.foreign.items()]
        return Change(
            f"{at}: nothing is lost, 0 min. {word}: {known.why}",
            facts=(Fact("rows lost", 0, "rows"),),
            warnings=tuple(
                f"{w.at.name}: {ways.rows(n)} that {p.version or 'the release'} does not know: {what}"
                for w, what, n in foreign
            ),
        )

    async def observe(self, ctx: ReadCtx, p: SchemaKeepParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)  # it has none

    async def apply(self, ctx: Ctx, p: SchemaKeepParams, change: Change) -> Receipt:
        return Receipt(change.summary)
