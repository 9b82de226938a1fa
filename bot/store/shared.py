"""Proves that the folder of files is one for all nodes: each reads there what the others wrote.

Invariants:
- a node's file is named by its lease, which is new at each start: a copy from before proves nothing, and of a later
  one the node that was copied tells;
- a node that does not find what a living one wrote does not start; one that finds it later tells (`fault`);
- files of nodes that are gone are removed by whoever starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from bot.store.blobs import FileBlobs
from bot.store.lease import Lease

FOLDER = "nodes"
PATIENCE, AGAIN = 5.0, 0.2
"""Seconds to wait for the file of a node that has just started, and between two looks."""


class NotShared(Exception):
    """Another node keeps its files elsewhere; says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Shared:
    """This node's part. patience: seconds to wait for another node's file."""

    files: FileBlobs
    lease: Lease
    patience: float = PATIENCE

    async def join(self) -> None:
        """Writes this node's file, and waits for those of the others. NotShared, BlobsUnavailable."""
        left = await asyncio.to_thread(self.files.anchors, FOLDER)  # before who lives: a file follows its lease
        alive = await asyncio.to_thread(self.lease.alive_nodes)
        for name in left:
            if name not in alive:
                await asyncio.to_thread(self.files.drop_anchor, f"{FOLDER}/{name}")
        await asyncio.to_thread(self.files.put_anchor, f"{FOLDER}/{self.lease.id}", "")
        until = asyncio.get_running_loop().time() + self.patience
        while why := await self.fault():
            if asyncio.get_running_loop().time() > until:
                await self.leave()
                raise NotShared(why)
            await asyncio.sleep(AGAIN)

    async def leave(self) -> None:
        """Takes this node's file away."""
        await asyncio.to_thread(self.files.drop_anchor, f"{FOLDER}/{self.lease.id}")

    async def fault(self) -> str:
        """Why the folder is not shared by all that live now; empty where it is."""
        return unshared(self.files, await asyncio.to_thread(self.lease.alive_nodes))


def unshared(files: FileBlobs, alive: Collection[str]) -> str:
    """Which of these nodes keep their files elsewhere, and what to do; empty where none does. Blocking."""
    away = sorted(set(alive) - set(files.anchors(FOLDER)))
    if not away:
        return ""
    return (
        f"The folder {files.folder} is not shared: {_nodes(away)} at work on this database and not seen there. Whoever "
        "reads a by-hand file would read an old one. Next: give every node the same folder (ROLLBACK_BLOBS_URL), on a "
        "disk that all of them mount."
    )


def _nodes(names: list[str]) -> str:
    return f"node {names[0]} is" if len(names) == 1 else f"nodes {', '.join(names)} are"
