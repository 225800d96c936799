from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aiohttp

from tests.fixtures.gateway import Served, serving


async def fetch(served: Served, path: str) -> tuple[int, Mapping[str, str], str]:
    async with aiohttp.ClientSession() as session, session.get(served.url + path) as response:
        return response.status, response.headers, await response.text()


async def test_while_the_page_is_not_built_it_says_how_and_the_api_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        status, _, text = await fetch(served, "/")
        assert status == 503
        assert "cd gateway/dashboard &amp;&amp; npm ci &amp;&amp; npm run build" in text
        assert (await fetch(served, "/assets/x.js"))[0] == 404
        assert (await fetch(served, "/api/v1/exchanges"))[0] == 200


async def test_a_page_built_later_is_served_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert (await fetch(served, "/"))[0] == 503
        assets = tmp_path / "static" / "assets"
        assets.mkdir(parents=True)
        (tmp_path / "static" / "index.html").write_text("<title>built</title>", encoding="utf-8")
        (assets / "index-1a2b.js").write_text("let x;", encoding="utf-8")
        status, headers, text = await fetch(served, "/")
        assert (status, headers["cache-control"], text) == (200, "no-cache", "<title>built</title>")
        status, headers, text = await fetch(served, "/assets/index-1a2b.js")
        assert (status, headers["cache-control"], text) == (200, "public, max-age=31536000, immutable", "let x;")
        assert (await fetch(served, "/assets/none.js"))[0] == 404
        assert (await fetch(served, "/../../pyproject.toml"))[0] == 404


async def test_answers_keep_browsers_strict_and_other_origins_out(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for path in ("/", "/api/v1/exchanges", "/api/v1/nothing"):
            _, headers, _ = await fetch(served, path)
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers
        _, headers, text = await fetch(served, "/api/docs")
        assert "https://cdn.jsdelivr.net" in headers["content-security-policy"]
        assert "swagger" in text
