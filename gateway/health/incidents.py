"""Gaps, resyncs and epochs of each venue in the last hour, from its events and books. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Final

from schemas.records import Depth, Event, Record

HOUR: Final = 3600 * 10**9
KEPT: Final = 20_000
"""Incidents kept per venue; of more in an hour only the latest are counted."""
GAPS: Final = frozenset(
    {"gap", "trade_gap", "checksum_failure", "crossed_book", "silent", "mute", "late", "disconnected", "dead_letter"}
)
"""Kinds of events that tell of a loss in the venue's feed (``alphapulse.metrics.GAPS`` counts the same)."""
RESYNC: Final = "resync"
COUNTED: Final = GAPS | {RESYNC}
_EPOCH: Final = "epoch"


@dataclass(frozen=True, slots=True)
class LastHour:
    """Counts of the last hour.

    Attributes:
        gaps: losses detected in the feed.
        resyncs: new snapshots that were requested.
        epochs: snapshots that opened a book, the first one and one after each resync or reconnect.
    """

    gaps: int
    resyncs: int
    epochs: int


class Incidents:
    """Incidents by venue."""

    def __init__(self) -> None:
        self._found: defaultdict[str, deque[tuple[int, str]]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._epochs: dict[tuple[str, str], int] = {}

    def apply(self, record: Record) -> None:
        """Take a record that was not seen before."""
        if isinstance(record, Depth):
            of = (record.venue, record.symbol)
            # An epoch's number is the time (ns) of its snapshot.
            if record.valid and record.epoch > self._epochs.get(of, 0):
                self._epochs[of] = record.epoch
                self._found[record.venue].append((record.epoch, _EPOCH))
        elif isinstance(record, Event) and record.venue is not None and _counts(record):
            self._found[record.venue].append((record.time, record.kind))

    def last_hour(self, venue: str, now: int) -> LastHour:
        """Return the counts of ``venue`` in the hour before ``now`` (ns)."""
        kinds = [kind for time, kind in self._found.get(venue, ()) if time > now - HOUR]
        resyncs, epochs = kinds.count(RESYNC), kinds.count(_EPOCH)
        return LastHour(len(kinds) - resyncs - epochs, resyncs, epochs)


def _counts(event: Event) -> bool:
    # A connection that was closed on purpose loses nothing.
    return event.kind in COUNTED and not (event.kind == "disconnected" and event.severity == "INFO")
