"""Prices and sizes as decimals, beside their mantissas and exponents.

A column of decimals has one scale, mantissas have any exponent. The scale is the same in all files, or readers that
take several files at once would round or refuse: 18, with 38 digits, which holds every 64-bit mantissa with an exponent
from -18 to 0. A value beyond is null, never rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.records import Record
from sinks.columns import columns

DECIMAL: Final = pa.decimal128(38, 18)
SUFFIX: Final = "_decimal"

_EXPONENT: Final = {
    "price_exponent": (
        *("price", "bid_price", "ask_price", "bid_prices", "ask_prices", "best_bid", "best_ask"),
        *("open", "high", "low", "close", "buy_price", "sell_price", "buy_limit_price", "sell_limit_price"),
    ),
    "size_exponent": ("size", "bid_size", "ask_size", "bid_sizes", "ask_sizes", "volume"),
    "vwap_exponent": ("vwap",),
}
_WHOLE: Final = Context(prec=200)
_LIMIT: Final = 10**38


def mantissas(kind: type[Record]) -> Mapping[str, str]:
    """Return the columns of a record class that are mantissas, and the column of the exponent of each."""
    return _mantissas(tuple(column.name for column in columns(kind)))


@cache
def _mantissas(names: tuple[str, ...]) -> Mapping[str, str]:
    return {name: exponent for name in names for exponent, of in _EXPONENT.items() if name in of and exponent in names}


def fields(kind: type[Record]) -> list[pa.Field[Any]]:
    """Return the columns that :func:`with_decimals` appends."""
    lists = {column.name: pa.types.is_list(column.type) for column in columns(kind)}
    return [
        pa.field(name + SUFFIX, pa.list_(DECIMAL) if lists[name] else DECIMAL, nullable=True)
        for name in mantissas(kind)
    ]


def with_decimals(kind: type[Record], rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with a column of decimals for each of mantissas; what is there already is made again.

    Args:
        rows: with all mantissas and exponents of the record class.
    """
    made = {field.name: field for field in fields(kind)}
    schema = pa.schema([*(field for field in rows.schema if field.name not in made), *made.values()])
    arrays: list[Any] = [rows.column(name) for name in schema.names if name not in made]
    for name, exponent in mantissas(kind).items():
        column: Any = rows.column(name)
        exponents = rows.column(exponent).to_numpy()
        if pa.types.is_list(column.type):
            lengths = column.value_lengths().to_numpy()
            ends: Any = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            arrays.append(pa.ListArray.from_arrays(ends, exact(column.flatten(), np.repeat(exponents, lengths))))
        else:
            arrays.append(exact(column, exponents))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def exact(values: pa.Array[Any], exponents: npt.NDArray[np.int32]) -> pa.Array[Any]:
    """Return mantissa × 10^exponent of each row as :data:`DECIMAL`; null where it does not fit exactly."""
    known: Any = values.fill_null(0)
    numbers = known.to_numpy()
    parts: list[Any] = []
    order: list[Any] = []
    for exponent in np.unique(exponents):
        at = np.flatnonzero(exponents == exponent)
        order.append(at)
        parts.append(_scaled(numbers[at], int(exponent)))
    if not parts:
        return pa.array([], DECIMAL)
    found: pa.Array[Any] = parts[0]
    if len(parts) > 1:
        back: Any = pa.array(np.argsort(np.concatenate(order)))
        found = pa.concat_arrays(parts).take(back)
    if values.null_count:
        known = pc.if_else(values.is_valid(), found, pa.scalar(None, DECIMAL))
        found = known
    return found


def _scaled(numbers: npt.NDArray[np.int64], exponent: int) -> Any:
    if not -DECIMAL.scale <= exponent <= 0:
        return pa.array([_fitting(int(number), exponent) for number in numbers], DECIMAL)
    # The 128 bits of a mantissa, sign-extended, are a decimal of the scale -exponent.
    words: Any = np.empty((len(numbers), 2), np.int64)
    words[:, 0] = numbers
    words[:, 1] = numbers >> 63
    unscaled = pa.Array.from_buffers(pa.decimal128(38, -exponent), len(numbers), [None, pa.py_buffer(words)])
    return unscaled.cast(DECIMAL)


def _fitting(number: int, exponent: int) -> Decimal | None:
    """Return a value of an unusual exponent, or None."""
    power = exponent + DECIMAL.scale
    units, rest = (number * 10**power, 0) if power >= 0 else divmod(number, 10**-power)
    return None if rest or abs(units) >= _LIMIT else Decimal(units).scaleb(-DECIMAL.scale, _WHOLE)
