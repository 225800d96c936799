"""Sampling of ``md.depth``: the last record of each instrument and interval, and the best levels of it. Pure, no I/O.

Which rows of a span are kept depends on the span alone, not on what was read before it: a span repeated after a crash
gives the same rows. So an interval that two batches share has a row of each; ``v_top_of_book`` takes the last.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphapulse.config import ClickHouseSettings

_SIDES: Final = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
_NS_PER_MS: Final = 1_000_000


class DepthSampling:
    """Which records and levels of ``md.depth`` are stored.

    Args:
        settings: ``depth_interval_ms`` and ``depth_levels``.
    """

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._interval = settings.depth_interval_ms * _NS_PER_MS
        self._levels = settings.depth_levels

    def cut(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return ``rows`` with the best levels of each side only."""
        for name in _SIDES:
            at = rows.schema.get_field_index(name)
            best = pc.list_slice(rows.column(at), 0, self._levels, return_fixed_size_list=False)
            rows = rows.set_column(at, rows.schema.field(at), best.cast(rows.schema.field(at).type))
        return rows

    def sample(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """Return the rows to store of one span: ``batches`` in the order of their offsets, together one batch."""
        if not self._interval or not batches:
            return batches
        rows = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
        venues, symbols = (_codes(rows, name) for name in ("venue", "symbol"))
        buckets = np.floor_divide(rows.column("received_time").cast(pa.int64()).to_numpy(), self._interval)
        keys = np.stack([venues, symbols, buckets], axis=1)[::-1]
        _, last = np.unique(keys, axis=0, return_index=True)
        kept = np.sort(len(keys) - 1 - last)
        return rows.take(pa.array(kept, pa.int64())).combine_chunks().to_batches()


def _codes(rows: pa.Table, name: str) -> Any:
    column: Any = rows.column(name).combine_chunks()
    return column.indices.to_numpy().astype(np.int64)
