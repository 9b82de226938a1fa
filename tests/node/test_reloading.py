"""Another catalogue without a restart: everything sees it at once, a faulty one changes nothing, runs keep theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from bot.catalogue import Catalogue, load_catalogue
from bot.node.reloading import InForce, Reloading
from bot.opening.rollbacks import Wanted
from bot.people import CatalogueDirectory
from bot.policy import Person
from tests.cli.conftest import bot, house
from tests.fixtures.own_time import own_time
from tests.fixtures.whole_bot import House, Running, catalogue

__all__ = ["bot", "house"]

ONE = """\
services: {shop: {}}
roles: {commander: {people: [ana]}, approver: {people: [cho]}}
people: {ana: Ana, cho: Cho}
"""
TWO = ONE.replace("people: [cho]", "people: [cho, ben], break_glass: true").replace("cho: Cho", "cho: Cho, ben: Ben")
BAD = ONE.replace("people: [cho]", "people: [chou]").replace("shop: {}", "shop: {plann: x}")


class Looks:
    """A file that is looked at, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rollback.yaml"
        self.file.write_text(ONE)
        self.held = InForce(load_catalogue(ONE, "rollback.yaml"))
        self.before: list[Catalogue] = []
        self.reloading = Reloading(
            self.file, self.held, lambda text: load_catalogue(text, str(self.file)), self.changed
        )

    async def changed(self, old: Catalogue) -> None:
        """Keeps what held before."""
        self.before.append(old)


async def test_whoever_holds_the_catalogue_sees_another_one_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks(tmp_path)
    directory, first = CatalogueDirectory(looks.held), looks.held.now
    looks.file.write_text(TWO)
    await looks.reloading.look()
    assert looks.held.digest == load_catalogue(TWO, "x").digest != first.digest
    assert looks.held.glass == {"approver"} and looks.before == [first]
    assert (await directory.person("ben")).roles == {"approver"} and len(await directory.everyone()) == 3
    assert "it changes roles approver; people ben" in caplog.text
    await looks.reloading.look()
    assert len(looks.before) == 1 and len(caplog.records) == 1


@pytest.mark.parametrize("text", [BAD, "services: [", None])
async def test_a_faulty_catalogue_is_refused_whole_and_told_once_with_its_places(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    looks = Looks(tmp_path)
    if text is None:
        looks.file.unlink()
    else:
        looks.file.write_text(text)
    for _ in range(3):
        await looks.reloading.look()
    assert looks.held.now == load_catalogue(ONE, "x") and not looks.before
    assert "the one in force stays" in looks.reloading.fault and str(looks.file) in looks.reloading.fault
    assert text is not BAD or ("plann" in looks.reloading.fault and "chou" in looks.reloading.fault)
    assert "\n" not in looks.reloading.fault and len(caplog.records) == 1
    looks.file.write_text(ONE)
    await looks.reloading.look()
    assert looks.reloading.fault == "" and not looks.before
    assert "as the one in force again" in caplog.text


def test_a_running_bot_takes_it_at_once_and_a_run_is_asked_anew_where_its_targets_are_others(bot: Running) -> None:
    house = bot.house
    file = house.folder / "rollback.yaml"

    async def open_and_change() -> str:
        ana: Person = await bot.bot.people.person("ana")
        run = await bot.bot.rollbacks.open(Wanted("shop", "it fails", "2.4.0"), ana, "test")
        assert not isinstance(run, str)
        file.write_text(catalogue("http://127.0.0.1:1").replace("ben, cho", "ben, cho, dee"))
        await bot.bot.reloading.look()
        return str(run.id)  # type: ignore[union-attr]

    async def state(run_id: str) -> tuple[bool, str, bool, frozenset[str]]:
        run = await bot.bot.store.load(run_id)
        reach, roles = bot.bot.reach, (await bot.bot.people.person("dee")).roles
        return reach.of(run) is reach.now["shop"], run.places["api"].at, bool(run.open), roles

    run_id = bot.call(open_and_change())
    roles = frozenset({"commander", "approver"})
    assert bot.call(state(run_id)) == (True, "http://127.0.0.1:1", True, roles)
    assert house.say("ana", "approve", "start", "--run", run_id).exit_code in (0, 2)
    told = house.say("", "doctor").stdout
    assert "catalogue in force" not in told
    file.write_text(file.read_text() + "  nobody: {plann: x}\n")
    bot.call(bot.bot.reloading.look())
    text = asyncio.run(readyz(house))
    assert f"catalogue {bot.bot.catalogue.digest[7:19]}: another one is refused" in text and "nobody" in text
    assert "FAULT  bot: catalogue" in house.say("", "doctor").stdout
    file.write_text(catalogue("http://127.0.0.1:2"))
    told = house.say("", "doctor").stdout
    assert "FAULT  catalogue in force: the running bot has another one" in told and "SIGHUP" in told


async def readyz(house: House) -> str:
    """What the probe says."""
    known = {"Authorization": f"Bearer {house.tokens['eve']}"}
    async with aiohttp.ClientSession(headers=known) as session, session.get(f"{house.url}/readyz") as answer:
        return await answer.text()


def test_serve_takes_it_on_sighup(house: House) -> None:
    env = {k: v for k, v in {**os.environ, **house.env()}.items() if v is not None}
    command = [sys.executable, "-m", "bot.cli", "serve"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None and serve.stderr is not None
        assert "listens on" in serve.stdout.readline()
        file = house.folder / "rollback.yaml"
        file.write_text(file.read_text().replace("ben, cho", "cho"))
        with own_time() as took:
            serve.send_signal(signal.SIGHUP)
            line = next(told for told in serve.stderr if "catalogue" in told)
            seconds = took.seconds
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(90) == 0
    assert "another one is in force" in line and "it changes roles approver" in line
    assert seconds < 4.0
