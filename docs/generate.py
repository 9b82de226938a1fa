"""Writes what lists things, from the code: commands, settings, handlers, ports, a release's schema, the bot's rights.

    python -m docs.generate            write them
    python -m docs.generate --check    say which of them are not as the code is, exit code 1

The same code gives the same bytes, wherever and whenever it runs.
"""

from __future__ import annotations

import difflib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_type_hints

import click
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

import actions
import bot.ports
import checks
from bot.adapters.kubernetes.granting import manifests
from bot.cli import root
from bot.cli.output import MEANINGS
from bot.cli.root import SECTIONS
from bot.contract import Action, AnyAction, AnyCheck, Output, Params
from bot.handlers.registry import Registry
from bot.located.shapes import Shape
from bot.plan.schema import DIALECT
from bot.ports import Blob, Ports, Reply
from bot.ports.kubernetes import FLUX, Cluster
from bot.releases.register import ReleasePayload
from bot.run.commands import TABLE
from bot.run.declared import Who
from bot.settings import Settings

HOUSE = Path(__file__).parent.parent
MADE = "<!-- Made by `python -m docs.generate`; change the code, not this page. -->"


def pages() -> Mapping[str, str]:
    """File, from the root of the project -> text."""
    return {
        "docs/commands.md": _page("Commands", commands()),
        "docs/settings.md": _page("Settings", settings()),
        "docs/handlers-list.md": _page("Actions and checks", handlers()),
        "docs/ports.md": _page("Ports", ports()),
        "docs/release.schema.json": json.dumps(release_schema(), indent=2, ensure_ascii=False) + "\n",
        "deploy/kubernetes/rights/rights.yaml": rights(),
    }


def _page(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"# {title}", "", MADE, "", *lines]).rstrip("\n") + "\n"


# -- rights ------------------------------------------------------------------------------------------------------------


def rights() -> str:
    """Of the bot in a cluster with a service that uses all there is: Argo CD, all of Flux, a probe."""
    flux = tuple(f"{kind}/flux-system/shop" for kind in FLUX)
    shop = Cluster("eu-1", "shop", applications=("argocd/shop",), flux=flux, probe="deployment/shop-api:8080")
    return f"# Made by `python -m docs.generate`; `rollback-bot rights kubernetes` makes yours.\n{manifests([shop])}"


# -- commands ----------------------------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Every command with what it takes, in the order of `--help`."""
    yield "Every command takes `--json` (for programs), `--debug` (where an error comes from) and `--help`. Commands"
    yield "that speak to the bot take `--url` (`ROLLBACK_URL`) and read your token from `ROLLBACK_TOKEN`; with"
    yield "`--direct REASON`, on the bot's host and for a dead bot only, they work on the database itself."
    yield ""
    yield "`RUN` is a run's id, or a service with one open run; leave it out where only one run is open."
    yield "Instead of `because WORDS...` a script may write `--reason TEXT`."
    yield ""
    yield "| exit code | meaning |"
    yield "|--:|---|"
    yield from (f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items())
    for heading, names in SECTIONS:
        yield from ("", f"## {heading}")
        for name in names.split():
            yield from _command(root.commands[name], "rollback-bot")
    yield from ("", "## Who may, and how it is said in Slack", "")
    yield "Typed behind `/rollback`, or pressed on a card (a label that ends with … opens a form)."
    yield from ("", "| command | who may | typed in Slack |", "|---|---|---|")
    for c in TABLE.values():
        if c.who is not Who.ANYBODY:
            chat = f"`/rollback {c.do}`: {c.chat}" if c.chat else "on its card"
            yield f"| `{c.do}` | {c.who.value} | {chat} |"


def _command(c: click.Command, parent: str) -> Iterator[str]:
    context = click.Context(c, info_name=c.name, parent=click.Context(root, info_name=parent))
    usage = " ".join([parent, str(c.name), *(p for p in c.collect_usage_pieces(context) if p != "[OPTIONS]")])
    yield from ("", f"### `{usage}`", "", _flowing(c.help or ""))
    rows = [_option(p) for p in c.params if isinstance(p, click.Option) and p.name not in _COMMON]
    if rows:
        yield from ("", "| option | |", "|---|---|", *rows)
    if isinstance(c, click.Group):
        for sub in c.commands.values():
            yield from _command(sub, f"{parent} {c.name}")


_COMMON = frozenset({"json", "debug", "url", "direct", "help", "reason"})


_TYPES = {"integer range": "NUMBER", "float range": "NUMBER", "text": "TEXT"}


def _option(o: click.Option) -> str:
    names = ", ".join(f"`{n}`" for n in sorted(o.opts, key=len, reverse=True))
    value = (
        ""
        if o.is_flag
        else f" {o.metavar or '/'.join(getattr(o.type, 'choices', ())) or _TYPES.get(o.type.name, 'FILE')}"
    )
    default = f" Default: {o.default}." if o.show_default and o.default is not None else ""
    needed = " Needed." if o.required else ""
    return f"| {names}{value} | {o.help or ''}{needed}{default} |".replace(" |  |", " | |")


def _flowing(text: str) -> str:
    return " ".join(text.replace("\b", "").split())


# -- settings ----------------------------------------------------------------------------------------------------------


def settings() -> Iterator[str]:
    """Every environment variable."""
    yield "Read from the environment at the start; what does not fit is told by name, all at once. Secrets come no"
    yield "other way."
    yield ""
    yield "| variable | default | |"
    yield "|---|---|---|"
    for name, field in Settings.model_fields.items():
        secret = "SecretStr" in str(field.annotation) or field.annotation is SecretStr
        default = "none" if field.default in (None, "", PydanticUndefined) else f"`{field.default}`"
        kind = " Secret." if secret else _choices(field.annotation)
        yield f"| `ROLLBACK_{name.upper()}` | {default} | {field.description or ''}{kind} |"


def _choices(annotation: Any) -> str:
    words = getattr(annotation, "__args__", ())
    if not words or not all(isinstance(w, str) for w in words):
        return ""
    return f" One of {', '.join(f'`{w}`' for w in words)}."


# -- handlers ----------------------------------------------------------------------------------------------------------


def handlers() -> Iterator[str]:
    """Every action and check with its parameters."""
    registry = Registry.discover(actions, checks)
    yield "What plans can use. An action changes something and can be undone; a check only looks."
    for name in registry.names:
        handler = registry.get(name)
        if handler is not None:
            yield from _handler(handler)


def _handler(h: AnyAction | AnyCheck) -> Iterator[str]:
    kind = "action" if isinstance(h, Action) else "check"
    yield from ("", f"## `{h.name}`", "", f"{kind.capitalize()}. {_flowing(type(h).__doc__ or '')}")
    marks = [f"Needs: {', '.join(sorted(h.needs)) or 'nothing'}."]
    if isinstance(h, Action):
        marks += ["Temporary: a debt until it is undone."] if h.temporary else []
        marks += ["Destructive: never without a gate."] if h.destructive else []
    yield from ("", " ".join(marks))
    yield from _fields("Parameters", h.Params)
    if h.Output is not None:
        yield from _fields("Output, for later steps", h.Output)


def _fields(title: str, model: type[Params] | type[Output]) -> Iterator[str]:
    shape = Shape.of(model.model_json_schema())
    yield from ("", f"{title}:", "")
    for name, field in model.model_fields.items():
        at = shape.at(name)
        default = "" if field.is_required() else f" Default: `{field.get_default(call_default_factory=True)}`."
        yield f"- `{name}` ({at.words if at is not None else 'anything'}): {field.description or ''}{default}"


# -- ports -----------------------------------------------------------------------------------------------------------


def ports() -> Iterator[str]:
    """Every port with its methods, and the values that pass through them."""
    yield "What a handler may ask of the outside world: `ctx.ports.<name>`, for the names that it declares in `needs`."
    yield "A call that changes something is recorded first, and refused while something is only planned or"
    yield "checked (`ReadOnly`). `Unreachable`: no answer, so nothing is known about what it did."
    modules = [import_module(f"bot.ports.{module.name}") for module in iter_modules(bot.ports.__path__)]
    there = {name: value for module in (*modules, bot.ports) for name, value in vars(module).items()}
    found = {n: p.fget for n, p in vars(Ports).items() if isinstance(p, property) and p.fget is not None}
    hints = {name: get_type_hints(get, there)["return"] for name, get in found.items()}
    for name, protocol in hints.items():
        yield from ("", f"## `{name}`", "", _flowing(inspect.getdoc(protocol) or ""))
        for method, told in vars(protocol).items():
            if isinstance(told, property):
                yield from ("", f"- `{method}`: {_flowing(inspect.getdoc(told) or '')}")
            elif inspect.isfunction(told) and not method.startswith("_"):
                yield from ("", f"- `{method}{_signature(told)}`: {_flowing(inspect.getdoc(told) or '')}")
    of_ports = (v for m in modules for v in vars(m).values() if getattr(v, "__module__", "") == m.__name__)
    values = [Reply, Blob, *(v for v in of_ports if is_dataclass(v) and isinstance(v, type))]
    yield from ("", "## Values", "")
    for value in dict.fromkeys(values):
        shown = ", ".join(f"`{f.name}: {f.type}`" for f in fields(value))
        yield f"- **{value.__name__}** ({shown}). {_flowing(inspect.getdoc(value) or '')}"


def _signature(method: Any) -> str:
    found = inspect.signature(method)
    own = [p for name, p in found.parameters.items() if name != "self"]
    return str(found.replace(parameters=own)).replace("'", "")


# -- releases ----------------------------------------------------------------------------------------------------------


def release_schema() -> dict[str, Any]:
    """JSON Schema of what CI sends to /v1/releases."""
    return {"$schema": DIALECT, **ReleasePayload.model_json_schema(by_alias=True)}


# -- writing -----------------------------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """0, or 1 where `--check` finds a page that is not as the code is."""
    stale = 0
    for name, text in pages().items():
        file = HOUSE / name
        was = file.read_text(encoding="utf-8") if file.exists() else ""
        if argv == ["--check"] and was != text:
            stale += 1
            lines = difflib.unified_diff(was.splitlines(), text.splitlines(), str(file), "the code", lineterm="", n=0)
            sys.stderr.write("\n".join([*list(lines)[:20], ""]))
        elif was != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write("Not as the code is. Next: python -m docs.generate\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
