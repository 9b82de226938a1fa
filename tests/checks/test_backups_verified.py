"""`backups.verified` on real archives in a folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.adapters.backups import FolderShelf, ServiceBackups
from bot.adapters.backups.shelves import Shelved
from bot.adapters.postgres import DatabaseTarget, PostgresDatabases
from bot.adapters.postgres.maintenance import PostgresMaintenance
from bot.contract import Status, Verdict
from bot.ports import Blob, Ports, Record
from bot.ports.backups import Rules
from bot.ports.databases import Database
from bot.testing import MemoryBlobs, ports, run_check
from checks.backups_verified import BackupsVerified, BackupsVerifiedParams
from tests.fixtures.archives import Archives, calls_itself, client_programs, make

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""As in `TestCtx`."""


@pytest.fixture(scope="module")
def archives(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return make(postgres_url, tmp_path_factory.mktemp("archives"))


class Folder:
    """A folder of backups, as a job leaves them."""

    def __init__(self, archives: Archives, folder: Path) -> None:
        self.archives, self.folder = archives, folder
        self.blobs = MemoryBlobs()
        self.programs = client_programs()
        self.rules = Rules("main", max_age=1800)
        self.target: DatabaseTarget | None = None
        self.catalogued = True

    def add(self, name: str, minutes: float, source: str = "custom.dump", size: float = 1.0) -> Path:
        """A backup that is so many minutes old, or the beginning of one."""
        path = self.folder / name
        data = (self.archives.folder / source).read_bytes()
        path.write_bytes(data[: int(len(data) * size)])
        self.age(path, minutes)
        return path

    def age(self, path: Path, minutes: float) -> None:
        at = (NOW - timedelta(minutes=minutes)).timestamp()
        os.utime(path, (at, at))

    def age_all(self, path: Path, minutes: float) -> None:
        for each in path.iterdir():
            self.age(each, minutes)

    async def look(self, **params: object) -> Verdict:
        shelf = Shelved(FolderShelf(self.folder), self.rules, self.programs)
        backups = ServiceBackups({"main-backups": shelf} if self.catalogued else {}, clock=NOW.timestamp)
        databases = PostgresDatabases([self.target] if self.target is not None else [])

        def bound(record: Record) -> Ports:
            here = PostgresMaintenance(databases, backups, record)
            return ports(backups=backups.bind(record), blobs=self.blobs, databases=databases, maintenance=here)

        return await run_check(BackupsVerified(), bound, BackupsVerifiedParams.model_validate(params))


@pytest.fixture
def folder(archives: Archives, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """With a database of the tests' server to restore into."""
    found = Folder(archives, tmp_path)
    monkeypatch.setenv("MAIN_LOGIN", "postgres")
    query = parse_qs(urlsplit(postgres_url).query)
    port = int(query.get("port", ["5432"])[0])
    found.target = DatabaseTarget(Database("main", "postgres"), query["host"][0], port, "MAIN_LOGIN")
    return found


async def test_a_whole_and_young_backup_passes_with_its_age_size_and_rows(folder: Folder) -> None:
    folder.add("a.dump", 26)
    verdict = await folder.look()
    assert verdict.status is Status.PASS
    assert verdict.observed.startswith("main-backups: a.dump, 26 min old, ")
    assert "read to its end at 12:00 UTC (4 tables, 3044 rows)" in verdict.observed
    assert verdict.data == {"newest": {"main-backups": "a.dump"}, "minutes": {"main-backups": 26.0}, "faults": {}}


async def test_none_at_all_fails(folder: Folder) -> None:
    verdict = await folder.look()
    assert (verdict.status, "there is no backup at all; make one now" in verdict.observed) == (Status.FAIL, True)


async def test_one_that_is_too_old_fails_with_its_limit(folder: Folder) -> None:
    folder.add("a.dump", 31)
    verdict = await folder.look()
    assert verdict.status is Status.FAIL
    assert "a.dump is 31 min old, the limit is 30 min; make one now" in verdict.observed


async def test_one_of_the_future_fails_as_its_age_is_not_known(folder: Folder) -> None:
    folder.add("a.dump", -10)
    verdict = await folder.look()
    assert verdict.status is Status.FAIL
    assert "which is in the future, so its age is not known" in verdict.observed


async def test_one_that_is_suddenly_small_fails_with_both_sizes(folder: Folder) -> None:
    folder.add("b.dump", 20)
    folder.add("a.dump", 1500, "whole.tar")
    verdict = await folder.look()
    assert verdict.status is Status.FAIL
    assert "look what is missing from it before you rely on it" in verdict.observed


async def test_one_that_is_cut_fails_though_its_listing_is_fine(folder: Folder) -> None:
    folder.add("a.dump", 20, size=0.7)
    verdict = await folder.look()
    assert verdict.status is Status.FAIL
    assert "a.dump cannot be restored: it is cut off" in verdict.observed
    assert verdict.data["newest"] == {}  # a restore takes no name from here that was not proven
    assert "make a new backup, or name an older one that is whole" in verdict.data["faults"]["main-backups"]  # type: ignore[index, call-overload, operator]


async def test_one_that_is_being_written_just_now_leaves_the_judgement_to_the_one_before(folder: Folder) -> None:
    folder.add("a.dump", 0.5, size=0.7)
    folder.add("b.dump", 25)
    verdict = await folder.look()
    assert verdict.status is Status.WARN
    assert "main-backups: b.dump, 25 min old" in verdict.observed
    assert "a.dump is not finished yet" in verdict.observed
    assert verdict.data["newest"] == {"main-backups": "b.dump"}


async def test_one_whose_damage_would_not_show_is_warned_of(folder: Folder) -> None:
    folder.add("a.dump", 20, "plain-data.dump")
    verdict = await folder.look()
    assert verdict.status is Status.WARN
    assert "damage inside them would not show; write a.dump.sha256 beside it" in verdict.observed


async def test_a_plain_dump_is_warned_of_as_it_is_restored_by_hand(folder: Folder) -> None:
    folder.add("a.sql", 20, "script.sql")
    assert "a plain dump is restored by psql and by hand" in (await folder.look()).observed


async def test_a_folder_of_an_archive_counts_by_its_newest_file(folder: Folder) -> None:
    path = Path(shutil.copytree(folder.archives.folder / "folder", folder.folder / "a"))
    folder.age_all(path, 20)
    verdict = await folder.look()
    assert (verdict.status, verdict.observed[:26]) == (Status.PASS, "main-backups: a, 20 min ol")


async def test_without_a_pg_restore_nothing_is_known(folder: Folder) -> None:
    folder.add("a.dump", 20)
    folder.programs = "/nowhere"
    verdict = await folder.look()
    assert (verdict.status, "install PostgreSQL's client programs" in verdict.observed) == (Status.UNKNOWN, True)


async def test_a_folder_that_is_away_is_unknown(folder: Folder) -> None:
    folder.folder = folder.folder / "gone"
    verdict = await folder.look()
    assert (verdict.status, "is it mounted" in verdict.observed) == (Status.UNKNOWN, True)


async def test_the_snapshot_of_the_settings_must_be_there(folder: Folder) -> None:
    folder.add("a.dump", 20)
    kept = await folder.blobs.put(b"{}", "application/json")
    assert (await folder.look(settings=kept)).status is Status.PASS
    lost = Blob("sha256:" + "0" * 64, 2, "application/json")
    verdict = await folder.look(settings=lost)
    assert (verdict.status, "is not in the bot's files" in verdict.observed) == (Status.FAIL, True)


async def test_a_release_without_a_snapshot_is_warned_of_where_asked(folder: Folder) -> None:
    folder.add("a.dump", 20)
    assert (await folder.look()).status is Status.PASS
    assert (await folder.look(snapshot=True)).status is Status.WARN


async def test_a_database_without_backups_in_the_catalogue_is_unknown_and_named(folder: Folder) -> None:
    folder.catalogued = False
    verdict = await folder.look()
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed.startswith("main: the catalogue names no backups of it, so nothing is known of them")


async def test_a_service_without_a_database_passes_in_words(folder: Folder) -> None:
    folder.catalogued, folder.target = False, None
    verdict = await folder.look()
    assert (verdict.status, verdict.observed) == (Status.PASS, "this service has no database")


async def test_an_archive_that_no_program_here_brings_into_that_server_fails(folder: Folder, tmp_path: Path) -> None:
    folder.add("a.dump", 20)
    folder.programs = calls_itself(tmp_path / ".programs", "15.18")
    verdict = await folder.look()
    assert verdict.status is Status.UNKNOWN
    assert "is of a newer pg_dump" in verdict.observed


async def test_a_server_that_does_not_answer_leaves_the_backup_proven_and_says_so(folder: Folder) -> None:
    folder.add("a.dump", 20)
    assert folder.target is not None
    folder.target = replace(folder.target, host="/nowhere")
    verdict = await folder.look()
    assert verdict.status is Status.WARN
    assert "whether the server would take it is not known" in verdict.observed
