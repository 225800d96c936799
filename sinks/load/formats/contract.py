"""What a format is: a source's columns to rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from alphapulse.instruments import Instrument
from sinks.load.faults import Fault
from sinks.load.fields import Fields
from sinks.load.rows import Checked, Codes, LevelRows, TradeRows
from sinks.load.symbols import Symbols


@dataclass(slots=True)
class Found:
    """Instruments of a source, numbered in the order in which they appear."""

    symbols: Symbols
    named: list[Instrument] = field(default_factory=list)

    def number(self, instrument: Instrument) -> int:
        """Return the instrument's number."""
        if instrument not in self.named:
            self.named.append(instrument)
        return self.named.index(instrument)


class Format(Protocol):
    """A format of a vendor.

    Attributes:
        name: for people: ``tardis incremental_book_L2``.
        topic: of its records.
        columns: names of its fields, in the order of the file.
        header: whether the first line holds the names.
    """

    name: str
    topic: str
    columns: Sequence[str]
    header: bool

    def parse(self, fields: Fields, found: Found) -> tuple[TradeRows | LevelRows, list[Fault]]:
        """Return the rows of lines, and the faults of the others."""


def instruments(checked: Checked, pairs: Sequence[tuple[str, str]], codes: Codes, column: str, found: Found) -> Codes:
    """Return the number of each row's instrument; a row without one has a fault, and -1.

    Args:
        checked: gets the faults.
        pairs: distinct (exchange, name).
        codes: index in ``pairs``, by row.
        column: that a fault names.
        found: numbers them.
    """
    numbers = np.full(max(len(pairs), 1), -1, np.int32)
    reasons: dict[int, str] = {}
    for at, answer in enumerate(found.symbols.find(pairs)):
        if isinstance(answer, str):
            reasons[at] = answer
        else:
            numbers[at] = found.number(answer)
    made = numbers[codes] if len(codes) else np.zeros(0, np.int32)
    for row in np.flatnonzero(made < 0).tolist():
        checked.refuse(row, column, reasons[int(codes[row])])
    return made
