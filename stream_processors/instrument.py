"""All that is known of one instrument: its book, what it publishes and its counts.

Pure: records and times come in as arguments, records to publish are put on a list.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.book_reader import BookReader, Outcome
from schemas.records import Event, L2Update, Record
from stream_processors.depth import DepthConflation

SERVICE = "processors"


@dataclass(frozen=True, slots=True)
class Rules:
    """How instruments are processed; all times in nanoseconds (see ``[processors]`` of the configuration)."""

    depth_levels: int = 20
    depth_interval: int = 10_000_000


@dataclass(slots=True)
class Totals:
    """Counts since the instrument's state began (it survives restarts of the process)."""

    snapshots: int = 0
    deltas: int = 0
    level_changes: int = 0
    gaps: int = 0
    invalidated: int = 0


class InstrumentState:
    """One instrument (venue, symbol) on one worker."""

    __slots__ = ("depth", "reader", "symbol", "totals", "venue")

    def __init__(self, venue: str, symbol: str, rules: Rules) -> None:
        self.venue = venue
        self.symbol = symbol
        self.reader = BookReader()
        self.totals = Totals()
        self.depth = DepthConflation(
            venue, symbol, self.reader, levels=rules.depth_levels, interval_ns=rules.depth_interval
        )

    def apply_l2(self, update: L2Update, now: int, out: list[Record]) -> None:
        """Apply a record of ``md.l2``.

        Args:
            update: the record.
            now: monotonic time.
            out: what is to be published is appended here.
        """
        if (earlier := self.depth.before(update, now)) is not None:
            out.append(earlier)
        reader, totals = self.reader, self.totals
        epoch, sequence = reader.epoch, reader.sequence
        outcome = reader.apply(update)
        if outcome is Outcome.DELTA:
            totals.deltas += 1
            totals.level_changes += len(update.bid_prices) + len(update.ask_prices)
        elif outcome is Outcome.SNAPSHOT:
            totals.snapshots += 1
        elif outcome is Outcome.INVALIDATED:
            totals.invalidated += 1
        elif outcome is Outcome.GAP:
            totals.gaps += 1
            out.append(self._gap(update, epoch, sequence))
        if (depth := self.depth.after(update, outcome)) is not None:
            out.append(depth)

    def _gap(self, update: L2Update, epoch: int, sequence: int) -> Event:
        return Event(
            time=update.received_time,
            service=SERVICE,
            kind="gap",
            severity="WARNING",
            venue=self.venue,
            symbol=self.symbol,
            message="records are missing on md.l2; the book is invalid until the next snapshot",
            details={
                "expected_epoch": str(epoch),
                "expected_sequence": str(sequence + 1),
                "epoch": str(update.epoch),
                "sequence": str(update.sequence),
            },
        )
