"""Statistics of one book by windows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from gateway.datasets.columns import exact_or_none, key_columns
from gateway.datasets.dataset import DECIMAL, DURATION, TEXT, TIME, Column, Dataset, Recent, Row
from gateway.datasets.selection import Key, Selection
from gateway.state import MarketState
from schemas.records import DeltaStatistics

_COUNTS: Final = (
    "snapshots",
    "deltas",
    "level_changes",
    "levels_added",
    "levels_updated",
    "levels_removed",
    "trades",
    "bid_levels",
    "ask_levels",
)


def _price(name: str) -> Column:
    # A lambda's type does not follow the nullability of its argument, hence the cast outside of it.
    value = f"exact(assumeNotNull(t.{name}), t.price_exponent)"
    sql = f"if(t.{name} IS NULL, NULL, CAST({value} AS Nullable(Decimal(38, 18))))"
    return Column(name, DECIMAL, sql, nullable=True)


COLUMNS: Final = (
    Column("venue", TEXT, "t.venue"),
    Column("symbol", TEXT, "t.symbol"),
    Column("window_start", TIME, "t.window_start"),
    Column("window_end", TIME, "t.window_end"),
    Column("epoch", pa.int64(), "t.epoch", as_text=True),
    Column("sequence", pa.int64(), "t.sequence"),
    Column("valid", pa.bool_(), "t.valid"),
    *(Column(name, pa.int64(), f"t.{name}") for name in _COUNTS),
    _price("best_bid"),
    _price("best_ask"),
    Column("latency_max", DURATION, "nullIf(t.latency_max, 0)", nullable=True),
    Column("latency_mean", DURATION, "nullIf(t.latency_mean, 0)", nullable=True),
)


def statistics(state: MarketState, live_since: Callable[[], int]) -> Dataset:
    """Return the windows that ``state`` and the table have."""
    return Dataset(
        name="windows",
        columns=COLUMNS,
        table="stats",
        order=("t.window_start", "t.venue", "t.symbol"),
        key_types=("String", "String"),
        conditions={"venue": "t.venue = {of_venue:String}", "symbol": "t.symbol = {of_symbol:String}"},
        key_of=partial(key_columns, names=("window_start", "venue", "symbol")),
        recent=partial(_recent, state, live_since),
        once=True,
    )


def _recent(state: MarketState, live_since: Callable[[], int], selection: Selection) -> Recent:
    of = state.matching(selection.filters.get("venue"), selection.filters.get("symbol"))
    found = [each.windows for each in of]
    since = max((windows[0].window_start - 1 for windows in found if windows), default=live_since())
    return Recent(_rows([window for windows in found for window in windows], selection), since)


def _rows(of: list[DeltaStatistics], selection: Selection) -> Iterator[tuple[Key, Callable[[], Row]]]:
    for window in of:
        key = (window.window_start, window.venue, window.symbol)
        if selection.has(key):
            yield key, partial(_row, window)


def _row(window: DeltaStatistics) -> Row:
    return window.__dict__ | {
        "best_bid": exact_or_none(window.best_bid, window.price_exponent),
        "best_ask": exact_or_none(window.best_ask, window.price_exponent),
        "latency_max": window.latency_max or None,
        "latency_mean": window.latency_mean or None,
    }
