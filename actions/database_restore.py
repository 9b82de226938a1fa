"""B6: bring a database back from its newest backup that is whole: restored into a new one beside it, compared with what
the backup holds, and switched to by name, with the sessions.

What was written since the backup is lost to the service, and stays in the old database, which is kept under a name that
says when and why; so an undo switches back. No database is ever deleted. Refused is what would hit others: a database
that another service or the bot itself uses, or from which replication reads.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Effect,
    Fact,
    Fatal,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
)
from bot.ports import Unreachable
from bot.ports.backups import Backup, Proof
from bot.ports.databases import Database, NotAllowed
from bot.ports.maintenance import Standing, Unfit

FIELD = "database"
"""What of a target changes: which database has the name."""
FRESH = 24 * 3600.0
"""Seconds for which a backup that was read to its end counts as whole."""
ROOM = 1.2
"""How much more than today's size the server's disk must take."""
SLOW, FAST = 5e6, 40e6
"""Bytes of a database that are restored in a second, at least and at most."""
_LABEL = re.compile(r"restored from (.+) \((sha256:[0-9a-f]{12})\)")


class DatabaseRestoreParams(Params):
    """Which databases, and how much may be lost."""

    databases: list[str] = Field([], description="Names of databases; empty: every one that has backups.")
    backups: dict[str, str] = Field(
        {},
        description="Target of backups -> name of the one to restore, as `backups.verified` found it; otherwise the "
        "newest that is whole.",
    )
    revision: str | None = Field(None, description="Revision of the schema that the backup must be at.")
    minutes: float = Field(60, ge=0, description="Minutes that may be lost before people are asked again.")
    jobs: int = Field(4, ge=1, le=64, description="Connections over which it is restored at the same time.")


@dataclass
class RestoreFound:
    """What was found of one database. refused: why it cannot be restored, each with what to do."""

    database: Database
    edit: Edit | None = None
    effect: Effect | None = None
    facts: list[Fact] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    words: str = ""
    size: int = 0


class DatabaseRestore(Action[DatabaseRestoreParams]):
    """Restores databases from their backups; the old ones are kept."""

    name = "database.restore"
    needs = frozenset({"databases", "backups", "maintenance"})
    destructive = True
    Params = DatabaseRestoreParams

    async def plan(self, ctx: ReadCtx, p: DatabaseRestoreParams) -> Change:
        sources = _sources(ctx, p)
        if not sources:
            return Change("no database of this service has backups in the catalogue, so nothing is restored")
        found = [await _look(ctx, p, d, source, len(sources) > 1) for d, source in sources]
        if refused := [why for f in found for why in f.refused]:
            hint = "; ".join(dict.fromkeys(h for _, h in refused if h))
            raise Fatal("not restored: " + "; ".join(what for what, _ in refused), hint)
        size = sum(f.size for f in found if f.edit)
        return Change(
            "; ".join(f.words for f in found),
            edits=tuple(f.edit for f in found if f.edit),
            effects=tuple(f.effect for f in found if f.effect),
            facts=tuple(fact for f in found for fact in f.facts),
            warnings=tuple(w for f in found for w in f.warnings),
            within=600 + 2 * size / SLOW,
            lasts=(5 + size / FAST, 60 + size / SLOW) if size else (0.0, 0.0),
        )

    async def observe(self, ctx: ReadCtx, p: DatabaseRestoreParams, targets: Collection[str]) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        for target in targets:
            with _plainly():
                standing = await ctx.ports.maintenance.standing(target.partition("/")[0], counted=False)
            found[target] = standing.between or standing.live.label
        return found

    async def apply(self, ctx: Ctx, p: DatabaseRestoreParams, change: Change) -> Receipt:
        forwards = bool(change.effects)
        kept = []
        for edit in change.edits:
            name = edit.target.partition("/")[0]
            with _plainly(acting=True):
                standing = await ctx.ports.maintenance.standing(name, counted=False)
                if standing.live.label != edit.after or standing.between:
                    if forwards and edit.after not in (standing.live.label, standing.between):
                        await _restored(ctx, p, name, str(edit.after))
                    why = "before_restore" if forwards else "undone_restore"
                    await ctx.ports.maintenance.switch(name, str(edit.after), why)
                    standing = await ctx.ports.maintenance.standing(name, counted=False)
            kept += [f"{name}: {k.name} ({k.label})" for k in standing.kept if k.label == edit.before]
        return Receipt(change.summary, evidence={"kept": [*kept]})


def _sources(ctx: ReadCtx, p: DatabaseRestoreParams) -> list[tuple[Database, str]]:
    """Each database that is meant, and the target that its backups are. Fatal."""
    rules, every = ctx.ports.backups.rules, list(ctx.ports.databases.databases)
    if unknown := sorted(set(p.databases) - {d.name for d in every}):
        known = ", ".join(d.name for d in every) or "none"
        raise Fatal(f"there is no database {', '.join(unknown)} in the catalogue", f"there are: {known}")
    found = []
    for database in every:
        fit = [t for t, r in rules.items() if r.of == database.name or (not r.of and len(every) == 1)]
        if p.databases and database.name not in p.databases:
            continue
        if len(fit) > 1:
            raise Fatal(
                f"{database.name} has several targets of backups: {', '.join(fit)}", "name one, in the catalogue"
            )
        if not fit and p.databases:
            raise Fatal(f"the catalogue names no backups of {database.name}", "add a target `backups: …` of it")
        found += [(database, fit[0])] if fit else []
    return found


async def _look(ctx: ReadCtx, p: DatabaseRestoreParams, database: Database, source: str, several: bool) -> RestoreFound:
    """What restoring it would change, lose and need."""
    found = RestoreFound(database)
    with _plainly():
        standing = await ctx.ports.maintenance.standing(database.name)
        backup, proof = await _chosen(ctx, p, source)
    after = f"restored from {backup.name} ({proof.digest[:19]})"
    if standing.live.label == after and not standing.between:
        found.words = f"{database.name} holds {backup.name} already"
        return found
    if not p.backups.get(source) and (old := await _restored_since(ctx, source, standing, backup)):
        found.words = f"{database.name} holds {old} already, and no later backup was there then; name one to restore it"
        return found
    found.refused = _refusals(ctx, p, database, source, standing, backup, proof)
    found.edit = Edit(f"{database.name}/{FIELD}", standing.live.label, after)
    found.effect = Effect(f"create a database beside {database.name} from {backup.name}")
    found.size = max(standing.live.size, backup.size)
    found.words = f"{database.name} from {backup.name} of {backup.at:%Y-%m-%d %H:%M} UTC; the old one is kept"
    _count(ctx, p, database, standing, backup, proof, found, f"{database.name}: " if several else "")
    return found


async def _chosen(ctx: ReadCtx, p: DatabaseRestoreParams, source: str) -> tuple[Backup, Proof]:
    """The backup that was named, or the newest that is whole. Fatal."""
    listed = await ctx.ports.backups.list(source)
    named = p.backups.get(source)
    if named is not None:
        listed = [b for b in listed if b.name == named]
    faults = []
    for backup in listed[:5]:
        proof = await ctx.ports.backups.proof(source, backup, fresh=FRESH, counted=True)
        if proof.whole:
            return backup, proof
        faults.append((f"{backup.name} cannot be restored: {proof.fault}", proof.hint))
    if faults:
        raise Fatal("; ".join(what for what, _ in faults), faults[0][1])
    raise Fatal(f"{source}: there is no backup{f' {named}' if named else ''}", "make one, or name one that is there")


async def _restored_since(ctx: ReadCtx, source: str, standing: Standing, newest: Backup) -> str:
    """The backup that it was restored from, where no later one was made before that; "" otherwise."""
    came = _LABEL.fullmatch(standing.live.label)
    moments = [m[1] for k in standing.kept if (m := re.search(r"since (\d{4}-\d\d-\d\d \d\d:\d\d) UTC", k.why))]
    if came is None or not moments:
        return ""
    then = datetime.fromisoformat(f"{max(moments)}+00:00")
    return came[1] if newest.at <= then else ""


def _refusals(
    ctx: ReadCtx,
    p: DatabaseRestoreParams,
    database: Database,
    source: str,
    standing: Standing,
    backup: Backup,
    proof: Proof,
) -> list[tuple[str, str]]:
    """Why it must not be done, each with what to do."""
    found = list(standing.hindrances)
    if database.others:
        what = f"{', '.join(database.others)} works on the same database as this service"
        found.append((what, "restore by hand, together with those who run it"))
    if database.own:
        found.append((f"{database.name} is the bot's own database", "restore it by hand, with every bot stopped"))
    if standing.server and (unfit := ctx.ports.maintenance.usable(source, proof, standing.server)):
        found.append((unfit, ""))
    if p.revision is not None and proof.stamp and p.revision not in proof.stamp:
        what = f"{backup.name} is at revision {', '.join(proof.stamp)}, the release needs {p.revision}"
        found.append((what, "name a backup of that revision, or take the schema down"))
    room = ROOM * standing.live.size
    if standing.free is not None and standing.free < room:
        what = f"the server's disk takes {_mb(standing.free)} more, it needs {_mb(room)}"
        found.append((what, "make room; the bot deletes no database, not even an old one that it has kept"))
    return found


def _count(
    ctx: ReadCtx,
    p: DatabaseRestoreParams,
    database: Database,
    standing: Standing,
    backup: Backup,
    proof: Proof,
    found: RestoreFound,
    whose: str,
) -> None:
    """What is lost, with its ceilings, and what people should know."""
    minutes = round(max(0.0, (ctx.now - backup.at).total_seconds()) / 60, 1)
    found.facts += [
        Fact(f"{whose}rows lost", _lost(standing.rows, proof.rows), "rows", database.ceiling),
        Fact(f"{whose}minutes lost", minutes, "min", _ceiling(minutes, p.minutes)),
    ]
    found.warnings.append(f"{whose}changes of older rows since {backup.at:%H:%M} UTC are lost as well, and not counted")
    if standing.free is None:
        room = _mb(ROOM * standing.live.size)
        found.warnings.append(f"{whose}nobody says how much the server's disk takes; it needs about {room}")
    if not proof.checked:
        found.warnings.append(f"{whose}damage inside the data of {backup.name} would not show: nothing was noted of it")
    found.warnings += [f"{whose}{line}" for line in standing.warnings]


def _lost(live: Mapping[str, int | None], archived: Mapping[str, int | None]) -> int | None:
    """Rows that are there now and were not then; None where a table was not counted."""
    lost = 0
    for table, rows in live.items():
        then = archived.get(table, 0)
        if rows is None or then is None:
            return None
        lost += max(0, rows - then)
    return lost


def _ceiling(minutes: float, limit: float) -> float:
    """The limit; above it whole hours, so that time that passes does not ask people again and again."""
    return limit if minutes + 15 <= limit else 60.0 * (int((minutes + 30) // 60) + 1)


async def _restored(ctx: Ctx, p: DatabaseRestoreParams, name: str, label: str) -> None:
    """Makes the database of this label beside that one, and holds it against its backup. Fatal."""
    [source] = [s for d, s in _sources(ctx, p) if d.name == name]
    said = _LABEL.fullmatch(label)
    backups = [b for b in await ctx.ports.backups.list(source) if said is not None and b.name == said[1]]
    if not backups or said is None:
        raise Fatal(f"{source}: the backup of {label!r} is gone", "plan the step again, with one that is there")
    proof = await ctx.ports.backups.proof(source, backups[0], fresh=FRESH, counted=True)
    if not proof.digest.startswith(said[2]):
        raise Fatal(f"{backups[0].name} is not what it was when it was shown", "plan the step again")
    await ctx.ports.maintenance.restore(name, source, backups[0], proof, p.jobs, ctx.report)
    if wrong := await ctx.ports.maintenance.unlike(name, proof):
        raise Fatal(f"{name} was restored, but not switched to: {_several(wrong)}", "look at it beside the live one")


class _plainly:
    """What the port says is said as the engine needs it. acting: every attempt looks first, so a lost answer is tried
    again."""

    def __init__(self, *, acting: bool = False) -> None:
        self._acting = acting

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Unfit):
            raise Fatal(str(error), error.hint) from error
        if isinstance(error, NotAllowed):
            raise Fatal(str(error), "give the admin login the rights of docs/databases.md") from error
        if isinstance(error, Unreachable) and self._acting:
            raise Retryable(str(error)) from error


def _several(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "; ".join(lines[:5]) + more


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
