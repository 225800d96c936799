"""Joining Binance's diffs to a REST snapshot, for one symbol.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly:
keep the diffs, fetch a snapshot, fetch again while it is older than the first diff kept, drop what it covers already
(``u <= lastUpdateId``); from then on each diff must begin at most one behind the last (``U <= last + 1``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from producers.venues.binance.messages import DepthUpdate

MOST_KEPT: Final = 20_000
"""Diffs kept for a snapshot; beyond, the oldest go: a snapshot fetched later still joins the rest."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A diff that waits, with the frame it came in."""

    update: DepthUpdate
    frame: bytes
    received_time: int


class Step(Enum):
    """What a live diff is in relation to the last one."""

    NEXT = auto()
    OLD = auto()
    GAP = auto()


class Synchronizer:
    """Where one symbol stands between waiting for a snapshot and following diffs.

    Attributes:
        live: diffs are applied as they come.
        request: number of the snapshot request whose answer is wanted, 0 for none.
        kept: diffs that wait for it.
        attempt: answers in a row that were too old.
    """

    __slots__ = ("_last", "attempt", "kept", "live", "request")

    def __init__(self) -> None:
        self.live = False
        self.request = 0
        self.attempt = 0
        self.kept: deque[Kept] = deque()
        self._last = 0

    def reset(self) -> int:
        """Forget everything (the connection or the book's continuity is gone); return how many diffs are dropped."""
        dropped = len(self.kept)
        self.live = False
        self.request = self.attempt = 0
        self.kept.clear()
        return dropped

    def keep(self, kept: Kept, most: int = MOST_KEPT) -> int:
        """Keep a diff until the snapshot comes, at most ``most``; return how many old ones had to go for it."""
        self.kept.append(kept)
        dropped = max(0, len(self.kept) - most)
        for _ in range(dropped):
            self.kept.popleft()
        return dropped

    def joins(self, last_update_id: int) -> bool:
        """Whether a snapshot with this id leaves no hole before the first diff kept."""
        return not self.kept or last_update_id >= self.kept[0].update.U - 1

    def join(self, last_update_id: int) -> list[Kept]:
        """Go live behind the snapshot; return the diffs kept, which are to be followed now."""
        kept = list(self.kept)
        self.reset()
        self.live = True
        self._last = last_update_id
        return kept

    def follow(self, update: DepthUpdate) -> Step:
        """Say what ``update`` is; if it is next, it is the last from now on."""
        if update.u <= self._last:
            return Step.OLD
        if self._last + 1 < update.U:
            return Step.GAP
        self._last = update.u
        return Step.NEXT

    @property
    def last(self) -> int:
        """The last update id of the book."""
        return self._last
