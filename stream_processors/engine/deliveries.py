"""Committable offsets of a partition, from the batches delivered to agents.

Pure. Batches are stored as delivered and matched by identity, so offsets missing in a compacted or transactional topic
are no gap, and an acknowledgement from before a seek cannot affect later batches.
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
        acked: set by the agent when it has processed all of them.
    """

    __slots__ = ("acked", "next_offset", "records")

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = records
        self.next_offset: int = records[-1].offset + 1
        self.acked = False

    def __len__(self) -> int:
        return len(self.records)


Bundle: TypeAlias = list[tuple[TP, Batch]]
"""Result of one fetch by partition: the value of one Faust event."""


class Deliveries:
    """Batches of one partition delivered since the last seek, oldest first."""

    __slots__ = ("_batches", "_committable")

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._committable: int | None = None

    def __len__(self) -> int:
        """Return the number of batches not yet covered by :meth:`committable`."""
        return len(self._batches)

    def begin(self, offset: int) -> None:
        """Record that everything before ``offset`` was processed earlier, before any batch was delivered."""
        self._committable = offset

    def add(self, batch: Batch) -> None:
        """Record the delivery of ``batch``, after all others."""
        self._batches.append(batch)

    def committable(self) -> int | None:
        """Return the offset after the last batch up to which all batches are acknowledged.

        Without one: the offset of :meth:`begin`, else None. The result does not change until further batches are
        acknowledged.
        """
        batches = self._batches
        while batches and batches[0].acked:
            self._committable = batches.popleft().next_offset
        return self._committable
