"""Each line of the table in docs/audit.md: what is done to a record, and who finds it."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import migrations
from bot.audit import export_jsonl, exported, line, verify
from bot.node.outside import FOLDER, Outside
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.state import new_run
from bot.store.blobs import FileBlobs
from bot.store.chain import ZERO, checkpoint_hash, event_hash
from bot.store.log import Keys, Store, Stored
from bot.store.signing import new_key
from bot.web.record import verified
from tests.store.conftest import ANA, Sample

AT = 1_763_900_000.5
OWN, PUBLIC = new_key()
OTHER, _ = new_key()
DOCS = Path(__file__).parents[2] / "docs"
PROGRAM = DOCS / "verify_record.py"
verify_record = runpy.run_path(str(PROGRAM))
TABLE = (DOCS / "audit.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", TABLE, re.MULTILINE)
sample = Sample()


# -- what whoever writes to the database can do ------------------------------------------------------------------------


@dataclass
class Place:
    """A record that is tampered with: its database, and what is kept outside."""

    db: sqlite3.Connection
    files: FileBlobs
    export: Callable[[list[str]], list[str]] = list

    def rows(self, run: str) -> list[Stored]:
        found = self.db.execute("SELECT * FROM event WHERE run = ? ORDER BY seq", [run])
        return [Stored(*row) for row in found]

    def change(self) -> None:
        self.db.execute("UPDATE event SET body = replace(body, 'checkout fails', 'it was fine') WHERE run = 'r1'")

    def rehash(self, run: str = "r1") -> None:
        prev = ZERO
        for r in self.rows(run):
            hash_ = event_hash(prev, r.run, r.seq, r.at, r.kind, r.body)
            self.db.execute("UPDATE event SET prev = ?, hash = ? WHERE run = ? AND seq = ?", [prev, hash_, run, r.seq])
            prev = hash_

    def relink(self) -> None:
        links = self.db.execute("SELECT run, seq FROM checkpoint ORDER BY n").fetchall()
        self.db.execute("DELETE FROM checkpoint")
        for run, seq in links:
            self.link(run, seq)

    def link(self, run: str, seq: int) -> None:
        """A checkpoint behind the last one."""
        last = self.db.execute("SELECT n, chain FROM checkpoint ORDER BY n DESC LIMIT 1").fetchone() or (0, ZERO)
        hash_ = self.rows(run)[seq - 1].hash
        n, prev = last[0] + 1, last[1]
        values = [n, run, seq, hash_, prev, checkpoint_hash(prev, n, run, seq, hash_)]
        self.db.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", values)

    def add(self, event: ev.Event) -> None:
        """A row behind the last of r2, as this program would write it, and the index with it."""
        last, (kind, body) = self.rows("r2")[-1], ev.encode(event)
        seq, at = last.seq + 1, last.at + 7
        hash_ = event_hash(last.hash, "r2", seq, at, kind, body)
        self.db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", ["r2", seq, at, kind, body, last.hash, hash_])
        self.db.execute("UPDATE head SET seq = ? WHERE run = 'r2'", [seq])

    def sign(self, key: str) -> None:
        """The last row of each run, and the last checkpoint."""
        keys = Keys(key)
        ends = self.db.execute("SELECT run, max(seq), hash FROM event GROUP BY run").fetchall()
        ends += [("", n, chain) for n, chain in self.db.execute("SELECT max(n), chain FROM checkpoint")]
        for run, seq, hash_ in ends:
            by = keys.sign("event" if run else "checkpoint", hash_)
            assert by is not None
            self.db.execute("INSERT OR REPLACE INTO signature VALUES (?, ?, ?, ?)", [run, seq, by.key, by.text])

    def copies(self) -> list[Path]:
        return sorted((self.files.folder / "outside" / FOLDER).glob("*.json"))


def changed(p: Place) -> None:
    p.change()


def rehashed(p: Place) -> None:
    p.change()
    p.rehash()


def relinked(p: Place) -> None:
    rehashed(p)
    p.relink()


def taken_out(p: Place) -> None:
    p.db.execute("DELETE FROM event WHERE run = 'r1' AND seq = 3")


def cut(p: Place) -> None:
    """To where an append ended, so that its signature holds."""
    p.db.execute("DELETE FROM event WHERE run = 'r2' AND seq > 1")
    p.db.execute("UPDATE head SET seq = 1 WHERE run = 'r2'")


def cut_all(p: Place) -> None:
    for table in ("event", "head", "checkpoint"):
        p.db.execute(f"DELETE FROM {table} WHERE run = 'r3'")


def removed(p: Place) -> None:
    for table in ("event", "head", "checkpoint", "signature"):
        p.db.execute(f"DELETE FROM {table} WHERE run = 'r1'")
    p.relink()


def approved(p: Place) -> None:
    p.add(ev.Approved("go", {"deploy": "f00"}, ANA, "approver"))


def approved_and_linked(p: Place) -> None:
    approved(p)
    p.link("r2", p.rows("r2")[-1].seq)


def approved_by_another_key(p: Place) -> None:
    approved_and_linked(p)
    p.sign(OTHER)


def added(p: Place) -> None:
    p.add(ev.Stopped(ANA))


def unsigned(p: Place) -> None:
    p.db.execute("DELETE FROM signature")


def misfiled(p: Place) -> None:
    p.db.execute("UPDATE head SET open = 0 WHERE run = 'r2'")


def unguarded(p: Place) -> None:
    p.db.execute("DROP TRIGGER event_no_delete")


def copy_removed(p: Place) -> None:
    for path in p.copies():
        path.unlink()


def copy_altered(p: Place) -> None:
    newest = p.copies()[-1]
    newest.write_text(newest.read_text().replace('"seq": 1', '"seq": 2'))


def token_added(p: Place) -> None:
    p.db.execute("INSERT INTO token (hash, person, expires, issued_at, issued_by) VALUES ('h', 'U1', 9, 1, 'me')")


def release_added(p: Place) -> None:
    p.db.execute(
        "INSERT INTO release (service, version, body, state, reason, at) VALUES ('s', '9', '{}', 'stable', '', 1)"
    )


def known_person_added(p: Place) -> None:
    p.db.execute("INSERT INTO known (name, body, at) VALUES ('slack', '{}', 1)")


def export_changed(p: Place) -> None:
    p.export = lambda lines: [text.replace("checkout fails", "it was fine") for text in lines]


def rewritten(p: Place) -> None:
    relinked(p)
    p.sign(OWN)


def rewritten_with_the_copy(p: Place) -> None:
    rewritten(p)
    names = ("n", "run", "seq", "hash", "prev", "chain")
    for path in p.copies():
        row = p.db.execute("SELECT * FROM checkpoint WHERE n = ?", [int(path.stem)]).fetchone()
        path.write_text(json.dumps(dict(zip(names, row, strict=True))))


DONE: dict[str, Callable[[Place], None]] = {
    "a row is changed": changed,
    "a row is changed, and every hash behind it": rehashed,
    "a row is changed, every hash behind it, and the chain of checkpoints": relinked,
    "a row is taken out": taken_out,
    "the end of a run is cut off, and the index set back": cut,
    "the end of the record is cut off, with index and checkpoints, as in an older backup": cut_all,
    "a run is removed, with its index, and the chain of checkpoints made anew": removed,
    "an approval is added, with fitting hashes": approved,
    "an approval is added, with fitting hashes and a checkpoint of its own": approved_and_linked,
    "an approval is added, with all of that, and signed with another key": approved_by_another_key,
    "another row is added, with fitting hashes": added,
    "signatures are taken away": unsigned,
    "the index says that an open run has ended": misfiled,
    "a trigger is removed": unguarded,
    "the copy outside is removed": copy_removed,
    "the copy outside is altered": copy_altered,
    "a token is added": token_added,
    "a release is added, or its state altered": release_added,
    "what is remembered of people in Slack is altered": known_person_added,
    "the export is changed": export_changed,
    "everything is written anew by who has the key": rewritten,
    "everything is written anew by who has the key, with the copy outside": rewritten_with_the_copy,
}


# -- who finds it ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed record of three runs, r1 (7 rows, closed), r2 (6 rows, open), r3 (1 row); and its copy."""
    folder = tmp_path_factory.mktemp("whole")
    url = f"sqlite:///{folder / 'bot.db'}"
    migrations.upgrade(url)

    async def make() -> None:
        store = await Store.open(url, keys=Keys(OWN))
        outside = Outside(FileBlobs(folder / "files"), store, ReleaseRegister(store, lambda: AT), lambda: AT)
        await outside.begin()
        for n in (1, 2, 3):
            run = await store.append(new_run(f"r{n}"), [sample.created(f"s{n}")], AT)
            if n < 3:
                run = await store.append(run, sample.work(), AT + 1, checkpoint=True)
            if n == 1:
                await store.append(run, [sample.closed()], AT + 2)
            await outside.keep()
        await store.close()

    asyncio.run(make())
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Iterator[Place]:
    """A copy of it."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with closing(sqlite3.connect(tmp_path / "bot.db")) as db:
        yield Place(db, FileBlobs(tmp_path / "files"))


def tampered(p: Place, do: Callable[[Place], None]) -> None:
    """With the triggers off, and on again."""
    triggers = p.db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        p.db.execute(f"DROP TRIGGER {name}")
    if do is not unguarded:
        do(p)
    for _, sql in triggers:
        p.db.execute(sql)
    if do is unguarded:
        do(p)
    p.db.commit()


def elsewhere(p: Place, url: str, kept: Path, *more: str) -> list[str]:
    """What the program that shares no code with ours finds in an export."""

    async def write() -> list[str]:
        store = await Store.open(url)
        found = [text async for text in exported(store)]
        await store.close()
        return found

    path = kept.parent / "record.jsonl"
    path.write_text("".join(text + "\n" for text in p.export(asyncio.run(write()))), encoding="utf-8")
    return judged(path, "--whole", "--copy", str(kept), *more)


def judged(path: Path, *more: str) -> list[str]:
    """Its faults."""
    record = verify_record["Record"]()
    for number, text in verify_record["read"](path):
        record.add(number, text)
    copies = [json.loads(Path(c).read_text()) for c in more[more.index("--copy") + 1 :][:1]] if "--copy" in more else []
    keys = {k for k in more if k.startswith("rbp_")}
    record.judge("--whole" in more, keys, copies)
    faults: list[str] = record.faults
    return faults


@pytest.mark.parametrize(("done", "database", "copy", "keys", "export", "bot"), ROWS, ids=[r[0] for r in ROWS])
def test_it_is_found_by_whom_the_page_says(
    place: Place, tmp_path: Path, done: str, database: str, copy: str, keys: str, export: str, bot: str
) -> None:
    kept, url = tmp_path / "kept-elsewhere.json", f"sqlite:///{tmp_path / 'bot.db'}"
    shutil.copy(place.copies()[-1], kept)
    tampered(place, DONE[done])

    async def ours() -> dict[str, bool]:
        plain, knowing = await Store.open(url), await Store.open(url, keys=Keys("", [PUBLIC]))
        found = {
            "database": not (await verify(plain)).ok,
            "copy": not (await verified(plain, place.files))["ok"],
            "keys": not (await verify(knowing)).ok,
            "bot": any([(await knowing.load(run)).doubt for run in ("r1", "r2", "r3")]),
        }
        await plain.close()
        await knowing.close()
        return found

    found = {**asyncio.run(ours()), "export": bool(elsewhere(place, url, kept, "--key", PUBLIC))}
    said = {"database": database, "copy": copy, "keys": keys, "export": export, "bot": bot}
    assert {name: "yes" if is_so else "no" for name, is_so in found.items()} == said


def test_the_page_names_all_that_is_tried_here() -> None:
    assert [row[0] for row in ROWS] == list(DONE)


def test_nothing_is_found_in_what_nobody_has_touched(place: Place, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    for more in ([], ["--key", PUBLIC]):
        assert elsewhere(place, url, place.copies()[-1], *more) == []
    command = [sys.executable, str(PROGRAM), str(place.copies()[-1].parent / "record.jsonl"), "--whole"]
    done = subprocess.run([*command, "--key", PUBLIC], capture_output=True, text=True, check=True)
    assert done.stdout == "14 rows of 3 runs, 6 checkpoints: all of it fits together.\n"
    bad = subprocess.run([*command, "--key", Keys(OTHER).own], capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stdout.startswith(
        "FAULT  run r1, row 7, its last: none of the keys has signed it"
    )
    assert "14 rows of 3 runs, 6 checkpoints: 4 faults." in bad.stdout


def test_the_program_that_checks_exports_is_short_and_shares_nothing_with_the_bot() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert {m.partition(".")[0] for m in re.findall(r"^\s*(?:from|import) (\S+)", text, re.MULTILINE)} <= {
        *sys.stdlib_module_names, "cryptography",
    }  # fmt: skip
    assert all(kind in verify_record["LINKED"] for kind in (c.kind for c in ev.CHECKPOINTED))


# -- exports of one run ------------------------------------------------------------------------------------------------


def run_exported(place: Place) -> list[str]:
    url = str(place.db.execute("PRAGMA database_list").fetchone()[2])

    async def write() -> str:
        store = await Store.open(f"sqlite:///{url}")
        with pytest.raises(LookupError, match="no run r9"):
            await export_jsonl(store, "r9")
        text = await export_jsonl(store, "r1")
        await store.close()
        return text

    return asyncio.run(write()).split("\n")[:-1]


def test_an_export_of_a_run_holds_the_stored_bytes_and_its_checkpoints(place: Place, tmp_path: Path) -> None:
    lines, rows = run_exported(place), place.rows("r1")
    for text, row in zip(lines[:7], rows, strict=True):
        assert json.loads(text)["body"] == json.loads(row.body) and text.endswith(f'"body":{row.body}}}')
    assert [json.loads(text)["checkpoint"] for text in lines[7:]] == [1, 2, 3]
    path = tmp_path / "r1.jsonl"
    path.write_text("".join(text + "\n" for text in lines), encoding="utf-8")
    assert judged(path, PUBLIC) == []
    assert "checkpoint 4 is missing" not in judged(path, "--whole", PUBLIC)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: [x[0], x[1].replace("node", "nod"), *x[2:]], "row 2: its hash does not"),
        (lambda x: [*x[:2], *x[3:]], "row 4: row 3 was expected"),
        (lambda x: x[1:], "row 2: row 1 was expected"),
        (lambda x: [x[1], x[0], *x[2:]], "row 2: row 1 was expected"),
        (lambda x: [x[0], x[1].replace('"at": 17', '"at": 18'), *x[2:]], "row 2: its hash does not"),
        (lambda x: [x[0], "nonsense", *x[2:]], "line 2 is neither"),
        (lambda x: [x[0], '{"run": "r1"}', *x[2:]], "line 2 is neither"),
        (lambda x: [x[0], "[]", *x[2:]], "line 2 is neither"),
        (lambda x: x[:5], "row 5, its last: none of the keys"),
        (lambda x: [*x[:7], *x[8:]], "row 1 (created): no checkpoint was made of it"),
        (lambda x: [*x[:-1], x[-1].replace('"checkpoint": 3', '"checkpoint": 4')], "checkpoint 4: its hash"),
        (lambda x: [*x[:-1], x[-1].replace('"seq": 7', '"seq": 6')], "checkpoint 3: run r1 has no such row"),
    ],
    ids=range(12),
)  # fmt: skip
def test_an_altered_export_is_found(
    place: Place, tmp_path: Path, change: Callable[[list[str]], list[str]], told: str
) -> None:
    path = tmp_path / "r1.jsonl"
    path.write_text("".join(text + "\n" for text in change(run_exported(place))), encoding="utf-8")
    assert any(told in fault for fault in judged(path, PUBLIC)), judged(path, PUBLIC)


@given(st.lists(st.text(), max_size=4), st.text(st.characters(exclude_characters="\n"), min_size=1))
def test_whatever_a_body_holds_is_exported_and_checked(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[str], run: str
) -> None:
    bodies = [b.encode("utf-8", "replace").decode() for b in bodies]
    run = run.encode("utf-8", "replace").decode()
    rows, prev = [], ZERO
    for seq, body in enumerate([*bodies, '{"a":", \\"body\\":"}'], 1):
        hash_ = event_hash(prev, run, seq, 1, "k", body)
        rows.append(Stored(run, seq, 1, "k", body, prev, hash_))
        prev = hash_
    path = tmp_path_factory.getbasetemp() / "bodies.jsonl"
    path.write_text("".join(line(row) + "\n" for row in rows), encoding="utf-8")
    assert judged(path) == []
