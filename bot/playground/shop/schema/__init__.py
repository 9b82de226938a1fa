"""The migrations of the shop's database, as its repository has them: a tree for each release, made by `write`.

A release's tree holds the revisions up to its own and nothing newer, as in a checkout of its commit: the way down from
0042 lies in 2.4.1 alone. It is Alembic's: `alembic -c <tree>/alembic.ini upgrade head`, with the address of the
database in $DATABASE_URL (postgresql+psycopg://...).

Invariants: nothing of a tree imports the bot or the playground; what is released stays as it is.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

_INI = """[alembic]
script_location = %(here)s
version_locations = %(here)s/versions
path_separator = os

[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(levelname)s %(name)s %(message)s
"""


def revisions() -> list[str]:
    """All there are, oldest first: "0040", ..."""
    return [file.name[:4] for file in _versions()]


def write(folder: Path, head: str) -> Path:
    """Make the tree of a release whose newest revision is `head`; the path of its alembic.ini. LookupError."""
    if head not in revisions():
        raise LookupError(f"the shop has no revision {head}; it has {', '.join(revisions())}")
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    for file in _versions():
        if file.name[:4] <= head:
            (folder / "versions" / file.name).write_text(file.read_text(encoding="utf-8"))
    for name in ("env.py", "models.py"):
        (folder / name).write_text(_home().joinpath(name).read_text(encoding="utf-8"))
    ini = folder / "alembic.ini"
    ini.write_text(_INI)
    return ini


def _home() -> resources.abc.Traversable:
    return resources.files("bot.playground.shop.schema")


def _versions() -> list[resources.abc.Traversable]:
    found = _home().joinpath("versions").iterdir()
    return sorted((f for f in found if f.name[:4].isdigit() and f.name.endswith(".py")), key=lambda f: f.name)
