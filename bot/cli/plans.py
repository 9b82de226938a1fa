"""Plans without a bot: `plan lint | preview | schema`. Reads files and the catalogue; no database, no target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli.output import Code, End, run_async, say
from bot.cli.root import root

if TYPE_CHECKING:
    from bot.catalogue import Catalogue, Service
    from bot.located import Fault
    from bot.plan.compile import Compiled
    from bot.plan.model import Plan, StepSpec
    from bot.policy import Person
    from bot.registry import Registry
    from bot.settings import Settings


@root.group("plan")
def plan() -> None:
    """Check plan files, and see what they ask of whom, before they are used."""


@plan.command("lint")
@click.argument("files", nargs=-1, metavar="[FILE|NAME]...")
@click.option("--service", metavar="NAME", help="Whose limits the plan may read.")
def lint(files: tuple[str, ...], service: str | None) -> None:
    """Every mistake of plans, and of the catalogue, with its place; all plans there are if none is named."""
    bench = _Bench()
    found: list[Fault] = []
    for name in files or bench.names():
        found += bench.faults(name, service)
    data = {"faults": [{"where": f"{f.source}:{f.line}:{f.column}", "path": f.path, "text": str(f)} for f in found]}
    if found:
        raise End(Code.USAGE, "\n".join(map(str, found)), data)
    say(data, "No mistakes.")


@plan.command("preview")
@click.argument("file", metavar="FILE|NAME")
@click.option("--service", metavar="NAME", help="Whose limits the plan may read.")
def preview(file: str, service: str | None) -> None:
    """A plan in the order it would be worked through, and who is asked. `rollback-bot preview` asks the world too."""
    bench = _Bench()
    compiled = bench.compiled(file, service).plan
    data = {"name": compiled.name, "digest": compiled.digest, "steps": [_data(compiled, s) for s in compiled.steps]}
    say(data, "\n".join(_lines(compiled)))


@plan.command("schema")
@click.option("--catalogue", is_flag=True, help="Of the catalogue file instead.")
def schema(catalogue: bool) -> None:
    """JSON Schema of plan files, for editors."""
    import json

    from bot.plan.schema import catalogue_schema, plan_schema

    found = catalogue_schema() if catalogue else plan_schema(_registry())
    say(found, json.dumps(found, indent=2, ensure_ascii=False))


class _Bench:
    """What plans are checked against: the handlers that are installed, and the catalogue where there is one."""

    def __init__(self) -> None:
        from bot.plan.named import Plans
        from bot.settings import read_settings

        self.settings: Settings = read_settings()
        self.plans = Plans(self.settings.plans)
        self.registry = _registry()
        self.catalogue = self._catalogue()

    def names(self) -> list[str]:
        """Every plan there is."""
        return self.plans.names()

    def faults(self, file: str, service: str | None) -> list[Fault]:
        """Everything that is wrong with one plan."""
        from bot.located import Faults
        from bot.narrow import PORT_NAMES
        from bot.plan.lint import lint as examine

        try:
            compiled = self.compiled(file, service)
        except Faults as e:
            return list(e.faults)
        tried = [examine(compiled, ports=PORT_NAMES, people=p, barred={c}) for p, c in self._crews(compiled.plan)]
        return min(tried, key=len)

    def _crews(self, p: Plan) -> list[tuple[list[Person], str]]:
        """Who there is, once with each commander barred (as whoever asks is); without a catalogue enough of all."""
        from bot.people import CatalogueDirectory
        from bot.policy import COMMANDER, Person

        if self.catalogue is None:
            seats = [r for d in p.decisions if d.gate is not None for r in d.gate.by]
            roles = frozenset({COMMANDER} | {r.role for r in seats})
            return [([Person(str(n), str(n), roles) for n in range(sum(r.count for r in seats) + 1)], "0")]
        people = list(run_async(CatalogueDirectory(self.catalogue).everyone()))
        return [(people, p.id) for p in people if COMMANDER in p.roles] or [(people, "")]

    def compiled(self, file: str, service: str | None) -> Compiled:
        """One plan with its places. Faults, End."""
        from bot.plan.compile import compile_file

        text, source = self._text(file)
        roles = None if self.catalogue is None else frozenset(self.catalogue.roles)
        return compile_file(text, source=source, registry=self.registry, service=self._service(service), roles=roles)

    def _text(self, file: str) -> tuple[str | bytes, str]:
        if file in self.plans.names():
            return self.plans.text(file)
        try:
            return Path(file).read_bytes(), file
        except OSError as e:
            names = ", ".join(self.plans.names())
            text = f"{file}: {e.strerror}; it is no plan of these names either: {names}."
            raise End(Code.USAGE, text) from None

    def _service(self, name: str | None) -> Service | None:
        if name is None:
            return None
        found = self.catalogue.services.get(name) if self.catalogue is not None else None
        if found is None:
            raise End(Code.USAGE, f"There is no service {name!r} in {self.settings.catalogue}.")
        return found

    def _catalogue(self) -> Catalogue | None:
        from bot.catalogue import load_catalogue

        file = self.settings.catalogue
        return load_catalogue(file.read_bytes(), str(file)) if file.exists() else None


def _registry() -> Registry:
    import actions
    import checks
    from bot.registry import Registry

    return Registry.discover(actions, checks)


def _data(p: Plan, s: StepSpec) -> dict[str, object]:
    d = p.decision.get(s.decision or "")
    return {
        "step": s.id, "title": s.title, "track": s.track, "kind": s.kind, "uses": s.uses, "after": list(s.after),
        "decision": s.decision, "asks": d.gate.words if d is not None and d.gate is not None else None,
        "temporary": s.temporary, "destructive": s.destructive,
    }  # fmt: skip


def _lines(p: Plan) -> Iterator[str]:
    yield f"Plan {p.name} ({p.digest})"
    for n, s in enumerate(p.steps, 1):
        what = s.uses or s.kind
        marks = [w for w, there in (("temporary", s.temporary), ("destroys data", s.destructive)) if there]
        after = f"after {', '.join(s.after)}" if s.after else "at once"
        yield f"{n:>3}. {s.title} ({s.id}): {what}; {'; '.join([s.track, after, *marks])}"
    for d in p.decisions:
        if d.gate is not None:
            typed = ", with a typed phrase" if d.gate.typed_phrase else ""
            unless = f", unless {d.unless}" if d.unless else ""
            yield f"Decision {d.name}: {d.gate.words}{typed}{unless}; frees {', '.join(d.members)}"
