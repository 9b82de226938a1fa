"""What a large look has taken is given back to the system.

Thousands of workloads as Python's values are let go within a second, but glibc keeps what lay between them: a bot that
looked once would hold it for good.
"""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """What is free goes back, where the C library can do that (glibc). Some milliseconds; any thread may."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
