"""Joining Bitstamp's diffs to a REST snapshot, for one market. Pure.

https://www.bitstamp.net/websocket/v2/ describes it: keep the diffs, fetch the book, drop the diffs that are not newer
than it (``microtimestamp``), apply the rest. A snapshot that is older than the first diff kept is not taken, which the
venue does not ask for: it may be from before the subscription, and nothing would tell what is missing in between.

The stamps say in which order diffs were made, not that none is missing. They have never been seen to repeat. So a diff
that is older than the last one is either known, or comes too late: then the book was wrong without it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from producers.venues.bitstamp.messages import Diff

MOST_KEPT: Final = 20_000
"""Diffs kept for a snapshot; beyond, the oldest go: a snapshot fetched later still joins the rest."""
_REMEMBERED: Final = 256
"""Stamps by which a diff that comes again is told from one that comes late."""
QUIET_NS: Final = 2_000_000_000
"""Without a diff for so long the snapshot is fetched all the same: a quiet market sends none for minutes. What was
changed before the subscription has long been in the snapshot by then."""


@dataclass(frozen=True, slots=True)
class KeptDiff:
    """A diff with its stamp (µs) and the frame it came in."""

    diff: Diff
    stamp: int
    frame: bytes
    received_time: int


class DiffStep(Enum):
    """What a live diff is in relation to those before it."""

    NEXT = auto()
    OLD = auto()
    LATE = auto()


class DiffSynchronizer:
    """Where one market stands between waiting for a snapshot and following diffs.

    Attributes:
        subscribed: the venue has confirmed the subscription on this connection.
        live: diffs are applied as they come.
        request: number of the snapshot request whose answer is wanted, 0 for none.
        attempt: answers in a row that were too old.
        kept: diffs that wait for it.
        last: stamp of the book, µs.
        differed: the last snapshot that was fetched to be compared shows another book.
    """

    __slots__ = ("_joined", "_recent", "_since", "attempt", "differed", "kept", "last", "live", "request", "subscribed")

    def __init__(self) -> None:
        self.subscribed = False
        self.kept: deque[KeptDiff] = deque()
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self.reset()

    def reset(self) -> int:
        """Forget the book and the diffs kept; return how many are dropped."""
        dropped = len(self.kept)
        self.kept.clear()
        self._recent.clear()
        self.live = self.differed = False
        self.request = self.attempt = self.last = self._joined = self._since = 0
        return dropped

    def keep(self, kept: KeptDiff, most: int = MOST_KEPT) -> int:
        """Keep a diff until the snapshot comes, at most ``most``; return how many old ones had to go for it."""
        self.kept.append(kept)
        dropped = max(0, len(self.kept) - most)
        for _ in range(dropped):
            self.kept.popleft()
        return dropped

    def quiet(self, now: int) -> bool:
        """Whether the market is subscribed to and waits for a first diff for :data:`QUIET_NS`; asked time and again."""
        if not self.subscribed or self.live or self.request or self.kept:
            return False
        self._since = self._since or now
        return now - self._since >= QUIET_NS

    def joins(self, stamp: int) -> bool:
        """Whether a snapshot with this stamp leaves no hole before the diffs kept."""
        return not self.kept or stamp >= self.kept[0].stamp

    def join(self, stamp: int) -> list[KeptDiff]:
        """Go live behind the snapshot; return the diffs kept, which are to be followed now."""
        kept = list(self.kept)
        self.reset()
        self.live = True
        self.last = self._joined = stamp
        return kept

    def follow(self, stamp: int) -> DiffStep:
        """Say what a diff of this stamp is; if it is next, it is the last from now on."""
        if stamp <= self.last:
            known = stamp <= self._joined or stamp in self._recent
            return DiffStep.OLD if known else DiffStep.LATE
        self.last = stamp
        self._recent.append(stamp)
        return DiffStep.NEXT
