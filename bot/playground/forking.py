"""An interpreter that has imported what programs share, and forks one for each that is to run: it starts in a few
milliseconds, where Python and its imports take a hundred times as much.

`python -S -E -m bot.playground.forking FD FOLDERS MODULES` is started by `bot.playground.cluster.node.interpreter`,
which asks over FD, a Unix socket that keeps messages apart: JSON `{"module", "argv", "env", "cwd"}` with a descriptor,
where the program writes to. It hears `{"began": pid}`, in the order of its asking, and `{"ended": pid, "code": n}`, -n
after a signal.

Invariants: a program finds what it would find if it had been started as `python -S -E -m MODULE ARGV` (its environment,
folder, group, standard input, signals), but for modules that are there already; it dies with this process, and this
one with its maker. Standard library only.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from typing import Any

LIMIT = 1 << 20
"""Bytes of a message."""
_PR_SET_PDEATHSIG = 1


def main() -> dict[str, Any] | None:
    """Until the maker closes the socket; in a child what it is to run."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    sys.path += [folder for folder in sys.argv[2].split(os.pathsep) if folder]
    for name in sys.argv[3].split(","):
        importlib.import_module(name)
    gc.freeze()  # so that looking for garbage copies none of it in a child
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    libc = ctypes.CDLL(None)
    while True:
        ready, _, _ = select.select([channel.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, LIMIT)
            _reap(channel)
        if channel.fileno() in ready:
            data, (*descriptors,), _, _ = socket.recv_fds(channel, LIMIT, 1)
            if not data:
                return None
            maker, pid = os.getpid(), os.fork()
            if pid == 0:
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != maker:
                    os._exit(1)
                asked: dict[str, Any] = json.loads(data)
                _become(asked, descriptors[0], channel, woken, wake)
                return asked
            os.setpgid(pid, pid)  # here and there: whoever comes first
            os.close(descriptors[0])
            channel.send(json.dumps({"began": pid}).encode())


def _reap(channel: socket.socket) -> None:
    """Tell of all who have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        channel.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _become(asked: dict[str, Any], says: int, channel: socket.socket, *pipe: int) -> None:
    """The surroundings of a program that was started afresh."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    channel.close()
    for descriptor in pipe:
        os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for theirs, number in ((nothing, 0), (says, 1), (says, 2)):
        os.dup2(theirs, number)
    os.close(nothing)
    os.close(says)
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    if asked["cwd"] is not None:
        os.chdir(asked["cwd"])
    sys.path[0] = os.getcwd()  # noqa: PTH109 - pathlib is a tenth of a program's start
    sys.argv = [asked["module"], *asked["argv"]]


if __name__ == "__main__":
    program = main()
    if program is not None:
        runpy.run_module(program["module"], run_name="__main__", alter_sys=True)
