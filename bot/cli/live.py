"""Following a run: what is new is printed, line by line, until it ends. A restart of the bot is waited out.

No screen is redrawn, so that it reads the same in a terminal, a log and a screen reader.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from bot.cli.client import BotAway, BotRefused, Client
from bot.cli.link import run_path
from bot.cli.output import Code, asked, note, plain

WAIT = 20
"""Seconds that the bot is asked to wait for something new."""

Shown = Mapping[str, Any]
"""A run as `GET /v1/runs/{run}` has it."""


def follow(client: Client, run: str, pause: Callable[[float], None] = time.sleep) -> str:
    """Prints the run until it ends; its outcome. Unreachable only if the bot has not answered at all."""
    patient = _Patient(client, pause)
    shown = client.get(run_path(run))
    place = run_path(shown["run"])
    if asked().json:
        return _events(patient, place)
    click.echo(plain(shown["text"]))
    seq = shown["seq"]
    while shown["open"] or seq < shown["seq"]:
        found = patient.get(f"{place}/events", after=seq, since=shown["now"], wait=WAIT)
        seq = max([seq, *(e["seq"] for e in found["events"])])
        before, shown = shown, patient.get(place)
        for line in news(before, shown, found["events"]):
            click.echo(plain(line))
    return str(shown["outcome"])


def _events(patient: _Patient, place: str) -> str:
    """The run as JSON Lines: every event, then the end."""
    seq = 0
    while True:
        found = patient.get(f"{place}/events", after=seq, wait=WAIT)
        for event in found["events"]:
            click.echo(json.dumps(event, ensure_ascii=False))
            seq = event["seq"]
        if not found["open"] and seq == found["seq"]:
            outcome = str(patient.get(place)["outcome"])
            click.echo(json.dumps({"run": found["run"], "outcome": outcome}))
            return outcome


class _Patient:
    """Asks until there is an answer: a bot that restarts comes back."""

    def __init__(self, client: Client, pause: Callable[[float], None]) -> None:
        self._client, self._pause = client, pause

    def get(self, path: str, **query: object) -> Any:
        """BotRefused where the answer is a no that waiting does not change."""
        tried = 0
        while True:
            try:
                found = self._client.get(path, **query)
            except (BotAway, BotRefused) as e:
                if isinstance(e, BotRefused) and e.code is not Code.UNREACHABLE:
                    raise
                if not tried:
                    note(f"{_clock(time.time())}  {e.message.splitlines()[0]} Asking again; Ctrl-C ends this.")
                tried += 1
                query = {k: v for k, v in query.items() if k != "wait"}  # to hear at once that it is back
                self._pause(min(5.0, 0.5 * tried))
                continue
            if tried:
                note(f"{_clock(time.time())}  The bot is back.")
            return found


def news(before: Shown, now: Shown, events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to print of a run after these events: what happened, what people have to decide now, how far work is."""
    lines = [f"{_clock(e['at'])}  {e['text']}" for e in events if e["kind"] not in QUIET]
    known = before["progress"]
    lines += [f"{_clock(p['at'])}  {i}: {_counted(p)}" for i, p in now["progress"].items() if known.get(i) != p]
    asked_before = {d["name"]: d["card"] for d in before["decisions"] if d["state"] == "open"}
    for d in now["decisions"]:
        if d["state"] == "open" and asked_before.get(d["name"]) != d["card"]:
            lines += ["", now["cards"][d["name"]], f"  rollback-bot approve {now['run']} {d['name']}", ""]
    if not now["open"]:
        lines += ["", f"{now['title']}: {now['status']}."]
    return lines


QUIET = frozenset({"started", "noted", "recorded", "apply started"})
"""Kinds of events that only matter to who reads the whole record."""


def _counted(p: Mapping[str, Any]) -> str:
    return f"{p['text']} ({p['done']} of {p['total']})" if p["total"] is not None else str(p["text"])


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
