"""A whole bot asks after customers and partners, and drafts the postmortem of its own run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import icalendar

from bot.ports import Blob
from bot.run.state import Run
from tests.fixtures.whole_bot import House, Running, shop_running, stocked

WITHIN = 60.0
"""Seconds that the run may take on a busy machine."""
PLAN = """\
name: standard
tracks:
  t:
    - {id: start, title: Start the rollback, gate: {by: {commander: 1}, self_approval: true}}
    - {id: switch, title: Switch, uses: release.switch, gate: {by: {approver: 1}}, with: {target: api, release: "${target.version}"}}
    - - {id: journeys, title: Journeys, uses: journeys.pass, phase: verify, within: 20s, every: 1s}
      - {id: partners, title: Partners, uses: partners.answering, phase: verify}
    - {id: postmortem, title: Postmortem, uses: postmortem.schedule, on_fail: continue}
"""  # noqa: E501
SERVICE = """\
    journeys:
      payments:
        target: api
        steps: [{title: pay, post: /pay, body: {amount: 1, reference: "${mark}"}, expect: {json: {/paid: 1}}}]
        clean_up: [{get: "/maintenance?${mark}"}]
    partners: {shop: {probe: {target: api, path: /healthz}}}
    postmortem:
      zone: Europe/Berlin
      organizer: incidents@example.com
      addresses: {ana: ana@example.com}
      channel: "#postmortems"
"""


def house(folder: Path, shop: str) -> House:
    found = House(folder, shop)
    (folder / "plans" / "standard.yaml").write_text(PLAN)
    text = (folder / "rollback.yaml").read_text()
    service = f"  shop:\n    targets: {{api: {{http: {shop}}}}}\n    floor: 2.3.0\n{SERVICE}  other:"
    head, _, tail = text.partition("  shop: {")
    (folder / "rollback.yaml").write_text(f"{head}{service}{tail.partition('  other:')[2]}")
    return stocked(found)


def settled(running: Running, run_id: str, person: str, decision: str) -> Run:
    """Says yes as soon as that is asked, and gives the run then."""
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        run = running.call(running.bot.store.load(run_id))
        if run.asked[decision].opened is not None:
            said = running.house.say(person, "approve", run_id, decision, "--card", run.card(decision))
            assert said.exit_code == 0, said.output
            return run
        time.sleep(0.05)
    raise AssertionError(f"{decision} was never asked")


def moved(running: Running, run_id: str, first: Any) -> None:
    """At another time, chosen twice: calendars take the later invitation for the same meeting; one reminder is left."""
    said = running.house.say("cho", "postmortem", run_id, "--at", "5d")
    assert said.exit_code != 0 and "commander" in said.output
    said = running.house.say("ana", "postmortem", run_id, "--at", "2020-01-01T10:00")
    assert said.exit_code != 0 and "within the coming year" in said.output
    later = ""
    for days in (5, 6):
        later = str(running.house.json("ana", "postmortem", run_id, "--at", f"{days}d")["run"])
        until = time.monotonic() + WITHIN
        while (run := running.call(running.bot.store.load(later))).open and time.monotonic() < until:
            time.sleep(0.05)
        receipt = run.steps["postmortem"].receipt
        assert receipt is not None, run.steps["postmortem"]
        text = running.call(running.bot.files.get(Blob(**receipt.evidence["postmortem.ics"])))  # type: ignore[arg-type]
        event: Any = icalendar.Calendar.from_ical(text).walk("VEVENT")[0]
        assert event["uid"] == first["uid"] and event["sequence"] >= 1 and first["sequence"] == 0
        assert abs(event["dtstart"].dt.timestamp() - time.time() - days * 86400) < 600
        assert running.call(running.bot.store.notices(run_id)) == []
    left = [n for h in running.call(running.bot.store.heads()) for n in running.call(running.bot.store.notices(h.run))]
    assert [n.run for n in left] == [later]
    assert "Nothing was changed" in running.house.say("ana", "postmortem", later, "--at", "7d").output


def test_journeys_partners_and_the_postmortem_of_a_whole_run(tmp_path: Path) -> None:
    with shop_running() as shop:
        running = Running(house(tmp_path, shop.url))
        try:
            opened = running.house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "checkout fails")
            run_id = str(opened["run"])
            settled(running, run_id, "ana", "start")
            settled(running, run_id, "cho", "switch")
            until = time.monotonic() + WITHIN
            while (run := running.call(running.bot.store.load(run_id))).open and time.monotonic() < until:
                time.sleep(0.05)
            assert run.closed is not None, {s.spec.id: (s.end, s.halt, s.note) for s in run.steps.values()}
            steps = run.steps
            walked = steps["journeys"].verdict
            assert walked is not None and walked.observed.startswith("payments 1 of 1 in ")
            asked = steps["partners"].verdict
            assert asked is not None and asked.observed == "Shop answers (200)"
            receipt = steps["postmortem"].receipt
            assert receipt is not None and "1 person invited, reminder in #postmortems 1 h before" in receipt.detail

            def kept(name: str) -> bytes:
                return running.call(running.bot.files.get(Blob(**receipt.evidence[name])))  # type: ignore[arg-type]

            text = kept("postmortem.md").decode()
            assert "# Postmortem: Shop 2.4.1 → 2.4.0" in text and "| cho | approved" in text
            assert "Journeys" in text
            event = icalendar.Calendar.from_ical(kept("postmortem.ics")).walk("VEVENT")[0]
            assert "mailto:ana@example.com" in str(event["attendee"])
            (notice,) = running.call(running.bot.store.notices(run_id))
            assert notice.due is not None and notice.due > time.time() and notice.people == "ana cho"
            assert running.call(running.bot.store.all_known("journey/")) == []
            moved(running, run_id, event)
            paid = [line for line in shop.log if line["path"] == "/pay"]
            assert paid and all(json.dumps(line["body"]).count("rb-") == 1 for line in paid)
        finally:
            running.stop()
