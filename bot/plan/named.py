"""Plans by name: those that come with the bot, and an operator's own in front of them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from bot.located import Fault, Faults
from bot.located.yamltree import content


class Plans:
    """The built-in plans, and a folder of the operator's own in front of them."""

    def __init__(self, folder: Path | None) -> None:
        """folder: may be left out, but not be missing: Faults."""
        self.folder = folder
        if folder is not None and not folder.is_dir():
            raise Faults([Fault(str(folder), 1, 1, "", "is no folder of plans; ROLLBACK_PLANS names it")])

    def names(self) -> list[str]:
        """Every plan's name."""
        built_in = [p.name for p in resources.files("bot").joinpath("plans").iterdir()]
        own = [p.name for p in self.folder.glob("*.yaml")] if self.folder else []
        return sorted({n.removesuffix(".yaml") for n in [*built_in, *own] if n.endswith(".yaml")})

    def text(self, name: str) -> tuple[bytes, str]:
        """(text, where it is from). LookupError for a plan that does not exist, Faults for one that cannot be read."""
        if name not in self.names():
            raise LookupError(f"there is no plan {name!r}; there are {', '.join(self.names())}")
        own = self.folder / f"{name}.yaml" if self.folder else None
        if own is not None and own.exists():
            return content(own, "has just been taken away"), str(own)
        return resources.files("bot").joinpath("plans", f"{name}.yaml").read_bytes(), f"{name}.yaml"
