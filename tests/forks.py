"""Starts our own programs in the time of a fork: their libraries are loaded once a worker, not once a process.

    with forking():
        subprocess.Popen([sys.executable, "-m", "bot.cli", "serve"], ...)  # and asyncio's, and whatever uses them

Loading is most of what a start costs: more than a second of CPU. A template process loads the libraries and nothing
else (no module of a test, no thread, no connection), and each start is a fork of it that runs its program as
`python -m` does.

Invariants:
- what was started is a child of whoever asked: signals, waiting, exit codes, pipes, the environment and the folder are
  those of an ordinary start. The template makes it an orphan, and whoever asks is the one that orphans go to
  (`PR_SET_CHILD_SUBREAPER`) for just that long;
- nobody waits for the template. While it loads, starts are ordinary ones, and the first two of a worker are: too few to
  repay it, and so processes whose hashes have other seeds still work beside one another;
- what a fork could not do just so is started in the ordinary way: another Python or other options of it, terminals,
  groups, users, and everything where the system is not Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HOUSE = str(Path(__file__).parent.parent)
LOADED = ("alembic.command", "bot.cli", "bot.log", "bot.slack.connected", "bot.web", "bot.wiring")
"""What a template loads. The product's modules do nothing when they are loaded."""
ORDINARY = 2
"""So many starts before there is a template."""
REAPER = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""
LONGEST = 200_000
"""Bytes of a request: words, a folder, an environment."""
PLAIN = {
    "preexec_fn": None, "close_fds": True, "pass_fds": (), "shell": False, "restore_signals": True, "gid": None,
    "gids": None, "uid": None, "umask": -1, "start_new_session": False, "process_group": -1,
}  # fmt: skip
"""How subprocess is asked for a start that has nothing special."""


class Template:
    """The process that is forked. It loads from its making on."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._python, self._loaded = _python(os.environ), False

    def takes(self, env: Mapping[str, str], files: Sequence[int]) -> bool:
        """Whether it has loaded, and Python would be the same one with this environment and these files."""
        with contextlib.suppress(BlockingIOError):
            self._loaded = self._loaded or self._ours.recv(1, socket.MSG_DONTWAIT) == b"+"
        return self._loaded and _python(env) == self._python and not any(os.isatty(f) for f in files)

    def start(self, words: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[int]) -> int:
        """Starts `python -m <words>` as a child of ours, with these as its first three files; its process id."""
        request = json.dumps([list(words), cwd, dict(env)]).encode()
        _reap(True)
        try:
            socket.send_fds(self._ours, [request], list(files))
            return int(self._ours.recv(32))
        finally:
            _reap(False)

    def close(self) -> None:
        """Ends it. What it has started goes on."""
        self._process.kill()
        self._process.wait()
        self._ours.close()


def _reap(on: bool) -> None:
    """Whether orphans among our descendants become our children."""
    if ctypes.CDLL(None, use_errno=True).prctl(REAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _python(env: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter takes from its environment at its start."""
    return {k: v for k, v in env.items() if k.startswith(("PYTHON", "LC_", "LD_")) or k in ("LANG", "LANGUAGE", "TZ")}


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Until its end, starts of our programs are forks, where they can be."""
    if sys.platform != "linux":
        yield
        return
    ordinary: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]
    asks, lock = inspect.signature(ordinary), threading.Lock()
    templates, starts = list[Template](), 0

    def start(popen: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal starts
        asked = asks.bind(popen, *args, **kwargs).arguments
        if not _is_ours(asked):
            return ordinary(popen, *args, **kwargs)  # type: ignore[no-any-return]
        env = {os.fsdecode(k): os.fsdecode(v) for k, v in (asked["env"] or os.environ).items()}
        files = [0, 1, 2]
        for i, name in enumerate(("p2cread", "c2pwrite", "errwrite")):
            files[i] = asked[name] if asked[name] != -1 else i
        with lock:
            starts += 1
            if templates and templates[0].takes(env, files):
                popen.pid = templates[0].start(asked["args"][2:], os.fspath(asked["cwd"] or Path.cwd()), env, files)
                popen._child_created = True
                ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
                return popen._close_pipe_fds(*(asked[name] for name in ends))  # type: ignore[no-any-return]
            if starts == ORDINARY:
                templates.append(Template())
        return ordinary(popen, *args, **kwargs)  # type: ignore[no-any-return]

    subprocess.Popen._execute_child = start  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess.Popen._execute_child = ordinary  # type: ignore[attr-defined]
        for template in templates:
            template.close()


def _is_ours(asked: Mapping[str, Any]) -> bool:
    """Whether this start is `python -m` of a program of ours and nothing else is asked for."""
    words, python = asked["args"], asked["executable"]
    if not isinstance(words, list | tuple) or [*words[:2]] != [sys.executable, "-m"] or python not in (None, words[0]):
        return False
    plain = all(asked.get(k, v) == v for k, v in PLAIN.items())
    ours = words[2:] and words[2].startswith(("bot.cli", "tests."))
    return bool(plain and ours and Path(asked["cwd"] or ".").is_dir())


# -- the template ----------------------------------------------------------------------------------------------------


def _serve(asking: socket.socket) -> list[str]:
    """Forks for each request until nobody asks any more. Returns in what it has started: the words of its program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts the tests means them
    asking.send(b"+")
    while True:
        try:
            request, files, _, _ = socket.recv_fds(asking, LONGEST, 3)
        except ConnectionError:
            request, files = b"", []
        if not request:
            os._exit(0)
        (told, telling), (gate, shut) = os.pipe(), os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(telling, b"%d" % child)
                os._exit(0)
            asking.close()
            os.close(shut)
            os.read(gate, 1)  # until it is a child of whoever asks
            for end in (told, telling, gate):
                os.close(end)
            return _become(json.loads(request), files)
        os.waitpid(between, 0)  # its child is an orphan now, and goes to whoever asks
        for file in (telling, gate, shut, *files):
            os.close(file)
        with os.fdopen(told, "rb") as answer:
            asking.send(answer.read(32))


def _become(request: tuple[list[str], str, dict[str, str]], files: Sequence[int]) -> list[str]:
    """Makes this process what an ordinary start would have made it."""
    words, cwd, env = request
    for i, file in enumerate(files):
        os.dup2(file, i)
    os.closerange(3, max(files) + 1)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = cwd
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return words


def main() -> None:
    """The template, and then, in each fork, its program."""
    sys.path[0] = HOUSE
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    words = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[:] = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
