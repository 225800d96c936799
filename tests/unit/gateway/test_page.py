from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from gateway import page
from tests.fixtures.gateway import Served, serving


async def fetch(served: Served, path: str) -> tuple[int, Mapping[str, str], str]:
    async with aiohttp.ClientSession() as session, session.get(served.url + path) as response:
        return response.status, response.headers, await response.text()


async def test_while_the_page_is_not_built_it_says_how_and_the_api_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        status, _, text = await fetch(served, "/")
        assert status == 503
        assert "cd gateway/dashboard &amp;&amp; npm ci &amp;&amp; npm run build" in text
        assert (await fetch(served, "/api/docs"))[::2] == (503, text)
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


async def test_the_documentation_is_a_folder_of_the_page_with_rules_as_strict_as_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "static" / "api" / "docs"
    folder.mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<title>built</title>", encoding="utf-8")
    (folder / "index.html").write_text("<title>documented</title>", encoding="utf-8")
    async with serving(tmp_path) as served:
        status, headers, text = await fetch(served, "/api/docs")
        assert (status, text) == (200, "<title>documented</title>")
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "://" not in policy, "no other host"
        assert "script-src" not in policy, "scripts as everywhere: from here, in files"
        assert policy.endswith("style-src 'self' 'unsafe-inline'")


LOADING = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)\s*=\s*["']?([^"'\s>]+)"""  # of a document
    r"""|url\(\s*["']?([^"')]+)"""  # of a style sheet
    r"""|@import\s+["']([^"']+)""",
    re.IGNORECASE,
)


def loaded(text: str) -> list[str]:
    """Return the addresses that a document or a style sheet makes a browser load."""
    return [next(filter(None, found)) for found in LOADING.findall(text)]


def test_what_makes_a_browser_load_is_found() -> None:
    text = """<link rel="stylesheet" href="https://cdn.example/x.css"><script src='//cdn.example/x.js'></script>
    @import "https://fonts.example/a.css"; a { background: url(https://img.example/b.png) }"""
    assert [part.partition("//")[2] for part in loaded(text)] == [
        "cdn.example/x.css",
        "cdn.example/x.js",
        "fonts.example/a.css",
        "img.example/b.png",
    ]


@pytest.mark.skipif(not (page.FOLDER / "index.html").is_file(), reason="the page is not built: make page")
async def test_the_built_pages_work_without_a_network(tmp_path: Path) -> None:
    files = [path for path in page.FOLDER.rglob("*") if path.suffix in (".html", ".css")]
    assert {path.relative_to(page.FOLDER).as_posix() for path in files} >= {"index.html", "api/docs/index.html"}
    for path in files:
        for address in loaded(path.read_text(encoding="utf-8")):
            assert address.startswith(("./", "../", "data:")), f"{path}: {address}"
    async with serving(tmp_path, static=page.FOLDER) as served:
        for place in ("/", "/api/docs/"):
            _, _, text = await fetch(served, place)
            for address in loaded(text):
                assert (await fetch(served, place + address))[0] == 200, address
