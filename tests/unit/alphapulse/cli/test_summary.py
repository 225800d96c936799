"""The figures of a replay: put together, compared, shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from alphapulse.cli import summary

KEY = ("kraken", "BTC-USD")
COLLECTOR: dict[str, Any] = {
    "snapshots": 1,
    "deltas": 5,
    "level_changes": 9,
    "trades": 2,
    "base_volume": "0.5",
    "duplicate_trades": 3,
    "gaps": 1,
    "checksums_ok": 6,
    "checksums_bad": 4,
    "ignored": 7,
    "published_l2": 6,
    "published_changes": 11,
}
PROCESSOR: dict[str, Any] = {
    "snapshots": 1,
    "deltas": 5,
    "level_changes": 11,
    "trades": 2,
    "base_volume": "0.5",
    "bid_levels": 10,
    "ask_levels": 11,
    "best_bid": "1.5",
    "best_ask": "1.6",
    "crossed": False,
    "sha256": "ab" * 32,
}
STORED = {"trades": {KEY: 2}, "l2": {KEY: 6}}


def row(**changes: Any) -> dict[str, Any]:
    return summary.instrument_row(KEY, COLLECTOR, PROCESSOR | changes, STORED, STORED)


def test_a_row_has_the_fields_of_the_design_in_its_order() -> None:
    assert list(row()) == [
        *("venue", "symbol", "snapshots", "deltas", "level_changes", "trades", "duplicate_trades", "base_volume"),
        *("gaps", "checksums_ok", "checksums_bad", "ignored", "book", "clickhouse", "parquet"),
    ]
    assert row()["book"] == {name: PROCESSOR[name] for name in summary.BOOK}
    assert row()["clickhouse"] == row()["parquet"] == {"trades": 2, "l2": 6}
    assert row()["level_changes"] == 9  # the venue's own, without deletes of what left the depth
    assert summary.missing(row(), COLLECTOR, PROCESSOR) == []


@pytest.mark.parametrize(
    ("field", "what", "published"),
    [
        ("snapshots", "l2 records", 6),
        ("deltas", "l2 records", 6),
        ("level_changes", "level changes", 11),
        ("trades", "trades", 2),
    ],
)
def test_a_count_that_a_later_stage_lacks_is_named(field: str, what: str, published: int) -> None:
    held = PROCESSOR | {field: PROCESSOR[field] - 1}
    faults = summary.missing(row(**held), COLLECTOR, held)
    assert faults == [
        f"kraken BTC-USD: {what}: the collector published {published}, the stream processor holds {published - 1}"
    ]


def test_an_instrument_the_processor_has_never_heard_of_is_a_fault() -> None:
    found = summary.instrument_row(KEY, COLLECTOR, {}, STORED, STORED)
    assert len(summary.missing(found, COLLECTOR, {})) == 4


def test_rows_missing_in_a_store_are_named() -> None:
    short = {"trades": {KEY: 1}, "l2": {}}
    found = summary.instrument_row(KEY, COLLECTOR, PROCESSOR, short, STORED)
    assert summary.missing(found, COLLECTOR, PROCESSOR) == [
        "kraken BTC-USD: clickhouse holds 1 rows of trades, expected 2",
        "kraken BTC-USD: clickhouse holds 0 rows of l2, expected 6",
    ]


def test_parquet_rows_are_counted_over_all_files_and_what_is_no_message_of_the_venues_left_out(tmp_path: Path) -> None:
    for number, kinds in enumerate((["SNAPSHOT", "DELTA", "HEARTBEAT"], ["DELTA", "HEARTBEAT", "INVALID"])):
        place = tmp_path / "md.l2" / f"date=2024-08-0{number + 1}" / "hour=10"
        place.mkdir(parents=True)
        columns = {"venue": ["kraken"] * 3, "symbol": ["BTC-USD"] * 3, "kind": kinds}
        pq.write_table(pa.table(columns), place / f"{number}.parquet")
    assert summary.parquet_counts(tmp_path) == {"trades": {}, "l2": {KEY: 3}}


def test_clickhouse_counts_are_read_from_jsoncompact() -> None:
    answers: dict[str, dict[str, Any]] = {
        "trades": {"data": [["kraken", "BTC-USD", "2"]]},
        "l2": {"data": [["kraken", "BTC-USD", 6]]},
    }
    assert summary.clickhouse_counts(answers) == STORED


def printed(width: int, *rows: dict[str, Any]) -> str:
    run = {"frames": 10, "records": 8, "seconds": 2.0, "frames_per_second": 5.0, "peak_memory_bytes": 2**20}
    console = Console(width=width)
    with console.capture() as captured:
        for table in summary.tables({"instruments": rows, "run": run}, console):
            console.print(table)
    return captured.get()


def test_the_table_shows_bad_checksums() -> None:
    text = printed(200, row())
    head, line = (next(one for one in text.splitlines() if word in one).split() for word in ("symbol", "BTC-USD"))
    assert dict(zip(head[:10], line, strict=False))["bad"] == "4"
    assert "10 frames, 8 records in 2.0 s (5 frames/s)" in text
    assert "peak memory 1 MiB" in text
    assert "levels" in text


def test_80_columns_hold_all_figures_of_long_names_and_tiny_prices() -> None:
    found = row() | {"venue": "coinbase_advanced", "symbol": "SHIB-USDT", "deltas": 124_073, "trades": 12_345}
    found["book"] = {**found["book"], "best_bid": "0.000013939", "best_ask": "0.000013941"}
    text = printed(80, found)
    for shown in ("coinbase_advanced", "SHIB-USDT", "124,073", "12,345", "0.000013939", "0.000013941"):
        assert shown in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    head = [word for line in text.splitlines() if "symbol" in line for word in line.replace("best ", "best_").split()]
    assert {name.replace(" ", "_") for name in summary.COLUMNS} == set(head)
    assert text.count("peak memory") == 1


def test_a_book_that_never_began_is_a_fault_and_one_in_doubt_at_the_end_a_warning() -> None:
    never = {"snapshots": 0, "valid": False, "resyncs": 0, "ignored": 1200}
    refused = {"snapshots": 0, "valid": False, "resyncs": 2, "ignored": 0}
    doubtful = {"snapshots": 2, "valid": False, "resyncs": 1, "ignored": 0}
    good = {"snapshots": 1, "valid": True, "resyncs": 0, "ignored": 0}
    told = {"A-USD": never, "B-USD": refused, "C-USD": doubtful, "D-USD": good, "E-USD": never}
    faults, warnings = summary.doubts("kraken", ["A-USD", "B-USD", "C-USD", "D-USD"], told)
    assert faults == [
        "kraken A-USD: its book never became valid: the recording contains no snapshot that its updates continue",
        "kraken B-USD: its book never became valid: its snapshots were refused (2 requested again; see the events)",
    ]
    assert warnings == [
        "kraken C-USD: book invalid at the end of the recording: integrity check failed and no later snapshot"
    ]
