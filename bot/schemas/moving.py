"""Taking a schema from one revision to another, one revision a transaction, in either direction.

Invariants:
- what a revision takes away is counted again and exported right before it goes, and the exports' digests are recorded;
- a revision is done when its stamp is read back on another connection AND the schema has become what it says: a stamp
  alone proves nothing;
- a failure that left nothing behind and one that went half way are told apart by the objects, not by the stamp;
- each edit is one revision, so that a crash in the middle leaves a remainder of what was approved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.contract import Change, Ctx, Edit, Effect, Fatal, Json, NotYet, ReadCtx, Receipt, Retryable, Value, first_value
from bot.ports import Unreachable
from bot.ports.databases import (
    BadScripts,
    Blocked,
    Direction,
    Loss,
    NotAllowed,
    RevisionStep,
    ScriptFailed,
    TableShape,
    Toll,
)
from bot.schemas import ways
from bot.schemas.ways import SchemaParams, Way

KIND = "schema"
"""Between database and revision in a target: "db/schema/0042"."""
SHOWN = 6
"""Objects that are named of a difference."""


async def plan(ctx: ReadCtx, p: SchemaParams, direction: Direction) -> Change:
    """The revisions that are left to go over. Fatal where they must not be."""
    found = await ways.ways(ctx, p)
    idle = ways.without_migrations(ctx, p)
    left = tuple(f"{name}: the catalogue names no migrations for it; it is left as it is" for name in idle)
    if not found:
        return Change("no database is catalogued with migrations: there is nothing to move", warnings=left)
    ways.refuse(found, direction)
    todo = [w for w in found if not w.there]
    if not todo:
        return Change("; ".join(f"{w.at.name} is at {w.stamp} already" for w in found), warnings=left)
    by = f", by the migrations of {p.newer}" if p.newer else ""
    return Change(
        "; ".join(f"{w.at.name}: schema {w.stamp} to {p.revision}, {ways.drops(w)}" for w in todo) + by,
        tuple(_edit(w, step, direction) for w in todo for step in _steps(w)),
        tuple(e for w in todo for e in _effects(w)),
        facts=tuple(ways.facts(todo, direction)),
        warnings=(*ways.warnings(todo), *left),
        reversible=all(w.toll is not None and w.toll.rows == 0 for w in todo),
        lasts=ways.lasts(todo),
    )


def _steps(way: Way) -> tuple[RevisionStep, ...]:
    return way.route.steps if way.route is not None else ()


def _edit(way: Way, step: RevisionStep, direction: Direction) -> Edit:
    target = f"{way.at.name}/{KIND}/{step.revision}"
    ends = (step.revision, step.below)
    return Edit(target, *(ends if direction == "down" else ends[::-1]))


def _effects(way: Way) -> list[Effect]:
    """What is approved beside the revisions: the scripts as they are now, and that what goes is exported first."""
    if way.route is None or way.toll is None:
        return []
    run = Effect(f"{way.at.name}: run the migrations as they are now ({way.route.digest[:19]})")
    return [run, *(Effect(f"{way.at.name}: export {loss.what} into the record first") for loss in way.toll.losses)]


async def observe(ctx: ReadCtx, p: SchemaParams, targets: Collection[str]) -> Mapping[str, Value]:
    """Each revision: itself where it is in force, else the one below it."""
    by_name: dict[str, list[str]] = {}
    for target in targets:
        name, _, revision = _parts(target)
        by_name.setdefault(name, []).append(revision)
    seen: dict[str, Value] = {}
    for name, revisions in by_name.items():
        for revision, stands in (await _standing(ctx, p, name, revisions)).items():
            seen[f"{name}/{KIND}/{revision}"] = stands
    return seen


def _parts(target: str) -> tuple[str, str, str]:
    name, _, rest = target.partition("/")
    kind, _, revision = rest.partition("/")
    return name, kind, revision


async def _standing(ctx: ReadCtx, p: SchemaParams, name: str, revisions: list[str]) -> Mapping[str, str]:
    try:
        return await ctx.ports.databases.standing(name, p.migrations or "", revisions)
    except BadScripts as error:
        raise Fatal(str(error), "see that the migrations are in place and the stamp is true, then try again") from error
    except NotAllowed as error:
        raise Fatal(str(error), "give the bot's login the right to read it, then try again") from error


async def apply(ctx: Ctx, p: SchemaParams, change: Change) -> Receipt:
    """Each revision of the change, in its order, looking first. Fatal, NotYet (a lock), Retryable."""
    try:
        return await _apply(ctx, p, change)
    except Unreachable as error:
        raise Retryable(f"{error}: it is looked where it stands, then gone on") from error


async def _apply(ctx: Ctx, p: SchemaParams, change: Change) -> Receipt:
    evidence: dict[str, Json] = {}
    for n, edit in enumerate(change.edits):
        name, _, revision = _parts(edit.target)
        direction: Direction = "up" if edit.after == revision else "down"
        await ctx.report(f"{name}: {direction} over {revision}", n, len(change.edits))
        if (await _standing(ctx, p, name, [revision]))[revision] == edit.after:
            evidence |= await _exported_before(ctx, name, revision)
            continue
        evidence |= await _over(ctx, p, name, edit, change)
    if not change.edits:
        return Receipt(change.summary)
    kept = f"; {len(evidence)} exports kept" if evidence else ""
    ends = {_parts(e.target)[0]: e.after for e in change.edits}
    where = ", ".join(f"{name} is at {at}" for name, at in ends.items())
    return Receipt(f"{change.summary}: {where}, stamp and schema read back{kept}", evidence)


async def _over(ctx: Ctx, p: SchemaParams, name: str, edit: Edit, change: Change) -> dict[str, Json]:
    """One revision, from counting what it takes to its being there. What it has exported."""
    revision, to = _parts(edit.target)[2], str(edit.after)
    direction: Direction = "up" if to == revision else "down"
    step, toll = await _anew(ctx, p, name, revision, to)
    _within(name, toll, change)
    kept = {loss.what: await _export(ctx, name, revision, loss) for loss in toll.losses if loss.rows != 0}
    if kept:
        await first_value(ctx, f"exports of {name} {revision}", {**kept})
    before = await ctx.ports.databases.shape(name)
    try:
        await ctx.ports.databases.migrate(name, p.migrations or "", step, direction)
    except Blocked as error:
        whom = f": waiting for {'; '.join(error.holders)}" if error.holders else ""
        raise NotYet(f"{error}{whom}", after=5) from error
    except NotAllowed as error:
        raise Fatal(f"{error}; nothing was changed", "give the admin login that right, then try again") from error
    except ScriptFailed as error:
        await _failed(ctx, name, step, direction, before, error)
    await _arrived(ctx, name, step, before, toll)
    return {f"{name}/{what}": said for what, said in kept.items()}


async def _exported_before(ctx: Ctx, name: str, revision: str) -> dict[str, Json]:
    """What an attempt before this one exported of a revision that is done."""
    said = await first_value(ctx, f"exports of {name} {revision}", {})
    return {f"{name}/{what}": kept for what, kept in said.items()} if isinstance(said, dict) else {}


async def _anew(ctx: Ctx, p: SchemaParams, name: str, revision: str, to: str) -> tuple[RevisionStep, Toll]:
    """The way over this one revision, as the database is now. Fatal where it is not next, or must not be gone."""
    [way] = await ways.ways(ctx, p.model_copy(update={"revision": to, "target": name}))
    ways.refuse([way], "up" if to == revision else "down")
    if way.route is None or way.toll is None or [s.revision for s in way.route.steps] != [revision]:
        raise Fatal(
            f"{name} is at {way.stamp}, from where {revision} is not the next revision: somebody else migrates",
            "see who does, then try again or undo",
        )
    return way.route.steps[0], way.toll


def _within(name: str, toll: Toll, change: Change) -> None:
    """Fatal where more would be lost by now than people have agreed to; NotYet where it cannot be counted just now."""
    for fact in change.facts:
        if fact.ceiling is not None and fact.name in ("rows lost", f"{name}: rows lost") and not fact.allows(toll.rows):
            if toll.rows is None and not toll.unread:
                what = ", ".join(loss.what for loss in toll.losses if loss.rows is None)
                raise NotYet(
                    f"{name}: {what} cannot be counted now, as it was for the yes: it is locked, or slow", after=5
                )
            found = "an unknown number of" if toll.rows is None else f"{toll.rows:,}"
            shown = "an unknown number" if fact.value is None else str(fact.value)
            raise Fatal(
                f"{name}: {found} rows would be lost by now, {shown} were shown and {fact.ceiling:g} are allowed",
                "see that nothing writes any more, then try again: it is asked for anew",
            )


async def _export(ctx: Ctx, name: str, revision: str, loss: Loss) -> Json:
    """Keeps the rows, once: after the revision they are gone. Fatal where they are too many."""

    async def keep() -> Json:
        try:
            data = await ctx.ports.databases.export(name, loss)
        except ValueError as error:
            raise Fatal(str(error), "empty it by hand once it is dumped, or keep the schema") from error
        blob = await ctx.ports.blobs.put(data, "text/csv")
        return {"digest": blob.digest, "size": blob.size, "type": blob.type, "rows": data.count(b"\n") - 1}

    await ctx.report(f"{name}: exporting {loss.what}")
    return await ctx.once(f"export of {name} {revision} {loss.what}", keep)


async def _failed(
    ctx: Ctx, name: str, step: RevisionStep, direction: Direction, before: TableShape, error: ScriptFailed
) -> None:
    """Fatal, with what it has left behind; nothing where somebody else has done it meanwhile."""
    state, now = await ctx.ports.databases.state(name), await ctx.ports.databases.shape(name)
    if state.stamp == step.stamp:
        return  # a lost race: whoever was first has done it
    if now == before:
        raise Fatal(
            f"{error}; {name} is as it was, at {'+'.join(state.stamp or ())}",
            "mend what the script stumbled over and try again, or keep the schema",
        ) from error
    raise Fatal(
        f"{name} is half {direction}: the script of {step.revision} failed after it had changed things, its stamp says "
        f"{'+'.join(state.stamp or ()) or 'nothing'}. {_differs(before, now)}. It said: {error}",
        "finish or take back by hand what the script has begun, or restore a backup; do not only set the stamp",
    ) from error


async def _arrived(ctx: Ctx, name: str, step: RevisionStep, before: TableShape, toll: Toll) -> None:
    """Fatal unless stamp and schema are what the revision says, seen on another connection."""
    state, now = await ctx.ports.databases.state(name), await ctx.ports.databases.shape(name)
    wanted = step.stamp
    if state.stamp != wanted:
        said = "nothing was changed" if now == before else f"{_differs(before, now)}, which no stamp tells of"
        raise Fatal(
            f"{name}: the migrations ended well, and the stamp is {'+'.join(state.stamp or ()) or 'gone'} instead of "
            f"{'+'.join(wanted)}: {said}",
            "their env.py commits nothing, or somebody else migrates; see to it, then try again",
        )
    if now == before and (left := sorted({*toll.hidden} & now.keys())):
        raise Fatal(
            f"{name}: the script of {step.revision}, which could not be read, has changed nothing: its stamp says "
            f"{'+'.join(wanted)}, and {', '.join(left[:SHOWN])} is still there",
            "the stamp is not true: take it away by hand, or set the stamp back",
        )
    if left := sorted({loss.what for loss in toll.losses} & now.keys()):
        raise Fatal(
            f"{name}: its stamp says {'+'.join(wanted)}, and {', '.join(left)} is still there",
            "the stamp is not true: take it away by hand, or set the stamp back",
        )


def _differs(before: TableShape, now: TableShape) -> str:
    """ "gone: table coupons; changed: column orders.total"."""
    sorts = {
        "gone": sorted(before.keys() - now.keys()),
        "new": sorted(now.keys() - before.keys()),
        "changed": sorted(k for k in before.keys() & now.keys() if before[k] != now[k]),
    }
    more = {sort: " and more" * (len(names) > SHOWN) for sort, names in sorts.items()}
    return "; ".join(f"{sort}: {', '.join(names[:SHOWN])}{more[sort]}" for sort, names in sorts.items() if names)
