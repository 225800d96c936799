"""Lag in seconds from offsets: the time since the topics' ends passed a reader's position. Pure.

A lag in records says little: a thousand are nothing on a busy topic and an hour on a quiet one. The age of the oldest
unread record says how far behind the reader is, but fetching that record from every partition would cost as much as
reading. So the ends of the partitions are recorded every few seconds; the age is at least the time since the first
sample whose end was past the reader's position.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import TopicPartition

NOTES_KEPT: Final = 240
"""Samples per partition from which on they are thinned out."""
COARSENESS: Final = 0.15
"""A sample is dropped if the resulting gap is at most this fraction of its age: few samples cover months."""


class LagHistory:
    """End offsets of partitions over time; times are monotonic seconds, as arguments."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, list[int]] = {}
        self._times: dict[TopicPartition, list[float]] = {}

    def note(self, ends: Mapping[TopicPartition, int], time: float) -> None:
        """Record the end offset of each partition at ``time``."""
        for partition, end in ends.items():
            noted = self._ends.setdefault(partition, [])
            times = self._times.setdefault(partition, [])
            if noted and end < noted[-1]:  # the broker restarted with an empty log
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
        """Return the minimum time for which the record at ``position`` has been available; 0: it is not."""
        ends = self._ends.get(partition, [])
        first_past = bisect_right(ends, position)
        return max(now - self._times[partition][first_past], 0.0) if first_past < len(ends) else 0.0


def _spaced(times: Sequence[float]) -> list[int]:
    """Return the indices of the times (ascending) to keep, including the oldest and the newest."""
    now = times[-1]
    kept = [0]
    for index in range(1, len(times) - 1):
        following = times[index + 1]
        if following - times[kept[-1]] > COARSENESS * (now - following):
            kept.append(index)
    return [*kept, len(times) - 1]
