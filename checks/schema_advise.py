"""Which ways there are for the schema, what each costs, and whether keeping it is proven.

Its output says in which order schema and code go back. Old code on the newer schema is right only where that is proven;
otherwise the schema goes first, as an image that checks its schema at start crashes on one that is ahead, and the way
down lies in the release that is removed.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bot.contract import Check, Json, Output, ReadCtx, Status, Verdict
from bot.schemas import ways
from bot.schemas.proof import CompatibilityProof, ProofParams, proof
from bot.schemas.ways import Way


class SchemaAdviseParams(ProofParams):
    """The two releases, and what can prove that the schema may be kept."""


class SchemaAdviseOutput(Output):
    """What later steps read."""

    order: Literal["none", "deploy-first", "down-first"] = Field(
        description="none: the schema is right already; deploy-first: the code may go back before the schema; "
        "down-first: the schema must be decided before the code goes back."
    )
    keep_proven: bool = Field(description="Whether the release is proven to work on the schema as it is.")
    option: Literal["keep", ""] = Field(description="The option that is proven, if any is.")
    rows: int | None = Field(description="Rows that going down would lose; null where that is not known.")


class SchemaAdvise(Check[SchemaAdviseParams]):
    """Says what keeping the schema and taking it down would mean."""

    name = "schema.advise"
    needs = frozenset({"databases", "kubernetes"})
    Params = SchemaAdviseParams
    Output = SchemaAdviseOutput

    async def run(self, ctx: ReadCtx, p: SchemaAdviseParams) -> Verdict:
        expected = f"the schema that {p.version or 'the release'} needs, or a way that is known"
        if not ctx.ports.databases.databases:
            return _verdict(
                Status.PASS, "there is no database in the catalogue", expected, [], CompatibilityProof(True, "")
            )
        found = await ways.ways(ctx, p)
        if not found:
            idle = ", ".join(ways.without_migrations(ctx, p))
            said = f"the catalogue names no migrations for {idle}: where its schema is to be is not known"
            return _verdict(Status.UNKNOWN, said, expected, found, CompatibilityProof(False, said))
        known = await proof(ctx, p, found)
        blind = [w for w in found if w.route is None]
        status = Status.UNKNOWN if blind else Status.PASS if known.proven else Status.WARN
        return _verdict(status, " ".join(_said(w, known) for w in found), expected, found, known)


def _said(way: Way, known: CompatibilityProof) -> str:
    """The card's words for one database."""
    name = way.at.name
    if way.route is None:
        return f"{name} (at {way.stamp}): not known, {way.lost or way.why}."
    if way.there:
        return f"{name} is at {way.stamp}, as it is to be."
    keep = f"Keep: nothing lost, 0 min; {'proven' if known.proven else 'not proven'}: {known.why}."
    if way.route.direction == "up":
        return f"{name} {way.stamp} is behind {way.route.to}: it has to go up. {keep}"
    return f"{name} {way.stamp} → {way.route.to}. {keep} Down: {_down(way)}."


def _down(way: Way) -> str:
    toll = way.toll
    if toll is None:
        return "not known"
    more = [f"{len(toll.along)} more objects go along"] if toll.along else []
    more += ["parts cannot be read, so nothing says that it is safe"] if toll.unread else []
    more += ways.obstacles(way)
    more += [f"refused: {why}" for why, _ in ways.refusals(way, "down")]
    low, high = ways.lasts([way])
    return "; ".join(
        [f"{ways.drops(way)}, {ways.rows(toll.rows)}, about {low / 60:.0f}-{max(high / 60, 1):.0f} min", *more]
    )


def _verdict(status: Status, observed: str, expected: str, found: Sequence[Way], known: CompatibilityProof) -> Verdict:
    ahead = [w for w in found if not w.there]
    order = "none" if not ahead else "deploy-first" if known.proven else "down-first"
    counts = [w.toll.rows if w.toll is not None else None for w in ahead]
    rows = None if None in counts else sum(n for n in counts if n is not None)
    option = "keep" if known.proven and ahead else ""
    data: dict[str, Json] = {"order": order, "keep_proven": known.proven, "option": option, "rows": rows}
    return Verdict(status, observed, expected, data)
