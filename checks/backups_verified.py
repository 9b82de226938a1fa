"""P2: there is a backup of each database to fall back on: young enough, not suddenly small, and read to its end.

A listing is no proof, so the newest backup is read, once: what was proven is remembered. It says what is wrong with
each, and what to do next. The newest that is being written just now is not judged: the one before it counts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Blob, Unreachable
from bot.ports.backups import Backup, Proof, Rules
from bot.ports.databases import NotAllowed

EXPECTED = "the newest backup of every database young enough, not suddenly small, and readable to its end"
SETTLING = 120.0
"""Seconds since it was last written for which one that cannot be read may be one that is not finished yet."""
SKEW = 60.0
"""Seconds by which the clocks of this machine and of the shelf may differ."""


class BackupsVerifiedParams(Params):
    """What to look for beside the backups that the catalogue names."""

    settings: Blob | None = Field(
        None, description="The snapshot of the target release's settings, which must be there."
    )
    snapshot: bool = Field(False, description="Whether a release without such a snapshot is worth a warning.")
    fresh: float = Field(
        24 * 3600.0,
        ge=0,
        description="Seconds for which a proof holds before the bytes are read again for their digest.",
    )
    counted: bool = Field(
        True,
        description="Count rows while reading, which takes twice as long, once: what a restore loses is then known.",
    )


class BackupsVerifiedOutput(Output):
    """What was found."""

    newest: dict[str, str] = Field(description="Target -> name of the newest backup, where that was read to its end.")
    minutes: dict[str, float] = Field(description="Target -> how old that is, in minutes.")
    faults: dict[str, str] = Field(description="Target -> what is wrong, and what to do; empty where nothing is.")


@dataclass
class BackupsFound:
    """Of one target. whole: it was read to its end; wrong: it fails; unsure: nothing is known; notes: what people
    should know."""

    name: str = ""
    whole: bool = False
    minutes: float = 0.0
    wrong: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    words: str = ""


class BackupsVerified(Check[BackupsVerifiedParams]):
    """Passes when every catalogued database has a backup that a restore could take."""

    name = "backups.verified"
    needs = frozenset({"backups", "blobs", "databases", "maintenance"})
    Params = BackupsVerifiedParams
    Output = BackupsVerifiedOutput

    async def run(self, ctx: ReadCtx, p: BackupsVerifiedParams) -> Verdict:
        rules = ctx.ports.backups.rules
        looked = dict(zip(rules, await asyncio.gather(*(_look(ctx, p, t, r) for t, r in rules.items())), strict=True))
        looked |= _without(ctx, rules)
        everything = [*looked.values(), await _snapshot(ctx, p)]
        faults = {t: "; ".join((*f.wrong, *f.unsure)) for t, f in looked.items() if f.wrong or f.unsure}
        output = BackupsVerifiedOutput(
            newest={t: f.name for t, f in looked.items() if f.whole},
            minutes={t: f.minutes for t, f in looked.items() if f.name},
            faults=faults,
        )
        wrong, unsure, notes = (any(getattr(f, what) for f in everything) for what in ("wrong", "unsure", "notes"))
        status = Status.FAIL if wrong else Status.UNKNOWN if unsure else Status.WARN if notes else Status.PASS
        said = "; ".join(line for f in everything if (line := _said(f)))
        return Verdict(status, said or "this service has no database", EXPECTED, output.model_dump())


def _without(ctx: ReadCtx, rules: Mapping[str, Rules]) -> dict[str, BackupsFound]:
    """The databases of which the catalogue names no backups."""
    every = [d.name for d in ctx.ports.databases.databases]
    having = {r.of or (every[0] if len(every) == 1 else "") for r in rules.values()}
    words = (
        "the catalogue names no backups of it, so nothing is known of them; add a target `backups: …` with `of: {0}`"
    )
    return {name: BackupsFound(unsure=[f"{name}: {words.format(name)}"]) for name in every if name not in having}


def _said(found: BackupsFound) -> str:
    return "; ".join(filter(None, (found.words, *found.wrong, *found.unsure, *found.notes)))


async def _look(ctx: ReadCtx, p: BackupsVerifiedParams, target: str, rules: Rules) -> BackupsFound:
    found = BackupsFound()
    try:
        backups = await ctx.ports.backups.list(target)
        if not backups:
            found.wrong.append(f"{target}: there is no backup at all; make one now, with pg_dump --format=custom")
            return found
        await _newest(ctx, p, target, rules, backups, found)
    except (Unreachable, LookupError) as error:
        found.unsure.append(str(error))
    return found


async def _newest(
    ctx: ReadCtx, p: BackupsVerifiedParams, target: str, rules: Rules, backups: Sequence[Backup], found: BackupsFound
) -> None:
    """The newest that is finished: its age, its size, and whether it can be read."""
    newest, *others = backups
    proof = await ctx.ports.backups.proof(target, newest, fresh=p.fresh, counted=p.counted)
    if not proof.whole and others and ctx.now - newest.changed < timedelta(seconds=SETTLING):
        found.notes.append(f"{target}: {newest.name} is not finished yet ({proof.fault})")
        newest, *others = others
        proof = await ctx.ports.backups.proof(target, newest, fresh=p.fresh, counted=p.counted)
    found.name, found.minutes = newest.name, round((ctx.now - newest.at).total_seconds() / 60, 1)
    found.whole = proof.whole
    found.words = f"{target}: {newest.name}, {_age(ctx.now, newest.at)} old, {_bytes(newest.size)}, {_read(proof)}"
    if not proof.whole:
        found.words = ""
        found.wrong.append(f"{target}: {newest.name} cannot be restored: {proof.fault}; {proof.hint}")
    if (newest.at - ctx.now).total_seconds() > SKEW:
        found.wrong.append(
            f"{target}: {newest.name} is of {newest.at:%Y-%m-%d %H:%M} UTC, which is in the future, so its age is "
            "not known; set the clock right of the machine that makes it"
        )
    if (age := (ctx.now - newest.at).total_seconds()) > rules.max_age:
        found.wrong.append(
            f"{target}: {newest.name} is {_span(age)} old, the limit is {_span(rules.max_age)}; make one now, and "
            "find out why none was made"
        )
    if others and newest.size < rules.least * others[0].size:
        found.wrong.append(
            f"{target}: {newest.name} has {_bytes(newest.size)}, the one before ({others[0].name}) "
            f"{_bytes(others[0].size)}; look what is missing from it before you rely on it"
        )
    if proof.whole:
        found.notes += [f"{target}: {note}" for note in _notes(newest, proof)]
        await _taken(ctx, target, rules, proof, found)


async def _taken(ctx: ReadCtx, target: str, rules: Rules, proof: Proof, found: BackupsFound) -> None:
    """Whether the server that it is to go into would take it."""
    every = [d.name for d in ctx.ports.databases.databases]
    of = rules.of or (every[0] if len(every) == 1 else "")
    if not of:
        found.notes.append(f"{target}: of which database it is is not said (`of`), so it cannot be restored")
        return
    try:
        server = (await ctx.ports.databases.state(of)).server
    except (Unreachable, NotAllowed) as error:
        found.notes.append(f"{target}: whether the server would take it is not known ({error})")
        return
    if proof.format != "plain" and (why := ctx.ports.maintenance.usable(target, proof, server)):
        found.wrong.append(f"{target}: it cannot be restored: {why}")


def _notes(backup: Backup, proof: Proof) -> list[str]:
    notes = []
    if not proof.checked:
        notes.append(
            "its data are not compressed and no digest was noted when it was made, so damage inside them would not "
            f"show; write {backup.name}.sha256 beside it (sha256sum)"
        )
    if proof.format == "plain":
        notes.append("a plain dump is restored by psql and by hand; make it with pg_dump --format=custom")
    return notes


def _read(proof: Proof) -> str:
    rows = [n for n in proof.rows.values() if n is not None]
    tables = f"{len(proof.rows)} table{'' if len(proof.rows) == 1 else 's'}"
    noted = " as noted when it was made" if proof.noted else ""
    what = f" ({tables}, {sum(rows)} rows)" if proof.counted else ""
    return f"read to its end at {proof.at:%H:%M} UTC{noted}{what}"


async def _snapshot(ctx: ReadCtx, p: BackupsVerifiedParams) -> BackupsFound:
    """The snapshot of the target's settings."""
    found = BackupsFound()
    if p.settings is None:
        if p.snapshot:
            found.notes.append("no settings were kept of the target release: those of today stay")
        return found
    short = f"{p.settings.digest[:19]}…"
    try:
        await ctx.ports.blobs.get(p.settings)
    except KeyError:
        found.wrong.append(
            f"the snapshot of the settings ({short}) is not in the bot's files; restore them from a backup"
        )
    except ValueError as error:
        found.wrong.append(f"the snapshot of the settings is damaged: {error}")
    except Unreachable as error:
        found.unsure.append(str(error))
    return found


def _age(now: datetime, at: datetime) -> str:
    return _span((now - at).total_seconds())


def _span(seconds: float) -> str:
    """ "26 min", "5.5 h", "3.2 d"."""
    minutes = max(0.0, seconds) / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} d"


def _bytes(size: float) -> str:
    """ "89.8 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
