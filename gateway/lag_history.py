"""Lag in seconds, from offsets alone: when the topics' ends passed what a reader has read. Pure.

A reader's lag in records says little: a thousand are nothing on a busy topic and an hour on a quiet one. The age of the
oldest record that was not read yet says how far behind the reader is, but to fetch that record from every partition
would cost as much as reading. So the ends of the partitions are noted every few seconds, and the age is at least the
time since the first note in which the end was past the reader's position.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import TopicPartition

NOTES_KEPT: Final = 240
"""Notes of one partition from which on they are thinned out."""
COARSENESS: Final = 0.15
"""A note is dropped if the gap that leaves is at most this part of its age: so many notes are enough for months."""


class LagHistory:
    """The ends of partitions over time; times are seconds, monotonic, as arguments."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, list[int]] = {}
        self._times: dict[TopicPartition, list[float]] = {}

    def note(self, ends: Mapping[TopicPartition, int], time: float) -> None:
        """Note one past the newest record of each partition at ``time``."""
        for partition, end in ends.items():
            noted = self._ends.setdefault(partition, [])
            times = self._times.setdefault(partition, [])
            if noted and end < noted[-1]:  # a broker that has begun anew
                noted.clear()
                times.clear()
            if noted and end == noted[-1]:
                continue
            noted.append(end)
            times.append(time)
            if len(noted) > NOTES_KEPT:
                kept = _spaced(times)
                self._ends[partition] = [noted[index] for index in kept]
                self._times[partition] = [times[index] for index in kept]

    def seconds(self, partition: TopicPartition, position: int, now: float) -> float:
        """Return for how long, at least, the record at ``position`` has been there to read; 0: it is not there."""
        ends = self._ends.get(partition, [])
        first_past = bisect_right(ends, position)
        return max(now - self._times[partition][first_past], 0.0) if first_past < len(ends) else 0.0


def _spaced(times: Sequence[float]) -> list[int]:
    """Return the indices of those times (ascending) that are kept; the oldest and the newest are."""
    now = times[-1]
    kept = [0]
    for index in range(1, len(times) - 1):
        following = times[index + 1]
        if following - times[kept[-1]] > COARSENESS * (now - following):
            kept.append(index)
    return [*kept, len(times) - 1]
