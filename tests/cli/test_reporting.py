"""`rollback-bot report`, over the socket: what the runs of this bot took."""

from __future__ import annotations

from pathlib import Path

from bot.cli.output import Code
from tests.fixtures.whole_bot import House, Running


def test_the_report_counts_what_this_bot_has_done(house: House, bot: Running, tmp_path: Path) -> None:
    assert "There is no rollback yet." in house.say("ana", "report").stdout
    run = house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "it", "fails")["run"]
    card = house.json("ana", "show", run)["decisions"][0]
    house.say("ana", "approve", run, card["name"], "--card", card["card"])
    house.say("ana", "abort", run, "because", "a", "false", "alarm")
    house.say("ana", "freeze", "shop", "because", "a", "try")  # no rollback: not in it
    found = house.json("ana", "report", "shop")
    assert found["outcomes"] == {"aborted": 1}
    assert [r["run"] for r in found["runs"]] == [run]
    assert found["spans"]["decided"]["runs"] == 1 and "restored" not in found["spans"]
    assert "Asked to first decision by people" in house.say("ana", "report").stdout
    page = tmp_path / "report.html"
    assert house.say("ana", "report", "--html", str(page)).exit_code == 0
    assert "1 runs: 1 aborted" not in page.read_text() and "1 aborted" in page.read_text()
    assert house.say("eve", "report", "--limit", "0").exit_code == Code.USAGE
