"""An archive holds everything that an auditor asks for, and what is wrong with one is found without our code."""

from __future__ import annotations

import json
import runpy
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import migrations
from bot.audit import ArchiveSources, Packed, archive
from bot.contract import Receipt
from bot.policy import Actor, Person
from bot.ports import Blob
from bot.run import events as ev
from bot.run.state import new_run
from bot.store.blobs import FileBlobs
from bot.store.evidence import KeptEvidence
from bot.store.log import Keys, Store
from bot.store.signing import new_key
from tests.run.played import act, gate, plan
from tests.store.conftest import Sample

AT = 1_763_900_000.0
DAY = datetime.fromtimestamp(AT, UTC)
OWN, PUBLIC = new_key()
PNG = b"\x89PNG\r\n\x1a\n"
CATALOGUE = b'{"services":{"shop":{}}}'
KIM = Actor("U2", "kim", ("approver", "dba"), "cli")
verify_record = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "verify_record.py"))


class World:
    """A record of two runs with what they have kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = FileBlobs(folder / "files")
        self.evidence = KeptEvidence(self.files, str)

    async def filled(self) -> World:
        """Two runs, of which one has logs, a plot and a catalogue."""
        migrations.upgrade(f"sqlite:///{self.folder / 'bot.db'}")
        self.store = await Store.open(f"sqlite:///{self.folder / 'bot.db'}", keys=Keys(OWN))
        logs = await self.evidence.keep("a line\n", DAY + timedelta(days=30))
        old = await self.evidence.keep("long ago\n", DAY - timedelta(days=1))
        plot = await self.files.put(PNG, "image/png")
        catalogue = await self.files.put(CATALOGUE, "application/json")
        alt = {"alt": "errors: 4 % with 2.4.1"}
        said: dict[str, Any] = {"evil": {"digest": "sha256:../../../../etc/hostname", "size": 3, "type": "text/plain"}}
        said |= {
            name: {"digest": b.digest, "size": b.size, "type": b.type, **more}
            for name, b, more in (("logs.gz", logs, {}), ("old.gz", old, {}), ("plot.png", plot, alt))
        }
        self.logs, self.old, self.plot, self.catalogue = logs, old, plot, catalogue
        sample = Sample()
        small = plan(act("deploy", decision="go"), decisions=[gate("go", "deploy")])
        created = replace(
            sample.created(), plan=small, plan_digest=small.digest, digests={"catalogue": catalogue.digest}
        )
        done = ev.Applied("deploy", 2, Receipt("done", said))
        approved = ev.Approved("go", {}, KIM, "dba", young={"dba": 240})
        await self._written("r1", created, *sample.work(), done, approved, sample.closed())
        await self._written("r2", sample.created("other"), sample.closed())
        self.evidence.prune(DAY)
        return self

    async def _written(self, run: str, *events: ev.Event) -> None:
        await self.store.append(new_run(run), events, AT)

    async def packed(self, run: str | None = None, clean: Callable[[str], bool] = lambda text: True) -> Packed:
        """Written to `self.path`."""
        self.path = self.folder / "record.zip"
        people = [Person("U2", "kim", frozenset({"approver"})), Person("U9", "zoe", frozenset({"dba"}))]
        kept = ArchiveSources(self.store, self.files, self.evidence, people, clean, "1.0", AT)
        with self.path.open("w+b") as file:
            return await archive(file, kept, run)

    def holds(self) -> dict[str, bytes]:
        """Name -> content."""
        with zipfile.ZipFile(self.path) as zip_:
            return {name: zip_.read(name) for name in zip_.namelist()}

    def judged(self, *keys: str, whole: bool = True) -> list[str]:
        """What the independent program finds."""
        record = verify_record["Record"]()
        for number, line in verify_record["read"](self.path):
            record.add(number, line)
        record.judge(whole, {*keys}, [])
        faults: list[str] = record.faults
        return faults


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    found = await World(tmp_path).filled()
    yield found
    await found.store.close()


def named(blob: Blob, ending: str) -> str:
    return f"files/{blob.digest.removeprefix('sha256:')}.{ending}"


async def test_everything_that_the_record_names_is_in_it_and_what_is_not_is_named_with_the_reason(world: World) -> None:
    packed = await world.packed()
    held = world.holds()
    assert held[named(world.plot, "png")] == PNG and held[named(world.catalogue, "json")] == CATALOGUE
    assert named(world.logs, "gz") in held and named(world.old, "gz") not in held
    assert [(m["digest"], m["why"]) for m in packed.missing] == [
        (world.old.digest, "past the day until which it was kept")
    ]
    assert [step["id"] for step in plan_of(held)["steps"]] == ["deploy"]
    page = held["runs/r1/timeline.html"].decode()
    assert f"../../{named(world.logs, 'gz')}" in page and "data:image/png;base64," in page
    assert f"../../{named(world.old, 'gz')}" not in page and "Deploy" in page
    assert held["runs/r2/record.md"].startswith(b"# Record of other")
    told = json.loads(held["manifest.json"])
    assert (
        told["format"] == "rollback-bot archive 1" and told["of"] == "every run" and told["missing"] == packed.missing
    )
    assert {f["name"] for f in told["files"]} == held.keys() - {"manifest.json"}
    assert not any("etc" in name or ".." in name for name in held), "no name of a record leads out of the archive"


def plan_of(held: dict[str, bytes]) -> Any:
    """The plan, by the digest that the record names."""
    first = json.loads(held["record.jsonl"].decode().splitlines()[0])
    return json.loads(held[f"files/{first['body']['plan_digest'].removeprefix('sha256:')}.json"])


async def test_who_held_which_role_is_told_by_the_entries_that_say_so(world: World) -> None:
    await world.packed("r1")
    people = {p["id"]: p for p in json.loads(world.holds()["people.json"])["people"]}
    at = "2025-11-23T12:13:20.000+00:00"
    dba = people["U2"]["roles"]["dba"]
    assert dba["first"] == dba["last"] == {"run": "r1", "seq": 8, "at": at} and dba["entries"] == 1
    assert dba["new"] == [{"run": "r1", "seq": 8, "at": at, "seconds_before": 240}]
    assert people["U2"]["now"] == {"kind": "member", "roles": ["approver"], "on_call": []}, "no dba any more"
    assert people["U1"]["now"] is None and people["U1"]["roles"]["commander"]["entries"] == 4, "in both runs"
    assert people["U9"]["roles"] == {} and people["U9"]["now"]["roles"] == ["dba"]


async def test_the_independent_program_finds_nothing_wrong_with_it(world: World) -> None:
    await world.packed()
    assert world.judged(PUBLIC) == []
    await world.packed("r1")
    assert world.judged(PUBLIC, whole=False) == [] and "runs/r2/record.md" not in world.holds()


def changed(held: dict[str, bytes], w: World) -> None:
    held[named(w.logs, "gz")] = b"another"


def changed_with_its_manifest(held: dict[str, bytes], w: World) -> None:
    changed(held, w)
    told = json.loads(held["manifest.json"])
    for f in told["files"]:
        f["sha256"] = sha256(held[f["name"]]).hexdigest()
    held["manifest.json"] = json.dumps(told).encode()


def gone(held: dict[str, bytes], w: World) -> None:
    del held[named(w.plot, "png")]


def added(held: dict[str, bytes], w: World) -> None:
    held["files/notes.txt"] = b"read me"


def reworded(held: dict[str, bytes], w: World) -> None:
    held["record.jsonl"] = held["record.jsonl"].replace(b"checkout fails", b"nothing fails!")
    changed_with_its_manifest(held, w)


@pytest.mark.parametrize("do", [changed, changed_with_its_manifest, gone, added, reworded], ids=lambda f: f.__name__)
async def test_what_was_done_to_it_is_found(world: World, do: Callable[[dict[str, bytes], World], None]) -> None:
    await world.packed()
    held = world.holds()
    do(held, world)
    with zipfile.ZipFile(world.path, "w") as zip_:
        for name, data in held.items():
            zip_.writestr(name, data)
    assert world.judged(PUBLIC)


async def test_a_catalogue_that_would_hold_a_secret_stays_where_it_is(world: World) -> None:
    packed = await world.packed(clean=lambda text: "services" not in text)
    assert (world.catalogue.digest, "it would hold a secret") in {(m["digest"], m["why"]) for m in packed.missing}


async def test_a_run_that_is_not_there_has_no_archive(world: World) -> None:
    with pytest.raises(LookupError, match="there is no run r9"):
        await world.packed("r9")
