"""Lines of a block and their fields, found by numpy without a Python object per row.

Fields are the bytes between commas, as the vendors write them: without quotes. A block that has quotes (a file that a
spreadsheet has saved) is rewritten without them first.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sinks.load.faults import Fault, shown
from sinks.load.source import Block

Integers = npt.NDArray[np.int64]
Texts = Any
"""An Arrow array of strings: its stubs tell arrays of one type from those of another, and know neither's methods."""

_FEED, _RETURN, _COMMA = 10, 13, 44


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields of lines.

    Attributes:
        data: the block's bytes.
        lines: line numbers.
        starts, ends: first byte of each field, and one past its last: a row for each line, a column for each field.
    """

    data: bytes
    lines: Integers
    starts: Integers
    ends: Integers

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, rows: npt.NDArray[np.bool_]) -> Fields:
        """Return some of the lines."""
        return Fields(self.data, self.lines[rows], self.starts[rows], self.ends[rows])

    def bytes_of(self, row: int, column: int) -> bytes:
        """Return a field."""
        return self.data[self.starts[row, column] : self.ends[row, column]]

    def line(self, row: int) -> str:
        """Return a whole line as text."""
        return self.data[self.starts[row, 0] : self.ends[row, -1]].decode("utf-8", "backslashreplace")

    def texts(self, column: int) -> Texts:
        """Return a column as texts; the block is UTF-8."""
        rows = len(self)
        if not rows:
            return pa.array([], pa.string())
        # The bytes between two fields count as an element of their own: nothing is copied but what is taken.
        bounds: Any = np.empty(2 * rows, np.int32)
        bounds[0::2] = self.starts[:, column]
        bounds[1::2] = self.ends[:, column]
        spaced = pa.BinaryArray.from_buffers(
            pa.binary(), 2 * rows - 1, [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        )
        every_second: Any = pa.array(np.arange(0, 2 * rows, 2))
        return spaced.take(every_second).cast(pa.string())

    def codes(self, column: int) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Return a column of few distinct texts: the index of each row's text, and the texts."""
        encoded = self.texts(column).dictionary_encode()
        return encoded.indices.to_numpy().astype(np.int32), encoded.dictionary.to_pylist()


def split(block: Block, columns: Sequence[str]) -> tuple[Fields, list[Fault]]:
    """Return the lines of a block with as many fields as ``columns``, and those that are otherwise; empty lines are
    left out.
    """
    data = block.data if b'"' not in block.data else _unquoted(block.data)
    array = np.frombuffer(data, np.uint8)
    feeds = np.flatnonzero(array == _FEED).astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), feeds[:-1] + 1])
    ends = feeds - ((array[feeds - 1] == _RETURN) & (feeds > starts)).astype(np.int64)
    commas = np.flatnonzero(array == _COMMA).astype(np.int64)
    upto = np.searchsorted(commas, ends)
    first = np.searchsorted(commas, starts)
    filled = ends > starts
    good = filled & (upto - first == len(columns) - 1) & ~_foreign(data, starts, ends)
    lines = block.line + np.arange(len(feeds), dtype=np.int64)
    faults = [
        _fault(data[starts[at] : ends[at]], int(lines[at]), columns) for at in np.flatnonzero(filled & ~good).tolist()
    ]
    inner = (
        commas[first[good][:, None] + np.arange(len(columns) - 1)]
        if good.any()
        else np.zeros((0, len(columns) - 1), np.int64)
    )
    field_starts = np.concatenate([starts[good][:, None], inner + 1], axis=1)
    field_ends = np.concatenate([inner, ends[good][:, None]], axis=1)
    return Fields(data, lines[good], field_starts, field_ends), faults


def _foreign(data: bytes, starts: Integers, ends: Integers) -> npt.NDArray[np.bool_]:
    """Return which lines are not UTF-8."""
    found = np.zeros(len(starts), np.bool_)
    try:
        data.decode()
    except UnicodeDecodeError:
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            try:
                data[start:end].decode()
            except UnicodeDecodeError:
                found[row] = True
    return found


def _fault(line: bytes, number: int, columns: Sequence[str]) -> Fault:
    text = line.decode("utf-8", "backslashreplace")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return Fault(number, "", f"not UTF-8: byte {error.start + 1} of the line is 0x{line[error.start]:02x}", text)
    found = line.count(b",") + 1
    return Fault(number, "", f"{found} fields instead of {len(columns)}: {shown(line)}", text)


def _unquoted(data: bytes) -> bytes:
    """Return lines without the quotes around fields; one that cannot be had without them stays as it is."""
    made = []
    for line in data.split(b"\n")[:-1]:
        if b'"' in line:
            try:
                (found,) = csv.reader([line.decode().rstrip("\r")], strict=True)
            except (csv.Error, UnicodeDecodeError, ValueError):
                found = []
            if found and not any(set(field) & {",", '"', "\n", "\r"} for field in found):
                line = ",".join(found).encode()
        made.append(line)
    return b"\n".join([*made, b""])
