"""Where a run is worked on: the places that people approved, against those that a catalogue says. Pure.

A run pins its service's places when it is opened. Another catalogue is drift, like a change that goes beyond what was
approved: what has not been done there is asked again. What has been done at a place can only be taken back there; so a
place where something of the run stands is never exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.contract import within
from bot.plan.model import StepSpec
from bot.ports import Where
from bot.run.state import Run

RunPlaces = Mapping[str, Where]
"""Target -> which place it is."""


def otherwise(pinned: RunPlaces, here: RunPlaces) -> tuple[str, ...]:
    """In which ways a catalogue says otherwise than was approved, a line each; what is not known now says nothing."""
    return tuple(_line(name, pinned.get(name), here.get(name)) for name in changed(pinned, here))


def untold(pinned: RunPlaces, here: RunPlaces) -> tuple[str, ...]:
    """The targets of which nobody can tell now whether they are where was approved, a line each."""
    dark = [n for n, w in here.items() if not w.digest and (was := pinned.get(n)) is not None and was.digest]
    return tuple(_line(name, pinned[name], here[name]) for name in dark)


def changed(pinned: RunPlaces, here: RunPlaces) -> list[str]:
    """The targets that are another place by now, that are gone, or new."""
    return [n for n in dict.fromkeys((*pinned, *here)) if _differs(pinned.get(n), here.get(n))]


def _differs(was: Where | None, now: Where | None) -> bool:
    if was is None or now is None:
        return True
    return bool(now.digest) and now.digest != was.digest


def _line(name: str, was: Where | None, now: Where | None) -> str:
    if was is None:
        return f"{name} now also, at {now.at if now else ''}"
    if now is None:
        return f"{name} now in no catalogue, approved for {was.at}"
    return f"{name} now {'at ' if now.digest else ''}{now.at}, approved for {was.at}"


def known(pinned: RunPlaces, here: RunPlaces) -> RunPlaces:
    """The places of here; one that is not known now stays as it was."""
    return {name: w if w.digest else pinned.get(name, w) for name, w in here.items()}


def stands_at(run: Run, targets: Sequence[str]) -> list[str]:
    """Those of the targets where something that the run did stands, or may be under way."""
    changes = [s.made for s in run.steps.values() if s.made is not None]
    changes += [s.change for s in run.steps.values() if s.applying and s.change is not None]
    return [t for t in targets if any(within(e.target, t) for c in changes for e in c.edits)]


def met(run: Run, places: RunPlaces) -> set[str]:
    """Steps to be looked at anew where these are the places: whatever reaches what differs, except what was skipped."""
    names = changed(run.places, places)
    ports = {w.port for n in names for w in (run.places.get(n), places.get(n)) if w is not None}
    return {i for i, s in run.steps.items() if s.end != "skipped" and (s.n or s.end) and _reaches(s.spec, ports)}


def _reaches(spec: StepSpec, ports: set[str]) -> bool:
    return spec.kind != "gate" and (not spec.needs or bool(ports.intersection(spec.needs)))
