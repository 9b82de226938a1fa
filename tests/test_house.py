"""The house itself: what its fixtures promise, and how it is packed."""

from __future__ import annotations

import importlib
import re
import socket
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.store.database import open_database

HOUSE = Path(__file__).parent.parent
LOCKS = sorted((HOUSE / "requirements").glob("*.lock"))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.org", "0.0.0.0"])
def test_connecting_outside_loopback_is_refused(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        for connect in (sock.connect, sock.connect_ex):
            with pytest.raises(RuntimeError, match="only loopback"):
                connect((host, 80))


def test_connecting_to_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        sock.connect(server.getsockname())


@pytest.mark.parametrize("turn", [1, 2])
async def test_every_test_has_an_empty_database(database_url: str, turn: int) -> None:
    database = open_database(database_url)
    await database.write(lambda c: c.execute(text("CREATE TABLE mine (n integer)")))
    assert await database.read(lambda c: c.execute(text("SELECT count(*) FROM mine")).scalar_one()) == 0
    await database.close()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_hashes_and_names_no_place(lock: Path) -> None:
    content = lock.read_text()
    assert "://" not in content
    assert not re.search(r"index-url|find-links|file:|(^|\s)/", content)
    assert content.count("==") > 1
    for requirement in re.split(r"\n(?=\w)", content)[1:]:
        assert "--hash=sha256:" in requirement, requirement


def test_the_runtime_is_part_of_the_development_environment() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (HOUSE / "requirements" / name).read_text(), re.MULTILINE))

    assert pins("runtime.lock") <= pins("dev.lock")


def test_the_packages_lie_in_one_folder() -> None:
    packages = [importlib.import_module(name) for name in ("bot", "actions", "checks", "migrations")]
    assert {Path(str(package.__file__)).parent.parent for package in packages} == {HOUSE}
