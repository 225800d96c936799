"""Serialized state of a partition in the state topic: one record per instrument and symbol.

Pure. The format is that of :mod:`schemas.checkpoints`, which defines the parts that other services read; the rest is
internal to this package.
"""

from __future__ import annotations

import msgspec

from schemas.checkpoints import CheckpointRecord, InstrumentEnvelope, Positions
from stream_processors.processing.candles import CandleState
from stream_processors.processing.statistics import WindowState


class Totals(msgspec.Struct, array_like=True):
    """Counts since the instrument's state was created; they survive restarts of the process.

    ``trades`` are distinct ones, ``base_volume`` is the sum of their sizes, a mantissa at ``volume_exponent``.
    """

    snapshots: int = 0
    deltas: int = 0
    level_changes: int = 0
    gaps: int = 0
    invalidated: int = 0
    trades: int = 0
    duplicate_trades: int = 0
    base_volume: str = "0"
    volume_exponent: int = 0

    def trade(self, size: int, exponent: int) -> None:
        """Count a trade of ``size`` at ``exponent``."""
        self.trades += 1
        # MessagePack has no integers beyond 64 bits; they are stored as text.
        volume = int(self.base_volume)
        if exponent < self.volume_exponent:
            volume *= int(10 ** (self.volume_exponent - exponent))
            self.volume_exponent = exponent
        volume += size * int(10 ** (exponent - self.volume_exponent))
        self.base_volume = str(volume)


class InstrumentRecord(InstrumentEnvelope, array_like=True):
    """State of one instrument after all records below ``positions``."""

    totals: Totals
    windows: WindowState
    candles: CandleState
    id_ranges: list[tuple[int, int]]
    id_texts: list[str]


class SymbolRecord(CheckpointRecord, array_like=True):
    """State of one symbol after all records below ``positions``: encoded Depth and ArbitrageOpportunity."""

    symbol: str
    positions: Positions
    books: list[bytes]
    opportunities: list[bytes]
