"""The site's sources are collected with what they link to; what is wrong with a built page is found."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.documents import documents

sys.path.insert(0, str(ROOT / "scripts"))
docs_site: Any = importlib.import_module("docs_site")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two documents and a file that one of them links to."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x.py").write_text("x = 1\n")
    (tmp_path / "README.md").write_text("# X\n\n[a](docs/a.md) [web](https://example.com) `[no](none.md)`\n")
    (tmp_path / "docs" / "a.md").write_text("# A\n\n[x](../code/x.py#L1)\n\n```\n[no](none.md)\n```\n")
    diagrams = tmp_path / "mermaid.tiny.js"
    diagrams.write_text("//\n")
    for name, value in (
        ("ROOT", tmp_path),
        ("SOURCE", tmp_path / "build" / "source"),
        ("SITE", tmp_path / "build" / "site"),
        ("DIAGRAMS", diagrams),
        ("FIRST", ("README.md", "docs")),
    ):
        monkeypatch.setattr(docs_site, name, value)
    return tmp_path


def test_what_is_linked_to_is_collected(repository: Path) -> None:
    assert docs_site.collect() == []
    collected = {path.relative_to(docs_site.SOURCE).as_posix() for path in docs_site.SOURCE.rglob("*.*")}
    assert collected == {"README.md", "docs/a.md", "code/x.py", "assets/mermaid.tiny.js"}


def test_bars_within_code_are_as_the_site_wants_them() -> None:
    text = "| `a\\|b` | c\\|d |\n\n`e\\|f`\n"
    assert docs_site.for_the_site(text) == "| `a|b` | c\\|d |\n\n`e\\|f`\n"


def test_what_belongs_to_a_numbered_item_is_indented_by_four() -> None:
    text = "1. a\n\n       code\n         deeper\n\n   more\n\n    ```sh\n    x\n    ```\n\ntext\n\n       y\n"
    shifted = text.replace("       code\n         deeper\n\n   more", "        code\n          deeper\n\n    more")
    assert docs_site.for_the_site(text) == shifted


def test_a_link_to_nothing_is_told(repository: Path) -> None:
    (repository / "docs" / "a.md").write_text("[b](b.md) [folder](../code) [away](../../etc)\n")
    assert docs_site.collect() == [
        "docs/a.md: b.md is no file of the repository",
        "docs/a.md: ../code is no file of the repository",
        "docs/a.md: ../../etc is no file of the repository",
    ]


def test_missing_diagrams_are_told(repository: Path) -> None:
    docs_site.DIAGRAMS.unlink()
    assert docs_site.collect() == ["mermaid.tiny.js is missing: run npm ci in deploy/site, or make docs"]


def test_a_built_site_is_checked(repository: Path) -> None:
    site = docs_site.SITE
    assert docs_site.check() == ["build/site has no page"]
    (site / "docs").mkdir(parents=True)
    (site / "index.html").write_text(
        '<a href="docs/a.html#here">a</a> <a href="docs/a.html#there">b</a> <a href="#top">c</a> <a href="x.html">d</a>'
        '<a href="https://example.com">e</a> <a href="docs/">f</a>'
    )
    (site / "docs" / "a.html").write_text(
        '<h1 id="here">A</h1> <a href="..">up</a> <script src="https://cdn.example/x.js"></script>'
        '<link rel="stylesheet" href="//fonts.example/x.css"> <img src="data:image/png;base64,AA">'
    )
    (site / "404.html").write_text('<a href="/nowhere">x</a>')
    assert docs_site.check() == [
        "docs/a.html: loads https://cdn.example/x.js",
        "docs/a.html: loads //fonts.example/x.css",
        "index.html: docs/a.html#there has no such anchor",
        "index.html: #top has no such anchor",
        "index.html: x.html is missing",
        "index.html: docs/ is missing",
    ]


def test_every_document_is_in_the_navigation() -> None:
    configuration = (ROOT / "deploy" / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", configuration, re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in documents())
