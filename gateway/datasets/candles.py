"""Candles of one interval, by the time they open. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from gateway.datasets.columns import exact, key_columns
from gateway.datasets.dataset import DECIMAL, TEXT, TIME, Column, Dataset, Recent, Row
from gateway.datasets.selection import Key, Selection
from gateway.state import MarketState
from schemas.records import Candle

_NANO: Final = 10**9


def _decimal(name: str) -> Column:
    return Column(name, DECIMAL, f"CAST(t.{name} AS Decimal(38, 18))")


COLUMNS: Final = (
    Column("venue", TEXT, "t.venue"),
    Column("symbol", TEXT, "t.symbol"),
    Column("interval", pa.int64(), "t.interval_seconds"),
    Column("open_time", TIME, "t.open_time"),
    *map(_decimal, ("open", "high", "low", "close", "volume")),
    Column("quote_volume", TEXT, "toString(t.quote_volume)"),
    _decimal("vwap"),
    Column("trades", pa.int64(), "t.trades"),
    Column("revision", pa.int64(), "t.revision"),
    Column("partial", pa.bool_(), "t.partial"),
)


def candles(state: MarketState, live_since: Callable[[], int]) -> Dataset:
    """Return the candles that ``state`` (the latest of each instrument) and the table have."""
    return Dataset(
        name="candles",
        columns=COLUMNS,
        table="v_candles",
        order=("t.open_time", "t.venue", "t.symbol"),
        key_types=("String", "String"),
        conditions={
            "venue": "t.venue = {of_venue:String}",
            "symbol": "t.symbol = {of_symbol:String}",
            "interval": "t.interval_seconds = {of_interval:Int64}",
        },
        key_of=partial(key_columns, names=("open_time", "venue", "symbol")),
        recent=partial(_recent, state, live_since),
    )


def _recent(state: MarketState, live_since: Callable[[], int], selection: Selection) -> Recent:
    filters = selection.filters
    interval = int(filters["interval"]) * _NANO
    of = state.matching(filters.get("venue"), filters.get("symbol"))
    found = [candle for each in of if (candle := each.candles.get(interval)) is not None]
    since = max((candle.open_time - 1 for candle in found), default=live_since())
    return Recent(_rows(found, selection), since)


def _rows(of: list[Candle], selection: Selection) -> Iterator[tuple[Key, Callable[[], Row]]]:
    for candle in of:
        key = (candle.open_time, candle.venue, candle.symbol)
        if selection.has(key):
            yield key, partial(_row, candle)


def _row(candle: Candle) -> Row:
    prices = ("open", "high", "low", "close")
    return {
        "venue": candle.venue,
        "symbol": candle.symbol,
        "interval": candle.interval // _NANO,
        "open_time": candle.open_time,
        **{name: exact(getattr(candle, name), candle.price_exponent) for name in prices},
        "volume": exact(candle.volume, candle.size_exponent),
        "quote_volume": candle.quote_volume,
        "vwap": exact(candle.vwap, candle.vwap_exponent),
        "trades": candle.trades,
        "revision": candle.revision,
        "partial": candle.partial,
    }
