"""Arbitrage opportunities, each once, in its latest state within the range. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from gateway.datasets.columns import exact, key_columns
from gateway.datasets.dataset import DECIMAL, TEXT, TIME, Column, Dataset, Recent, Row
from gateway.datasets.selection import Key, Selection
from gateway.state import MarketState
from schemas.records import ArbitrageOpportunity

NAME: Final = "opportunities"
_PRICES: Final = ("buy_price", "sell_price", "buy_limit_price", "sell_limit_price")
_NUMBERS: Final = ("net_basis_points", "buy_fee_basis_points", "sell_fee_basis_points")
_TIMES: Final = ("opened_time", "updated_time", "buy_book_time", "sell_book_time")

COLUMNS: Final = (
    Column("opportunity_id", TEXT, "t.opportunity_id"),
    Column("state", TEXT, "lower(t.state)"),
    Column("symbol", TEXT, "t.symbol"),
    Column("buy_venue", TEXT, "t.buy_venue"),
    Column("sell_venue", TEXT, "t.sell_venue"),
    *(Column(name, DECIMAL, f"exact(t.{name}, t.price_exponent)") for name in _PRICES),
    Column("size", DECIMAL, "exact(t.size, t.size_exponent)"),
    Column("gross_profit", TEXT, "t.gross_profit"),
    Column("net_profit", TEXT, "t.net_profit"),
    *(Column(name, pa.float64(), f"t.{name}") for name in _NUMBERS),
    *(Column(name, TIME, f"t.{name}") for name in _TIMES),
    Column("close_reason", TEXT, "t.close_reason", nullable=True),
)

# The latest state of each within the range; the position must not decide which one that is.
_LATEST: Final = (
    "(SELECT * FROM arbitrage WHERE updated_time >= fromUnixTimestamp64Nano({begin:Int64}, 'UTC') "
    "AND updated_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC') "
    "ORDER BY updated_time DESC, state = 'CLOSED' DESC, _offset DESC LIMIT 1 BY opportunity_id)"
)


def opportunities(state: MarketState, live_since: Callable[[], int]) -> Dataset:
    """Return the opportunities that ``state`` and the table have; a selection of them needs both ends of its range."""
    return Dataset(
        name=NAME,
        columns=COLUMNS,
        table=_LATEST,
        order=("t.updated_time", "t.opportunity_id"),
        key_types=("String",),
        conditions={
            "venue": "{of_venue:String} IN (t.buy_venue, t.sell_venue)",
            "symbol": "t.symbol = {of_symbol:String}",
            "state": "(t.state = 'CLOSED') = ({of_state:String} = 'closed')",
        },
        key_of=partial(key_columns, names=("updated_time", "opportunity_id")),
        recent=partial(_recent, state, live_since),
        identity=1,
    )


def _recent(state: MarketState, live_since: Callable[[], int], selection: Selection) -> Recent:
    closed = state.opportunities.closed()
    since = max((each.updated_time for each in closed[:1]), default=0) if state.opportunities.full else live_since()
    return Recent(_rows([*state.opportunities.open(), *closed], selection), since)


def _rows(of: list[ArbitrageOpportunity], selection: Selection) -> Iterator[tuple[Key, Callable[[], Row]]]:
    venue, symbol, wanted = (selection.filters.get(name) for name in ("venue", "symbol", "state"))
    for each in of:
        key = (each.updated_time, each.opportunity_id)
        if (
            (venue is None or venue in (each.buy_venue, each.sell_venue))
            and (symbol is None or each.symbol == symbol)
            and (wanted is None or (each.state == "CLOSED") == (wanted == "closed"))
            and selection.has(key)
        ):
            yield key, partial(row, each)


def row(each: ArbitrageOpportunity) -> Row:
    """Return the row of an opportunity."""
    return each.__dict__ | {
        **{name: exact(getattr(each, name), each.price_exponent) for name in _PRICES},
        "size": exact(each.size, each.size_exponent),
        "state": each.state.lower(),
    }


def key(each: ArbitrageOpportunity) -> Key:
    """Return the key of an opportunity's row."""
    return (each.updated_time, each.opportunity_id)
