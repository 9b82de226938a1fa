"""The ledger of releases, kept in the database; and how CI tells it.

A release is registered by CI (webhook or `rollback-bot release record`) and never changes afterwards. Whether it
served, and what people and runs found out about it, is added to its history (`bot/releases/ledger.py` says what
follows).

Invariants:
- images are pinned by digest, and what is registered is registered whole or not at all;
- state and history change together, in one transaction that one writer of a service has at a time, so that no
  transition is lost, by whichever process it came;
- nothing here reads a clock of its own. Whether a service exists is checked, and prose is redacted, by the caller.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Annotated, cast

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bot.catalogue import STABLE_AFTER, Release
from bot.contract import canonical
from bot.ports import Blob
from bot.ports.builds import Build
from bot.releases.ledger import (
    BestRelease,
    Candidate,
    Entry,
    Ledger,
    Registered,
    ReleaseConflict,
    ReleaseState,
    Spell,
    learned,
    marked,
    prose,
    rank,
    registered,
    serving,
    timed,
)
from bot.run.decide import RELEASING
from bot.run.state import Run
from bot.store import tables as t
from bot.store.log import Store
from bot.store.rows import ReleaseRow, from_row, to_row

__all__ = [
    "BadRelease",
    "BestRelease",
    "Candidate",
    "Entry",
    "Registered",
    "Registration",
    "ReleaseConflict",
    "ReleasePayload",
    "ReleaseRegister",
    "Spell",
    "UnknownRelease",
    "faults",
    "sign",
    "verify_signature",
]  # fmt: skip

LOCK = 0x726F6C6C
"""PostgreSQL advisory lock, with the service's hash: one writer of a service's releases at a time."""


class BadRelease(ValueError):
    """What was to be written does not fit; one line for each mistake. Nothing was written."""


class UnknownRelease(LookupError):
    """The service has no release of this version. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Registration:
    """new: False where exactly this was registered before."""

    registered: Registered
    new: bool


class ReleaseRegister:
    """The ledger in the bot's database. clock: seconds since the epoch, for moments that are not given; heard: called
    when something was registered."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store, self.clock = store, clock
        self.heard: Callable[[], None] = lambda: None

    # -- reading -----------------------------------------------------------------------------------------------------

    async def all(self, service: str) -> list[Registered]:
        """The service's releases, last registered first."""
        return [*_ledger(await self.store.releases(service)).values()][::-1]

    async def get(self, service: str, version: str) -> Registered | None:
        """One release, if it is registered."""
        return _ledger(await self.store.releases(service)).get(version)

    async def current(self, service: str) -> Release | None:
        """The release that serves now, if one was ever said to."""
        return next((r.release for r in await self.all(service) if r.serves), None)

    async def candidates(
        self, service: str, *, removed: str | None, floor: str | None, now: float, stable_after: float = STABLE_AFTER
    ) -> list[Candidate]:
        """Every release, those that can be gone back to first, the best of them first.

        removed: version that is to go, None for the one that serves now; floor: oldest version allowed;
        stable_after: seconds of serving that count as stable.
        """
        if removed is None:
            current = await self.current(service)
            removed = current.version if current is not None else None
        return rank(_ledger(await self.store.releases(service)), removed, floor, now, stable_after)

    async def choose(
        self, service: str, *, removed: str | None, floor: str | None, now: float, stable_after: float = STABLE_AFTER
    ) -> BestRelease:
        """The best candidate, with why it and why not the others; parameters as for `candidates`."""
        found = await self.candidates(service, removed=removed, floor=floor, now=now, stable_after=stable_after)
        best = next((c for c in found if c.over is None), None)
        return BestRelease(best, tuple(c for c in found if c.over not in (None, "removed")))

    # -- writing -----------------------------------------------------------------------------------------------------

    async def record(
        self, service: str, release: Release, *, by: str, at: float | None = None, serving_since: float | None = None
    ) -> Registration:
        """Register a release; the same again is harmless.

        at, serving_since: seconds since the epoch; serving_since where it is known to serve already. Raises
        BadRelease (all mistakes at once) and ReleaseConflict (this version with another content).
        """
        if wrong := faults(release):
            raise BadRelease("\n".join(wrong))
        now = self._moment(at)
        was: list[Registered | None] = []

        def move(ledger: Ledger) -> Ledger:
            was.append(ledger.get(release.version))
            ledger = registered(ledger, service, release, Entry(now, "registered", by))
            return ledger if serving_since is None else serving(ledger, release.version, serving_since, by)

        after = await self._change(service, move)
        self.heard()
        return Registration(after[release.version], was[-1] is None)

    async def served(self, service: str, version: str, at: float, by: str = "") -> Registered:
        """It serves from `at` on, and the one before no longer. UnknownRelease."""
        return await self._one(service, version, lambda ledger: serving(ledger, version, at, by))

    async def settled(self, service: str, version: str, settings: Blob) -> Registered:
        """The record of what it serves with. The first that is noted stays, as what it came with; a later one is kept
        beside it, as what it served with last. UnknownRelease."""

        def move(ledger: Ledger) -> Ledger:
            r = ledger[version]
            first = r.release.settings or settings
            noted = replace(r.release, settings=first, last=None if settings == first else settings)
            return {**ledger, version: replace(r, release=noted)}

        return await self._one(service, version, move)

    async def stable(self, service: str, version: str, by: str, why: str = "", at: float | None = None) -> Registered:
        """Somebody vouches for it. ReleaseConflict while it is bad or banned, UnknownRelease."""
        entry = Entry(self._moment(at), "stable", by, prose(why))
        return await self._one(service, version, lambda ledger: marked(ledger, version, entry))

    async def bad(self, service: str, version: str, reason: str, by: str, at: float | None = None) -> Registered:
        """It is not gone back to. A ban stays a ban. BadRelease without a reason, UnknownRelease."""
        entry = Entry(self._moment(at), "bad", by, _reason(reason, "marking a release bad"))
        return await self._one(service, version, lambda ledger: marked(ledger, version, entry))

    async def ban(self, service: str, version: str, reason: str, by: str, at: float | None = None) -> Registered:
        """It is not gone back to, and CI is to refuse it. BadRelease without a reason, UnknownRelease."""
        entry = Entry(self._moment(at), "banned", by, _reason(reason, "a ban"))
        return await self._one(service, version, lambda ledger: marked(ledger, version, entry))

    async def lift(self, service: str, version: str, reason: str, by: str, at: float | None = None) -> Registered:
        """A bad or banned one is a candidate again; what it served before counts no more. BadRelease without a
        reason, UnknownRelease. One that is neither stays as it is."""
        entry = Entry(self._moment(at), "lifted", by, _reason(reason, "lifting a ban"))
        return await self._one(service, version, lambda ledger: marked(ledger, version, entry))

    async def after_run(self, run: Run) -> None:
        """Write down what a run found out: called when it is retargeted and when it closes; again is harmless.

        What was tried is banned with the reason. Once restored the target serves. What was removed is banned, also
        where a person closed the run; only bad where it closed before anything was removed; not where the run rolled
        forward again, which lifts the mark on its target instead. An aborted run that restored nothing says nothing
        more.
        """
        if run.created is None or run.purpose not in RELEASING:
            return
        forward = await self._forward(run)
        await self._change(run.service, lambda ledger: learned(ledger, run, forward))

    async def catch_up(self, limit: int = 50) -> None:
        """Write down what the newest runs found out, for a process that died between a run's end and `after_run`."""
        for head in await self.store.heads(limit=limit):
            await self.after_run(await self.store.load(head.run))

    # -- how ---------------------------------------------------------------------------------------------------------

    async def _forward(self, run: Run) -> bool:
        """Whether it takes back a rollback: a run that takes back one that takes back another rolls back again."""
        forward = run.purpose == "forward" and not (run.created and run.created.follows)
        while run.created is not None and run.created.follows:
            run, forward = await self.store.load(run.created.follows), not forward
        return forward

    async def _one(self, service: str, version: str, move: Callable[[Ledger], Ledger]) -> Registered:
        def known(ledger: Ledger) -> Ledger:
            if version not in ledger:
                near = ", ".join([*ledger][-5:][::-1]) or "none"
                raise UnknownRelease(
                    f"{service} has no release {version!r}; registered last: {near}. Nothing was changed. "
                    "Next: `rollback-bot release record` registers it."
                )
            return move(ledger)

        return (await self._change(service, known))[version]

    async def _change(self, service: str, move: Callable[[Ledger], Ledger]) -> Ledger:
        """The ledger after `move`, which sees what every writer before has left, and writes all or nothing."""
        lite = self.store.db.lite
        of_service = sa.select(t.release).where(t.release.c.service == service)

        def work(c: sa.Connection) -> Ledger:
            if not lite:
                c.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK, sa.func.hashtext(service))))
            rows = {r.version: r for r in (from_row(ReleaseRow, x) for x in c.execute(of_service).mappings())}
            after = timed(move(_ledger(rows.values())))
            for version, r in after.items():
                old = rows.get(version)
                new = _row(r, old)
                if old is None:
                    c.execute(sa.insert(t.release), to_row(new))
                elif new != old:
                    where = (t.release.c.service == service, t.release.c.version == version)
                    c.execute(sa.update(t.release).where(*where).values(to_row(new)))
            return after

        return await self.store.db.write(work)

    def _moment(self, at: float | None) -> float:
        return round(self.clock() if at is None else at, 6)


# -- what a release must be ------------------------------------------------------------------------------------------

_IMAGE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[^\s-]\S{0,127}")


def faults(release: Release) -> list[str]:
    """What is wrong with a release that is to be registered, a line each; empty if nothing is."""
    found = []
    if not _NAME.fullmatch(release.version) or not release.version.isprintable():
        found.append(f"version: {release.version!r} is none; write one word of at most 128 characters, like 2.4.1")
    for workload, image in release.images.items():
        if not _NAME.fullmatch(workload) or not workload.isprintable():
            found.append(f"images: {workload!r} is no name of a workload")
        if not _IMAGE.fullmatch(image) or not image.isprintable():
            found.append(f"images.{workload}: {image!r} is not pinned; write <repository>@sha256:<64 hex digits>")
    if release.frontend is not None:
        try:
            Build.of(release.frontend)
        except ValueError as error:
            found.append(f"frontend: {error}")
    rest = {f.name: getattr(release, f.name) for f in fields(Release) if f.name not in ("version", "images")}
    found += [f"{name}: holds a line break or another control character" for name, value in rest.items()
              if isinstance(value, str) and not value.isprintable()]  # fmt: skip
    return found


def _reason(text: str, what: str) -> str:
    clean = prose(text)
    if not clean:
        raise BadRelease(f"reason: {what} needs a reason. Nothing was changed.")
    return clean


# -- how it is kept --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Body:
    """The JSON of a row. What a newer version has added stays there (`_row`)."""

    release: Release
    history: tuple[Entry, ...] = ()


_BODY = TypeAdapter(_Body)


def _ledger(rows: Iterable[ReleaseRow]) -> Ledger:
    found = {}
    for row in sorted(rows, key=lambda row: (row.at, row.version)):
        try:
            body = _BODY.validate_json(row.body)
        except ValidationError as e:
            where = f"release {row.version} of {row.service}"
            raise ValueError(f"{where} cannot be read from the database: {e.errors(include_url=False)[0]}") from e
        state = cast(ReleaseState, row.state)
        found[row.version] = Registered(row.service, body.release, row.at, state, row.reason, body.history)
    return timed(found)


def _row(r: Registered, old: ReleaseRow | None) -> ReleaseRow:
    """The release as it is kept. Of a row that exists only history and settings are written anew."""
    body = _BODY.dump_python(_Body(r.release, r.history), mode="json")
    if old is not None:
        kept = json.loads(old.body)
        release = kept["release"] | {name: body["release"][name] for name in ("settings", "last")}
        history = [*kept["history"], *body["history"][len(kept["history"]) :]]
        body = {**kept, "release": release, "history": history}
    last = r.served[-1] if r.served else None
    since, until = (last.since, last.until) if last is not None else (None, None)
    return ReleaseRow(r.service, r.version, canonical(body), r.state, r.reason, round(r.at, 6), since, until)


# -- what CI sends ---------------------------------------------------------------------------------------------------

WINDOW = 300
"""Seconds that a signed request may be old, or early."""


class ReleasePayload(BaseModel):
    """The body of POST /v1/releases: one release of one service. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: Annotated[str, Field(min_length=1, max_length=128, description="Name of the service in the catalogue.")]
    version: Annotated[str, Field(description="Name of the release; it stands for this content for ever.")]
    commit: Annotated[str, Field(description="Commit it was built from.")] = ""
    images: Annotated[
        dict[str, str], Field(max_length=200, description="Workload -> image, as <repository>@sha256:<64 hex digits>.")
    ] = {}
    frontend: Annotated[
        str | None,
        Field(description="Its frontend build: <prefix>@sha256:<digest of its manifest>."),
    ] = None
    schema_: Annotated[str | None, Field(alias="schema", description="Revision of the database schema.")] = None
    migrations: Annotated[str | None, Field(description="Image or tree that its migrations live in.")] = None
    compatible: Annotated[
        str | None,
        Field(description="Oldest schema revision whose releases work on this one's schema too: keeping it is proven."),
    ] = None
    jobs: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] | None,
        Field(max_length=500, description="Kinds of jobs that it can read; those of other kinds are set aside for it."),
    ] = None
    serving_since: Annotated[
        AwareDatetime | None, Field(description="Since when it serves (RFC 3339), where it does already.")
    ] = None

    @property
    def release(self) -> Release:
        """What is registered; `faults` says whether it can be."""
        return Release(
            self.version, self.commit, self.images, self.frontend, self.schema_, self.migrations,
            compatible=self.compatible, jobs=self.jobs,
        )  # fmt: skip


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a request: "v0=" and the HMAC-SHA256, in hex, of "v0:<timestamp>:<body>".

    timestamp: whole seconds since the epoch, in decimal. Source: the form that Slack signs its requests in.
    """
    message = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def verify_signature(secret: str, timestamp: str, body: bytes, signature: str, now: float) -> bool:
    """Whether a request was signed with the secret, at most five minutes ago (or early); compared in constant time.

    now: seconds since the epoch. Within the window a request can be sent again: registering twice is harmless.
    """
    if not secret or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    good = hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "replace"))
    return good and abs(now - int(timestamp)) <= WINDOW
