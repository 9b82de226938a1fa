"""The HTTP session that an adapter and all its copies share."""

from __future__ import annotations

import ssl

import aiohttp


class Session:
    """Made inside the running loop, on first use. Each request has a connection of its own; no cookies are kept."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        """trust: which certificates are; None: the usual ones."""
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    @property
    def opened(self) -> aiohttp.ClientSession:
        """The session."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, ssl=self._trust or True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """End every connection. Harmless again."""
        if self._session is not None:
            await self._session.close()
            self._session = None
