"""Trades, by the time their collector received them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from gateway.datasets.columns import exact, key_columns
from gateway.datasets.dataset import DECIMAL, TEXT, TIME, Column, Dataset, Recent, Row
from gateway.datasets.selection import Key, Selection
from gateway.state import MarketState, ShownInstrument
from schemas.records import Trade

COLUMNS: Final = (
    Column("venue", TEXT, "t.venue"),
    Column("symbol", TEXT, "t.symbol"),
    Column("id", TEXT, "t.trade_id"),
    Column("side", TEXT, "lower(t.side)"),
    Column("price", DECIMAL, "exact(t.price, t.price_exponent)"),
    Column("size", DECIMAL, "exact(t.size, t.size_exponent)"),
    Column("time", TIME, "if(toUnixTimestamp64Nano(t.exchange_time) = 0, t.received_time, t.exchange_time)"),
    Column("received_time", TIME, "t.received_time"),
)


def trades(state: MarketState, live_since: Callable[[], int]) -> Dataset:
    """Return the trades that ``state`` and the table have.

    Args:
        live_since: time (ns) since which ``state`` has every record.
    """
    return Dataset(
        name="trades",
        columns=COLUMNS,
        table="trades",
        order=("t.received_time", "t.venue", "t.symbol", "t.trade_id"),
        key_types=("String", "String", "String"),
        conditions={"venue": "t.venue = {of_venue:String}", "symbol": "t.symbol = {of_symbol:String}"},
        key_of=partial(key_columns, names=("received_time", "venue", "symbol", "id")),
        recent=partial(_recent, state, live_since),
    )


def _recent(state: MarketState, live_since: Callable[[], int], selection: Selection) -> Recent:
    of = state.matching(selection.filters.get("venue"), selection.filters.get("symbol"))
    since = max((_since(each, live_since()) for each in of), default=live_since())
    kept = [list(each.trades) for each in of]  # what a thread reads must not change meanwhile
    return Recent(_rows(kept, selection), since, size=sum(map(len, kept)))


def _since(of: ShownInstrument, live_since: int) -> int:
    if not of.trades:
        return live_since
    oldest = of.trades[0].received_time
    return oldest if len(of.trades) == of.trades.maxlen else min(oldest, live_since)


def _rows(kept: list[list[Trade]], selection: Selection) -> Iterator[tuple[Key, Callable[[], Row]]]:
    for of_instrument in kept:
        for trade in of_instrument:
            key = (trade.received_time, trade.venue, trade.symbol, trade.trade_id)
            if selection.has(key):
                yield key, partial(_row, trade)


def _row(trade: Trade) -> Row:
    return {
        "venue": trade.venue,
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "side": trade.side.lower(),
        "price": exact(trade.price, trade.price_exponent),
        "size": exact(trade.size, trade.size_exponent),
        "time": trade.exchange_time or trade.received_time,
        "received_time": trade.received_time,
    }
