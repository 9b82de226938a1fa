"""Reads a backup to its end, and says what is wrong with it.

What pg_restore alone does not see is looked for here: it restores a cut tar archive with exit code 0, lists archives
whose pg_dump was killed, and takes an uncompressed file of a folder that ends too early. So a tar is walked to its end
mark, each file of a folder has its own, a plain dump has its last line, gzip its trailer; everything else pg_restore
reads, to its end; where it makes SQL of it, which nobody executes, rows are
counted as they pass.

Invariants:
- memory is constant, whatever the size; no shell; the program gets no password and no server;
- the digest is of the very bytes that were read.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.adapters.backups.programs import Program, surroundings
from bot.adapters.backups.script import Script
from bot.ports.backups import STAMP

CHUNK = 1 << 18
"""Bytes that are read and hashed at a time: less than what a pipe holds, so that its reader is never idle meanwhile."""
PIPE = 1 << 20
"""Bytes that lie ready in the pipe to pg_restore, where the system can do that."""
HEAD = 16
"""Bytes at the beginning of an archive that say what it is."""
WORDS = 2000
"""Bytes of what pg_restore complains about that are kept."""
NO_DUMP = "it is no archive of pg_dump"
CUT = "it is cut off"
AGAIN = "make a new backup, or name an older one that is whole"


class Unreadable(Exception):
    """What is wrong with a backup; hint: what to do next."""

    def __init__(self, fault: str, hint: str = AGAIN) -> None:
        super().__init__(fault)
        self.hint = hint


class NoProgram(Exception):
    """This machine has no pg_restore that could read it."""


@dataclass
class ReadBackup:
    """What was found. checked: whether damage inside the data would have shown by itself; counted: whether the script
    holds rows, not only what the table of contents says; packed: whether gzip was put around it."""

    format: str = ""
    checked: bool = False
    digest: str = ""
    counted: bool = False
    packed: bool = False
    script: Script = field(default_factory=lambda: Script(STAMP))


@dataclass
class ReadingStop:
    """Ends a reading from another thread."""

    asked: bool = False
    child: subprocess.Popen[bytes] | None = None

    def now(self) -> None:
        """Ends it, with its program."""
        self.asked = True
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.child.kill()


@dataclass(frozen=True)
class Reader:
    """How to read. counted: rows are counted as they pass, which takes about twice as long; else only the table of
    contents is kept."""

    programs: Sequence[Program]
    counted: bool = True
    stop: ReadingStop = field(default_factory=ReadingStop)

    def stream(self, opened: Callable[[], Iterator[bytes]]) -> ReadBackup:
        """A backup that is one file; `opened` gives its bytes from the beginning. Blocking. Unreadable, NoProgram;
        InterruptedError where it was stopped."""
        digest, found = hashlib.sha256(), ReadBackup()

        def hashed() -> Iterator[bytes]:
            for chunk in opened():
                if self.stop.asked:
                    raise InterruptedError("stopped")
                digest.update(chunk)
                yield chunk

        self._any(hashed(), opened, found)
        found.digest = f"sha256:{digest.hexdigest()}"
        return found

    def folder(self, folder: Path) -> ReadBackup:
        """A backup that is a folder of files (pg_dump -Fd). Blocking. Unreadable, NoProgram, FileNotFoundError."""
        table = folder / "toc.dat"
        if not table.is_file():
            raise Unreadable(f"{CUT}: its table of contents (toc.dat) is missing")
        with table.open("rb") as f:
            head = f.read(HEAD)
        found = ReadBackup("directory", _compressed(head))
        found.digest = digest_of_folder(folder, self.stop)
        if (cut := _cut_files(folder)) and not found.checked:
            raise Unreadable(f"{CUT}: {cut[0]} has no end")
        self._restored(_fitting(head, self.programs), [str(folder)], None, None, found)
        return found

    def _any(self, chunks: Iterator[bytes], opened: Callable[[], Iterator[bytes]], found: ReadBackup) -> None:
        first = next((c for c in chunks if c), b"")
        while len(first) < 512 and (more := next(chunks, b"")):
            first += more
        whole = _again(first, chunks)
        if first.startswith(b"PGDMP"):
            found.format, found.checked = "custom", _compressed(first)
            self._restored(_fitting(first, self.programs), [], whole, opened, found)
        elif first.startswith(b"\x1f\x8b"):
            self._any(_unzipped(whole), lambda: _unzipped(opened()), found)
            found.checked = found.packed = True  # gzip has a checksum of its own
        elif first[257:262] == b"ustar":
            found.format = "tar"
            self._restored(_newest(self.programs), ["--format=tar"], _walked(whole), opened, found)
        elif first.startswith((b"(\xb5/\xfd", b"\xfd7zXZ", b"BZh")):
            raise Unreadable("it is compressed by a program that the bot cannot read", "use pg_dump's own --compress")
        elif b"PostgreSQL database dump" in first[:512]:
            found.format, found.counted = "plain", True
            for chunk in whole:
                found.script.feed(chunk)
            found.script.end()
            if not found.script.complete:
                raise Unreadable(f"{CUT}: its last line, that the dump is complete, is missing")
        else:
            raise Unreadable(NO_DUMP if first else "it is empty")

    def _restored(
        self,
        program: Program,
        more: Sequence[str],
        chunks: Iterator[bytes] | None,
        opened: Callable[[], Iterator[bytes]] | None,
        found: ReadBackup,
    ) -> None:
        """pg_restore reads it to its end: what `chunks` give, or the path that it is told."""
        if self.counted:
            found.counted = True
            run(program, ["--file=-", *more], chunks, self.stop, found.script.feed)
            found.script.end()
            if not found.script.complete:
                raise Unreadable(f"{CUT}: pg_restore came to no end")
            return
        lines: list[bytes] = []
        run(program, ["--list", *more], opened() if opened is not None else None, self.stop, lines.append, all=False)
        for line in b"".join(lines).splitlines():
            found.script.contents(line)
        run(program, ["--file=/dev/null", *more], chunks, self.stop)


def digest_of_folder(folder: Path, stop: ReadingStop | None = None) -> str:
    """ "sha256:<hex>" of the names and digests of its files."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as f:
            if stop is not None and stop.asked:
                raise InterruptedError("stopped")
            whole.update(f"{hashlib.file_digest(f, 'sha256').hexdigest()}  {path.name}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _cut_files(folder: Path) -> list[str]:
    """Names of uncompressed files of rows that lack the end mark."""
    found = []
    for path in sorted(folder.glob("[0-9]*.dat")):
        with path.open("rb") as f:
            f.seek(max(0, path.stat().st_size - 8))
            if not f.read().rstrip(b"\n").endswith(b"\\."):
                found.append(path.name)
    return found


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip has packed, member after member; its trailers are checked."""
    unpacker, fed = zlib.decompressobj(wbits=31), False
    try:
        for chunk in chunks:
            while chunk:
                fed = True
                if plain := unpacker.decompress(chunk, CHUNK):
                    yield plain
                chunk = unpacker.unconsumed_tail
                if unpacker.eof:
                    chunk, unpacker, fed = unpacker.unused_data.lstrip(b"\0"), zlib.decompressobj(wbits=31), False
    except (zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(f"it is damaged: {error}") from error
    if fed:
        raise Unreadable(f"{CUT}: gzip's end is missing")


def _walked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, while a tar's members are followed to the two empty blocks at its end."""
    buffer, skip, empty = b"", 0, 0
    for chunk in chunks:
        yield chunk
        data = buffer + chunk
        at = min(skip, len(data))
        skip -= at
        while skip == 0 and len(data) - at >= 512:
            block = data[at : at + 512]
            at += 512
            if not any(block):
                empty += 1
                continue
            empty = 0
            size = _member(block)
            skip = -(-size // 512) * 512
            step = min(skip, len(data) - at)
            at, skip = at + step, skip - step
        buffer = data[at:]
    if skip or empty < 2:
        raise Unreadable(f"{CUT}: the end of the tar is missing")


def _member(block: bytes) -> int:
    """The size of a member, of its header."""
    try:
        said = int(block[148:156].split(b"\0")[0].strip() or b"0", 8)
        if block[124] & 0x80:
            size = int.from_bytes(block[125:136], "big")
        else:
            size = int(block[124:136].split(b"\0")[0].strip() or b"0", 8)
    except ValueError as error:
        raise Unreadable("it is damaged: a header of the tar makes no sense") from error
    if said != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise Unreadable("it is damaged: a header of the tar does not add up")
    return size


def _version(head: bytes) -> tuple[int, int]:
    return (head[5], head[6]) if len(head) > 6 and head.startswith(b"PGDMP") else (0, 0)


def _compressed(head: bytes) -> bool:
    """Whether an archive's data are compressed, and so carry checksums; False where that is not known."""
    version = _version(head)
    if (1, 15) <= version <= (1, 16) and len(head) > 11:
        return head[11] != 0
    if (1, 10) <= version < (1, 15) and len(head) > 15:
        return head[11] == 1 or any(head[12:16])  # a number with its sign: -1 is the usual compression
    return False


_SINCE = {(1, 12): 9, (1, 13): 10, (1, 14): 11, (1, 15): 16, (1, 16): 17}
"""Version of an archive -> the first PostgreSQL that writes it."""


def _fitting(head: bytes, programs: Sequence[Program]) -> Program:
    """The newest program, which reads what older ones have written; NoProgram where the archive is of a newer one."""
    newest = _newest(programs)
    version = _version(head)
    needed = _SINCE.get(version, 0 if version < (1, 17) else 99)
    if newest.major < needed:
        since = f"of PostgreSQL {needed} or later" if needed < 99 else "that is newer"
        raise NoProgram(f"it is of a newer pg_dump: pg_restore {newest.version} cannot read it; install one {since}")
    return newest


def _newest(programs: Sequence[Program]) -> Program:
    if not programs:
        raise NoProgram("there is no pg_restore on this machine; install PostgreSQL's client programs")
    return programs[0]


def run(
    program: Program,
    how: Sequence[str],
    chunks: Iterator[bytes] | None,
    stop: ReadingStop,
    said: Callable[[bytes], None] | None = None,
    *,
    all: bool = True,
) -> None:
    """Runs pg_restore on what `chunks` give to its end, without a server. said: hears what it writes; all: whether all
    is read, also where it has heard enough, as the digest is of all. Unreadable, NoProgram, InterruptedError."""
    failed: list[BaseException] = []
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [program.path, *how],
            stdin=subprocess.PIPE if chunks is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE if said is not None else subprocess.DEVNULL,
            stderr=complaints, env=surroundings(), start_new_session=True, bufsize=0,
        )  # fmt: skip
        stop.child = child
        feeder = threading.Thread(target=_feed, args=(chunks, child, failed, all), daemon=True)
        try:
            feeder.start()
            if said is not None and child.stdout is not None:
                from_child = child.stdout.fileno()
                for chunk in iter(lambda: os.read(from_child, CHUNK), b""):
                    said(chunk)
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            feeder.join()
            if child.stdout is not None:
                child.stdout.close()
            stop.child = None
        complaints.seek(0)
        words = complaints.read(WORDS).decode(errors="replace")
    if stop.asked:
        raise InterruptedError("stopped")
    if failed:
        raise failed[0]
    if code != 0:
        raise _complaint(words, code)


def _feed(
    chunks: Iterator[bytes] | None, child: subprocess.Popen[bytes], failed: list[BaseException], all: bool
) -> None:
    """Gives the program its input. What goes wrong while reading ends the program, and is kept."""
    into, listening = child.stdin, True
    if into is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # more than a user may have: then it is as long as the system makes it
            fcntl.fcntl(into.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
    try:
        for chunk in chunks or ():
            left = memoryview(chunk)
            try:
                while left and listening and into is not None:
                    left = left[into.write(left) :]
            except BrokenPipeError:
                listening = False
            if not listening and not all:
                return
    except BaseException as error:
        failed.append(error)
        child.kill()
    finally:
        if into is not None:
            with contextlib.suppress(BrokenPipeError):
                into.close()


def _complaint(words: str, code: int) -> Exception:
    line = next((part.removeprefix("pg_restore: error: ") for part in words.splitlines() if part), f"exit code {code}")
    if "unsupported version" in line:
        return NoProgram(f"pg_restore cannot read it ({line}); install the version that wrote it")
    if "could not close data file" in line:  # what zlib says of a file that ends too early
        name = line.partition('"')[2].partition('"')[0].rpartition("/")[2]
        return Unreadable(f"{CUT}: {name} ends too early")
    if "end of file" in line or "unexpected end" in line or "too short" in line:
        return Unreadable(f"{CUT} ({line})")
    return Unreadable(f"it cannot be read to its end ({line})")
