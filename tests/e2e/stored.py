"""Whether what a demo published is in its tables and files, to the record."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pyarrow.dataset as ds

from alphapulse.config import Settings
from alphapulse.service import last_status_path
from tests.e2e.command import alphapulse
from tests.e2e.test_demo import Demo

TABLES = {
    "trades": "md.trades",
    "l2": "md.l2",
    "candles": "md.candles",
    "stats": "md.stats",
    "arbitrage": "signals.arbitrage",
    "events": "ops.events",
}
COLLECTORS = ("collector-kraken", "collector-coinbase", "collector-binance_us")


def counted(demo: Demo) -> Counter[str]:
    """Return topic → records that collectors and processors counted as acknowledged."""
    counts: Counter[str] = Counter()
    for name in (*COLLECTORS, "processors"):
        path = last_status_path(Settings(data_dir=demo.data_dir), name)
        counts.update(json.loads(path.read_text(encoding="utf-8"))["published"])
    return counts


def ask(demo: Demo, query: str) -> list[Any]:
    ended = alphapulse("sql", query, "--data-dir", demo.data_dir, "--format", "JSONCompact")
    assert ended.code == 0, ended.err
    rows: list[Any] = ended.json["data"]
    return rows


_ROWS = [f"SELECT '{topic}' AS what, '' AS which, count() AS number FROM {table}" for table, topic in TABLES.items()]


def rows(demo: Demo) -> dict[str, int]:
    """Return topic → rows in the tables."""
    return {topic: int(number) for topic, _, number in ask(demo, " UNION ALL ".join(_ROWS))}


def files(demo: Demo, topic: str) -> int:
    """Return the rows in the Parquet files of a topic."""
    place = demo.data_dir / "parquet" / topic
    count: int = ds.dataset(place, format="parquet").count_rows() if place.is_dir() else 0
    return count


def assert_all_is_stored(demo: Demo) -> None:
    counts = counted(demo)
    # One process asks everything: each takes longer to start than all the questions.
    per_interval = "SELECT 'candles', toString(interval_seconds), toUInt64(sum(trades)) FROM v_candles GROUP BY 2"
    last = "SELECT venue, symbol, argMax(kind, (epoch, sequence)) AS latest FROM l2 GROUP BY ALL"
    ends = f"SELECT 'last of a book', toString(latest), count() FROM ({last}) GROUP BY 2"
    found = ask(demo, " UNION ALL ".join((*_ROWS, per_interval, ends)))
    stored = {(what, which): int(number) for what, which, number in found}
    for topic in ("md.trades", "md.l2", "md.candles", "md.stats", "signals.arbitrage"):
        assert stored[topic, ""] == counts[topic], topic
    for topic in ("md.trades", "md.l2", "md.candles", "signals.arbitrage"):
        assert files(demo, topic) == counts[topic], topic
    # Services that end in good order have counted all their events.
    assert stored["ops.events", ""] >= counts["ops.events"]
    # Every trade is in a candle of each length, those open at the end included.
    trades = counts["md.trades"]
    assert {which: n for (what, which), n in stored.items() if what == "candles"} == {"1": trades, "60": trades}
    # The collectors ended their books.
    assert {which for what, which in stored if what == "last of a book"} == {"INVALID"}
