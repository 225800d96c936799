"""Binance's public data (data.binance.vision): ``trades`` and ``aggTrades``, spot and futures.

Spot files have no header, futures files have one. Times are milliseconds, in spot files from 2025 on microseconds:
told by their size, row by row. ``isBuyerMaker`` true: the taker sold. The symbol is only in the file's name.
https://github.com/binance/binance-public-data
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphapulse import topics
from sinks.load.faults import Fault
from sinks.load.fields import Fields
from sinks.load.formats.contract import Found, instruments
from sinks.load.rows import MILLI_OR_MICROSECONDS, Checked, TradeRows, only

NAME: Final = "binance"
SPOT: Final = "binance"
FUTURES: Final = "binance_futures"
AGGREGATE_ID: Final = "agg-"
"""Before the id of an aggregate trade: its numbers are others than those of trades."""

_TRADES: Final = ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker")
_AGGREGATES: Final = ("aggTradeId", "price", "quantity", "firstTradeId", "lastTradeId", "transactTime", "isBuyerMaker")
_MATCH: Final = "isBestMatch"
_FLAGS: Final = {"true": 2, "True": 2, "TRUE": 2, "false": 1, "False": 1, "FALSE": 1}
_FILE: Final = re.compile(r"([A-Z0-9]{2,40}(?:_[A-Z0-9]+)?)-(trades|aggTrades)-\d{4}-\d{2}", re.ASCII)
_WORD: Final = re.compile(r"[^a-z]")


class BinanceTrades:
    """``trades``, or ``aggTrades`` if ``aggregate``.

    Args:
        aggregate: whether rows are aggregate trades.
        spot: whether they are of the spot market: futures have one column less.
        header: whether the first line holds the names.
        symbol: as the file's name says; empty: it does not.
    """

    topic = topics.TRADES

    def __init__(self, *, aggregate: bool, spot: bool, header: bool, symbol: str) -> None:
        names = _AGGREGATES if aggregate else _TRADES
        self.columns: Sequence[str] = (*names, _MATCH) if spot else names
        self.header = header
        self.name = f"binance {'spot' if spot else 'futures'} {'aggTrades' if aggregate else 'trades'}"
        self._aggregate = aggregate
        self._spot = spot
        self._symbol = symbol

    def parse(self, fields: Fields, found: Found) -> tuple[TradeRows, list[Fault]]:
        """Return the trades; see :class:`sinks.load.formats.contract.Format`."""
        identity, price, size = self.columns[:3]
        checked = Checked(fields, self.columns)
        codes = np.zeros(len(fields), np.int32)
        pair = (SPOT if self._spot else FUTURES, self._symbol)
        numbers = instruments(checked, [pair], codes, "symbol", found)
        prices, sizes = checked.decimals(price), checked.decimals(size)
        times = checked.times(self.columns[5] if self._aggregate else self.columns[4], MILLI_OR_MICROSECONDS)
        sides = checked.choices("isBuyerMaker", _FLAGS)
        empty = fields.ends[:, 0] == fields.starts[:, 0]
        for row in np.flatnonzero(empty).tolist():
            checked.refuse(row, identity, "is empty")
        good = checked.good()
        ids = fields.take(good).texts(0)
        if self._aggregate:
            parts: Any = (pa.scalar(AGGREGATE_ID), ids, pa.scalar(""))
            ids = pc.binary_join_element_wise(*parts)
        rows = TradeRows(
            lines=fields.lines[good],
            instruments=numbers[good],
            named=found.named,
            ids=ids,
            sides=sides[good],
            prices=only(prices, good),
            sizes=only(sizes, good),
            # There is no time of receipt.
            exchange_times=times[good],
            received_times=times[good],
        )
        return rows, checked.faults()


def format_of(path: Path, first: Sequence[str], second: Sequence[str]) -> BinanceTrades | None:
    """Return the format of a file by its first two lines; None: none of Binance's."""
    header = bool(first) and not first[0].strip().isdigit()
    row = second if header else first
    named = _FILE.search(path.name)
    symbol = named[1] if named is not None else ""
    if header:
        words = [_WORD.sub("", name.lower()) for name in first]
        if "isbuyermaker" not in words and "wasthebuyerthemaker" not in words:
            return None
    for aggregate, names in ((False, _TRADES), (True, _AGGREGATES)):
        for spot in (True, False):
            # Spot trades and aggregate trades of futures have seven fields both: the flags tell them apart.
            flags = row[len(names) - 1 :]
            if len(row) == len(names) + spot and all(flag in _FLAGS for flag in flags):
                return BinanceTrades(aggregate=aggregate, spot=spot, header=header, symbol=symbol)
    if header and not row:
        aggregate = "agg" in _WORD.sub("", first[0].lower())
        spot = len(first) > len(_AGGREGATES if aggregate else _TRADES)
        return BinanceTrades(aggregate=aggregate, spot=spot, header=True, symbol=symbol)
    if named is None:
        return None
    # A first row that is bad itself: the file's name and the number of fields tell the format.
    aggregate = named[2] == "aggTrades"
    return BinanceTrades(
        aggregate=aggregate, spot=len(row) > len(_AGGREGATES if aggregate else _TRADES), header=header, symbol=symbol
    )
