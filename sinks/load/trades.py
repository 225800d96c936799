"""Trades of a source to rows of ``trades``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphapulse.instruments import Instrument
from alphapulse.recent import RecentIds
from schemas.records import Trade
from sinks.columns import CATEGORY, TIME, schema
from sinks.load.faults import SurveyDiffers
from sinks.load.fields import Integers, Texts
from sinks.load.rows import Booleans, Codes, TradeRows

_SIDES: Final = ("UNKNOWN", "BUY", "SELL")
REMEMBERED: Final = 1_000_000
"""Ids of an instrument among which a repetition is looked for; the tables know all that they hold."""
MADE_ID: Final = "@"
"""Before an id made here, for a trade without one."""


def category(codes: Codes, values: Sequence[str]) -> pa.Array[Any]:
    """Return texts given by their index in ``values``."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(values), pa.string())).cast(
        CATEGORY
    )


class TradeBuilder:
    """Makes rows of trades, without those that came before in the source.

    A trade without an id gets one of its time of receipt and its place among the trades of that instant:
    ``@1612137600123456000.0``. It depends on the content alone, so the next load makes the same.

    Args:
        named: instruments of the source.
        price_scales, size_scales: decimals, by number of the instrument.
    """

    def __init__(self, named: Sequence[Instrument], price_scales: Integers, size_scales: Integers) -> None:
        self._named = named
        self._prices = price_scales
        self._sizes = size_scales
        self._instants: dict[int, tuple[int, int]] = {}
        self._known: dict[int, _Ids] = {}
        self.repeated = 0

    def add(self, rows: TradeRows) -> pa.RecordBatch:
        """Return the rows of trades; ``_offset`` is the line, ``_partition`` 0."""
        ids = self._with_ids(rows)
        new = self._new(rows.instruments, ids)
        self.repeated += len(new) - int(new.sum())
        prices, exact = rows.prices.at(self._prices[rows.instruments])
        sizes, fits = rows.sizes.at(self._sizes[rows.instruments])
        if not (exact & fits).all():
            raise SurveyDiffers
        kept = [
            category(rows.instruments, [one.venue for one in self._named]),
            category(rows.instruments, [one.symbol for one in self._named]),
            ids,
            category(rows.sides, _SIDES),
            pa.array(prices),
            pa.array(sizes),
            pa.array((-self._prices[rows.instruments]).astype(np.int32)),
            pa.array((-self._sizes[rows.instruments]).astype(np.int32)),
            pa.array(rows.exchange_times).cast(TIME),
            pa.array(rows.received_times).cast(TIME),
            pa.array(np.zeros(len(new), np.int32)),
            pa.array(rows.lines),
        ]
        made = pa.RecordBatch.from_arrays(kept, schema=schema(Trade))
        return made if new.all() else made.filter(pa.array(new))

    def _with_ids(self, rows: TradeRows) -> Texts:
        lengths: Any = pc.binary_length(rows.ids)
        empty = lengths.to_numpy() == 0
        if not empty.any():
            return rows.ids
        ids = rows.ids.to_pylist()
        times, codes = rows.received_times.tolist(), rows.instruments.tolist()
        for row in np.flatnonzero(empty).tolist():
            last, place = self._instants.get(codes[row], (0, -1))
            place = place + 1 if last == times[row] else 0
            self._instants[codes[row]] = (times[row], place)
            ids[row] = f"{MADE_ID}{times[row]}.{place}"
        return pa.array(ids, pa.string())

    def _new(self, codes: Codes, ids: Texts) -> Booleans:
        """Return which trades are the first with their id."""
        new = np.ones(len(ids), np.bool_)
        for code in np.unique(codes).tolist():
            mine = np.flatnonzero(codes == code)
            known = self._known.setdefault(code, _Ids())
            new[mine] = known.add(ids.take(pa.array(mine)))
        return new


class _Ids:
    """The last ids of an instrument. Numbers that rise, as most venues' ids do, are only looked up after one that does
    not: until then they are kept as they came.
    """

    def __init__(self) -> None:
        self._last = -1
        self._risen: deque[Texts] = deque()
        self._recent: RecentIds[str] | None = None

    def add(self, texts: Texts) -> Booleans:
        """Add ids; return which are new."""
        if self._recent is None:
            last = _rising(texts, self._last)
            if last is not None:
                self._last = last
                self._risen.append(texts)
                while sum(map(len, self._risen)) - len(self._risen[0]) >= REMEMBERED:
                    self._risen.popleft()
                return np.ones(len(texts), np.bool_)
            self._recent = RecentIds(REMEMBERED, chain.from_iterable(risen.to_pylist() for risen in self._risen))
            self._risen.clear()
        recent = self._recent
        return np.fromiter((recent.add(text) for text in texts.to_pylist()), np.bool_, len(texts))


def _rising(texts: Texts, after: int) -> int | None:
    """Return the last of numbers that rise from ``after`` on; None if they are not such."""
    lengths: Any = pc.binary_length(texts)
    if pc.max(lengths).as_py() > 18 or not pc.all(pc.ascii_is_decimal(texts)).as_py():
        return None
    numbers = texts.cast(pa.int64()).to_numpy()
    return int(numbers[-1]) if numbers[0] > after and (np.diff(numbers) > 0).all() else None
