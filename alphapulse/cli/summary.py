"""Summary of a replay: one row per instrument, collected from all stages and compared.

The collector reports what the venue sent and how it was checked; the stream processor book, trades and volume; rows
are counted in ClickHouse and in the Parquet files. Whatever a later stage lacks is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

Key = tuple[str, str]
"""(venue, symbol)"""

BOOK = ("bid_levels", "ask_levels", "best_bid", "best_ask", "crossed", "sha256")

COLUMNS: Final = (
    *("venue", "symbol", "snaps", "deltas", "changes", "trades", "twice", "gaps"),
    *("checksums", "bad", "best bid", "best ask", "levels", "book"),
)
"""Columns: ``twice`` are repeated trades, ``bad`` wrong checksums, ``book`` the first digits of its SHA-256."""
_SECOND: Final = frozenset({"snaps", "changes", "twice", "checksums", "levels", "book"})
"""In a second table where the terminal is too narrow: 80 columns fit the others."""
_NAMES: Final = ("venue", "symbol")

# The venue's messages among a book's rows; INVALID and HEARTBEAT carry no levels.
L2_KINDS = ("SNAPSHOT", "DELTA")

COUNT_QUERIES = {
    "trades": "SELECT venue, symbol, count() FROM {database}.trades GROUP BY venue, symbol",
    "l2": "SELECT venue, symbol, count() FROM {database}.l2 WHERE kind IN ('SNAPSHOT', 'DELTA') GROUP BY venue, symbol",
}


def instrument_row(
    key: Key,
    collector: Mapping[str, Any],
    processor: Mapping[str, Any],
    clickhouse: Mapping[str, Mapping[Key, int]],
    parquet: Mapping[str, Mapping[Key, int]],
) -> dict[str, Any]:
    """Return one instrument's figures in column order."""
    row: dict[str, Any] = {"venue": key[0], "symbol": key[1]}
    for name in ("snapshots", "deltas", "level_changes"):
        row[name] = collector[name]
    row["trades"] = processor.get("trades", 0)
    row["duplicate_trades"] = collector["duplicate_trades"]
    row["base_volume"] = processor.get("base_volume", "0")
    for name in ("gaps", "checksums_ok", "checksums_bad", "ignored"):
        row[name] = collector[name]
    row["book"] = {name: processor.get(name) for name in BOOK}
    row["clickhouse"] = {table: clickhouse[table].get(key, 0) for table in ("trades", "l2")}
    row["parquet"] = {table: parquet[table].get(key, 0) for table in ("trades", "l2")}
    return row


def missing(row: Mapping[str, Any], collector: Mapping[str, Any], processor: Mapping[str, Any]) -> list[str]:
    """Return what the collector published and a later stage lacks, a line each; empty if all agree."""
    name = f"{row['venue']} {row['symbol']}"
    reached = {
        "l2 records": (collector["published_l2"], processor.get("snapshots", 0) + processor.get("deltas", 0)),
        "level changes": (collector["published_changes"], processor.get("level_changes", 0)),
        "trades": (collector["trades"], processor.get("trades", 0)),
        "base volume": (collector["base_volume"], processor.get("base_volume", "0")),
    }
    faults = [
        f"{name}: {what}: the collector published {published}, the stream processor holds {held}"
        for what, (published, held) in reached.items()
        if published != held
    ]
    rows = {"trades": collector["trades"], "l2": collector["published_l2"]}
    faults += [
        f"{name}: {store} holds {row[store][table]} rows of {table}, expected {rows[table]}"
        for store in ("clickhouse", "parquet")
        for table in ("trades", "l2")
        if row[store][table] != rows[table]
    ]
    return faults


def parquet_counts(folder: Path) -> dict[str, dict[Key, int]]:
    """Count the rows of the files under ``folder`` by instrument: ``{"trades": {(venue, symbol): n}, "l2": …}``."""
    import pyarrow.dataset as ds  # a tenth of a second, not needed for a refused command line

    counts: dict[str, dict[Key, int]] = {}
    for table, topic, condition in (
        ("trades", "md.trades", None),
        ("l2", "md.l2", ds.field("kind").isin(L2_KINDS)),
    ):
        place = folder / topic
        counts[table] = {}
        if place.is_dir():
            rows = ds.dataset(place, format="parquet").to_table(columns=["venue", "symbol"], filter=condition)
            for row in rows.group_by(["venue", "symbol"]).aggregate([([], "count_all")]).to_pylist():
                counts[table][row["venue"], row["symbol"]] = row["count_all"]
    return counts


def clickhouse_counts(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[Key, int]]:
    """Return the answers to :data:`COUNT_QUERIES` (format JSONCompact) in the form of :func:`parquet_counts`."""
    return {
        name: {(venue, symbol): int(count) for venue, symbol, count in answer["data"]}
        for name, answer in answers.items()
    }


def doubts(venue: str, holds_books: Collection[str], instruments: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return messages on books that are invalid at the end: (errors, warnings), a line each.

    A book that never became valid although the recording has messages of it is an error: the replay lacks a book. One
    that is invalid only at the end was valid before, and is what the recording contains.

    Args:
        venue: of the recording.
        holds_books: symbols of books with messages in the recording.
        instruments: symbol → the collector's status.
    """
    faults, warnings = [], []
    for symbol, figures in sorted(instruments.items()):
        name = f"{venue} {symbol}"
        if figures["snapshots"] and not figures["valid"]:
            warnings.append(
                f"{name}: book invalid at the end of the recording: integrity check failed and no later snapshot"
            )
        elif not figures["snapshots"] and symbol in holds_books:
            why = (
                f"its snapshots were refused ({figures['resyncs']:,} requested again; see the events)"
                if figures["resyncs"]
                else "the recording contains no snapshot that its updates continue"
            )
            faults.append(f"{name}: its book never became valid: {why}")
    return faults, warnings


def tables(result: Mapping[str, Any], console: Console) -> list[Table]:
    """Return the summary for the user: one table where ``console`` is wide enough, else two; no figure is left out."""
    whole = _table(result, COLUMNS, _caption(result["run"]))
    if natural_width(whole, console) <= console.width:
        return [whole]
    first = [name for name in COLUMNS if name not in _SECOND]
    second = [name for name in COLUMNS if name in _SECOND or name in _NAMES]
    return [_table(result, first), _table(result, second, _caption(result["run"]), title="Replay, further figures")]


def natural_width(grid: Table, console: Console) -> int:
    """Return the width of ``grid`` in columns if nothing is cut off."""
    return console.measure(grid, options=console.options.update_width(1_000)).maximum


def _caption(run: Mapping[str, Any]) -> str:
    return (
        f"{run['frames']:,} frames, {run['records']:,} records in {run['seconds']:.1f} s "
        f"({run['frames_per_second']:,.0f} frames/s)\npeak memory {run['peak_memory_bytes'] / 2**20:,.0f} MiB"
    )


def _table(
    result: Mapping[str, Any], columns: Sequence[str], caption: str | None = None, title: str = "Replay"
) -> Table:
    grid = Table(title=title, caption=caption, box=None, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for name in columns:
        grid.add_column(name, justify="left" if name in ("venue", "symbol", "book") else "right")
    for row in result["instruments"]:
        cells = _cells(row)
        grid.add_row(*(cells[name] for name in columns))
    return grid


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    book, bad = row["book"], row["checksums_bad"]
    return {
        "venue": row["venue"],
        "symbol": row["symbol"],
        "snaps": f"{row['snapshots']:,}",
        "deltas": f"{row['deltas']:,}",
        "changes": f"{row['level_changes']:,}",
        "trades": f"{row['trades']:,}",
        "twice": f"{row['duplicate_trades']:,}",
        "gaps": f"{row['gaps']:,}",
        "checksums": f"{row['checksums_ok']:,}",
        "bad": f"[red]{bad:,}[/]" if bad else "0",
        "best bid": str(book["best_bid"] or "-"),
        "best ask": str(book["best_ask"] or "-"),
        "levels": f"{book['bid_levels'] or 0}/{book['ask_levels'] or 0}",
        "book": str(book["sha256"] or "-")[:12],
    }
