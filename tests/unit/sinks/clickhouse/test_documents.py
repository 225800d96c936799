"""The queries of README.md, docs/tables.md, docs/integrity.md and the other documents fit the tables.

Those of docs/runbooks are in test_runbooks.py, those of docs/tracing.md in test_tracing_doc.py.
"""

from __future__ import annotations

import re
from typing import Final

from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate
from tests.documents import ROOT, documents
from tests.documents.blocks import Block, blocks

QUOTED: Final = re.compile(r"""alphapulse sql [^"']*(?P<quote>["'])(?P<query>(?:SELECT|SHOW|DESCRIBE) .*?)(?P=quote)""")
TYPED: Final = [
    block
    for path in documents()
    for block in blocks(path)
    if block.marker is not None and "tests/unit/sinks/clickhouse/test_documents.py" in block.marker.tests
]


def queries(block: Block) -> list[str]:
    """Return the queries of a block: as it is, or in quotes after ``alphapulse sql``."""
    if block.language == "sql":
        return [query for query in block.text.split(";\n") if query.strip()]
    return [match["query"] for match in QUOTED.finditer("\n".join(block.commands()))]


async def test_queries_fit_the_tables(engine: Engine) -> None:
    await migrate(engine)
    assert {block.path.relative_to(ROOT).as_posix() for block in TYPED} >= {
        "README.md",
        "docs/integrity.md",
        "docs/tables.md",
    }
    for block in TYPED:
        assert queries(block), block.place
        for query in queries(block):
            assert isinstance(await engine.rows(query), list), block.place
