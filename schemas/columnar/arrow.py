"""Columns read from the wire to Arrow arrays.

Strings stay where they stand: an Arrow string array may be laid over the joined bytes of all records, if the bytes
between two strings count as an element of their own; every second element is then a string. One ``take`` copies them
together, and a dictionary is made of them without any copy (the elements between are null).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columnar.plan import Codes, Column, Constant, Options
from schemas.columnar.wire import Booleans, Irregular, Lists, Texts

_EVERY_SECOND = 0b01010101


def array(column: Column, wanted: pa.DataType, data: pa.Buffer, records: int) -> pa.Array[Any]:
    """Return a column as an Arrow array.

    Args:
        wanted: its type: one that the field's Avro type has.
        data: joined bytes of all records, where texts stand.
        records: number of rows.

    Raises:
        Irregular: a string is not UTF-8.
    """
    if isinstance(column, Constant):
        return _constant(column.value, wanted, records)
    if isinstance(column, Options):
        return _array(column.values, wanted, data, None if column.present.all() else column.present)
    return _array(column, wanted, data, None)


def _array(column: Column, wanted: pa.DataType, data: pa.Buffer, present: Booleans | None) -> pa.Array[Any]:
    match column:
        case Texts():
            return _texts(column, wanted, data, present)
        case Codes():
            used = np.flatnonzero(np.bincount(column.codes, minlength=len(column.symbols)))
            numbers = np.zeros(len(column.symbols), np.int32)
            numbers[used] = np.arange(len(used))
            symbols = pa.array([column.symbols[at] for at in used], pa.string())
            return _dictionary(numbers[column.codes], symbols, present)
        case Lists():
            ends = np.zeros(len(column.counts) + 1, np.int32)
            np.cumsum(column.counts, out=ends[1:])
            return _as_array(pa.ListArray.from_arrays(_of_numpy(ends, None), _of_numpy(column.items, None)))
        case np.ndarray():
            return _numbers(column, wanted, present)
    raise TypeError(f"no Arrow array of {type(column).__name__}")


def _as_array(made: Any) -> pa.Array[Any]:
    """Return what the stubs of Arrow have too narrow or no types for."""
    array: pa.Array[Any] = made
    return array


def _of_numpy(values: npt.NDArray[Any], present: Booleans | None) -> Any:
    """Return numbers as an Arrow array, without a copy if all are ``present``; None: they are."""
    if present is None:
        return pa.array(values)
    whole = np.zeros(len(present), values.dtype)
    whole[present] = values
    return pa.array(whole, mask=~present)


def _numbers(values: npt.NDArray[Any], wanted: pa.DataType, present: Booleans | None) -> pa.Array[Any]:
    made = _of_numpy(values.astype(np.int32) if pa.types.is_int32(wanted) else values, present)
    # A timestamp has the same 64 bits.
    return _as_array(made.view(wanted) if pa.types.is_timestamp(wanted) else made)


def _texts(texts: Texts, wanted: pa.DataType, data: pa.Buffer, present: Booleans | None) -> pa.Array[Any]:
    number = len(texts.starts)
    if not number:
        return _empty(wanted, 0 if present is None else len(present))
    bounds: Any = np.empty(2 * number, np.int32)
    bounds[0::2] = texts.starts
    bounds[1::2] = texts.starts + texts.sizes
    offsets = pa.py_buffer(bounds)
    if pa.types.is_dictionary(wanted):
        strings = pa.py_buffer(bytes([_EVERY_SECOND]) * ((2 * number + 7) // 8))
        spaced = pa.BinaryArray.from_buffers(pa.binary(), 2 * number - 1, [strings, offsets, data])
        encoded: Any = spaced.dictionary_encode()
        numbers = np.frombuffer(encoded.indices.buffers()[1], np.int32, 2 * number - 1)[0::2]
        return _dictionary(np.ascontiguousarray(numbers), _strings(encoded.dictionary), present)
    spaced = pa.BinaryArray.from_buffers(pa.binary(), 2 * number - 1, [None, offsets, data])
    found = spaced.take(_of_numpy(np.arange(0, 2 * number, 2), present))
    return _strings(found) if pa.types.is_string(wanted) else found


def _strings(found: pa.Array[Any]) -> pa.Array[Any]:
    """Return binary values as strings of the same bytes."""
    data: Any = found.buffers()[2]
    # A cast would check that they are UTF-8, but takes 130 µs at least.
    if data is None or np.frombuffer(data, np.uint8).max(initial=0) < 0x80:
        return _as_array(found.view(pa.string()))
    try:
        return _as_array(found.cast(pa.string()))
    except pa.ArrowInvalid as error:
        raise Irregular from error


def _dictionary(numbers: npt.NDArray[np.int32], values: pa.Array[Any], present: Booleans | None) -> pa.Array[Any]:
    return _as_array(pa.DictionaryArray.from_arrays(_of_numpy(numbers, present), values))


def _empty(wanted: pa.DataType, nulls: int) -> pa.Array[Any]:
    if pa.types.is_dictionary(wanted):
        return _as_array(pa.DictionaryArray.from_arrays(pa.nulls(nulls, pa.int32()), pa.array([], pa.string())))
    return _as_array(pa.array([None] * nulls, wanted))


def _constant(value: Any, wanted: pa.DataType, records: int) -> pa.Array[Any]:
    if value is None:
        return _empty(wanted, records)
    if pa.types.is_dictionary(wanted):
        return _dictionary(np.zeros(records, np.int32), pa.array([value], pa.string()), None)
    plain = pa.int64() if pa.types.is_timestamp(wanted) else wanted
    return _as_array(pa.array([value] * records, plain).view(wanted))
