"""What is put up in several pieces and taken down in reverse order, also when one of them does not come up."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Staged(ABC):
    """An asynchronous context whose pieces stand on one stack, which each kind makes for itself."""

    _stack: contextlib.AsyncExitStack

    @abstractmethod
    async def _start(self) -> None:
        """Put the pieces on the stack."""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
