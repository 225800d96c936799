"""Tardis's downloadable CSV files: ``trades``, ``incremental_book_L2``, ``book_snapshot_5`` and ``_25``.

A header names the columns; times are microseconds since 1970, UTC. https://docs.tardis.dev/downloadable-csv-files
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from alphapulse import topics
from sinks.load.faults import Fault
from sinks.load.fields import Fields, Integers
from sinks.load.formats.contract import Found, instruments
from sinks.load.numbers import decimals
from sinks.load.rows import MICROSECONDS, Break, Checked, Codes, LevelRows, TradeRows, only

NAME: Final = "tardis"
_COMMON: Final = ("exchange", "symbol", "timestamp", "local_timestamp")
TRADES: Final = (*_COMMON, "id", "side", "price", "amount")
LEVELS: Final = (*_COMMON, "is_snapshot", "side", "price", "amount")
_LEVEL: Final = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)", re.ASCII)

_SIDES: Final = {"buy": 1, "sell": 2, "unknown": 0}
_BOOK_SIDES: Final = {"bid": 1, "ask": 0}
_FLAGS: Final = {"true": 1, "false": 0}


def format_of(columns: Sequence[str]) -> TardisTrades | TardisLevels | TardisSnapshots | None:
    """Return the format with these columns, in any order and with others between them; None: none of Tardis's."""
    if not set(_COMMON) <= set(columns):
        return None
    if set(LEVELS) <= set(columns):
        return TardisLevels(columns)
    if set(TRADES) <= set(columns):
        return TardisTrades(columns)
    return TardisSnapshots(columns) if "asks[0].price" in columns and "bids[0].price" in columns else None


def _instruments(checked: Checked, found: Found) -> Codes:
    exchanges, exchange_names = checked.fields.codes(checked.at("exchange"))
    symbols, symbol_names = checked.fields.codes(checked.at("symbol"))
    width = max(len(symbol_names), 1)
    distinct, codes = np.unique(exchanges.astype(np.int64) * width + symbols, return_inverse=True)
    pairs = [(exchange_names[pair // width], symbol_names[pair % width]) for pair in distinct.tolist()]
    return instruments(checked, pairs, codes.astype(np.int32), "symbol", found)


class TardisTrades:
    """``trades``: ``side`` is the aggressor's; ``id`` is empty where the exchange gives none."""

    name = "tardis trades"
    topic = topics.TRADES
    header = True

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def parse(self, fields: Fields, found: Found) -> tuple[TradeRows, list[Fault]]:
        """Return the trades; see :class:`sinks.load.formats.contract.Format`."""
        checked = Checked(fields, self.columns)
        numbers = _instruments(checked, found)
        exchange_times = checked.times("timestamp", MICROSECONDS)
        received_times = checked.times("local_timestamp", MICROSECONDS)
        sides = checked.choices("side", _SIDES)
        prices, sizes = checked.decimals("price"), checked.decimals("amount")
        good = checked.good()
        rows = TradeRows(
            lines=fields.lines[good],
            instruments=numbers[good],
            named=found.named,
            ids=fields.take(good).texts(checked.at("id")),
            sides=sides[good],
            prices=only(prices, good),
            sizes=only(sizes, good),
            exchange_times=exchange_times[good],
            received_times=received_times[good],
        )
        return rows, checked.faults()


def breaks(checked: Checked, numbers: Codes, snapshots: Codes | None) -> list[Break]:
    """Return the bad rows as breaks of their books; ``snapshots``: 1 or 0, -1: not known; None: each line is one."""
    return [
        Break(
            int(checked.fields.lines[row]),
            int(numbers[row]) if numbers[row] >= 0 else None,
            None if snapshots is None or snapshots[row] < 0 else bool(snapshots[row]),
        )
        for row in sorted(checked.bad)
    ]


class TardisLevels:
    """``incremental_book_L2``: a changed level a row, an amount of 0 deletes it.

    Rows of one message have the same ``local_timestamp``. When ``is_snapshot`` becomes true, the book before is void.
    """

    name = "tardis incremental_book_L2"
    topic = topics.L2
    header = True

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def parse(self, fields: Fields, found: Found) -> tuple[LevelRows, list[Fault]]:
        """Return the levels; see :class:`sinks.load.formats.contract.Format`."""
        checked = Checked(fields, self.columns)
        numbers = _instruments(checked, found)
        exchange_times = checked.times("timestamp", MICROSECONDS)
        received_times = checked.times("local_timestamp", MICROSECONDS)
        snapshots = checked.choices("is_snapshot", _FLAGS)
        sides = checked.choices("side", _BOOK_SIDES)
        prices, sizes = checked.decimals("price"), checked.decimals("amount")
        good = checked.good()
        rows = LevelRows(
            lines=fields.lines[good],
            instruments=numbers[good],
            named=found.named,
            snapshots=snapshots[good] == 1,
            bids=sides[good] == 1,
            prices=only(prices, good),
            sizes=only(sizes, good),
            exchange_times=exchange_times[good],
            received_times=received_times[good],
            breaks=breaks(checked, numbers, snapshots),
            whole_lines=False,
        )
        return rows, checked.faults()


class TardisSnapshots:
    """``book_snapshot_5`` and ``book_snapshot_25``: the best levels of a book in each row; missing levels are empty."""

    topic = topics.L2
    header = True

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        places = {
            (side, int(level), what): at
            for at, column in enumerate(columns)
            if (named := _LEVEL.fullmatch(column)) is not None
            for side, level, what in [named.groups()]
        }
        levels = sorted({(side, level) for side, level, what in places if (side, level, "amount") in places})
        self._prices = np.array([places[side, level, "price"] for side, level in levels])
        self._amounts = np.array([places[side, level, "amount"] for side, level in levels])
        self._bids = np.array([side == "bids" for side, _ in levels])
        self.name = f"tardis book_snapshot_{len(levels) // 2}"

    def parse(self, fields: Fields, found: Found) -> tuple[LevelRows, list[Fault]]:
        """Return the levels; see :class:`sinks.load.formats.contract.Format`."""
        checked = Checked(fields, self.columns)
        numbers = _instruments(checked, found)
        exchange_times = checked.times("timestamp", MICROSECONDS)
        received_times = checked.times("local_timestamp", MICROSECONDS)
        each = len(self._bids)

        def levels(places: Integers) -> Fields:
            starts, ends = fields.starts[:, places], fields.ends[:, places]
            return Fields(fields.data, np.repeat(fields.lines, each), starts.reshape(-1, 1), ends.reshape(-1, 1))

        prices, amounts = levels(self._prices), levels(self._amounts)
        here = (prices.ends > prices.starts)[:, 0]
        odd = here != (amounts.ends > amounts.starts)[:, 0]
        rows_of = np.repeat(np.arange(len(fields)), each)
        for at in np.flatnonzero(odd).tolist():
            missing, there = (self._amounts, self._prices) if here[at] else (self._prices, self._amounts)
            level = at % each
            told = f"is empty, but {self.columns[int(there[level])]} is not"
            checked.refuse(int(rows_of[at]), self.columns[int(missing[level])], told)
        price, amount = decimals(prices.take(here), 0), decimals(amounts.take(here & ~odd), 0)
        present = np.flatnonzero(here)
        for found_numbers, places, at_rows in (
            (price, self._prices, present),
            (amount, self._amounts, np.flatnonzero(here & ~odd)),
        ):
            for at, reason in found_numbers.reasons.items():
                flat = int(at_rows[at])
                checked.refuse(int(rows_of[flat]), self.columns[int(places[flat % each])], reason)
        filled = np.zeros(len(fields), np.bool_)
        filled[rows_of[present]] = True
        for row in np.flatnonzero(~filled).tolist():
            checked.refuse(row, "", "no level on either side")
        good = checked.good()
        of_good = good[rows_of[present]]
        of_row = rows_of[present][of_good]
        amounts_of_good = good[rows_of[np.flatnonzero(here & ~odd)]]
        rows = LevelRows(
            lines=fields.lines[of_row],
            instruments=numbers[of_row],
            named=found.named,
            snapshots=np.ones(len(of_row), np.bool_),
            bids=np.tile(self._bids, len(fields))[present][of_good],
            prices=only(price, of_good),
            sizes=only(amount, amounts_of_good),
            exchange_times=exchange_times[of_row],
            received_times=received_times[of_row],
            breaks=breaks(checked, numbers, None),
            whole_lines=True,
        )
        return rows, checked.faults()
