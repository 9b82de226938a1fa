"""Every handler there is: found by file, one a module, and by the entry points of installed packages.

Invariants:
- a registry never changes, and a name means one handler;
- a module `actions/workers_pause.py` holds exactly one handler, named `workers.pause`;
- whatever is wrong is said in one go, each line naming the file; a broken module is never left out in silence.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Any

from bot.contract import Action, AnyAction, AnyCheck, Check, Handler, Output, Params

GROUP = "rollback_bot.handlers"
"""Entry points of this group name handler classes: `queue.drain = "acme_rollback:QueueDrain"`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


class RegistryError(ValueError):
    """Handlers that cannot be used; one line each."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Handlers by name."""

    actions: Mapping[str, AnyAction]
    checks: Mapping[str, AnyCheck]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted([*self.actions, *self.checks]))

    def get(self, name: str) -> AnyAction | AnyCheck | None:
        """The handler of this name, if there is one."""
        return self.actions.get(name) or self.checks.get(name)

    @property
    def words(self) -> Mapping[str, str]:
        """Name -> what the handler does, in its own words."""
        every = {**self.actions, **self.checks}
        return {name: " ".join((inspect.getdoc(type(h)) or "").split("\n\n")[0].split()) for name, h in every.items()}

    @property
    def documents(self) -> Mapping[str, str]:
        """Name of an action -> the field of a JSON document over HTTP that its edits set (`Action.document`)."""
        return {name: a.document for name, a in self.actions.items() if a.document is not None}

    @classmethod
    def of(cls, *handlers: AnyAction | AnyCheck) -> Registry:
        """A registry of these. Raises RegistryError where one is not well made or two share a name."""
        wrong = [fault for h in handlers for fault in _faults(type(h))]
        by_name: dict[str, AnyAction | AnyCheck] = {}
        for h in handlers:
            first = by_name.setdefault(_name(type(h)), h)
            if first is not h:
                both = f"{_file(type(first))} and {_file(type(h))}"
                wrong.append(f"two handlers are named {_name(type(h))!r}: {both}; rename one")
        if wrong:
            raise RegistryError("\n".join(wrong))
        return cls(
            MappingProxyType({n: h for n, h in sorted(by_name.items()) if isinstance(h, Action)}),
            MappingProxyType({n: h for n, h in sorted(by_name.items()) if isinstance(h, Check)}),
        )

    @classmethod
    def discover(cls, *packages: ModuleType, entry_points: bool = True) -> Registry:
        """The handlers in the modules of these packages, and those that installed packages offer.

        Raises RegistryError naming every module that is broken, holds no or several handlers, or is not
        called like its handler.
        """
        wrong: list[str] = []
        found = [h for package in packages for h in _in_package(package, wrong)]
        if entry_points:
            found += _offered(wrong)
        try:
            registry = cls.of(*found)
        except RegistryError as error:
            raise RegistryError("\n".join([*wrong, str(error)])) from None
        if wrong:
            raise RegistryError("\n".join(wrong))
        return registry


def _in_package(package: ModuleType, wrong: list[str]) -> Iterable[AnyAction | AnyCheck]:
    """One handler for each module of the package; modules and classes with a leading underscore are private."""
    for info in pkgutil.iter_modules(package.__path__):
        if info.name.startswith("_"):
            continue
        where = f"{package.__path__[0]}/{info.name}{'/__init__' if info.ispkg else ''}.py"
        try:
            module = importlib.import_module(f"{package.__name__}.{info.name}")
        except (Exception, SystemExit) as error:
            wrong.append(_broken(where, error))
            continue
        classes = [c for c in vars(module).values() if _is_handler(c) and c.__module__ == module.__name__]
        if len(classes) != 1:
            names = " (" + ", ".join(c.__name__ for c in classes) + ")" if classes else ""
            wrong.append(f"{where}: holds {len(classes) or 'no'} handlers{names}; a module holds exactly one")
            continue
        expected = _name(classes[0]).replace(".", "_")
        if expected != info.name:
            wrong.append(f"{where}: its handler is named {_name(classes[0])!r}; call the file {expected}.py")
        yield from _made(classes[0], where, wrong)


def _offered(wrong: list[str]) -> Iterable[AnyAction | AnyCheck]:
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        where = _point(point)
        try:
            cls = point.load()
        except (Exception, SystemExit) as error:
            wrong.append(_broken(where, error))
            continue
        if not _is_handler(cls):
            wrong.append(f"{where}: is no Action or Check class")
        elif _name(cls) != point.name:
            wrong.append(f"{where}: its handler is named {_name(cls)!r}; name the entry point like it")
        else:
            yield from _made(cls, where, wrong)


def _made(cls: type[AnyAction | AnyCheck], where: str, wrong: list[str]) -> Iterable[AnyAction | AnyCheck]:
    if inspect.isabstract(cls):
        lacking = ", ".join(sorted(cls.__abstractmethods__))
        wrong.append(f"{where}: {cls.__name__} does not define {lacking}")
        return
    try:
        yield cls()
    except Exception as error:
        wrong.append(f"{where}: {cls.__name__}() cannot be made without arguments: {error}")


def _is_handler(obj: object) -> bool:
    return inspect.isclass(obj) and issubclass(obj, Action | Check) and not obj.__name__.startswith("_")


def _faults(cls: type[Handler[Any]]) -> Iterable[str]:
    """What the contract asks of the class itself."""
    where = f"{_file(cls)}: {cls.__name__}"
    if not _NAME.fullmatch(_name(cls)):
        yield f"{where}: name is {_name(cls)!r}; it must be <noun>.<verb> in lower case"
    params: object = getattr(cls, "Params", None)
    output: object = cls.Output
    if not (inspect.isclass(params) and issubclass(params, Params)):
        yield f"{where}: Params must be a class derived from bot.contract.Params"
    if output is not None and not (inspect.isclass(output) and issubclass(output, Output)):
        yield f"{where}: Output must be a class derived from bot.contract.Output"
    if isinstance(cls.needs, str):
        yield f"{where}: needs must be a set of port names"


def _broken(where: str, error: BaseException) -> str:
    """The file and line that broke the import, and why."""
    if isinstance(error, SyntaxError):
        line = error.lineno
    else:
        own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == where]
        line = own[-1].lineno if own else None
    place = f"{where}:{line}" if line else where
    return f"{place}: cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"


def _point(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "an unknown package"
    return f"entry point {point.name!r} of {package} ({point.value})"


def _name(cls: type[Handler[Any]]) -> str:
    return str(getattr(cls, "name", ""))


def _file(cls: type) -> str:
    try:
        return inspect.getfile(cls)
    except (OSError, TypeError):
        return cls.__module__
