"""Retention: whole hours (days, where the layout has no hours) are removed, the oldest first, by age and by size.

What was removed is noted beside the files (``<topic>/_retired.json``) before it is removed, so that verification can
tell a retired range from a lost one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from alphapulse.errors import ServiceError
from sinks.parquet.names import HOUR_NS, Stored
from sinks.parquet.store import Store

NOTE: Final = "_retired.json"
"""Beside the hours of a topic; readers of Parquet folders skip names that begin with an underscore."""


@dataclass(slots=True)
class Retired:
    """What retention has removed from a topic.

    Attributes:
        before: no hour before this one is complete any more; hours since the Unix epoch.
        removed: incarnation → partition → ranges of offsets, sorted, joined.
    """

    before: int = 0
    removed: dict[str, dict[str, list[tuple[int, int]]]] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Store, topic: str) -> Retired:
        """Return the note of a topic; an empty one if there is none.

        Raises:
            ServiceError: it cannot be understood.
        """
        content = store.read(f"{topic}/{NOTE}")
        if content is None:
            return cls()
        try:
            told = json.loads(content)
            removed = {
                incarnation: {
                    partition: [(int(first), int(last)) for first, last in ranges]
                    for partition, ranges in partitions.items()
                }
                for incarnation, partitions in told["removed"].items()
            }
            return cls(int(told["before"]), removed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError(f"{store.place}/{topic}/{NOTE} is no note of retired files: {error}") from error

    def ranges(self, incarnation: str, partition: int) -> list[tuple[int, int]]:
        """Return the removed ranges of a partition."""
        return self.removed.get(incarnation, {}).get(str(partition), [])

    def add(self, files: Sequence[Stored]) -> None:
        """Add the ranges of ``files``, and their hours."""
        for file in files:
            ranges = self.removed.setdefault(file.incarnation, {}).setdefault(str(file.partition.partition), [])
            ranges.append((file.first, file.last))
            self.before = max(self.before, file.end)
        for partitions in self.removed.values():
            for partition, ranges in partitions.items():
                partitions[partition] = _joined(ranges)

    def encoded(self) -> bytes:
        """Return the note."""
        return json.dumps({"before": self.before, "removed": self.removed}).encode()


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


@dataclass(frozen=True, slots=True)
class RetiredHour:
    """An hour of a topic to be removed; a day, where the layout has no hours."""

    topic: str
    hour: int
    files: tuple[Stored, ...]

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file.size for file in self.files)


def due(files: Sequence[Stored], now: float, *, max_age_s: float | None, max_bytes: int | None) -> list[RetiredHour]:
    """Return the hours to be removed, oldest first; never one that is not over.

    Args:
        files: of all topics that share the limits.
        now: seconds since the Unix epoch.
        max_age_s: hours that ended longer ago than this are removed.
        max_bytes: the oldest hours are removed until the rest is at most this large.
    """
    hours: dict[tuple[int, str], list[Stored]] = defaultdict(list)
    for file in files:
        hours[file.hour, file.partition.topic].append(file)
    left = sum(file.size for file in files)
    found: list[RetiredHour] = []
    for (hour, topic), of_hour in sorted(hours.items()):
        age = now - max(file.end for file in of_hour) * HOUR_NS / 10**9
        old = max_age_s is not None and age > max_age_s
        large = max_bytes is not None and left > max_bytes
        if age > 0 and (old or large):
            found.append(RetiredHour(topic, hour, tuple(of_hour)))
            left -= found[-1].bytes
    return found


def retire(store: Store, hour: RetiredHour) -> None:
    """Note and remove an hour; :meth:`Store.settle` then frees its space. Call it exclusively.

    Raises:
        OSError: the store cannot be written; what was noted and not removed yet is removed by the next call.
    """
    retired = Retired.read(store, hour.topic)
    retired.add(hour.files)
    store.write(f"{hour.topic}/{NOTE}", retired.encoded())
    folders: dict[str, list[str]] = defaultdict(list)
    for file in hour.files:
        folders[file.folder].append(file.path)
    for folder, paths in folders.items():
        store.retire(folder, paths)
