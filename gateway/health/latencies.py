"""Distribution of latencies over the last minute: a log-linear histogram, in sixty slots of a second. Pure.

Counts lie in buckets whose width is at most a sixteenth of their value (the idea of HdrHistogram), so noting a latency
costs a dictionary entry, and a percentile is at most 6 % above the true one. Negative values, where two clocks differ,
have buckets of their own and are shown as they are.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

SLOTS: Final = 60
_LINEAR: Final = 16
"""Buckets per power of two; values below it have one each."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of the last minute, in microseconds.

    Attributes:
        count: latencies noted.
    """

    count: int
    p50: int
    p90: int
    p99: int
    max: int


class Latencies:
    """Latencies of one hop, in microseconds; times are whole seconds of any steady clock, as arguments."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: deque[tuple[int, dict[int, int], list[int]]] = deque(maxlen=SLOTS)

    def note(self, latency: int, second: int) -> None:
        """Note a latency."""
        slots = self._slots
        if not slots or slots[-1][0] != second:
            slots.append((second, {}, [latency]))
        _, counts, largest = slots[-1]
        bucket = bucket_of(latency)
        counts[bucket] = counts.get(bucket, 0) + 1
        if latency > largest[0]:
            largest[0] = latency

    def percentiles(self, second: int) -> Percentiles | None:
        """Return the percentiles of the 60 seconds up to ``second``; None: nothing was noted in them."""
        counts: Counter[int] = Counter()
        largest: int | None = None
        for noted, of_slot, most in self._slots:
            if second - SLOTS < noted <= second:
                counts.update(of_slot)
                largest = most[0] if largest is None else max(largest, most[0])
        if largest is None:
            return None
        total = counts.total()
        ordered = sorted((upper_end(bucket), count) for bucket, count in counts.items())
        p50, p90, p99 = (min(_at(ordered, total * share), largest) for share in (0.5, 0.9, 0.99))
        return Percentiles(total, p50, p90, p99, largest)


def _at(ordered: list[tuple[int, int]], rank: float) -> int:
    seen = 0
    for value, count in ordered:
        seen += count
        if seen >= rank:
            return value
    return ordered[-1][0]


def bucket_of(value: int) -> int:
    """Return the bucket of a value; a negative value's is below zero."""
    if value < 0:
        return -1 - bucket_of(-value)
    if value < _LINEAR:
        return value
    shift = value.bit_length() - _LINEAR.bit_length()
    return _LINEAR * shift + (value >> shift)


def upper_end(bucket: int) -> int:
    """Return the largest value in a bucket."""
    if bucket < 0:
        return -_lower_end(-1 - bucket)
    return _lower_end(bucket + 1) - 1


def _lower_end(bucket: int) -> int:
    if bucket < _LINEAR:
        return bucket
    shift = bucket // _LINEAR - 1
    return (bucket - _LINEAR * shift) << shift
