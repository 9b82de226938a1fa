"""One vocabulary: the glossary against the code, and no public name for two things."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import actions
import checks
from bot.contract import Action
from bot.handlers.registry import Registry
from bot.run.events import _DUTIES, upcast

HOUSE = Path(__file__).parent.parent
GLOSSARY = HOUSE / "docs" / "glossary.md"
ROW = re.compile(r"^\| ([a-z][a-z -]*) \| (.+) \| `(bot[\w.]*)` \|$")


def words() -> dict[str, tuple[str, str]]:
    """Word -> (what it is, the value)."""
    lines = GLOSSARY.read_text(encoding="utf-8").splitlines()
    rows = [ROW.match(line) for line in lines if line.startswith("|")][2:]
    assert all(rows), "a row of the glossary cannot be read"
    found = [(m[1], (m[2], m[3])) for m in rows if m is not None]
    assert len(dict(found)) == len(found), "a word stands in the glossary twice"
    return dict(found)


def test_the_glossary_is_in_order_and_each_of_its_words_is_one_sentence_long() -> None:
    assert list(words()) == sorted(words())
    assert all(told.endswith(".") and len(told) < 120 for told, _ in words().values())


def test_every_word_of_the_glossary_names_something_that_there_is() -> None:
    for word, (_, value) in words().items():
        module, _, name = value.rpartition(".")
        try:
            importlib.import_module(value)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), name), f"{word}: there is no {value}"


# -- handlers ----------------------------------------------------------------------------------------------------------

REGISTRY = Registry.discover(actions, checks, entry_points=False)


def test_the_product_counts_on_handlers_by_their_duties_and_knows_none_by_its_name() -> None:
    allowed = {
        "bot/run/events.py": set(_DUTIES),  # records of before plans said so
    }
    known = {f'"{name}"' for name in REGISTRY.names}
    found: dict[str, set[str]] = {}
    for file in (HOUSE / "bot").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        names = {name.strip('"') for name in known if name in text}
        names -= allowed.get(str(file.relative_to(HOUSE)), set())
        if names and "playground" not in file.parts:
            found[str(file.relative_to(HOUSE))] = names
    assert found == {}


def test_what_was_counted_on_before_plans_said_so_is_what_those_handlers_say_now() -> None:
    said = {name: sorted(h.duties) for name in REGISTRY.names if isinstance(h := REGISTRY.get(name), Action)}
    assert {name: sorted(duties) for name, duties in _DUTIES.items()} == {n: d for n, d in said.items() if n in _DUTIES}
    old = {"plan": {"steps": [{"uses": "deploys.freeze"}, {"uses": "notice.show"}, {"uses": "x", "duties": ["ban"]},
                              {"uses": "postmortem.schedule", "duties": []}]}}  # fmt: skip
    read = upcast("created", old)["plan"]["steps"]
    assert [s["duties"] for s in read] == [["freeze", "hold"], [], ["ban"], ["learn"]]


# -- names -------------------------------------------------------------------------------------------------------------


TARGETS = {"HttpTarget", "RedisTarget"}
"""Called as what they are to those who write: an entry of the catalogue, and a parameter that names one."""
TYPE = re.compile(r"[A-Z]\w*[a-z]\w*")


def types() -> Iterator[tuple[str, str]]:
    """(name, file) of every public class of the product, and of every name of a type that another file imports; the
    playground, which imports nothing of ours, left out."""
    files = [f for top in ("bot", "actions", "checks") for f in sorted((HOUSE / top).rglob("*.py"))]
    trees = {f: ast.parse(f.read_text(encoding="utf-8")) for f in files if "playground" not in f.parts}
    asked = {(n.module, a.name) for t in trees.values() for n in ast.walk(t) if isinstance(n, ast.ImportFrom)
             for a in n.names}  # fmt: skip
    for file, tree in trees.items():
        name = str(file.relative_to(HOUSE))
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assigned = [(n, t) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
        aliases = {t.id for n, t in assigned if isinstance(t, ast.Name) and "TypeVar" not in ast.unparse(n.value)}
        yield from ((a, name) for a in sorted(aliases) if TYPE.fullmatch(a) and (module, a) in asked)
        yield from ((n.name, name) for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_"))


def test_no_two_public_types_have_one_name() -> None:
    where: dict[str, list[str]] = {}
    for name, file in types():
        where.setdefault(name, []).append(file)
    assert len(where) > 800, "classes and the aliases that others import"
    twice = {name: files for name, files in where.items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in TARGETS} == {}
    assert {name: len(files) for name, files in twice.items()} == dict.fromkeys(TARGETS, 2)


# -- fields ------------------------------------------------------------------------------------------------------------

LARGE = 12
"""Fields from which on a state says of each what it is."""
ALONE = {"id", "kind", "spec", "service", "plan", "plan_digest"}
"""Fields that are what they are called."""


def untold(file: Path) -> Iterator[str]:
    """Fields of large frozen states that neither a line before them nor their docstring says anything of."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for state in (n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and "dataclass" in ast.dump(n)):
        fields = [n for n in state.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        told = set(re.findall(r"\w+", ast.get_docstring(state) or ""))
        under = False
        for line, name in zip((f.lineno for f in fields), (ast.unparse(f.target) for f in fields), strict=True):
            before = lines[line - 2].strip()
            under = before.startswith("#:") or (under and lines[line - 2].startswith("    ") and bool(before))
            if len(fields) >= LARGE and not under and name not in told | ALONE:
                yield f"{file.stem}.{state.name}.{name}"


def test_each_field_of_a_large_state_is_told() -> None:
    files = [f for room in ("run", "plan") for f in (HOUSE / "bot" / room).glob("*.py")]
    assert [field for file in files for field in untold(file)] == []
    assert [*untold(HOUSE / "bot" / "catalogued" / "redis.py")], "those of the catalogue say it in their schema"
