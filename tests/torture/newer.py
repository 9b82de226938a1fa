"""A node of a newer version: one more kind of event, more fields in old ones, a changed handler and a new one.

    python -m tests.torture.newer '<json of Settings>'

The present code, altered as the next version may alter it (`bot/run/events.py`: kinds and fields are only added).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import TypeAdapter

from bot.contract import Change, Edit, ReadCtx
from bot.engine import attempt as attempts
from bot.handlers.registry import Registry
from bot.run import events as ev
from bot.run import fold, rules
from bot.run.state import Run
from tests.torture import handlers, node
from tests.torture.handlers import DocDrop, DocHold, DocIs, DocSet, SetParams


@dataclass(frozen=True, slots=True)
class Weighed:
    """A kind of event that the present version does not know."""

    kind: ClassVar[str] = "weighed"
    step: str
    n: int
    load: int


@dataclass(frozen=True, slots=True)
class Started(ev.Started):
    """The present one and where it runs."""

    zone: str = "unknown"


@dataclass(frozen=True, slots=True)
class _Richer:
    """Reads and writes events whose change has one more field."""

    present: TypeAdapter[Any]

    def dump_python(self, event: object, *, mode: str) -> Mapping[str, Any]:
        """The event as stored."""
        body: dict[str, Any] = self.present.dump_python(event, mode="json")
        return {**body, "change": {**body["change"], "risk": "low"}}

    def validate_python(self, body: object) -> object:
        """The event."""
        return self.present.validate_python(body)


class Set(DocSet):
    """Sets documents, and says so in other words."""

    async def plan(self, ctx: ReadCtx, p: SetParams) -> Change:
        """The same edits."""
        return replace(await super().plan(ctx, p), summary="told in other words")


class Drop(DocDrop):
    """Sets documents, and keeps a copy of what was there."""

    async def plan(self, ctx: ReadCtx, p: SetParams) -> Change:
        """One edit more a document."""
        found = await super().plan(ctx, p)
        copies = [Edit(f"{e.target}-copy-new", None, e.before) for e in found.edits]
        there = await self.observe(ctx, p, [e.target for e in copies])
        return replace(found, edits=(*found.edits, *(replace(e, before=there[e.target]) for e in copies)))


class Archive(DocSet):
    """A handler that the present version does not have."""

    name = "doc.archive"


def registry() -> Registry:
    """All of them."""
    return Registry.of(Set(), DocHold(), Drop(), DocIs(), Archive())


def _weighed(run: Run, e: Weighed, at: float) -> Run:
    step = run.steps[e.step]
    return replace(run, steps={**run.steps, e.step: replace(step, note=f"weighs {e.load}")})


def modernise() -> None:
    """Makes this process one of the next version."""
    adapters: dict[str, Any] = ev._ADAPTERS
    for kind in ("planned", "apply started", "drifted"):
        adapters[kind] = _Richer(ev.adapter(kind))
    adapters["weighed"], adapters["started"] = TypeAdapter(Weighed), TypeAdapter(Started)
    ev._KINDS["weighed"] = Weighed
    folds: dict[type, Any] = fold._FOLD
    folds |= {Weighed: _weighed, Started: folds[ev.Started]}
    rules._RULES[Started] = rules._RULES[ev.Started]
    present = attempts.Execution.write

    async def write(self: attempts.Execution, *events: Any) -> None:
        acting = any(isinstance(e, ev.ApplyStarted) for e in events)
        await present(self, *events, *([Weighed(self.id, self.n, 3)] if acting else []))  # type: ignore[arg-type]

    attempts.Execution.write = write  # type: ignore[method-assign]
    ev.Started = lambda *args: Started(*args, zone="b")  # type: ignore[assignment,misc]
    handlers.registry = registry


if __name__ == "__main__":
    modernise()
    node.main()
