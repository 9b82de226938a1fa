"""Where images are kept: whether one is there, by its digest, and may be read; and what an image is."""

from __future__ import annotations

from typing import Protocol


class RegistryRefused(Exception):
    """The registry answers, and does not let us look; the message says what it said."""


class ImageRegistry(Protocol):
    """Registries, by the host in an image's name."""

    async def has(self, image: str) -> bool:
        """Whether the image, pinned by digest, is in its registry.

        ValueError for a name that is no image by digest; RegistryRefused; Unreachable: nothing is known.
        """
        ...

    async def digests(self, image: str) -> frozenset[str]:
        """Every digest that an image goes by, named by digest or by tag: its own, and those of its platforms where it
        is an index. Empty where there is none. ValueError, RegistryRefused, Unreachable."""
        ...
