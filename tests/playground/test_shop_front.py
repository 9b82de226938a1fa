"""The shop's frontend in the playground: what browsers get, and from where."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from bot.playground.shop.front import Front, files


async def test_browsers_get_what_was_published_and_old_pages_until_the_cache_is_told(tmp_path: Path) -> None:
    async with Front(tmp_path) as front, aiohttp.ClientSession() as http:
        for version in ("2.4.0", "2.4.1"):
            front.make(version)
            await front.upload(version)
        await front.publish("2.4.0")
        assert await front.serves() == "2.4.0"

        kept = dict(front.edge.kept)
        await front.publish("2.4.1")
        assert await front.serves() == "2.4.1"
        front.edge.kept.update(kept)  # as if nobody had purged
        assert await front.serves() == "2.4.0"
        async with http.request("PURGE", f"{front.edge.url}/") as answer:
            assert answer.status == 403, "nobody purges without the token"

        for path, kind, cache in [
            (next(p for p in files("2.4.1") if p.endswith(".js") and "/" in p), "text/javascript", "immutable"),
            ("sw.js", "text/javascript", "no-store"),
            ("config.json", "application/json", "no-cache"),
        ]:
            async with http.get(f"{front.edge.url}/{path}") as answer:
                assert await answer.text() == files("2.4.1")[path]
                assert answer.content_type == kind and cache in answer.headers["Cache-Control"]
        assert "sw.js" not in files("2.4.0"), "it is the bad release that brings a service worker"
