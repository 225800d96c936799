"""Synchronization of Binance's diffs with a REST snapshot, for one symbol.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly:
buffer the diffs, fetch a snapshot, fetch again while it is older than the first buffered diff, drop the diffs it
covers (``u <= lastUpdateId``); from then on each diff must begin at most one after the last (``U <= last + 1``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from producers.venues.binance.messages import DepthUpdate

MOST_KEPT: Final = 20_000
"""Maximum diffs buffered for a snapshot; beyond, the oldest are dropped: a later snapshot still joins the rest."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A buffered diff with its frame."""

    update: DepthUpdate
    frame: bytes
    received_time: int


class Step(Enum):
    """Position of a live diff relative to the last one."""

    NEXT = auto()
    OLD = auto()
    GAP = auto()


class Synchronizer:
    """Synchronization state of one symbol: waiting for a snapshot, or applying diffs.

    Attributes:
        live: whether diffs are applied as they arrive.
        request: number of the snapshot request in flight, 0 for none.
        kept: diffs buffered for the snapshot.
        attempt: consecutive answers that were too old.
    """

    __slots__ = ("_last", "attempt", "kept", "live", "request")

    def __init__(self) -> None:
        self.live = False
        self.request = 0
        self.attempt = 0
        self.kept: deque[Kept] = deque()
        self._last = 0

    def reset(self) -> int:
        """Reset after a disconnect or a gap; return how many buffered diffs are dropped."""
        dropped = len(self.kept)
        self.live = False
        self.request = self.attempt = 0
        self.kept.clear()
        return dropped

    def keep(self, kept: Kept, most: int = MOST_KEPT) -> int:
        """Buffer a diff until the snapshot arrives, at most ``most``; return how many old ones were dropped for it."""
        self.kept.append(kept)
        dropped = max(0, len(self.kept) - most)
        for _ in range(dropped):
            self.kept.popleft()
        return dropped

    def joins(self, last_update_id: int) -> bool:
        """Whether a snapshot with this update id leaves no gap before the first buffered diff."""
        return not self.kept or last_update_id >= self.kept[0].update.U - 1

    def join(self, last_update_id: int) -> list[Kept]:
        """Go live after the snapshot; return the buffered diffs, to be applied now."""
        kept = list(self.kept)
        self.reset()
        self.live = True
        self._last = last_update_id
        return kept

    def follow(self, update: DepthUpdate) -> Step:
        """Classify ``update``; if it is the next one, record it as the last."""
        if update.u <= self._last:
            return Step.OLD
        if self._last + 1 < update.U:
            return Step.GAP
        self._last = update.u
        return Step.NEXT

    @property
    def last(self) -> int:
        """Last update id of the book."""
        return self._last
