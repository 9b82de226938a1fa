"""What takes long is made in a process of its own, so that nothing else waits for it.

A thread does not do: what makes a page out of thousands of entries makes millions of Python's objects, and neither they
nor their collection let anybody else work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

R = TypeVar("R")

LARGE = 1000
"""Entries from which on it is worth the second that a process takes to begin."""


async def made(make: Callable[..., R], entries: Sequence[object], *more: object) -> R:
    """What `make`, a function of a module, makes of them (and of what else it takes); raises what it raises."""
    if len(entries) < LARGE:
        return await asyncio.to_thread(make, entries, *more)
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, make, entries, *more)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
