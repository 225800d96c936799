"""Statistics of books summed over a time range: from memory where it reaches, else by ClickHouse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa

from gateway.datasets.dataset import DURATION, TEXT, Column, Dataset, Recent
from gateway.datasets.selection import Selection
from gateway.state import MarketState
from schemas.records import DeltaStatistics

_SUMS: Final = ("snapshots", "deltas", "level_changes", "trades")
COLUMNS: Final = (
    Column("venue", TEXT, "t.venue"),
    Column("symbol", TEXT, "t.symbol"),
    Column("windows", pa.int64(), "toInt64(count())"),
    Column("valid_windows", pa.int64(), "toInt64(countIf(t.valid))"),
    *(Column(name, pa.int64(), f"sum(t.{name})") for name in _SUMS),
    Column("latency_max", DURATION, "maxOrNullIf(t.latency_max, t.latency_max != 0)", nullable=True),
    Column(
        "latency_mean",
        DURATION,
        # In floats: the products are beyond 64 bits after some days.
        "if(sum(t.latency_mean != 0 ? t.snapshots + t.deltas : 0) = 0, NULL, "
        "toInt64(round(sum(toFloat64(t.latency_mean) * (t.snapshots + t.deltas)) "
        "/ sum(t.latency_mean != 0 ? t.snapshots + t.deltas : 0))))",
        nullable=True,
    ),
)
_SELECTED: Final = ", ".join(f"{column.sql} AS `{column.name}`" for column in COLUMNS)


def query(selection: Selection) -> tuple[str, dict[str, str | int]]:
    """Return the query and its parameters; the selection has both ends of its range."""
    bound: dict[str, str | int] = {"begin": selection.begin or 0, "end": selection.end or 0}
    where = [
        "window_start >= fromUnixTimestamp64Nano({begin:Int64}, 'UTC')",
        "window_start < fromUnixTimestamp64Nano({end:Int64}, 'UTC')",
    ]
    for name in ("venue", "symbol"):
        if name in selection.filters:
            where.append(f"{name} = {{of_{name}:String}}")
            bound[f"of_{name}"] = selection.filters[name]
    lines = [
        "SELECT " + _SELECTED + " FROM",
        "(SELECT * FROM stats WHERE " + " AND ".join(where),  # noqa: S608 conditions of our own; values are bound
        "ORDER BY window_start LIMIT 1 BY venue, symbol, window_start) AS t",
        "GROUP BY t.venue, t.symbol ORDER BY t.venue, t.symbol",
    ]
    return "\n".join(lines), bound


def covered(state: MarketState, selection: Selection, live_since: int) -> bool:
    """Return whether memory has every window of the selection."""
    begin = selection.begin or 0
    of = state.matching(selection.filters.get("venue"), selection.filters.get("symbol"))
    return all(each.windows[0].window_start <= begin if each.windows else live_since < begin for each in of)


def summed(state: MarketState, selection: Selection) -> pa.Table:
    """Return the sums of the windows in memory."""
    of = state.matching(selection.filters.get("venue"), selection.filters.get("symbol"))
    rows = []
    for each in sorted(of, key=lambda each: (each.venue, each.symbol)):
        windows = [window for window in each.windows if selection.has((window.window_start,))]
        if windows:
            rows.append({"venue": each.venue, "symbol": each.symbol, **_sums(windows)})
    return pa.Table.from_pylist(rows, schema=SUMMARY.schema)


def _sums(windows: list[DeltaStatistics]) -> dict[str, Any]:
    weighted = [(each.latency_mean, each.snapshots + each.deltas) for each in windows if each.latency_mean]
    weight = sum(count for _, count in weighted)
    return {
        "windows": len(windows),
        "valid_windows": sum(each.valid for each in windows),
        **{name: sum(getattr(each, name) for each in windows) for name in _SUMS},
        "latency_max": _largest(each.latency_max for each in windows if each.latency_max),
        "latency_mean": round(sum(latency * count for latency, count in weighted) / weight) if weight else None,
    }


def _largest(of: Iterable[int]) -> int | None:
    return max(of, default=None)


def _nothing(_: Selection) -> Recent:
    return Recent((), 0)


SUMMARY: Final = Dataset(
    name="summary",
    columns=COLUMNS,
    table="stats",
    order=("t.venue",),
    key_types=(),
    conditions={},
    key_of=lambda _: [],
    recent=_nothing,
)
"""Its columns; rows are few and come in one page."""
