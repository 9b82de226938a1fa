"""What every handler is given that puts a release in place, tries it, or looks for it: one set of parameters."""

from __future__ import annotations

from pydantic import Field

from bot.contract import Outgoing, Params
from bot.ports import Blob


class ReleaseParams(Params):
    """A release by its images and its record, and the releases that have to go."""

    images: dict[str, str] = Field(description="Its images by digest, by workload.")
    outgoing: list[Outgoing] = Field(description="The releases that have to go, with their images and records.")
    settings: Blob | None = Field(None, description="Its record, as it was when it served first.")
    last: Blob | None = Field(None, description="The same as it served last, where others have changed it since.")
