"""`bot.ports.maintenance.Maintenance` over PostgreSQL: writing refused for a while, and a backup restored beside a
database that it then replaces."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg import Error, errors

from bot.adapters.backups import ServiceBackups
from bot.adapters.backups.programs import Program, major_of
from bot.adapters.postgres import likeness, properties, quiet, restoring, switching
from bot.adapters.postgres import restoring_by_hand as by_hand
from bot.adapters.postgres.catalog import VERSIONS, state
from bot.adapters.postgres.connection import PgConnection, PostgresServer, one, rows
from bot.adapters.postgres.copies import copies, unendable
from bot.adapters.postgres.databases import PostgresDatabases
from bot.adapters.postgres.markers import Copy, beside
from bot.contract import Edit
from bot.ports import Record, Unreachable, unbound
from bot.ports.backups import Backup, Memory, Proof
from bot.ports.databases import NotAllowed
from bot.ports.maintenance import Kept, Quiet, Standing, Telling, Unfit

_RIGHTS = """
SELECT rolsuper, rolcreatedb, pg_has_role(current_user, %s::name, 'MEMBER'),
       pg_has_role(current_user, 'pg_signal_backend', 'MEMBER'),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), current_user
FROM pg_roles WHERE rolname = current_user
"""
_PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = %s"
AT_ONCE = 4
"""Connections over which tables are counted at the same time."""
LASTING = 2.0
"""Seconds for which a superuser's session has been there that is told before anything is done: others come and go."""
_SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1"
_FOLDER = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"


class PostgresMaintenance:
    """For the databases of one service; `bind` makes the copy that an attempt may change something through."""

    def __init__(self, databases: PostgresDatabases, backups: ServiceBackups, record: Record = unbound) -> None:
        self._databases, self._backups, self._record = databases, backups, record

    def bind(self, record: Record, memory: Memory | None = None) -> PostgresMaintenance:
        """The same, changing something only after `record`. memory: where proofs of backups are kept."""
        return PostgresMaintenance(self._databases, self._backups.bind(record, memory), record)

    def _server(self, name: str) -> PostgresServer:
        try:
            return self._databases.servers[name]
        except KeyError:
            known = ", ".join(self._databases.servers) or "none"
            raise LookupError(f"the catalogue has no database {name!r}; there are {known}") from None

    async def ping(self) -> Mapping[str, str]:
        """Target of backups -> which pg_restore is missing that could bring them into their database's server."""
        return {source: await self._lacking(source, rules.of) for source, rules in self._backups.rules.items()}

    async def _lacking(self, source: str, of: str) -> str:
        names = [of] if of else [*self._databases.servers]
        server = self._databases.servers.get(names[0]) if len(names) == 1 else None
        if server is None:
            return ""
        try:
            async with server.reading() as c:
                [version] = await one(c, "SHOW server_version")
        except (Unreachable, NotAllowed):
            return ""  # which is said of the database
        here = await asyncio.to_thread(self._backups.programs, source)
        if any(p.major <= major_of(str(version)) for p in here):
            return ""
        found = ", ".join(p.version for p in here) or "none"
        return f"restoring takes a pg_restore no newer than the server ({version}), here is {found}"

    def by_hand(self, edits: Sequence[Edit]) -> list[str]:
        """What a person types to make them so: psql and pg_restore, whole, one after the other."""
        found: list[str] = []
        for e in edits:
            name, _, rest = e.target.partition("/")
            field, _, role = rest.partition("/")
            server = self._databases.servers.get(name)
            if server is not None and field == "read_only":
                found.append(by_hand.quiet(server, role, None if e.after is None else str(e.after)))
            elif server is not None and field == "database":
                found += by_hand.switched(server, str(e.before), str(e.after))
        return found

    # -- writing -----------------------------------------------------------------------------------------------------

    async def quiet(self, name: str) -> Quiet:
        """See the port."""
        return await quiet.look(self._server(name))

    async def set_quiet(self, name: str, settings: Mapping[str, str | None]) -> None:
        """See the port."""
        await quiet.set_to(self._server(name), self._record, settings)

    # -- restoring ---------------------------------------------------------------------------------------------------

    async def standing(self, name: str, *, counted: bool = True) -> Standing:
        """See the port."""
        server = self._server(name)
        database = server.target.at.database
        async with server.changing(properties.MAINTENANCE) as c:
            there = await copies(c, database, sized=True)
            live = next((copy for copy in there if copy.name == database), None)
            if live is None:
                raise Unfit(f"{name}: no database has the name {database}", "rename the right one to it by hand")
            hindrances = [*await _rights(c, server, live), *await _uses(c, database)]
            free = await _free(c, server)
        beside_ = tuple(_kept(copy) for copy in there if copy.oid != live.oid and copy.of(database))
        between = _between(live, beside_)
        if not live.open:
            return Standing(_kept(live), "", between, beside_, tuple(hindrances), (), free)
        async with server.changing() as c:
            now = await state(c, server.target.at.schema)
            if now.replica:
                hindrances.append((f"{name} only follows another server", "restore on the one that it follows"))
            if now.bot:
                hindrances.append((f"the bot's own tables lie in {name}", "restore it by hand, with every bot stopped"))
        return Standing(
            _kept(live), now.server, between, beside_, tuple(hindrances), (), free,
            await self._rows(server) if counted and not now.bot else {},
        )  # fmt: skip

    async def _rows(self, server: PostgresServer) -> Mapping[str, int | None]:
        found: dict[str, int | None] = {}
        async with server.changing(statement_timeout=str(int(server.target.timeout * 1000))) as c:
            for name, (_, sql) in (await likeness.tables_of(c)).items():
                try:
                    [count] = await one(c, f"SELECT count(*) FROM {sql}")
                    found[name] = int(count)
                except (errors.QueryCanceled, errors.LockNotAvailable):
                    found[name] = None
        return found

    def usable(self, source: str, proof: Proof, server: str) -> str:
        """See the port."""
        try:
            self._program(source, proof, server)
        except Unfit as error:
            return f"{error}; {error.hint}"
        return ""

    def _program(self, source: str, proof: Proof, server: str) -> Program:
        """The pg_restore for that server, and that archive. Unfit."""
        least, most = major_of(proof.dumper) or major_of(proof.server), major_of(server)
        if proof.format == "plain" or proof.packed:
            what = "packed by gzip" if proof.packed else "a plain dump"
            raise Unfit(f"{proof.name} is {what}, which pg_restore does not take", "restore it by hand")
        if major_of(proof.server) > most:
            raise Unfit(
                f"{proof.name} is of PostgreSQL {proof.server}, the server has {server}", "take an older backup"
            )
        fit = [p for p in self._backups.programs(source) if least <= p.major <= most]
        if not fit:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            here = ", ".join(p.version for p in self._backups.programs(source)) or "none"
            raise Unfit(
                f"it takes a pg_restore of version {wanted}, here is {here}", f"install PostgreSQL's client {most}"
            )
        return fit[0]

    async def restore(self, name: str, source: str, backup: Backup, proof: Proof, jobs: int, report: Telling) -> None:
        """See the port."""
        server = self._server(name)
        with _told():
            async with server.changing() as c:
                version = (await state(c, server.target.at.schema)).server
            program = self._program(source, proof, version)
            beside_, whole = await restoring.made(server, self._record, backup, proof)
            if whole:
                return
            async with self._backups.shelf(source).local(backup) as path:
                await self._same(source, backup, proof)
                await restoring.filled(server, self._record, beside_, path, program, proof, jobs, report)
            await report("comparing", None, None)
            await restoring.furnished(server, self._record, beside_, backup, proof, jobs)

    async def _same(self, source: str, backup: Backup, proof: Proof) -> None:
        """Unfit where its bytes are no longer those that were proven."""
        now = await self._backups.proof(source, backup)
        if now.digest != proof.digest:
            raise Unfit(f"{backup.name} is not what it was when it was shown", "look which one it is, then ask again")

    async def unlike(self, name: str, proof: Proof) -> Sequence[str]:
        """See the port."""
        server = self._server(name)
        stamp = f"{server.target.at.schema}.{VERSIONS}"
        return await likeness.unlike(server, beside(server.target.at.database, proof.digest), proof, stamp, AT_ONCE)

    async def switch(self, name: str, label: str, why: str) -> None:
        """See the port."""
        with _told():
            await switching.switch(self._server(name), self._record, label, why)


class _told:
    """What the server refuses, in its words, is Unfit."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Error):
            said = str(error.diag.message_primary or error).strip().replace("\n", " ")[:300]
            raise Unfit(f"the server refuses: {said}", "look at it by hand, then try again") from error


def _between(live: Copy, others: Sequence[Kept]) -> str:
    """Which of two labels a switch is about that has not ended: the one that was not there before."""
    label = live.note(switching.CLOSED).removeprefix(switching.CLOSED)
    comes_back = any(k.label == label and k.why.startswith("kept") for k in others)
    fresh = any(k.label == label and not k.why for k in others)
    return live.label if label and comes_back and not fresh else label


def _kept(copy: Copy) -> Kept:
    return Kept(copy.name, copy.label, copy.size, copy.aside)


async def _rights(c: PgConnection, server: PostgresServer, live: Copy) -> list[tuple[str, str]]:
    """Which rights the admin lacks."""
    everything, creates, owns, ends, sees, user = await one(c, _RIGHTS, live.owner)
    if everything:
        return []
    lacking = [
        (creates, f"{user} may not create databases", f"ALTER ROLE {user} CREATEDB"),
        (owns, f"{user} does not own {live.name}", f"GRANT {live.owner} TO {user}"),
        (ends, f"{user} may not end the sessions of others", f"GRANT pg_signal_backend TO {user}"),
        (sees, f"{user} is not shown the sessions of others", f"GRANT pg_monitor TO {user}"),
    ]
    return [(what, grant) for there, what, grant in lacking if not there]


async def _uses(c: PgConnection, database: str) -> list[tuple[str, str]]:
    """Who depends on which database has the name."""
    found = [
        (f"{session} keeps {database} from being renamed", switching.LASTING)
        for session in (await unendable(c, database, lasting=LASTING)).values()
    ]
    [prepared] = await one(c, _PREPARED, database)
    if prepared:
        what = f"{prepared} prepared transactions in {database} keep it from being renamed"
        found.append((what, "COMMIT PREPARED or ROLLBACK PREPARED them"))
    if slots := [str(r[0]) for r in await rows(c, _SLOTS, database)]:
        what = f"replication slots would go on reading the old database: {', '.join(slots)}"
        found.append((what, "stop what reads them and drop them; make them anew after the switch"))
    return found


async def _free(c: PgConnection, server: PostgresServer) -> int | None:
    """Bytes left where the server keeps its data; None where it is another machine's, or not shown."""
    if not server.target.host.startswith("/"):
        return None
    found = await rows(c, _FOLDER)
    folder = Path(str(found[0][0])) if found and found[0][0] else None
    try:
        return (await asyncio.to_thread(shutil.disk_usage, folder)).free if folder is not None else None
    except OSError:
        return None
