"""Whether each database has the schema that was decided on, whole, and holds together.

The revision is the target's, or the newer one's where people decided to keep it; the schema is compared with the models
of that release; queries of the catalogue look for what must not be there. What cannot be compared is said, never passed
over.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import Field

from bot.contract import NAMES, Check, Params, ReadCtx, Status, Verdict
from bot.ports import Unreachable
from bot.ports.databases import BadScripts, Database, NotAllowed, unsound

SHOWN = 4
"""Differences that are named of each kind."""
_WORST = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)

Finding = tuple[Status, str]


class SchemaExpectedParams(Params):
    """The revisions that are right, and whose models say what they look like."""

    revision: str | None = Field(description="Revision of the schema that the release needs.")
    migrations: str | None = Field(None, description="That release's migrations, with its models.")
    kept: str | None = Field(None, description="Revision that is right as well, where people decided to keep it.")
    kept_migrations: str | None = Field(None, description="The migrations, with their models, that it comes from.")
    target: str | None = Field(
        None, json_schema_extra={NAMES: "postgres"}, description="One database of the catalogue; every one otherwise."
    )


class SchemaExpected(Check[SchemaExpectedParams]):
    """Compares revision, schema and data with what they are to be."""

    name = "schema.expected"
    needs = frozenset({"databases"})
    Params = SchemaExpectedParams

    async def run(self, ctx: ReadCtx, p: SchemaExpectedParams) -> Verdict:
        meant = [d for d in ctx.ports.databases.databases if p.target in (None, d.name)]
        expected = f"schema {p.revision or 'of the release'}{f', or {p.kept} kept' if p.kept else ''}, whole and sound"
        if not ctx.ports.databases.databases:
            return Verdict(Status.PASS, "there is no database in the catalogue", expected)
        if not meant:
            return Verdict(Status.UNKNOWN, f"the catalogue has no database {p.target!r}", expected)
        found = await asyncio.gather(*(_look(ctx, p, d) for d in meant))
        worst = max((status for each in found for status, _ in each), key=_WORST.index)
        said = [f"{d.name}: {'; '.join(_told(each))}" for d, each in zip(meant, found, strict=True)]
        return Verdict(worst, ". ".join(said), expected)


def _told(found: Sequence[Finding]) -> list[str]:
    """The worst first."""
    return [words for _, words in sorted(found, key=lambda f: -_WORST.index(f[0]))]


async def _look(ctx: ReadCtx, p: SchemaExpectedParams, d: Database) -> list[Finding]:
    try:
        stamp = (await ctx.ports.databases.state(d.name)).stamp
        found = [_revision(p, stamp, d)]
        here = stamp[0] if stamp else ""
        found += await _schema(ctx, d, p.kept_migrations if here == p.kept != p.revision else p.migrations)
        found += await _data(ctx, d, here == p.kept != p.revision)
    except Unreachable as error:
        return [(Status.UNKNOWN, error.parts.get(d.name, str(error)))]
    except NotAllowed as error:
        return [(Status.UNKNOWN, str(error))]
    return found


def _revision(p: SchemaExpectedParams, stamp: tuple[str, ...] | None, d: Database) -> Finding:
    if not stamp:
        lacks = "no version table" if stamp is None else "an empty version table"
        return (Status.UNKNOWN if d.scripts else Status.PASS), f"{lacks}, so no revision is known"
    at = "+".join(stamp)
    if p.revision is None and p.kept is None:
        return Status.UNKNOWN, f"at {at}; the release is registered without a schema revision"
    if at == p.revision:
        return Status.PASS, f"at {at}"
    if at == p.kept:
        return Status.PASS, f"at {at}, kept"
    return Status.FAIL, f"at {at}, which nobody decided on"


async def _schema(ctx: ReadCtx, d: Database, scripts: str | None) -> list[Finding]:
    broken = [(Status.FAIL, str(each)) for each in unsound(await ctx.ports.databases.shape(d.name))]
    if not d.scripts or scripts is None:
        return [*broken, (Status.WARN, "not compared: no migrations with models are known for it")]
    try:
        differs = await ctx.ports.databases.differences(d.name, scripts)
    except BadScripts as error:
        return [*broken, (Status.UNKNOWN, f"not compared: {error}")]
    if differs is None:
        return [*broken, (Status.WARN, f"not compared: env.py of {scripts} names no models (target_metadata)")]
    wrong = _some([str(each) for each in differs if not each.more])
    more = _some([str(each) for each in differs if each.more])
    found: list[Finding] = [(Status.FAIL, wrong)] if wrong else []
    found += [(Status.WARN, more)] if more else []
    return found or [(Status.PASS, "as its models say")]


def _some(lines: Sequence[str]) -> str:
    rest = len(lines) - SHOWN
    return "; ".join([*lines[:SHOWN], *([f"{rest} more differences"] if rest > 0 else [])])


async def _data(ctx: ReadCtx, d: Database, kept: bool) -> list[Finding]:
    """What the catalogue's queries find. kept: the schema is newer than the release that runs on it."""
    older = {what: query for what, (_, query) in d.unreadable.items()} if kept else {}
    asked: Mapping[str, str] = {**d.integrity, **older}
    found: list[Finding] = []
    for what, query in asked.items():
        try:
            rows = await ctx.ports.databases.count(d.name, query)
        except ValueError as error:
            found.append((Status.UNKNOWN, f"{what}: the catalogue's query cannot be asked ({error})"))
            continue
        if rows is None:
            found.append((Status.UNKNOWN, f"{what}: not counted in time"))
        elif rows:
            found.append((Status.FAIL, f"{what}: {rows} row{'s' * (rows != 1)}"))
    return found or ([(Status.PASS, f"{len(asked)} queries find nothing wrong")] if asked else [])
