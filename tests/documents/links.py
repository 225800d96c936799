"""Links of a document, by the rules of GitHub: files of the repository, anchors of headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tests.documents import ROOT

FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
INDENTED: Final = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")
HEADING: Final = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
LINK: Final = re.compile(r"\]\(\s*<?([^)\s>]+)|^\[[^\]]+\]: *(\S+)", re.MULTILINE)
IMAGE: Final = re.compile(r'<img [^>]*src="([^"]+)"')


def prose(text: str) -> str:
    """Return a document without its blocks of code."""
    return INDENTED.sub("", FENCE.sub("", text))


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a document's headings, as GitHub names them."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def broken(path: Path) -> Iterator[str]:
    """Return the links of a document that lead nowhere, as ``docs/x.md: target: why``."""
    text = re.sub(r"`[^`\n]+`", "", prose(path.read_text(encoding="utf-8")))
    for pair in [*LINK.findall(text), *((image, "") for image in IMAGE.findall(text))]:
        target = pair[0] or pair[1]
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        where = f"{path.relative_to(ROOT)}: {target}"
        if not found.is_relative_to(ROOT):
            yield f"{where}: leaves the repository"
        elif not found.is_file():  # a folder: the site has no page for it
            yield f"{where}: {'a folder: link to a file in it' if found.is_dir() else 'no such file'}"
        elif parts.fragment and found.suffix == ".md" and unquote(parts.fragment) not in anchors(found):
            yield f"{where}: no such heading"
