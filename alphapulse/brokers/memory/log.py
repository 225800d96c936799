"""In-memory log of one partition: record batches as sent by producers, found by offset in logarithmic time.

A batch (Kafka's message format, magic 2) is kept as one ``bytes`` object; only its base offset is rewritten, which its
CRC does not cover. Nothing is decompressed. Format: https://kafka.apache.org/documentation/#recordbatch.

No I/O and no clock; not thread-safe.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from aiokafka.record.util import calc_crc32c

HEADER_BYTES: Final = 61
"""Size of a batch before its records."""
PRODUCERS_KEPT: Final = 200
"""Idempotent producers per partition whose last batches are remembered."""
BATCHES_KEPT: Final = 5
"""Batches remembered per idempotent producer: its maximum in flight (Kafka's own number)."""

DROPPED_AT_ONCE: Final = 8
"""A full log drops one of this many parts, the oldest."""

_LENGTH: Final = struct.Struct(">qi")
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_BASE: Final = struct.Struct(">q")
_BEFORE_CRC: Final = 21
_BEFORE_LENGTH: Final = 12
"""Bytes not counted by the field batchLength."""
_MAGIC: Final = 2
_TRIM_AT: Final = 512
"""Dropped batches are cut off the lists in groups of this size: cutting each one alone would move all others."""


class BatchRefused(Exception):
    """Record batches that the log refuses.

    Attributes:
        code: Kafka's error code.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


CORRUPT: Final = 2
OUT_OF_ORDER: Final = 45
UNSUPPORTED_FORMAT: Final = 43


@dataclass(frozen=True, slots=True)
class _Header:
    size: int
    records: int
    timestamp: int
    """Time of its newest record, milliseconds."""
    producer: int
    epoch: int
    sequence: int


@dataclass(slots=True)
class _Producer:
    """State of an idempotent producer; ``batches``: (first sequence, last sequence, base offset)."""

    epoch: int
    batches: deque[tuple[int, int, int]]


class PartitionLog:
    """Records of one partition.

    Args:
        retention_bytes: maximum size of the batches; when it is reached, the oldest eighth is dropped, but never the
            newest batch.

    Attributes:
        start: the oldest offset that can be read.
        end: one past the newest.
        size: bytes of all batches kept.
    """

    __slots__ = ("_bases", "_batches", "_first", "_producers", "_retention", "_times", "end", "size", "start")

    def __init__(self, retention_bytes: int) -> None:
        self._retention = retention_bytes
        # Parallel lists by ascending base offset; entries before _first have been dropped.
        self._bases: list[int] = []
        self._batches: list[bytes] = []
        self._times: list[int] = []
        self._first = 0
        self._producers: OrderedDict[int, _Producer] = OrderedDict()
        self.start = 0
        self.end = 0
        self.size = 0

    def __len__(self) -> int:
        """Return the number of batches kept."""
        return len(self._bases) - self._first

    def append(self, batches: memoryview) -> int:
        """Append one or more batches; return the base offset of the first.

        A batch that an idempotent producer repeats is not appended; its first offset is returned.

        Raises:
            BatchRefused: one of them is damaged, in an old format, or does not follow its producer's last one; then
                none is appended.
        """
        headers: list[tuple[int, _Header]] = []
        at = 0
        while at < len(batches):
            header = _read_header(batches[at:])
            headers.append((at, header))
            at += header.size
        if not headers:
            raise BatchRefused(CORRUPT, "no record batch")
        # All are checked before the first is appended; nearly always there is one.
        repeated = [self._repeated(header) for _, header in headers]
        first = -1
        for (at, header), known in zip(headers, repeated, strict=True):
            base = known if known is not None else self._take(batches[at : at + header.size], header)
            first = base if first < 0 else first
        self._retain()
        return first

    def _repeated(self, header: _Header) -> int | None:
        """Return the base offset of a batch that was appended before; None if it is new."""
        if header.producer < 0 or header.sequence < 0:
            return None
        known = self._producers.get(header.producer)
        if known is None or header.epoch > known.epoch:
            return None  # its first one here, or its earlier ones are no longer remembered
        last = header.sequence + header.records - 1
        for sequence, end, base in known.batches:
            if sequence == header.sequence and end == last:
                return base
        expected = (known.batches[-1][1] + 1) & 0x7FFFFFFF
        if header.sequence != expected:
            raise BatchRefused(
                OUT_OF_ORDER, f"producer {header.producer}: expected sequence {expected}, found {header.sequence}"
            )
        return None

    def _take(self, batch: memoryview, header: _Header) -> int:
        base = self.end
        self._bases.append(base)
        self._batches.append(b"".join((_BASE.pack(base), batch[_BASE.size :])))
        self._times.append(header.timestamp)
        self.size += header.size
        self.end = base + header.records
        if header.producer >= 0 and header.sequence >= 0:
            self._remember(header, base)
        return base

    def _remember(self, header: _Header, base: int) -> None:
        known = self._producers.get(header.producer)
        if known is None or known.epoch != header.epoch:
            known = self._producers[header.producer] = _Producer(header.epoch, deque(maxlen=BATCHES_KEPT))
            if len(self._producers) > PRODUCERS_KEPT:
                self._producers.popitem(last=False)
        known.batches.append((header.sequence, header.sequence + header.records - 1, base))
        self._producers.move_to_end(header.producer)

    def _retain(self) -> None:
        if self.size <= self._retention:
            return
        # Much at once and then nothing for a while, as Kafka drops segments: if the log's start moved with each
        # append, a reader that begins at the oldest record would always be too late.
        kept = self._retention - self._retention // DROPPED_AT_ONCE
        while self.size > kept and len(self) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        first = self._first
        self.size -= len(self._batches[first])
        self._batches[first] = b""
        self._first = first = first + 1
        self.start = max(self.start, self._bases[first] if first < len(self._bases) else self.end)
        if first >= _TRIM_AT and first * 2 >= len(self._bases):
            del self._bases[:first], self._batches[:first], self._times[:first]
            self._first = 0

    def read(self, offset: int, most_bytes: int, *, at_least_one: bool) -> list[bytes]:
        """Return whole batches from the one that contains ``offset``, up to ``most_bytes`` in total.

        The first batch may begin before ``offset``. ``at_least_one``: it is returned even if it is larger.
        ``offset`` must be between ``start`` and ``end``.
        """
        found: list[bytes] = []
        for index in range(self._index(offset), len(self._batches)):
            batch = self._batches[index]
            most_bytes -= len(batch)
            if most_bytes < 0 and not (at_least_one and not found):
                break
            found.append(batch)
        return found

    def bytes_from(self, offset: int, enough: int) -> int:
        """Return the number of bytes available from ``offset``; counting stops at ``enough``."""
        total = 0
        for index in range(self._index(offset), len(self._batches)):
            total += len(self._batches[index])
            if total >= enough:
                break
        return total

    def _index(self, offset: int) -> int:
        return max(bisect_right(self._bases, offset, self._first) - 1, self._first)

    def delete_before(self, offset: int) -> None:
        """Move the start of the log to ``offset``, as DeleteRecords does; the batch that contains ``offset`` is kept.

        Raises:
            ValueError: ``offset`` is past the end.
        """
        if not 0 <= offset <= self.end:
            raise ValueError(f"offset {offset} is not between 0 and {self.end}")
        while len(self) and self._last_offset_of_oldest() < offset:
            self._drop_oldest()
        self.start = max(self.start, offset)

    def _last_offset_of_oldest(self) -> int:
        following = self._first + 1
        return (self._bases[following] if following < len(self._bases) else self.end) - 1

    def offset_at(self, timestamp: int) -> tuple[int, int]:
        """Return offset and time of the first batch with a record of ``timestamp`` (ms) or later; (-1, -1): none has.

        Kafka returns the record's own offset; batches are not decoded here, so the result may be up to a batch early.
        """
        for index in range(self._first, len(self._times)):
            if self._times[index] >= timestamp:
                return max(self._bases[index], self.start), self._times[index]
        return -1, -1


def _read_header(batch: memoryview) -> _Header:
    if len(batch) < HEADER_BYTES:
        raise BatchRefused(CORRUPT, f"a record batch of {len(batch)} bytes; its header alone has {HEADER_BYTES}")
    _, length, _, magic, crc, _, last_delta, _, newest, producer, epoch, sequence, records = _HEADER.unpack_from(batch)
    size = length + _BEFORE_LENGTH
    if magic != _MAGIC:
        raise BatchRefused(UNSUPPORTED_FORMAT, f"message format {magic}; only {_MAGIC} is supported")
    if not HEADER_BYTES <= size <= len(batch):
        raise BatchRefused(
            CORRUPT, f"a record batch with a stated size of {size} bytes, of which {len(batch)} were received"
        )
    if records < 1 or last_delta != records - 1:
        raise BatchRefused(CORRUPT, f"a record batch of {records} records whose last has index {last_delta}")
    if calc_crc32c(batch[_BEFORE_CRC:size]) != crc:
        raise BatchRefused(CORRUPT, "a record batch whose checksum is wrong")
    return _Header(size, records, newest, producer, epoch, sequence)
