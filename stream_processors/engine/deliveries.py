"""Which offset of a partition may be committed: bookkeeping of the batches handed to the agents.

Pure. Batches are remembered as they were delivered and matched by identity, so offsets that a compacted or
transactional topic leaves out are no gap, and an acknowledgement from before a seek cannot touch what came after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

from faust.types import TP


class Batch:
    """Consecutive records of one partition, fetched together.

    Attributes:
        records: as fetched (``offset``, ``key``, ``value``, …), at least one.
        next_offset: one past the last of them.
        acked: whether the agent is done with all of them; it says so here.
    """

    __slots__ = ("acked", "next_offset", "records")

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = records
        self.next_offset: int = records[-1].offset + 1
        self.acked = False

    def __len__(self) -> int:
        return len(self.records)


Bundle: TypeAlias = list[tuple[TP, Batch]]
"""What was fetched together, by partition: the value of one Faust event."""


class Deliveries:
    """The batches of one partition that were delivered since the last seek, oldest first."""

    __slots__ = ("_batches", "_committable")

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._committable: int | None = None

    def __len__(self) -> int:
        """Return how many batches are not yet covered by :meth:`committable`."""
        return len(self._batches)

    def begin(self, offset: int) -> None:
        """Note that all before ``offset`` was done with earlier, before any batch was delivered."""
        self._committable = offset

    def add(self, batch: Batch) -> None:
        """Note that ``batch`` was delivered, after all others."""
        self._batches.append(batch)

    def committable(self) -> int | None:
        """Return the offset behind the last batch of which it and all before it are acknowledged.

        Without one: what :meth:`begin` was told, else None. The answer stays the same until further batches are
        acknowledged.
        """
        batches = self._batches
        while batches and batches[0].acked:
            self._committable = batches.popleft().next_offset
        return self._committable
