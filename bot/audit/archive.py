"""The record as one archive, with everything that an auditor asks for: docs/audit.md has the format.

Invariants:
- what the record names by digest (evidence, plots, snapshots, plans, catalogues) lies in `files/` under that digest, so
  that whoever believes the record believes the file; what is not kept any more is listed with the reason;
- the record itself stands in it byte for byte (`json_lines`); pages are made from its rows, for reading;
- all of it is read at one moment, and never held in memory as a whole.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from bot.audit.json_lines import checkpoint_line, line
from bot.audit.markdown import export_markdown
from bot.audit.named import blobs_in, body_of, is_digest, pictures_of
from bot.audit.roles import RolesHeld
from bot.audit.timeline import html
from bot.contract import canonical
from bot.policy import Person
from bot.ports import Blob
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.chain import Stored
from bot.store.evidence import KeptEvidence
from bot.store.log import Store

FORMAT = "rollback-bot archive 1"
_ENDINGS = {
    "application/json": "json", "application/gzip": "gz", "application/x-ndjson": "jsonl", "image/png": "png",
    "text/csv": "csv", "text/markdown": "md", "text/calendar": "ics",
}  # fmt: skip
_READ_ME = """\
# The record of a rollback bot

- `record.jsonl`: every entry as it was stored, each with the hash of the one before it, and the chain of checkpoints.
- `files/`: what entries name by a digest, each under it: logs, metrics, plots, snapshots, plans, catalogues.
- `people.json`: who held which role, from the first entry that says so to the last, and who holds it now.
- `runs/`: each run as a page and as a table, made from `record.jsonl`. For reading: believe the record.
- `manifest.json`: what each file is, its size and SHA-256; and what the record names that is not here, with the reason.

Check all of it without the bot, with `verify_record.py` of its documentation:

    python verify_record.py THIS.zip --key rbp_...
"""


@dataclass(frozen=True, slots=True)
class ArchiveSources:
    """Where things lie. clean: whether a text may leave this host as it is; people: everybody with a role, as known
    now; bot: its version; now: seconds since the epoch."""

    store: Store
    files: FileBlobs
    evidence: KeptEvidence
    people: Sequence[Person]
    clean: Callable[[str], bool]
    bot: str
    now: float


@dataclass(slots=True)
class Packed:
    """What is in an archive. missing: what the record names and is not there, with the reason."""

    runs: int = 0
    rows: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)


async def archive(to: IO[bytes], kept: ArchiveSources, run: str | None = None) -> Packed:
    """Writes the archive of a run, or of all, as a zip. LookupError for an unknown run."""
    with ZipFile(to, "w", ZIP_DEFLATED) as zip_, tempfile.TemporaryFile() as lines:
        box = _Box(zip_, kept)
        box.text("README.md", "what is what", _READ_ME)
        async with kept.store.snapshot() as snapshot:
            async for rows in snapshot.rows():
                for row, signatures in rows:
                    box.people.saw(row)
                    if run in (None, row.run):
                        lines.write((line(row, signatures) + "\n").encode())
                        await box.add(row)
            for link, signatures in await snapshot.links(run):
                lines.write((checkpoint_line(link, signatures) + "\n").encode())
        await box.page()
        if not box.packed.rows:
            raise LookupError(f"there is no run {run}" if run else "there is no entry yet")
        lines.seek(0)
        box.stream("record.jsonl", "the record, entry by entry", lines)
        box.text("people.json", "who held which role", json.dumps(box.people.told(kept.people), indent=1) + "\n")
        box.manifest(run)
        return box.packed


@dataclass(slots=True)
class _Named:
    """Something that the record names by its digest. what: in words; of: the runs that name it."""

    blob: Blob
    what: str
    of: dict[str, None]
    data: bytes | None = None


class _Box:
    """The archive while it is filled: run by run, as rows come by run and seq."""

    def __init__(self, zip_: ZipFile, kept: ArchiveSources) -> None:
        self.packed, self.people, self.named = Packed(), RolesHeld(), dict[str, _Named]()
        self._zip, self._kept, self._rows, self._there = zip_, kept, list[Stored](), dict[str, bool]()

    async def add(self, row: Stored) -> None:
        """One more row."""
        if self._rows and self._rows[-1].run != row.run:
            await self.page()
        self._rows.append(row)
        self.packed.rows += 1
        body = body_of(row)
        for blob in blobs_in(body):
            self._name(_Named(blob, f"named by {row.run}", {row.run: None}))
        if row.kind == "created" and isinstance(body, Mapping):
            self._created(row.run, body)

    def _created(self, run: str, body: Mapping[str, Any]) -> None:
        """The plan stands in the row itself, and is found by its digest like the catalogue of that time."""
        plan = canonical(body.get("plan")).encode()
        if f"sha256:{sha256(plan).hexdigest()}" == body.get("plan_digest"):
            blob = Blob(str(body["plan_digest"]), len(plan), "application/json")
            self._name(_Named(blob, f"the plan of {run}", {run: None}, plan))
        digests = body.get("digests")
        if isinstance(digests, Mapping) and is_digest(digest := digests.get("catalogue")):
            self._name(_Named(Blob(digest, -1, "application/json"), f"the catalogue of {run}", {run: None}))

    def _name(self, named: _Named) -> None:
        known = self.named.setdefault(named.blob.digest, named)
        known.of.update(named.of)

    async def page(self) -> None:
        """The run whose rows are complete."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        self.packed.runs += 1
        for digest, named in self.named.items():
            if digest not in self._there:
                self._there[digest] = await self._file(named)
        folder = f"runs/{_plain(rows[0].run)}"
        pictures = await pictures_of(rows, self._kept.files)
        links = {digest: f"../../{_place(self.named[digest])}" for digest, there in self._there.items() if there}
        shown = await asyncio.to_thread(html, rows, pictures, links)
        self.text(f"{folder}/timeline.html", f"{rows[0].run} as a page", shown)
        self.text(f"{folder}/record.md", f"{rows[0].run} as a table", await asyncio.to_thread(export_markdown, rows))

    async def _file(self, named: _Named) -> bool:
        """Puts in what the record names, or why it is not here; whether it is."""
        data = await self._found(named)
        about = {"is": named.what, "type": named.blob.type, "runs": sorted(named.of)}
        if isinstance(data, bytes):
            self._put(_place(named), data, **about)
        else:
            self.packed.missing.append({"digest": named.blob.digest, "why": data, **about})
        return isinstance(data, bytes)

    async def _found(self, named: _Named) -> bytes | str:
        """Its bytes, or why they are not here."""
        blob = named.blob
        try:
            data = named.data or await asyncio.to_thread(self._kept.evidence.raw, blob.digest)
            if data is None:
                data = await self._kept.files.whole(blob.digest)
        except KeyError:
            kept_for_a_time = blob.type == "application/gzip"
            return "past the day until which it was kept" if kept_for_a_time else "not in the bot's files"
        except (ValueError, BlobsUnavailable) as e:
            return str(e)
        if named.what.startswith("the catalogue") and not self._kept.clean(data.decode("utf-8", "replace")):
            return "it would hold a secret"
        return data

    def text(self, name: str, what: str, text: str) -> None:
        """A file of ours."""
        self._put(name, text.encode(), **{"is": what})

    def stream(self, name: str, what: str, lines: IO[bytes]) -> None:
        """A large one."""
        digest, size = sha256(), 0
        with self._zip.open(ZipInfo(name, self._date()), "w", force_zip64=True) as file:
            while part := lines.read(1 << 20):
                digest.update(part)
                size += file.write(part)
        self.packed.files.append({"name": name, "sha256": digest.hexdigest(), "size": size, "is": what})

    def manifest(self, run: str | None) -> None:
        """What is in it."""
        made = datetime.fromtimestamp(self._kept.now, UTC).isoformat(timespec="seconds")
        about = {"format": FORMAT, "made": made, "bot": self._kept.bot, "of": run or "every run"}
        told = {**about, "files": self.packed.files, "missing": self.packed.missing}
        self._zip.writestr(ZipInfo("manifest.json", self._date()), json.dumps(told, indent=1) + "\n")

    def _put(self, name: str, data: bytes, **about: Any) -> None:
        packed = ZIP_STORED if name.endswith((".gz", ".png")) else ZIP_DEFLATED
        self._zip.writestr(ZipInfo(name, self._date()), data, packed)
        self.packed.files.append({"name": name, "sha256": sha256(data).hexdigest(), "size": len(data), **about})

    def _date(self) -> tuple[int, int, int, int, int, int]:
        t = datetime.fromtimestamp(self._kept.now, UTC)
        return (t.year, t.month, t.day, t.hour, t.minute, t.second)


# -- how ---------------------------------------------------------------------------------------------------------------


def _place(named: _Named) -> str:
    ending = _ENDINGS.get(named.blob.type, "txt" if named.blob.type.startswith("text/") else "bin")
    return f"files/{named.blob.digest.removeprefix('sha256:')}.{ending}"


def _plain(run: str) -> str:
    """A run's id as a name of a folder, whatever it holds."""
    return "".join(c if c.isalnum() or c in "-." else "_" for c in run).strip(".") or "_"
