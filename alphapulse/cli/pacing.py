"""Flow control of a replay: bounds the data in flight to what the in-memory broker keeps.

The broker keeps a few megabytes per partition and drops the oldest beyond. So the venue replay may send only a window
of bytes ahead of what every consumer has committed. Pure: counters in, a credit out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

Partition = tuple[str, int]
"""(topic, partition)"""

Offsets = Mapping[Partition, int]


@dataclass
class Mark:
    """Checkpoint of the flow: what the venues had sent, and the ends of the logs once all of it was published.

    ``ends`` is None until the broker has acknowledged all frames sent by then, for every collector.
    """

    frames: Mapping[str, int]
    bytes_sent: int
    ends: Offsets | None = None


@dataclass
class Pacer:
    """Tracks marks through the pipeline.

    Args:
        window_bytes: maximum frame bytes in flight.
    """

    window_bytes: int
    settled_bytes: int = 0
    """Frame bytes whose records all consumer groups have committed."""
    _marks: deque[Mark] = field(default_factory=deque)

    @property
    def credit(self) -> int:
        """Frame bytes that may be sent, counted from the beginning."""
        return self.settled_bytes + self.window_bytes

    def sent(self, frames: Mapping[str, int], bytes_sent: int) -> None:
        """Set a mark: frames sent so far (by collector) and bytes (in total)."""
        newest = self._marks[-1].bytes_sent if self._marks else self.settled_bytes
        if bytes_sent > newest:
            self._marks.append(Mark(dict(frames), bytes_sent))

    def published(self, done: Mapping[str, int], ends: Offsets) -> None:
        """Record that the collectors have published ``done`` frames each, and the ends of the logs *after* that.

        ``ends`` must have been read after ``done``.
        """
        for mark in self._marks:
            if mark.ends is None and all(done.get(name, 0) >= count for name, count in mark.frames.items()):
                mark.ends = dict(ends)

    def committed(self, groups: Mapping[str, Offsets]) -> None:
        """Record what each consumer group has committed; partitions it does not list are not its own."""
        while self._marks:
            mark = self._marks[0]
            if mark.ends is None or any(_behind(offsets, mark.ends) for offsets in groups.values()):
                return
            self.settled_bytes = mark.bytes_sent
            self._marks.popleft()


def _behind(committed: Offsets, ends: Offsets) -> bool:
    return any(offset < ends.get(partition, 0) for partition, offset in committed.items())
