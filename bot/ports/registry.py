"""Where images are kept: whether one is there, by its digest, and may be read."""

from __future__ import annotations

from typing import Protocol


class Refused(Exception):
    """The registry answers, and does not let us look; the message says what it said."""


class ImageRegistry(Protocol):
    """Registries, by the host in an image's name."""

    async def has(self, image: str) -> bool:
        """Whether the image, pinned by digest, is in its registry.

        ValueError for a name that is no image by digest; Refused; Unreachable: nothing is known.
        """
        ...
