"""The queries of docs/runbooks: they fit the tables, and name kinds of events that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate

ROOT: Final = Path(__file__).resolve().parents[4]
QUERIES: Final = [
    (path.stem, query)
    for path in sorted((ROOT / "docs" / "runbooks").glob("*.md"))
    for text in [path.read_text(encoding="utf-8")]
    for query in [*re.findall(r"```sql\n(.*?)```", text, re.DOTALL), *re.findall(r'`sql "(.*?)"`', text)]
]


async def test_queries_fit_the_tables(engine: Engine) -> None:
    await migrate(engine)
    await engine.command("INSERT INTO events (time, service, kind, message) VALUES (now64(9), 'gateway', 'gap', 'x')")
    assert len(QUERIES) > 8
    for name, query in QUERIES:
        found = await engine.rows(query)
        assert name != "README" or found, "the newest events"


def test_kinds_of_events_exist() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for package in ("producers", "stream_processors", "schemas", "alphapulse")
        for path in (ROOT / package).rglob("*.py")
    )
    asked = {
        kind
        for _, query in QUERIES
        for kinds in re.findall(r"kind IN \((.*?)\)", query)
        for kind in re.findall(r"'(\w+)'", kinds)
    }
    assert {"disconnected", "lost_records", "snapshot_failed"} <= asked
    assert [kind for kind in sorted(asked) if f'"{kind}"' not in sources] == []
