#!/usr/bin/env bash
# DBOS 3.4.0 (CPython 3.11, SQLite): the first workflow that runs on an event loop makes DBOS's own thread pool the
# default one of that loop, for the whole process; `DBOS.destroy()` shuts the pool down and leaves it there.
#
# Guess: a library with an executor of its own leaves `asyncio.to_thread` of its host alone.
# Seen: after a workflow `asyncio.to_thread` runs in a thread "dbos-executor-_N". After `DBOS.destroy()` each
#   `asyncio.to_thread` of that loop, and `loop.getaddrinfo`, raises "cannot schedule new futures after shutdown": a
#   program that still has something to say while it stops can no longer look up a host name.
# Way out: `loop.set_default_executor(...)` with a pool of one's own before `DBOS.destroy()`, and again while it works: each
#   call into DBOS from the loop sets its own once more.
#
# Fails when this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check dbos==3.4.0
cat >seen.py <<'PYTHON'
import asyncio
import threading

from dbos import DBOS


def thread() -> str:
    return threading.current_thread().name.split("_")[0]


async def tried(what):
    try:
        return await what
    except RuntimeError as error:
        return str(error)


async def main() -> None:
    print("to_thread before launch:", await asyncio.to_thread(thread))
    DBOS(config={"name": "demo-app", "system_database_url": "sqlite:///seen.sqlite", "run_admin_server": False})
    DBOS.launch()

    @DBOS.workflow()
    async def nothing() -> None:
        pass

    await nothing()
    print("to_thread after a workflow:", await asyncio.to_thread(thread))
    DBOS.destroy()
    print("to_thread after destroy:", await tried(asyncio.to_thread(thread)))
    print("getaddrinfo after destroy:", await tried(asyncio.get_running_loop().getaddrinfo("localhost", 80)))


asyncio.run(main())
PYTHON
env/bin/python seen.py 2>messages | tee seen || { cat messages >&2; exit 1; }
diff - seen <<'SEEN'
to_thread before launch: asyncio
to_thread after a workflow: dbos-executor-
to_thread after destroy: cannot schedule new futures after shutdown
getaddrinfo after destroy: cannot schedule new futures after shutdown
SEEN
echo "As it was seen: DBOS takes the loop's default executor, and takes it down."
