#!/usr/bin/env python3
"""The library of queries in docs/sql.md, made of the files in sinks/clickhouse/queries.

``scripts/sql_doc.py`` writes the part of the page between its marks, ``--check`` exits with 1 if it is not what it
should be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generated import run  # noqa: E402 the tree is on the path only now

from sinks.clickhouse.library import StoredQuery, library  # noqa: E402

TARGET: Final = ROOT / "docs" / "sql.md"
BEGIN: Final = "<!-- made by scripts/sql_doc.py: begin -->\n"
END: Final = "<!-- end -->\n"


def section(query: StoredQuery) -> str:
    """Return the section of a query."""
    lines = [f"### {query.name}", "", query.summary, ""]
    if query.about:
        lines += [*query.about, ""]
    lines += ["| parameter | type | default | |", "|---|---|---|---|"]
    for one in query.parameters:
        default = "" if one.default is None else f"`{one.default}`"
        lines.append(f"| `{one.name}` | {one.type} | {default} | {one.about} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the sections of the library in it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(map(section, library().values())) + "\n" + END + after


def main() -> int:
    """Write or check the page; return the exit code."""
    made = {TARGET: page(TARGET.read_text(encoding="utf-8"))}
    return run((__doc__ or "").partition("\n")[0], lambda: made, "scripts/sql_doc.py")


if __name__ == "__main__":
    sys.exit(main())
