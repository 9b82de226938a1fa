"""Checks an export of the record by itself: it shares no code with the bot, and needs nothing but Python 3.11 or later
(and `cryptography` where keys are given). docs/audit.md has the formats, and what this finds. Exit code 1: faults.

    rollback-bot audit export --all --format archive --database -o record.zip       # or one run; or --format jsonl
    python verify_record.py record.zip --whole --key rbp_... --copy checkpoints/000000000012.json
"""

import argparse
import base64
import contextlib
import json
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

ZERO = "0" * 64
LINKED = {"created", "approved", "broke glass", "aborted", "closed", "loss accepted", "vouched"}
"""Kinds of rows that enter the chain of checkpoints, with the append that writes them."""
Line = dict[str, Any]


def read(path: Path) -> Iterator[tuple[int, Line]]:
    """What is wrong with an archive's files; then each line of the record, the bytes of its body as `body_text`."""
    archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
    yield from ((0, {"fault": fault}) for fault in (unlike(archive) if archive else ()))
    with archive.open("record.jsonl") if archive else path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                head, mark, body = text.decode().removesuffix("\n").partition(', "body":')
                own = {"body_text": body[:-1] if body.endswith("}") else 1 / 0} if mark else {}
                line = json.loads(head + "}" * bool(mark)) | own
                names = {"chain", "checkpoint"} if "checkpoint" in line else {"at", "kind", "body_text"}
                line = line if line.keys() >= {"run", "seq", "hash", "prev", "signatures", *names} else 1 / 0
            except (ValueError, KeyError, TypeError, ArithmeticError):
                line = {"fault": f"line {number} is neither row nor checkpoint: {text[:60]!r}"}
            yield number, line


def unlike(archive: zipfile.ZipFile) -> Iterator[str]:
    """Files that are not as the manifest says, or whose name is not the SHA-256 of what they hold."""
    told = {f["name"]: f["sha256"] for f in json.loads(archive.read("manifest.json"))["files"]}
    for name in sorted({*told, *archive.namelist()} - {"manifest.json"}):
        found = sha256(archive.read(name)).hexdigest() if name in archive.namelist() else "missing"
        if not found == told.get(name) == (name[6:].partition(".")[0] if name.startswith("files/") else found):
            yield f"{name}: it is not what the manifest, or its name, says"


def hashed(*fields: object) -> str:
    """SHA-256 of the fields, joined by line feeds, of which only the last one may hold any."""
    return "" if "\n" in "".join(map(str, fields[:-1])) else sha256("\n".join(map(str, fields)).encode()).hexdigest()


def holds(what: str, digest: str, signatures: list[list[str]], keys: set[str]) -> bool:
    """Whether one of the keys (base64 for URLs, without its `=`) has signed this hash."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for key, signature in (pair for pair in signatures if pair[0] in keys):
        with contextlib.suppress(InvalidSignature, ValueError):
            public, by = (base64.urlsafe_b64decode(t + "==") for t in (key.removeprefix("rbp_"), signature))
            Ed25519PublicKey.from_public_bytes(public).verify(by, f"rollback-bot {what}\n{digest}".encode())
            return True
    return False


class Record:
    """What was read so far, and what is wrong with it."""

    def __init__(self) -> None:
        self.runs, self.checkpoints, self.faults = dict[str, list[Line]](), list[Line](), list[str]()

    def add(self, number: int, line: Line) -> None:
        """One more line; it must fit the one before."""
        if "fault" in line:
            self.faults.append(line["fault"])
        else:
            (self._checkpoint if "checkpoint" in line else self._row)(line)

    def _row(self, row: Line) -> None:
        rows = self.runs.setdefault(row["run"], [])
        last: Line = rows[-1] if rows else {"seq": 0, "hash": ZERO}
        where = f"run {row['run']}, row {row['seq']}"
        if row["seq"] != last["seq"] + 1:
            self.faults.append(f"{where}: row {last['seq'] + 1} was expected here")
        elif row["prev"] != last["hash"]:
            self.faults.append(f"{where}: it does not follow the row before it")
        if hashed(*map(row.get, ("prev", "run", "seq", "at", "kind", "body_text"))) != row["hash"]:
            self.faults.append(f"{where}: its hash does not fit its content")
        rows.append(row)

    def _checkpoint(self, c: Line) -> None:
        last: Line = self.checkpoints[-1] if self.checkpoints else {"checkpoint": 0, "chain": ZERO}
        follows = c["checkpoint"] == last["checkpoint"] + 1
        if hashed("checkpoint", c["prev"], c["checkpoint"], c["run"], c["seq"], c["hash"]) != c["chain"]:
            self.faults.append(f"checkpoint {c['checkpoint']}: its hash does not fit its content")
        if c["checkpoint"] <= last["checkpoint"] or (follows and c["prev"] != last["chain"]):
            self.faults.append(f"checkpoint {c['checkpoint']}: it does not follow checkpoint {last['checkpoint']}")
        self.checkpoints.append(c)

    def judge(self, whole: bool, keys: set[str], copies: list[Line]) -> None:
        """What can only be said of all of it. whole: of every run, from the first checkpoint to the last."""
        linked = set()
        for expected, c in enumerate(self.checkpoints, 1):
            row = next(iter(self.runs.get(c["run"], [])[c["seq"] - 1 : c["seq"]]), {"hash": None, "at": None})
            linked.add((c["run"], row["at"]))
            if whole and c["checkpoint"] != expected:
                self.faults.append(f"checkpoint {expected} is missing")
                break
            if row["hash"] != c["hash"] and (whole or c["run"] in self.runs):
                self.faults.append(f"checkpoint {c['checkpoint']}: run {c['run']} has no such row {c['seq']}")
        for run, rows in self.runs.items():
            for row in rows:
                if row["kind"] in LINKED and (run, row["at"]) not in linked:
                    self.faults.append(f"run {run}, row {row['seq']} ({row['kind']}): no checkpoint was made of it")
            if keys and not holds("event", rows[-1]["hash"], rows[-1]["signatures"], keys):
                self.faults.append(f"run {run}, row {rows[-1]['seq']}, its last: none of the keys has signed it")
        for c in self.checkpoints[-1:] if keys else ():
            if not holds("checkpoint", c["chain"], c["signatures"], keys):
                self.faults.append(f"checkpoint {c['checkpoint']}, the last: none of the keys has signed it")
        for copy in copies:
            if all((c["checkpoint"], c["chain"]) != (copy["n"], copy["chain"]) for c in self.checkpoints):
                self.faults.append(f"checkpoint {copy['n']}, of which a copy was kept, is missing or another one")


def main() -> int:
    """Reads, judges, says."""
    parser = argparse.ArgumentParser(description="Checks an export of the record by itself.")
    parser.add_argument("export", type=Path)
    parser.add_argument("--whole", action="store_true", help="it is an export of everything (--all)")
    parser.add_argument("--key", action="append", default=[], help="a public key (rbp_...); may be given several times")
    parser.add_argument("--copy", action="append", default=[], type=Path, help="a checkpoint that was kept outside")
    asked, record = parser.parse_args(), Record()
    for number, line in read(asked.export):
        record.add(number, line)
    record.judge(asked.whole, set(asked.key), [json.loads(path.read_text()) for path in asked.copy])
    print("".join(f"FAULT  {fault}\n" for fault in record.faults), end="")
    found = f"{len(record.faults)} faults" if record.faults else "all of it fits together"
    found += "." if asked.key else "; signatures were not checked (--key)."
    rows = sum(map(len, record.runs.values()))
    print(f"{rows} rows of {len(record.runs)} runs, {len(record.checkpoints)} checkpoints: {found}")
    return 1 if record.faults or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
