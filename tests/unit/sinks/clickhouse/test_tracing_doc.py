"""The queries of docs/tracing.md, on a table as OpenTelemetry's ClickHouse exporter makes it, with one trace in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sinks.clickhouse.engine import Engine

ROOT: Final = Path(__file__).resolve().parents[4]
QUERIES: Final = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/tracing.md").read_text(encoding="utf-8"), re.DOTALL)

TABLE: Final = """
CREATE OR REPLACE TABLE otel.otel_traces (
    Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, SpanName LowCardinality(String),
    SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String), SpanAttributes Map(LowCardinality(String), String),
    Duration UInt64, StatusCode LowCardinality(String), StatusMessage String
) ENGINE = MergeTree ORDER BY (ServiceName, SpanName, Timestamp)
"""

# Stage, service, span, parent, topic, start and length in ms.
SPANS: Final = (
    ("collect", "collector-kraken", "a", "", "md.l2", 0, 3),
    ("process", "processors", "b", "a", "md.l2", 14, 6),
    ("deliver", "gateway", "c", "b", "md.depth", 30, 1),
    ("sink", "sink-clickhouse", "d", "a", "md.l2", 200, 900),
)


async def test_they_find_the_slowest_stage_and_the_longest_wait(engine: Engine) -> None:
    await engine.command("CREATE DATABASE IF NOT EXISTS otel")
    await engine.command(TABLE)
    ((now,),) = await engine.rows("SELECT toString(now64(9))")
    for name, service, span, parent, topic, start, length in SPANS:
        place = f"'messaging.destination.name', '{topic}', 'messaging.destination.partition.id', '3', "
        place += "'messaging.kafka.offset', '17', 'alphapulse.symbol', 'BTC-USD'"
        await engine.command(
            "INSERT INTO otel.otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, ServiceName,"
            f" SpanAttributes, Duration) VALUES (toDateTime64('{now}', 9) - toIntervalMillisecond({2000 - start}), 't',"
            f" '{span}', '{parent}', '{name}', '{service}', map({place}), {length * 1_000_000})"
        )
    stages, waits, way = [await engine.rows(query.replace("TRACE_ID", "t")) for query in QUERIES]
    assert tuple(stages[0][:3]) == ("sink", "sink-clickhouse", "md.l2")
    assert [row[-1] for row in stages] == [900, 6, 3, 1]
    assert [tuple(row[:3]) for row in waits] == [
        ("collect", "sink", "sink-clickhouse"),
        ("collect", "process", "processors"),
        ("process", "deliver", "gateway"),
    ]
    assert [round(row[-1]) for row in waits] == [197, 11, 10]
    assert [row[1] for row in way] == ["collect", "process", "deliver", "sink"]
