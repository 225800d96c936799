"""The parts of documents that benchmarks write."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def write_part(document: str, benchmark: str, text: str) -> None:
    """Put ``text`` into ``docs/<document>`` between the marks of ``benchmark`` (its module's name).

    Raises:
        ValueError: the document has no such marks.
    """
    path = DOCS / document
    begin, end = f"<!-- made by tests/benchmarks/{benchmark}.py: begin -->\n", "<!-- end -->\n"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{path.name} has no part of {benchmark}")
    path.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
