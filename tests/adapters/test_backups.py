"""Archives of a real pg_dump, whole and damaged in every way that is known to pass for whole."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import shutil
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.adapters.aws.account import Account
from bot.adapters.aws.backups import BucketShelf
from bot.adapters.aws.buckets import Folder
from bot.adapters.backups import FolderShelf, ServiceBackups
from bot.adapters.backups.programs import Program, programs
from bot.adapters.backups.reading import NoProgram, ReadBackup, Reader, Unreadable
from bot.adapters.backups.script import Script
from bot.adapters.backups.shelves import ProcessMemory, Shelved
from bot.ports import Unreachable
from bot.ports.backup_names import NamePattern
from bot.ports.backups import STAMP, Proof, Shelf
from tests.fixtures.archives import FORMATS, ROWS, TABLES, Archives, client_programs, make
from tests.fixtures.frontend_bucket import Bucket
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.s3 import spoiled, torn

NOW = 1_800_000_000.0
FILES = [name for name in FORMATS if "folder" not in name]
FOLDERS = [name for name in FORMATS if "folder" in name]


@pytest.fixture(scope="module")
def archives(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return make(postgres_url, tmp_path_factory.mktemp("archives"))


@pytest.fixture
def copied(archives: Archives, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one archive, to be damaged."""

    def copy(name: str) -> Path:
        source = archives.folder / name
        return Path(shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path))

    return copy


def read(path: Path, size: int = 1 << 16, counted: bool = True) -> ReadBackup:
    reader = Reader(programs(client_programs()), counted)
    return reader.folder(path) if path.is_dir() else reader.stream(lambda: pieces(path.read_bytes(), size))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_archive_of_any_format_is_read_to_its_end_and_its_rows_are_counted(
    archives: Archives, name: str
) -> None:
    found = read(archives.folder / name)
    assert found.script.rows == ROWS
    assert found.script.sequences == {"public.orders_id_seq": 3000, "public.coupons_id_seq": 40}
    assert found.script.stamp == ["0041"]
    assert found.script.server.startswith(archives.server)
    assert found.script.extensions == ["vector"]
    assert found.checked == (name in ("custom.dump", "folder"))


@pytest.mark.parametrize("name", FILES)
def test_the_digest_is_that_of_the_bytes(archives: Archives, name: str) -> None:
    data = (archives.folder / name).read_bytes()
    assert read(archives.folder / name).digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("left", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_an_archive_that_is_cut_is_told_wherever_it_is_cut(
    copied: Callable[[str], Path], name: str, left: float
) -> None:
    path = copied(name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    for counted in (True, False):
        with pytest.raises(Unreadable, match="cut off"):
            read(path, counted=counted)


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "script.sql"])
def test_without_counting_the_table_of_contents_is_known(archives: Archives, name: str) -> None:
    found = read(archives.folder / name, counted=False)
    assert (found.counted, found.script.rows) == (False, {})
    assert (found.script.server.startswith(archives.server), found.script.items > 10) == (True, True)
    assert found.script.extensions == ["vector"]


def test_a_tar_cut_between_two_members_is_told(copied: Callable[[str], Path]) -> None:
    path = copied("whole.tar")
    data = path.read_bytes()
    path.write_bytes(data[: len(data.rstrip(b"\0")) // 512 * 512 + 512])
    with pytest.raises(Unreadable, match="the end of the tar is missing"):
        read(path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_lacks_a_file_is_told(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    max(path.glob("[0-9]*.dat*"), key=lambda p: p.stat().st_size).unlink()
    with pytest.raises(Unreadable, match="cannot be read to its end"):
        read(path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_a_file_that_is_cut_is_told(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    largest = max(path.glob("[0-9]*.dat*"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-2000])
    with pytest.raises(Unreadable, match="cut off"):
        read(path)


def test_a_folder_without_its_table_of_contents_is_told(copied: Callable[[str], Path]) -> None:
    path = copied("folder")
    (path / "toc.dat").unlink()
    with pytest.raises(Unreadable, match=r"toc\.dat"):
        read(path)


def test_a_flipped_bit_in_compressed_data_is_told(copied: Callable[[str], Path]) -> None:
    path = copied("custom.dump")
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(Unreadable, match="cannot be read to its end"):
        read(path)


def test_a_plain_dump_in_gzip_has_its_trailer_checked(copied: Callable[[str], Path]) -> None:
    path = copied("script.sql")
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed)
    assert read(path).script.rows == ROWS
    assert read(path).checked
    path.write_bytes(packed[:-4])
    with pytest.raises(Unreadable, match="gzip's end is missing"):
        read(path)
    path.write_bytes(flipped(packed))
    with pytest.raises(Unreadable):
        read(path)


def test_a_custom_archive_in_gzip_is_read_through_it(copied: Callable[[str], Path]) -> None:
    path = copied("custom.dump")
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path).script.rows == ROWS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"hello\n" * 200, "no archive of pg_dump"),
        (b"(\xb5/\xfd" + bytes(600), "compressed by a program that the bot cannot read"),
    ],
)
def test_what_is_no_archive_is_told(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(Unreadable, match=words):
        read(tmp_path / "x")


def test_rows_are_counted_the_same_however_the_bytes_are_cut_up(archives: Archives) -> None:
    data = (archives.folder / "script.sql").read_bytes()
    for size in (1, 2, 3, 7, 64, 4096):
        script = Script(STAMP)
        for piece in pieces(data, size):
            script.feed(piece)
        script.end()
        assert (script.rows, script.complete) == (ROWS, True), size
    assert "misleading" in TABLES


def test_rows_that_were_dumped_as_inserts_are_not_known(postgres_url: str, tmp_path: Path) -> None:
    script = Script()
    script.feed(
        b"-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: x\n--\nINSERT INTO public.a VALUES (1);\n"
    )
    assert script.rows == {"public.a": None}


def test_memory_does_not_grow_with_the_data() -> None:
    head = b"-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: x\n--\n\nCOPY public.a (t) FROM stdin;\n"
    script, chunk = Script(), b"x" * 1_000_000
    script.feed(head)
    tracemalloc.start()
    for _ in range(50):
        script.feed(chunk)  # one row of 50 MB
    script.feed(b"\n\\.\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert script.rows == {"public.a": 1}
    assert peak < 5_000_000


def test_an_archive_of_a_newer_pg_dump_is_refused_with_the_version_that_reads_it(archives: Archives) -> None:
    older = Program("/usr/bin/pg_restore", 15, "15.18")
    with pytest.raises(
        NoProgram, match=r"of a newer pg_dump: pg_restore .* cannot read it; install one of PostgreSQL 17"
    ):
        Reader([older]).stream(lambda: pieces((archives.folder / "custom.dump").read_bytes(), 4096))


def test_without_pg_restore_nothing_is_said_of_an_archive(archives: Archives) -> None:
    with pytest.raises(NoProgram, match="install PostgreSQL's client programs"):
        Reader([]).stream(lambda: pieces((archives.folder / "custom.dump").read_bytes(), 4096))


# -- the shelf, and what is remembered


Shelving = Callable[..., ServiceBackups]


def shelved(folder: Path, pattern: str = "*", memory: ProcessMemory | None = None, now: float = NOW) -> ServiceBackups:
    return on(FolderShelf(folder, pattern), memory, now)


def on(shelf: Shelf, memory: ProcessMemory | None = None, now: float = NOW) -> ServiceBackups:
    return ServiceBackups({"main": Shelved(shelf, programs=client_programs())}, memory, clock=lambda: now)


@pytest.fixture(params=["folder", "bucket"])
async def laid(request: pytest.FixtureRequest) -> AsyncIterator[Shelving]:
    """Shelves with what lies in a folder: there, or uploaded to a bucket."""
    made: list[ServiceBackups] = []
    bucket: Bucket = request.getfixturevalue("bucket")

    def there(*given: Any, **more: Any) -> ServiceBackups:
        made.append((shelved if request.param == "folder" else uploaded)(*given, **more))
        return made[-1]

    def uploaded(
        folder: Path, pattern: str = "*", memory: ProcessMemory | None = None, now: float = NOW
    ) -> ServiceBackups:
        for path in folder.rglob("*"):
            if path.is_file():
                bucket.put(f"dumps/{path.relative_to(folder)}", path.read_bytes())
        return on(BucketShelf(Account(bucket.access), Folder(bucket.name, "dumps"), pattern), memory, now)

    yield there
    for backups in made:
        await backups.close()


async def newest(backups: ServiceBackups, fresh: float = 0.0) -> Proof:
    return await backups.proof("main", (await backups.list("main"))[0], fresh=fresh)


async def test_backups_are_listed_newest_first_by_the_moment_in_their_names(tmp_path: Path) -> None:
    for name in (
        "shop-2026-01-02T0300Z.dump",
        "shop-2026-01-03T0300Z.dump",
        "other.dump",
        ".shop-2026-01-04T0300Z.dump",
    ):
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / "shop-2026-01-03T0300Z.dump", (NOW, NOW))
    found = await shelved(tmp_path, "shop-%Y-%m-%dT%H%MZ.dump").list("main")
    assert [b.name for b in found] == ["shop-2026-01-03T0300Z.dump", "shop-2026-01-02T0300Z.dump"]
    assert found[0].at == datetime(2026, 1, 3, 3, 0, tzinfo=UTC)
    assert found[0].changed == datetime.fromtimestamp(NOW, UTC)


async def test_a_digest_that_lies_beside_is_noted_and_no_backup(
    archives: Archives,
    copied: Callable[[str], Path],
    laid: Shelving,
) -> None:
    path = copied("plain-data.dump")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    backups = laid(path.parent)
    [backup] = await backups.list("main")
    assert backup.noted == f"sha256:{digest}"
    proof = await newest(backups)
    assert (proof.whole, proof.noted, proof.checked) == (True, True, True)


async def test_bytes_that_differ_from_the_noted_digest_are_told_also_where_nothing_else_shows_it(
    copied: Callable[[str], Path],
    laid: Shelving,
) -> None:
    path = copied("plain-data.dump")
    data = path.read_bytes()
    path.with_name(path.name + ".sha256").write_text(hashlib.sha256(data).hexdigest())
    path.write_bytes(flipped(data))
    proof = await newest(laid(path.parent))
    assert proof.fault == "its bytes are not those that were noted when it was made (plain-data.dump.sha256)"
    assert proof.hint


async def test_what_was_proven_is_not_read_again_while_it_is_the_same_file(copied: Callable[[str], Path]) -> None:
    path, memory = copied("custom.dump"), ProcessMemory()
    first = await newest(shelved(path.parent, memory=memory))
    stat = path.stat()
    with path.open("r+b") as f:  # the same file to whoever only looks: were it read, it would be found damaged
        f.seek(stat.st_size // 2)
        f.write(b"\0" * 50)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert await newest(shelved(path.parent, memory=memory, now=NOW + 3600), fresh=7200) == first
    later = await newest(shelved(path.parent, memory=memory, now=NOW + 9000), fresh=7200)
    assert "cannot be read to its end" in later.fault


async def test_after_a_while_the_same_bytes_are_proven_by_their_digest(copied: Callable[[str], Path]) -> None:
    path, memory = copied("custom.dump"), ProcessMemory()
    first = await newest(shelved(path.parent, memory=memory))
    without = ServiceBackups(
        {"main": Shelved(FolderShelf(path.parent), programs="/nowhere")}, memory, clock=lambda: NOW + 99
    )
    later = await newest(without)
    assert (later.digest, later.rows, later.at) == (first.digest, first.rows, datetime.fromtimestamp(NOW + 99, UTC))


async def test_rows_are_counted_once_they_are_asked_for(copied: Callable[[str], Path], laid: Shelving) -> None:
    path, memory = copied("custom.dump"), ProcessMemory()
    backups = laid(path.parent, memory=memory)
    assert (await newest(backups)).rows == {}
    [backup] = await backups.list("main")
    assert (await backups.proof("main", backup, fresh=99, counted=True)).rows == ROWS
    assert (await newest(backups, fresh=99)).rows == ROWS
    assert backups.readings == 2


async def test_another_file_under_the_same_name_is_read_anew(copied: Callable[[str], Path], laid: Shelving) -> None:
    path, memory = copied("custom.dump"), ProcessMemory()
    await newest(laid(path.parent, memory=memory))
    path.write_bytes(path.read_bytes()[:-500])
    assert "cut off" in (await newest(laid(path.parent, memory=memory), fresh=9999)).fault


async def test_a_reading_goes_on_when_whoever_asked_has_no_time_left(
    copied: Callable[[str], Path], laid: Shelving
) -> None:
    path, memory = copied("custom.dump"), ProcessMemory()
    backups = laid(path.parent, memory=memory)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await newest(backups)
    assert (await newest(backups, fresh=1)).whole
    assert backups.readings == 1
    await backups.close()


async def test_a_folder_of_files_is_one_backup_with_all_of_them(
    archives: Archives, laid: Shelving, tmp_path: Path
) -> None:
    shutil.copytree(archives.folder / "folder", tmp_path / "daily")
    backups = laid(tmp_path)
    [backup] = await backups.list("main")
    assert (backup.name, backup.folder) == ("daily", True)
    proof = await backups.proof("main", backup, counted=True)
    assert (proof.fault, proof.format, proof.rows) == ("", "directory", ROWS)
    async with backups.shelf("main").local(backup) as path:
        assert sorted(p.name for p in path.iterdir()) == sorted(p.name for p in (archives.folder / "folder").iterdir())
    await backups.close()


async def test_a_backup_that_is_replaced_while_it_is_read_is_no_mixture(bucket: Bucket) -> None:
    first, second = os.urandom(3 << 20), os.urandom(3 << 20)
    bucket.put("dumps/a.dump", first)
    shelf = BucketShelf(Account(bucket.access), Folder(bucket.name, "dumps"))
    [backup] = await shelf.list()

    def read() -> None:
        chunks = shelf.chunks(backup)
        next(chunks)
        bucket.put("dumps/a.dump", second)
        for _ in shelf.chunks(backup):
            pytest.fail("reads another one")

    with pytest.raises(OSError, match=r"a\.dump: it was replaced while it was read"):
        await asyncio.to_thread(read)
    await shelf.close()


async def test_a_torn_connection_is_gone_on_with_where_it_broke(bucket: Bucket) -> None:
    data = os.urandom(5 << 20)
    bucket.put("dumps/a.dump", data)
    asked: list[str] = []

    async def tear(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if len(body) <= 1_500_000:
            return None
        asked.append(request.headers.get("Range", ""))
        return await torn(request, body, 1_500_000)

    async with spoiled(bucket, tear) as behind:
        shelf = BucketShelf(Account(behind.access), Folder(bucket.name, "dumps"))
        [backup] = await shelf.list()
        assert await asyncio.to_thread(lambda: b"".join(shelf.chunks(backup))) == data
        assert asked == ["", "bytes=1500000-", "bytes=3000000-"]
        await shelf.close()


async def test_a_bucket_that_is_away_is_unreachable_and_says_what_to_look_at(bucket: Bucket) -> None:
    nowhere = on(BucketShelf(Account(bucket.access), Folder("nobodys-bucket", "dumps")))
    with pytest.raises(Unreachable, match="is there such a bucket"):
        await nowhere.list("main")
    await nowhere.close()


async def test_without_room_for_a_copy_it_says_where_to_make_some(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.aws.backups.SPARE", 1 << 60)
    bucket.put("dumps/a.dump", b"x")
    shelf = BucketShelf(Account(bucket.access), Folder(bucket.name, "dumps"))
    [backup] = await shelf.list()
    with pytest.raises(OSError, match="set TMPDIR to a larger disk"):
        async with shelf.local(backup):
            pass
    await shelf.close()


async def test_a_folder_that_is_away_is_unreachable_and_named(tmp_path: Path) -> None:
    backups = shelved(tmp_path / "gone")
    with pytest.raises(Unreachable, match="is it mounted") as caught:
        await backups.list("main")
    assert [*caught.value.parts] == ["main"]
    assert "is it mounted" in (await backups.ping())["main"]


async def test_a_missing_program_says_nothing_about_the_backup_and_is_not_remembered(
    copied: Callable[[str], Path],
) -> None:
    path, memory = copied("custom.dump"), ProcessMemory()
    backups = ServiceBackups({"main": Shelved(FolderShelf(path.parent), programs="/nowhere")}, memory)
    with pytest.raises(Unreachable, match="there is no pg_restore on this machine"):
        await newest(backups)
    assert memory.texts == {}
    assert "no pg_restore" in (await backups.ping())["main"]


def flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("pattern", "name", "moment"),
    [
        ("*.dump", "a.dump", None),
        ("shop_%Y%m%d%H%M.dump", "shop_202603010215.dump", datetime(2026, 3, 1, 2, 15, tzinfo=UTC)),
        ("%s-*.dump", "1767322800-shop.dump", datetime(2026, 1, 2, 3, 0, tzinfo=UTC)),
        ("a%Y-%m-%dT%H:%M%z", "a2026-01-02T03:00+02:00", datetime(2026, 1, 2, 1, 0, tzinfo=UTC)),
        ("a%Y%m%d", "a20260231", None),
        ("100%%-%Y%j", "100%-2026032", datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_pattern_reads_the_moment_in_a_name(pattern: str, name: str, moment: datetime | None) -> None:
    assert NamePattern(pattern).fits(name)
    assert NamePattern(pattern).moment(name) == moment


@pytest.mark.parametrize("pattern", ["", "a/b", "%Q", "%Y%Y%m%d", "%H%M", "%"])
def test_a_pattern_that_cannot_be_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is nothing that|twice|needs year"):
        NamePattern(pattern)
