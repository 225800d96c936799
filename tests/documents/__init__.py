"""What the documents (README, DESIGN, CONTRIBUTING, docs/) contain: links, anchors, and blocks that a reader would run.

Each block of commands, queries or programs is run by a test, or says why not, in a comment that no reader sees::

    <!-- run -->                          tests/integration/test_documents.py runs it as it stands, in a new folder
    <!-- run: tests/…/test_x.py -->       that test does; several are separated by commas
    <!-- not run: REASON -->
    <!-- run: TEST; not run: REASON -->   a part of it; of a script, each command that it does not run is named there

The comment stands above its block. With ``all``, or ``all LANGUAGE`` (sh, sql, python, js), it is about all blocks of
the document that have none of their own. ``python -m tests.documents`` writes docs/commands.md, which lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def documents() -> list[Path]:
    """Return all documents for users and maintainers."""
    top = [ROOT / f"{name}.md" for name in ("README", "DESIGN", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
    apart = [ROOT / "recordings" / "README.md", ROOT / "helm" / "alphapulse" / "README.md"]
    return [*top, *sorted((ROOT / "docs").rglob("*.md")), *apart]
