#!/usr/bin/env python3
"""The documentation's site: ``collect`` puts its sources together, ``check`` looks at what was built.

The sources (build/site-source) have the repository's paths: the documents, and whatever they link to, so that a link
works on the site as it does on GitHub. ``check`` follows every internal link and anchor of the built pages
(build/site) and refuses whatever a page would load from another host. It asks no other host for anything.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "build" / "site-source"
SITE: Final = ROOT / "build" / "site"
DIAGRAMS: Final = ROOT / "deploy" / "site" / "node_modules" / "@mermaid-js" / "tiny" / "dist" / "mermaid.tiny.js"
FIRST: Final = ("README.md", "DESIGN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs")
"""What the site begins with; what these link to is added."""

LINK: Final = re.compile(r"\]\(\s*<?([^)\s>]+)")
FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[ \t]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
NUMBERED: Final = re.compile(r"\d+\. ")
BELONGS: Final = re.compile(r" {3}\S| {7,}\S")
"""A paragraph of an item, or code in it."""
ROW: Final = re.compile(r"^\|.*$", re.MULTILINE)
CODE: Final = re.compile(r"`[^`\n]+`")
LOADED: Final = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


def linked(text: str) -> Iterator[str]:
    """Return the paths of a document's relative links, as they are written, without anchors."""
    for target in LINK.findall(FENCE.sub("", text)):
        parts = urlsplit(target)
        if not parts.scheme and not parts.netloc and parts.path:
            yield unquote(parts.path)


def for_the_site(text: str) -> str:
    """Return a document as Python-Markdown wants it.

    Without the backslash before a bar within code in a table, and with four spaces, not three, before what belongs to
    an item of a numbered list.
    """
    lines = []
    numbered = False
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            numbered = NUMBERED.match(line) is not None
        lines.append(f" {line}" if numbered and BELONGS.match(line) else line)
    text = "\n".join(lines)
    return ROW.sub(lambda row: CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), text)


def collect() -> list[str]:
    """Copy the sources; return what is wrong with them."""
    if not DIAGRAMS.is_file():
        return [f"{DIAGRAMS.relative_to(ROOT)} is missing: run npm ci in deploy/site, or make docs"]
    shutil.rmtree(SOURCE, ignore_errors=True)
    waiting = [path for name in FIRST for path in _files(ROOT / name)]
    done: set[Path] = set()
    faults: list[str] = []
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
        else:
            text = path.read_text(encoding="utf-8")
            target.write_text(for_the_site(text), encoding="utf-8")
            for link in linked(text):
                found = (path.parent / link).resolve()
                if found.is_file() and found.is_relative_to(ROOT):
                    waiting.append(found)
                else:
                    faults.append(f"{path.relative_to(ROOT)}: {link} is no file of the repository")
    (SOURCE / "assets").mkdir()
    shutil.copyfile(DIAGRAMS, SOURCE / "assets" / DIAGRAMS.name)
    return faults


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


class Page(HTMLParser):
    """What a built page has and asks for.

    Attributes:
        anchors: its ids.
        links: internal targets of its links, as they are written.
        loaded: addresses of other hosts that a browser would load with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag is or refers to."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        target = values.get("href" if tag in {"a", "link"} else "src", "")
        if not target:
            return
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            if tag in LOADED and parts.scheme != "data":
                self.loaded.append(target)
        else:
            self.links.append(target)


def check() -> list[str]:
    """Return what is wrong with the built site: files and anchors that are missing, and what comes from elsewhere."""
    pages: dict[Path, Page] = {}
    for path in sorted(SITE.rglob("*.html")):
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    if not pages:
        return [f"{SITE.relative_to(ROOT)} has no page"]
    faults: list[str] = []
    for path, page in pages.items():
        name = path.relative_to(SITE)
        faults += [f"{name}: loads {address}" for address in page.loaded]
        if path.name == "404.html":  # its links are those of the place where the page is missing
            continue
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                faults.append(f"{name}: {link} is missing")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{name}: {link} has no such anchor")
    return faults


def main() -> int:
    """Collect or check; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=["collect", "check"])
    faults = collect() if parser.parse_args().action == "collect" else check()
    for fault in dict.fromkeys(faults):
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
