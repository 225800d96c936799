"""Levels of a source to rows of ``l2``: snapshots and deltas with epoch and sequence.

A snapshot opens an epoch, which is its time of receipt in nanoseconds (one more where that would not rise); each
further message is a DELTA with the next sequence. So a row's identity (venue, symbol, epoch, sequence) depends on the
content alone. After a row that could not be loaded the book is INVALID until the next snapshot that is whole; it is
INVALID, too, at the end of the source, behind which nothing is known. Levels before the first snapshot have no book.

Rows of one message stand together: those of a snapshot until the first that is not of one, others as long as their
times are the same. A message may go on in the next block, so the last of an instrument waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alphapulse.instruments import Instrument
from schemas.records import L2Update
from sinks.columns import TIME, schema
from sinks.load.faults import SurveyDiffers
from sinks.load.fields import Integers
from sinks.load.rows import Booleans, Break, LevelRows
from sinks.load.trades import category

_KINDS: Final = ("SNAPSHOT", "DELTA", "INVALID")
_SNAPSHOT, _DELTA, _INVALID = range(3)


@dataclass(frozen=True, slots=True)
class _Levels:
    """Levels of one instrument."""

    lines: Integers
    snapshots: Booleans
    bids: Booleans
    prices: Integers
    sizes: Integers
    exchange_times: Integers
    received_times: Integers

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, rows: slice | Booleans) -> _Levels:
        return _Levels(*(getattr(self, name)[rows] for name in self.__slots__))

    def then(self, more: _Levels) -> _Levels:
        if not len(self):
            return more
        return _Levels(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__))


_INTEGERS: Final = np.zeros(0, np.int64)
_BOOLEANS: Final = np.zeros(0, np.bool_)
_NONE: Final = _Levels(_INTEGERS, _BOOLEANS, _BOOLEANS, _INTEGERS, _INTEGERS, _INTEGERS, _INTEGERS)


@dataclass(slots=True)
class _Book:
    """Where a book is.

    Attributes:
        epoch: None: there is none; what comes has no book until a snapshot.
        sequence: of the last record.
        newest: the last epoch there was.
        unclear: whether a snapshot that follows directly may lack rows.
        times: exchange and received time of the last record.
        waiting: levels of a message that may go on.
    """

    epoch: int | None = None
    sequence: int = 0
    newest: int = 0
    unclear: bool = False
    times: tuple[int, int] = (0, 0)
    waiting: _Levels = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class Homeless:
    """Levels without a book: rows of the source that were left out; first and last line, and why."""

    instrument: Instrument
    first: int
    last: int
    rows: int
    reason: str


class BookBuilder:
    """Makes rows of books.

    Args:
        named: instruments of the source.
        price_scales, size_scales: decimals, by number of the instrument.

    Attributes:
        homeless: levels that were left out.
    """

    def __init__(self, named: Sequence[Instrument], price_scales: Integers, size_scales: Integers) -> None:
        self._named = named
        self._prices = price_scales
        self._sizes = size_scales
        self._books: dict[int, _Book] = {}
        self.homeless: list[Homeless] = []

    def add(self, rows: LevelRows) -> list[pa.RecordBatch]:
        """Return the records of a block, in the order of the source; ``_offset`` is the line, ``_partition`` 0."""
        prices, exact = rows.prices.at(self._prices[rows.instruments])
        sizes, fits = rows.sizes.at(self._sizes[rows.instruments])
        if not (exact & fits).all():
            raise SurveyDiffers
        every = _Levels(rows.lines, rows.snapshots, rows.bids, prices, sizes, rows.exchange_times, rows.received_times)
        made: list[pa.RecordBatch] = []
        numbers: set[int] = set(np.unique(rows.instruments).tolist())
        numbers |= {one.instrument for one in rows.breaks if one.instrument is not None}
        if any(one.instrument is None for one in rows.breaks):
            numbers |= self._books.keys()
        for number in sorted(numbers):
            mine = rows.instruments == number
            breaks = [one for one in rows.breaks if one.instrument in (None, number)]
            made += self._of_instrument(number, every.take(mine), breaks, whole_lines=rows.whole_lines)
        return _in_order(made)

    def finish(self, line: int) -> list[pa.RecordBatch]:
        """Return what is left at the end of the source: last messages, and INVALID of every book.

        Args:
            line: one past the last.
        """
        made: list[pa.RecordBatch] = []
        for number, book in sorted(self._books.items()):
            made += self._records(number, book, book.waiting, whole_lines=False)
            book.waiting = _NONE
            made += self._invalid(number, book, line + number)
        return _in_order(made)

    def _of_instrument(
        self, number: int, rows: _Levels, breaks: Sequence[Break], *, whole_lines: bool
    ) -> list[pa.RecordBatch]:
        book = self._books.setdefault(number, _Book())
        rows = book.waiting.then(rows)
        book.waiting = _NONE
        made: list[pa.RecordBatch] = []
        for one in breaks:
            at = int(np.searchsorted(rows.lines, one.line))
            before, rows = rows.take(slice(0, at)), rows.take(slice(at, None))
            if one.snapshot is not False and not whole_lines and len(before) and before.snapshots[-1]:
                # The snapshot goes on with the row that is missing.
                start = _messages(before, whole_lines=False)[-1]
                self._leave_out(number, before.take(slice(start, None)), f"line {one.line} of this snapshot is missing")
                before = before.take(slice(0, start))
            made += self._records(number, book, before, whole_lines=whole_lines)
            made += self._invalid(number, book, one.line)
            book.unclear = one.snapshot is not False and not whole_lines
        if not whole_lines and len(rows):
            start = _messages(rows, whole_lines=False)[-1]
            book.waiting, rows = rows.take(slice(start, None)), rows.take(slice(0, start))
        return made + self._records(number, book, rows, whole_lines=whole_lines)

    def _records(self, number: int, book: _Book, rows: _Levels, *, whole_lines: bool) -> list[pa.RecordBatch]:
        if not len(rows):
            return []
        starts = _messages(rows, whole_lines=whole_lines)
        ends = np.append(starts[1:], len(rows))
        groups = np.arange(len(starts))
        opens = rows.snapshots[starts].copy()
        if book.unclear:
            sure = np.flatnonzero(~opens)
            opens[: sure[0] if len(sure) else len(opens)] = False
            book.unclear = not len(sure)
        received, exchange = rows.received_times[ends - 1], rows.exchange_times[ends - 1]
        opened = np.maximum.accumulate(np.where(opens, groups, -1))
        # An epoch is its snapshot's time of receipt, but later than the one before.
        count = np.arange(int(opens.sum()))
        epochs = np.maximum.accumulate(np.maximum(received[opens] - count, book.newest + 1)) + count
        rank = np.cumsum(opens) - 1
        if book.epoch is None:
            kept = opened >= 0
            epoch = epochs[np.maximum(rank, 0)] if len(epochs) else np.zeros(len(groups), np.int64)
            sequence = groups - opened
        else:
            kept = np.ones(len(groups), np.bool_)
            found = epochs[np.maximum(rank, 0)] if len(epochs) else np.zeros(len(groups), np.int64)
            epoch = np.where(opened >= 0, found, book.epoch)
            sequence = np.where(opened >= 0, groups - opened, book.sequence + 1 + groups)
        of_row = np.repeat(groups, ends - starts)
        if not kept.all():
            lost = rows.take(~kept[of_row])
            snapshot = bool(lost.snapshots.any())
            self._leave_out(number, lost, "no whole snapshot before them" if snapshot else "no snapshot before them")
        if not kept.any():
            return []
        book.epoch, book.sequence = int(epoch[-1]), int(sequence[-1])
        book.newest, book.times = max(book.newest, book.epoch), (int(exchange[-1]), int(received[-1]))
        kinds = np.where(rows.snapshots[starts], _SNAPSHOT, _DELTA)
        counted = kept[of_row] & _last(of_row, rows)
        sides = []
        for mine in (counted & rows.bids, counted & ~rows.bids):
            lengths = np.bincount(of_row[mine], minlength=len(groups))[kept]
            sides += [_lists(lengths, rows.prices[mine]), _lists(lengths, rows.sizes[mine])]
        return [
            self._batch(
                number, kinds[kept], epoch[kept], sequence[kept], exchange[kept], received[kept], sides,
                rows.lines[starts][kept],
            )
        ]  # fmt: skip

    def _invalid(self, number: int, book: _Book, line: int) -> list[pa.RecordBatch]:
        """End the epoch, if there is one."""
        if book.epoch is None:
            return []
        values = (_INVALID, book.epoch, book.sequence + 1, *book.times)
        kind, epoch, sequence, exchange, received = (np.array([value], np.int64) for value in values)
        nothing = _lists(np.zeros(1, np.int64), np.zeros(0, np.int64))
        book.epoch = None
        return [
            self._batch(number, kind, epoch, sequence, exchange, received, [nothing] * 4, np.array([line], np.int64))
        ]

    def _batch(
        self,
        number: int,
        kinds: Integers,
        epochs: Integers,
        sequences: Integers,
        exchange: Integers,
        received: Integers,
        sides: Sequence[pa.Array[Any]],
        lines: Integers,
    ) -> pa.RecordBatch:
        rows, instrument = len(lines), self._named[number]
        first = np.zeros(rows, np.int32)
        return pa.RecordBatch.from_arrays(
            [
                category(first, [instrument.venue]),
                category(first, [instrument.symbol]),
                category(kinds.astype(np.int32), _KINDS),
                pa.array(epochs),
                pa.array(sequences),
                pa.nulls(rows, pa.int64()),
                pa.array(exchange).cast(TIME),
                pa.array(received).cast(TIME),
                pa.array(np.full(rows, -self._prices[number], np.int32)),
                pa.array(np.full(rows, -self._sizes[number], np.int32)),
                *sides,
                pa.nulls(rows, pa.int64()),
                pa.array(first),
                pa.array(lines),
            ],
            schema=schema(L2Update),
        )

    def _leave_out(self, number: int, rows: _Levels, reason: str) -> None:
        lines = np.unique(rows.lines)
        told = Homeless(self._named[number], int(lines[0]), int(lines[-1]), len(lines), reason)
        last = self.homeless[-1] if self.homeless else None
        if last is not None and (last.instrument, last.reason) == (told.instrument, reason):
            self.homeless[-1] = replace(last, last=told.last, rows=last.rows + told.rows)
        else:
            self.homeless.append(told)


def _messages(rows: _Levels, *, whole_lines: bool) -> Integers:
    """Return where messages begin."""
    new = np.ones(len(rows), np.bool_)
    if whole_lines:
        new[1:] = rows.lines[1:] != rows.lines[:-1]
    else:
        other = (rows.received_times[1:] != rows.received_times[:-1]) | (
            rows.exchange_times[1:] != rows.exchange_times[:-1]
        )
        new[1:] = (rows.snapshots[1:] != rows.snapshots[:-1]) | (other & ~rows.snapshots[1:])
    return np.flatnonzero(new)


def _last(messages: Integers, rows: _Levels) -> Booleans:
    """Return which levels no later one of the same message changes again."""
    order = np.lexsort((rows.prices, rows.bids, messages))
    same = (
        (messages[order][1:] == messages[order][:-1])
        & (rows.bids[order][1:] == rows.bids[order][:-1])
        & (rows.prices[order][1:] == rows.prices[order][:-1])
    )
    found = np.ones(len(rows), np.bool_)
    found[order[:-1][same]] = False
    return found


def _lists(lengths: Integers, values: Integers) -> Any:
    ends = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    offsets: Any = pa.array(ends)
    items: Any = pa.array(values)
    return pa.ListArray.from_arrays(offsets, items)


def _in_order(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Return records in the order of their lines."""
    if len(batches) < 2:
        return batches
    table = pa.Table.from_batches(batches).unify_dictionaries()
    # Of the same line is the INVALID of several books: their order is that of the batches.
    order: Any = pa.array(np.argsort(table.column("_offset").to_numpy(), kind="stable"))
    return table.take(order).combine_chunks().to_batches()
