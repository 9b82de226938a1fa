"""How `doctor` is known to a bot that runs: by a secret in the bot's own folder, which only the bot's user can read.

It lets nobody do anything; whoever has it is told what is wrong with each part (`/readyz`), as he could find out by
himself.
"""

from __future__ import annotations

import hmac
import secrets

from bot.store.blobs import BlobsUnavailable, FileBlobs

NAME = "doctor-key"
"""The small file, beside the by-hand files."""


def key(files: FileBlobs) -> str:
    """What `doctor` shows: made where there is none. Empty where the folder cannot be used. Blocking."""
    try:
        found = files.get_anchor(NAME)
        if not found:
            found = secrets.token_urlsafe(32)
            files.put_anchor(NAME, found)
    except BlobsUnavailable:
        return ""
    return found


def knocks(files: FileBlobs, given: str) -> bool:
    """Whether an Authorization header is the doctor's. Blocking."""
    try:
        known = files.get_anchor(NAME)
    except BlobsUnavailable:
        return False
    return bool(known) and hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {known}".encode())
