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
    from bot.handlers.registry import Registry
    from bot.located import Fault
    from bot.plan.compile import Compiled
    from bot.plan.model import Plan, StepSpec
    from bot.policy import Person
    from bot.settings import Settings


@root.group("plan")
def plan() -> None:
    """Check plan files, and see what they ask of whom, before they are used."""


@plan.command("lint")
@click.argument("files", nargs=-1, metavar="[FILE|NAME]...")
@click.option("--service", metavar="NAME", help="Whose limits and targets the plan may use.")
def lint(files: tuple[str, ...], service: str | None) -> None:
    """Every mistake of plans, and of the catalogue, with its place; all plans there are if none is named."""
    bench = _Bench()
    found = list(bench.wrong)
    for name in files or bench.names():
        found += bench.faults(name, service, named=bool(files))
    data = {"faults": [{"where": f"{f.source}:{f.line}:{f.column}", "path": f.path, "text": str(f)} for f in found]}
    if found:
        raise End(Code.USAGE, "\n".join(map(str, found)), data)
    say(data, "No mistakes.")


@plan.command("preview")
@click.argument("file", metavar="FILE|NAME")
@click.option("--service", metavar="NAME", help="Whose limits and targets the plan may use.")
def preview(file: str, service: str | None) -> None:
    """A plan in the order it would be worked through, and who is asked. `rollback-bot preview` asks the world too."""
    bench = _Bench()
    compiled = bench.preview(file, service)
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
    """What plans are checked against: the handlers that are installed, and the catalogue. wrong: what is, with that."""

    def __init__(self) -> None:
        from bot.located import Faults
        from bot.plan.named import Plans
        from bot.settings import read_settings

        self.settings: Settings = read_settings()
        self.plans = Plans(self.settings.plans)
        self.registry = _registry()
        self.catalogue: Catalogue | None = None
        self.wrong: list[Fault] = []
        try:
            self.catalogue = self._catalogue()
        except Faults as e:
            self.wrong += e.faults

    def names(self) -> list[str]:
        """Every plan there is."""
        return self.plans.names()

    def faults(self, file: str, service: str | None, *, named: bool) -> list[Fault]:
        """Everything that is wrong with one plan, for each service that it must do for; where it must for none, for the
        one that it fits best. named: somebody asks for it; of a built-in plan that no service follows nobody does."""
        if service is not None or self.catalogue is None:
            return self._faults(file, self._service(service))
        users = [s for s in self.catalogue.services.values() if s.plan == file]
        if not users and not named:
            return self._faults(file, None)
        found = [self._faults(file, s) for s in users or self.catalogue.services.values()]
        return list(dict.fromkeys(f for faults in found for f in faults)) if users else min(found, key=len)

    def _faults(self, file: str, service: Service | None) -> list[Fault]:
        from bot.handlers.narrow import PORT_NAMES
        from bot.located import Faults
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

    def preview(self, file: str, service: str | None) -> Plan:
        """One plan, as a service that it fits would be rolled back by it. Faults, End."""
        from bot.located import Faults

        if faults := self.wrong or self.faults(file, service, named=True):
            raise Faults(faults)
        return self.compiled(file, self._service(service)).plan

    def compiled(self, file: str, service: Service | None) -> Compiled:
        """One plan with its places. Faults, End."""
        from bot.plan.compile import compile_file

        text, source = self._text(file)
        there = self.catalogue
        return compile_file(
            text, source=source, registry=self.registry, service=service,
            roles=None if there is None else there.roles, services=None if there is None else there.services,
        )  # fmt: skip

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
        from bot.located import Faults

        if name is None:
            return None
        if self.wrong:
            raise Faults(self.wrong)
        found = self.catalogue.services.get(name) if self.catalogue is not None else None
        if found is None:
            raise End(Code.USAGE, f"There is no service {name!r} in {self.settings.catalogue}.")
        return found

    def _catalogue(self) -> Catalogue:
        from bot.catalogue import NO_CATALOGUE, load_catalogue
        from bot.located.yamltree import content

        file = self.settings.catalogue
        return load_catalogue(content(file, NO_CATALOGUE), str(file), self.plans.names())


def _registry() -> Registry:
    import actions
    import checks
    from bot.handlers.registry import Registry

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
