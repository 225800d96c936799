"""Rows of a source as columns, before they become records; and the checks that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from alphapulse.instruments import Instrument
from sinks.load.faults import Fault, shown
from sinks.load.fields import Fields, Integers, Texts
from sinks.load.numbers import Decimals, decimals, integers

Codes = npt.NDArray[np.int32]
Booleans = npt.NDArray[np.bool_]

EARLIEST_S: Final = 10**8
"""Times before 1973-03-03 are refused: they are in another unit than the format says."""
LATEST_S: Final = 9 * 10**9
"""Later times do not fit 64 bits of nanoseconds."""


@dataclass(frozen=True, slots=True)
class Times:
    """How a format writes times: ticks of a second. The unit is told by the size of the number where there are two."""

    units: Mapping[str, int]

    def nanoseconds(self, values: Integers) -> tuple[Integers, Booleans]:
        """Return times in nanoseconds, and which are times."""
        found = np.zeros(len(values), np.int64)
        good = np.zeros(len(values), np.bool_)
        for ticks in self.units.values():
            mine = (values >= EARLIEST_S * ticks) & (values < LATEST_S * ticks)
            found[mine] = values[mine] * (10**9 // ticks)
            good |= mine
        return found, good


MICROSECONDS: Final = Times({"microseconds": 10**6})
MILLI_OR_MICROSECONDS: Final = Times({"milliseconds": 10**3, "microseconds": 10**6})


@dataclass(slots=True)
class Checked:
    """Fields of a block while they are checked: what is wrong with a row is noted once.

    Attributes:
        fields: of the block.
        columns: names of the fields.
        bad: row → column and reason.
    """

    fields: Fields
    columns: Sequence[str]
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)

    def refuse(self, row: int, column: str, reason: str) -> None:
        """Note what is wrong with a row, unless it has a fault already."""
        self.bad.setdefault(row, (column, reason))

    def at(self, column: str) -> int:
        """Return the position of a column."""
        return self.columns.index(column)

    def decimals(self, column: str) -> Decimals:
        """Return a column of numbers, 0 or more."""
        found = decimals(self.fields, self.at(column))
        for row, reason in found.reasons.items():
            self.refuse(row, column, reason)
        return found

    def times(self, column: str, form: Times) -> Integers:
        """Return a column of times in nanoseconds."""
        at = self.at(column)
        found = integers(self.fields, at)
        values, good = form.nanoseconds(found.mantissas)
        for row in np.flatnonzero(~good).tolist():
            unit = " or ".join(form.units)
            reason = found.reasons.get(row, f"not a time in {unit} since 1970: {shown(self.fields.bytes_of(row, at))}")
            self.refuse(row, column, reason)
        return values

    def choices(self, column: str, meanings: Mapping[str, int]) -> Codes:
        """Return a column of few texts as what each means; -1 for others."""
        codes, texts = self.fields.codes(self.at(column))
        meant = np.array([meanings.get(text, -1) for text in texts] or [0], np.int32)
        found = meant[codes] if len(codes) else np.zeros(0, np.int32)
        for row in np.flatnonzero(found < 0).tolist():
            wanted = " or ".join(dict.fromkeys(meanings))
            text = shown(self.fields.bytes_of(row, self.at(column)))
            self.refuse(row, column, f"expected {wanted}, found {text}")
        return found

    def faults(self) -> list[Fault]:
        """Return the bad rows, in order."""
        return [
            Fault(int(self.fields.lines[row]), column, reason, self.fields.line(row))
            for row, (column, reason) in sorted(self.bad.items())
        ]

    def good(self) -> Booleans:
        """Return which rows have no fault."""
        found = np.ones(len(self.fields), np.bool_)
        found[list(self.bad)] = False
        return found


@dataclass(frozen=True, slots=True)
class TradeRows:
    """Trades of a block.

    Attributes:
        lines: of the rows in the source.
        instruments: number of each row's instrument in ``named``.
        named: instruments of the source so far.
        ids: trade ids; empty where the vendor has none.
        sides: index in ``UNKNOWN, BUY, SELL``.
        prices, sizes: numbers.
        exchange_times, received_times: nanoseconds.
    """

    lines: Integers
    instruments: Codes
    named: Sequence[Instrument]
    ids: Texts
    sides: Codes
    prices: Decimals
    sizes: Decimals
    exchange_times: Integers
    received_times: Integers


@dataclass(frozen=True, slots=True)
class Break:
    """A row of a book that cannot be loaded: what follows cannot be proven.

    Attributes:
        line: its line.
        instrument: number of its instrument; None: it may be any.
        snapshot: whether it was part of a snapshot; None: it may have been.
    """

    line: int
    instrument: int | None
    snapshot: bool | None


@dataclass(frozen=True, slots=True)
class LevelRows:
    """Levels of books of a block, in the order of the source.

    Attributes:
        lines: of the rows in the source.
        instruments: number of each row's instrument in ``named``.
        named: instruments of the source so far.
        snapshots: whether a level is part of a snapshot.
        bids: whether it is a bid.
        prices, sizes: numbers; a size of 0 deletes the level.
        exchange_times, received_times: nanoseconds.
        breaks: rows that are missing.
        whole_lines: whether each line is a whole book.
    """

    lines: Integers
    instruments: Codes
    named: Sequence[Instrument]
    snapshots: Booleans
    bids: Booleans
    prices: Decimals
    sizes: Decimals
    exchange_times: Integers
    received_times: Integers
    breaks: Sequence[Break]
    whole_lines: bool


def only(numbers: Decimals, rows: Booleans) -> Decimals:
    """Return some of the numbers, all of them without a fault."""
    return Decimals(numbers.mantissas[rows], numbers.scales[rows], {})
