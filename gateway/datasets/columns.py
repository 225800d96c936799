"""Values of columns: exact decimals and keys. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Final

import pyarrow as pa

from gateway.datasets.selection import Key

_WIDE: Final = Context(prec=60)


def exact(mantissa: int, exponent: int) -> Decimal:
    """Return ``mantissa × 10**exponent``."""
    return Decimal(mantissa).scaleb(exponent, _WIDE)


def exact_or_none(mantissa: int | None, exponent: int) -> Decimal | None:
    """Return the same, of a value that may be missing."""
    return None if mantissa is None else exact(mantissa, exponent)


def key_columns(rows: pa.Table, names: Sequence[str]) -> list[Key]:
    """Return the keys of ``rows`` that consist of columns; the first is a time. Null counts as empty text."""
    columns = [rows.column(name) for name in names]
    times = columns[0].cast(pa.int64()).to_pylist()
    others = [["" if value is None else value for value in column.to_pylist()] for column in columns[1:]]
    return list(zip(times, *others, strict=True))
