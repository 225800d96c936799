"""The pace of a replay: no more may be on its way than the in-memory broker can keep (DESIGN, "One command line").

The broker keeps a few megabytes a partition and drops the oldest beyond. So the venue replay may send only a
window of bytes ahead of what every consumer has committed. Pure: figures come in, a credit comes out.
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
    """One moment of the way: what the venues had sent, and how far the logs reached once it was all published.

    ``ends`` is None until every collector has had all frames sent by then acknowledged by the broker.
    """

    frames: Mapping[str, int]
    bytes_sent: int
    ends: Offsets | None = None


@dataclass
class Pacer:
    """Follows marks through the pipeline.

    Args:
        window_bytes: how many frame bytes may be under way.
    """

    window_bytes: int
    settled_bytes: int = 0
    """Frame bytes whose records every consumer group has committed."""
    _marks: deque[Mark] = field(default_factory=deque)

    @property
    def credit(self) -> int:
        """How many frame bytes, since the beginning, may be sent."""
        return self.settled_bytes + self.window_bytes

    def sent(self, frames: Mapping[str, int], bytes_sent: int) -> None:
        """Set a mark: by now the venues have sent so many frames (by collector) and bytes (in all)."""
        newest = self._marks[-1].bytes_sent if self._marks else self.settled_bytes
        if bytes_sent > newest:
            self._marks.append(Mark(dict(frames), bytes_sent))

    def published(self, done: Mapping[str, int], ends: Offsets) -> None:
        """Note that the collectors have published ``done`` frames each, and where the logs *then* ended.

        ``ends`` must have been read after ``done``.
        """
        for mark in self._marks:
            if mark.ends is None and all(done.get(name, 0) >= count for name, count in mark.frames.items()):
                mark.ends = dict(ends)

    def committed(self, groups: Mapping[str, Offsets]) -> None:
        """Note what each consumer group has committed; a partition it does not name counts as not its own."""
        while self._marks:
            mark = self._marks[0]
            if mark.ends is None or any(_behind(offsets, mark.ends) for offsets in groups.values()):
                return
            self.settled_bytes = mark.bytes_sent
            self._marks.popleft()


def _behind(committed: Offsets, ends: Offsets) -> bool:
    return any(offset < ends.get(partition, 0) for partition, offset in committed.items())
