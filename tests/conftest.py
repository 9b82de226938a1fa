"""What every test stands on: a PostgreSQL of its worker's own, an empty database each, no way out of this machine.

`make test` runs several workers at once (pytest-xdist), more than there are cores: most tests wait.
`tests/fixtures/sharing.py` says which of them runs what.

Nothing here skips: a missing prerequisite is an error, and with `CI` set a skipped test is a failed one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import ipaddress
import itertools
import os
import socket
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bot.playground.postgres import database, private_postgres
from tests.fixtures.databases import copy_to, whole
from tests.fixtures.s3 import objects_url as objects_url
from tests.fixtures.sharing import Sharing

settings.register_profile("short", derandomize=True, deadline=None)  # the same examples everywhere
settings.register_profile("long", max_examples=3000, deadline=None)  # pytest --hypothesis-profile=long
settings.load_profile("short")

_numbers = itertools.count(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In place of xdist's own groups, which are lost on pytest 9.2."""
    return Sharing(config, log)


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: whoever looks for garbage need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Turn a skip into a failure where nobody would read about it."""
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """The same for whole modules."""
    return _unskipped((yield))


def _unskipped(report: Any) -> Any:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which part of the whole was tested, where a test took a sample: `record_property("sample", ...)`."""
    for report in terminalreporter.stats.get("passed", []):
        for what in (text for name, text in report.user_properties if name == "sample"):
            terminalreporter.write_line(f"{report.nodeid.partition('::')[0]}: {what}")


@pytest.fixture(scope="session", autouse=True)
def no_way_out() -> Iterator[None]:
    """Refuse every connection that would leave the loopback interface."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(sock: socket.socket, address: Any) -> Any:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise RuntimeError(f"a test tried to connect to {address[0]}; only loopback is allowed")
        return connect(sock, address)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private PostgreSQL on a Unix socket, for this worker's session; the URL names its maintenance database."""
    with contextlib.ExitStack() as stack:
        with (tmp_path_factory.getbasetemp().parent / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the first ever, started by root, adds a user to the system
            url = stack.enter_context(private_postgres(durable=False))
        yield url


@pytest.fixture
def pg_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, dropped afterwards with whoever still holds it."""
    with database(postgres_url, f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each back end."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'bot.db'}"
    return str(request.getfixturevalue("pg_database"))


@pytest.fixture(scope="session")
def pg_template(postgres_url: str) -> Iterator[str]:
    """The name of a PostgreSQL database with all the bot's tables, to make copies of."""
    with database(postgres_url, "tables") as url:
        whole(url)
        yield "tables"


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with all its tables, once for each back end."""
    if request.param == "sqlite":
        yield copy_to(tmp_path / "bot.db")
        return
    server, template = (str(request.getfixturevalue(name)) for name in ("postgres_url", "pg_template"))
    with database(server, f"test_{next(_numbers)}", template) as url:
        yield url
