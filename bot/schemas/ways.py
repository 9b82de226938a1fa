"""From where a service's databases stand to the revision that a release needs: what there is to do, what it would cost,
and why it may not be done. Reads only.

Invariants:
- every database of the catalogue that has migrations is part of it, and one that could not be looked at is named;
- a way is refused where others would lose by it, and where it would do nothing and look done. What only looks as if it
  would fail is a warning: the server knows better, and undoes what fails;
- what is not known is said as not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import Field

from bot.contract import NAMES, Fact, Fatal, Params, ReadCtx
from bot.ports import Unreachable
from bot.ports.databases import BadScripts, Database, DatabaseState, Direction, NotAllowed, Route, Toll

EXPORTED = 20e6
"""Bytes that one second of an export takes, about."""
REVISION = (1.0, 5.0)
"""Seconds that a revision takes that only changes the catalog, at least and at most."""


class SchemaParams(Params):
    """Which revision, by whose migrations."""

    revision: str | None = Field(description="Revision of the schema that the release to be run needs.")
    migrations: str | None = Field(description="Whose migrations know the way: those of the newer of the two releases.")
    version: str = Field("", description="The release to be run.")
    newer: str = Field("", description="The release whose migrations are used.")
    target: str | None = Field(
        None, json_schema_extra={NAMES: "postgres"}, description="One database of the catalogue; every one otherwise."
    )


@dataclass(frozen=True, slots=True)
class Way:
    """What is known of one database. why: why there is no way, "" where there is; lost: why it cannot be reached."""

    at: Database
    state: DatabaseState | None = None
    route: Route | None = None
    toll: Toll | None = None
    unreadable: Mapping[str, int | None] = field(default_factory=dict)
    why: str = ""
    lost: str = ""

    @property
    def there(self) -> bool:
        """Whether it stands where it is to be."""
        return self.route is not None and not self.route.steps

    @property
    def stamp(self) -> str:
        """The revision that it is at; "not known" where nothing says."""
        return "+".join(self.state.stamp) if self.state is not None and self.state.stamp else "not known"

    @property
    def foreign(self) -> Mapping[str, int | None]:
        """What the older release cannot read -> rows (None: not counted)."""
        return {**(self.toll.foreign if self.toll is not None else {}), **self.unreadable}


async def ways(ctx: ReadCtx, p: SchemaParams) -> list[Way]:
    """Of every database that the parameters mean and that has migrations."""
    meant = [d for d in ctx.ports.databases.databases if p.target in (None, d.name)]
    if p.target is not None and not meant:
        raise Fatal(f"the catalogue has no database {p.target!r}", "correct the plan or the catalogue")
    return list(await asyncio.gather(*(_way(ctx, p, d) for d in meant if d.scripts)))


def without_migrations(ctx: ReadCtx, p: SchemaParams) -> list[str]:
    """Databases of which the catalogue does not say where their migrations lie."""
    return [d.name for d in ctx.ports.databases.databases if p.target in (None, d.name) and not d.scripts]


async def _way(ctx: ReadCtx, p: SchemaParams, at: Database) -> Way:
    port, way = ctx.ports.databases, Way(at)
    try:
        way = replace(way, state=await port.state(at.name))
        if p.revision is None:
            return replace(way, why=f"{p.version or 'the release'} is registered without a schema revision")
        if p.migrations is None:
            return replace(way, why=f"{p.newer or 'the newer release'} is registered without its migrations")
        route = await port.route(at.name, p.migrations, p.revision)
        toll = await port.toll(at.name, route)
        passed = {s.revision for s in route.steps}
        asked = {what: query for what, (since, query) in at.unreadable.items() if since in passed}
        counts = {what: await port.count(at.name, query) for what, query in asked.items()}
        return replace(way, route=route, toll=toll, unreadable={k: n for k, n in counts.items() if n != 0})
    except Unreachable as error:
        return replace(way, lost=error.parts.get(at.name, str(error)))
    except (NotAllowed, BadScripts, ValueError) as error:
        return replace(way, why=str(error))


def refuse(found: Sequence[Way], direction: Direction) -> None:
    """Raises where any of them must not be gone: Unreachable, Fatal."""
    if lost := {w.at.name: w.lost for w in found if w.lost}:
        raise Unreachable.of(lost)
    if why := [each for way in found for each in refusals(way, direction)]:
        raise Fatal("; ".join(what for what, _ in why), "; ".join(dict.fromkeys(hint for _, hint in why)))


def refusals(way: Way, direction: Direction) -> Iterator[tuple[str, str]]:
    """Why it must not be gone, each with what a person can do."""
    name, route, toll = way.at.name, way.route, way.toll
    if route is None or toll is None:
        yield way.why, "see that the release's record names its schema and its migrations, and that they are in place"
        return
    if not route.steps:
        return
    if way.at.others:
        yield (
            f"{name} is also the database of {', '.join(way.at.others)}: what goes would go for them too",
            "move it by hand together with their people, or keep the schema",
        )
    if way.at.own or (way.state is not None and way.state.bot):
        yield f"{name} holds the bot's own tables", "give the bot a database of its own; it does not work on its own"
    if way.state is not None and way.state.replica:
        yield f"{name} is a replica: nothing can be changed there", "name the primary in the catalogue"
    if route.direction != direction:
        verb = {"down": "downgrade", "up": "upgrade"}[route.direction]
        yield f"{name} is at {way.stamp}: {route.to} is {route.direction} from there", f"use schema.{verb}, or wait"
    if toll.idle and direction == "down":
        yield (
            f"{name}: the script of {', '.join(toll.idle)} does nothing, and would only set the stamp",
            "keep the schema, or restore a backup; a stamp that is not true breaks the next migration",
        )


def obstacles(way: Way) -> Iterator[str]:
    """Why the script would fail, as far as can be seen without trying."""
    if way.toll is not None:
        yield from (f"the script would fail, {what} stands in its way" for what in way.toll.refused)
        yield from (f"the script would fail, {rows(n)} against {rule}" for rule, n in way.toll.unfit.items() if n)


def facts(found: Sequence[Way], direction: Direction) -> Iterator[Fact]:
    """What was measured, with the ceiling above which people are asked again."""
    for way in found:
        if way.there or way.toll is None:
            continue
        of = f"{way.at.name}: " if len(found) > 1 else ""
        if direction == "down" or way.toll.losses:
            yield Fact(f"{of}rows lost", way.toll.rows, "rows", ceiling=way.at.ceiling)
            yield Fact(f"{of}bytes lost", way.toll.bytes, "bytes")
        for loss in way.toll.losses:
            yield Fact(f"{of}{loss.what}", loss.rows if loss.rows is not None else "not counted in time", "rows")
        yield Fact(f"{of}database", way.state.size if way.state is not None else None, "bytes")


def warnings(found: Sequence[Way]) -> Iterator[str]:
    """What people should know before they say yes."""
    for way in found:
        if way.there or way.toll is None or way.state is None:
            continue
        name, toll = way.at.name, way.toll
        yield from (f"{name}: {line}" for line in obstacles(way))
        yield from (f"{name}: goes along: {what}" for what in toll.along)
        yield from (f"{name}: cannot be read, may take anything: {what}" for what in toll.unread)
        yield from (f"{name}: {what} stays behind" for what in toll.stays)
        yield from (f"{name}: whether rows break {rule} is not known" for rule, n in toll.unfit.items() if n is None)
        yield from (f"{name}: {rows(n)} that the older release does not know: {w}" for w, n in way.foreign.items())
        yield from (f"{name}: {held}; a lock may have to wait for it" for held in way.state.holds)


def rows(n: int | None) -> str:
    """ "1 row", "312 rows"."""
    return "an unknown number of rows" if n is None else f"{n:,} row{'s' * (n != 1)}"


def lasts(found: Sequence[Way]) -> tuple[float, float]:
    """Seconds that going all of them takes, at least and at most, exports included."""
    steps = sum(len(w.route.steps) for w in found if w.route is not None)
    moved = sum((w.toll.bytes or 0) for w in found if w.toll is not None)
    low, high = REVISION
    return steps * low + moved / EXPORTED / 2, steps * high + moved / EXPORTED * 2


def drops(way: Way) -> str:
    """ "drops column orders.coupon_id and table coupons"; what it takes in words."""
    if way.toll is None:
        return "not known what it takes"
    what = [loss.what for loss in way.toll.losses]
    said = f"takes {' and '.join(what)}" if what else "takes nothing away"
    return f"{said}, and what could not be read" if way.toll.unread else said
