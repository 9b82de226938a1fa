"""The rules that a handler's class and the text of its module keep, for `bot.testing.assert_contract`.

What only running shows (a preview writes nothing, a replay is harmless) is `bot.testing.assert_lifecycle`'s.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bot.contract import NAMES, Action, Handler
from bot.handlers.narrow import PORT_NAMES

ROOMS = ("postmortem", "workloads", "schemas")
"""Packages of the bot that hold what handlers share."""
SHARED = Path(__file__).parent.parent
SHARING = tuple(f"bot.{room}." for room in ROOMS)
OURS = {"bot.contract", "bot.frontends", "bot.observed", "bot.ports", *(f"bot.{room}" for room in ROOMS)}
REACHING = {
    "builtins", "concurrent", "ctypes", "ftplib", "http", "imaplib", "importlib", "io", "multiprocessing", "os",
    "pathlib", "poplib", "random", "secrets", "select", "shutil", "signal", "smtplib", "socket", "socketserver",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid", "xmlrpc",
}  # fmt: skip
"""Standard library that reaches past the ports, or gives another answer every time."""
CALLS = {
    "open": "the world is reached through ports only",
    "exec": "no code is made at run time",
    "eval": "no code is made at run time",
    "print": "ctx.report shows progress",
    "input": "people are asked by gates",
    "sleep": "raise NotYet, which costs nothing while it waits",
    "now": "the time is ctx.now",
    "utcnow": "the time is ctx.now",
    "today": "the time is ctx.now",
    "time": "the time is ctx.now",
}
NAMING = {"target": "HttpTarget", "service": "ServiceName"}
"""Parameters that name something of the catalogue: their types say so, and plans are held to it."""


def of_class(cls: type[Handler[Any]]) -> Iterator[str]:
    """What the class itself gets wrong."""
    if not (sys.modules[cls.__module__].__doc__ or "").strip():
        yield "the module says nothing about itself"
    if not (vars(cls).get("__doc__") or "").strip():
        yield f"{cls.__name__} says nothing about itself"
    if not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", cls.name):
        yield f"{cls.name!r} is not <noun>.<verb>"
    if unknown := sorted(cls.needs - PORT_NAMES):
        yield f"needs names what is no port: {', '.join(unknown)}"
    for flag in ("temporary", "destructive") if issubclass(cls, Action) else ():
        if not isinstance(getattr(cls, flag), bool):
            yield f"{flag} must be True or False"
    for name, field in cls.Params.model_json_schema().get("properties", {}).items():
        if name in NAMING and NAMES not in field:
            yield f"{cls.Params.__name__}.{name} names a {name}; its type is bot.contract.{NAMING[name]}"
    for model in (cls.Params, *([cls.Output] if cls.Output else [])):
        yield from _of_model(model)


def _of_model(model: type[BaseModel]) -> Iterator[str]:
    config = model.model_config
    if not config.get("frozen") or config.get("extra") != "forbid":
        yield f"{model.__name__} must stay frozen, with extra fields forbidden"
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, field in part.get("properties", {}).items():
            if not field.get("description", "").strip():
                yield f"{part.get('title', model.__name__)}.{name} has no description"


def of_source(source: str, needs: frozenset[str], package: str = "") -> Iterator[str]:
    """What the text of a handler's module gets wrong. package: the module's own, of which it may import."""
    tree = ast.parse(source)
    for module in _imported(tree):
        first = module.partition(".")[0]
        reaching = {module, first} & REACHING
        ours = module in OURS or module.startswith(("bot.observed.", "bot.ports.", *SHARING))
        own = bool(package) and first == package
        if reaching or not (ours or own or first == "pydantic" or first in sys.stdlib_module_names):
            yield f"imports {module}; only bot.contract, bot.ports, pydantic and what reaches nowhere is allowed"
    yield from (f"calls {name}(); {CALLS[name]}" for name in sorted(set(called(tree)) & CALLS.keys()))
    used = _used(tree)
    used |= {port for shared in _shared(tree) for port in _used(shared)}
    wholes = sum(_is_ports(n) for n in ast.walk(tree))
    if wholes != sum(isinstance(n, ast.Attribute) and _is_ports(n.value) for n in ast.walk(tree)):
        yield "hands ctx.ports about; spell it ctx.ports.<name>, so that needs can be checked"
    if used - needs:
        yield f"uses {', '.join(sorted(used - needs))}, which needs does not declare"
    if needs - used:
        yield f"declares {', '.join(sorted(needs - used))} in needs and does not use it"


def _used(tree: ast.AST) -> set[str]:
    return {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_ports(n.value)}


def _shared(tree: ast.AST) -> Iterator[ast.AST]:
    """Of what handlers of releases share the modules that one imports, and those that they import."""
    seen: set[str] = set()
    asked = [tree]
    while asked:
        for module in {*_imported(asked.pop())} - seen:
            path = SHARED / f"{module.removeprefix('bot.').replace('.', '/')}.py"
            seen.add(module)
            if module.startswith(SHARING) and path.exists():
                asked.append(found := ast.parse(path.read_text(encoding="utf-8")))
                yield found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or "."
            whole = module == "bot" or f"{module}." in SHARING
            yield from (f"{module}.{a.name}" for a in node.names) if whole else [module]


def called(tree: ast.AST) -> Iterator[str]:
    """The last names of whatever is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def _is_ports(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "ports"
