"""One folder for all nodes: each reads there what the others wrote, or does not start."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import migrations
from bot.store.blobs import FileBlobs
from bot.store.lease import Lease, alive_nodes, take
from bot.store.shared import FOLDER, NotShared, Shared, unshared


@pytest.fixture
def leases(pg_database: str) -> Iterator[list[Lease]]:
    """Two nodes of one database."""
    migrations.upgrade(pg_database)
    with closing(take(pg_database)) as one, closing(take(pg_database)) as two:
        yield [one, two]


def shared(folder: Path, lease: Lease) -> Shared:
    return Shared(FileBlobs(folder), lease, patience=0.3)


async def test_two_nodes_with_one_folder_find_each_other_and_leave_nothing_behind(
    leases: list[Lease], tmp_path: Path
) -> None:
    one, two = shared(tmp_path, leases[0]), shared(tmp_path, leases[1])
    FileBlobs(tmp_path).put_anchor(f"{FOLDER}/dead-node", "")
    await asyncio.gather(one.join(), two.join())
    assert (await one.fault(), await two.fault()) == ("", "")
    assert FileBlobs(tmp_path).anchors(FOLDER) == sorted(x.id for x in leases)
    await one.leave()
    await two.leave()
    assert FileBlobs(tmp_path).anchors(FOLDER) == []


async def test_a_node_with_a_folder_of_its_own_does_not_start_and_says_what_to_do(
    leases: list[Lease], tmp_path: Path, pg_database: str
) -> None:
    leases[1].close()
    await shared(tmp_path / "a", leases[0]).join()
    with closing(take(pg_database)) as two:
        with pytest.raises(NotShared, match=r"b is not shared: node .* is at work .*ROLLBACK_BLOBS_URL"):
            await shared(tmp_path / "b", two).join()
        assert leases[0].id in unshared(FileBlobs(tmp_path / "b"), alive_nodes(pg_database))
        assert FileBlobs(tmp_path / "b").anchors(FOLDER) == []


async def test_a_copy_of_the_folder_is_no_shared_one(leases: list[Lease], tmp_path: Path, pg_database: str) -> None:
    one = shared(tmp_path / "a", leases[0])
    leases[1].close()
    await one.join()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with closing(take(pg_database)) as two:
        await shared(tmp_path / "b", two).join()  # what was copied it cannot tell
        assert two.id in await one.fault()  # but the other can
