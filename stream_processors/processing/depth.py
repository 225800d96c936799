"""Depth: the best levels of a book, published on each change of them, conflated, for ``md.depth``.

Pure: times are arguments. At most one record per instrument and interval of stream time; the state at the end of an
interval is always published, when the next record arrives or by the timer.

A book with unchanged best levels is repeated when its collector confirms it (HEARTBEAT), and at most once a second
while other levels change, so that readers can distinguish a quiet book from one without a feed: a repeat has the
``received_time`` of its confirmation (:mod:`alphapulse.freshness`).
"""

from __future__ import annotations

from schemas.book_reader import BookReader, Outcome
from schemas.records import Depth, L2Update
from stream_processors.processing.stream_clock import StreamClock

REPEAT_NS = 1_000_000_000

_LevelLists = tuple[list[int], list[int], list[int], list[int]]
_NO_LEVELS: _LevelLists = ([], [], [], [])


def best_levels(reader: BookReader, levels: int) -> _LevelLists:
    """Return bid prices, bid sizes, ask prices and ask sizes of the best levels, best first."""
    bids = reader.book.bids.top(levels)
    asks = reader.book.asks.top(levels)
    return [p for p, _ in bids], [s for _, s in bids], [p for p, _ in asks], [s for _, s in asks]


class DepthConflation:
    """Decides when one instrument's best levels are published.

    For each L2 record, in this order: :meth:`before` (the book before the change), the reader's ``apply``,
        :meth:`after`;
    between records, at least once an interval while ``pending``: :meth:`tick`. Each returns the record to publish.

    Args:
        venue, symbol: the instrument.
        reader: its book.
        levels: maximum levels per side.
        interval_ns: minimum time between records; 0: one per change.

    Attributes:
        pending: whether a change waits for the end of its interval.
    """

    __slots__ = (
        "_ask_ceiling",
        "_bid_floor",
        "_due",
        "_interval",
        "_levels",
        "_published",
        "_published_at",
        "_reader",
        "_symbol",
        "_valid",
        "_venue",
        "clock",
        "pending",
    )

    def __init__(self, venue: str, symbol: str, reader: BookReader, *, levels: int, interval_ns: int) -> None:
        self._venue = venue
        self._symbol = symbol
        self._reader = reader
        self._levels = levels
        self._interval = interval_ns
        self.clock = StreamClock()
        self.pending = False
        self._due = 0
        self._published: tuple[bool, int, _LevelLists] | None = None
        self._published_at = 0
        self._valid = False
        # A change at or within these prices may affect the best levels; None: any change may.
        self._bid_floor: int | None = None
        self._ask_ceiling: int | None = None

    def before(self, update: L2Update, now: int) -> Depth | None:
        """Record the arrival of ``update``; return the pending state if its interval ended before."""
        if not self.clock.observe(update.received_time, now):
            self._due = update.received_time
            self._published_at = update.received_time
        if self.pending and update.received_time >= self._due:
            return self._publish(self._due + self._interval)
        return None

    def after(self, update: L2Update, outcome: Outcome) -> Depth | None:
        """Evaluate the effect of ``update`` on the book; return the new state if it need not wait."""
        if outcome is Outcome.DELTA:
            self._judge(update)
        elif outcome is Outcome.HEARTBEAT:
            self.mark()
        elif outcome in (Outcome.SNAPSHOT, Outcome.INVALIDATED, Outcome.GAP):
            self.pending = True
        if self.pending and (update.received_time >= self._due or self._reader.valid != self._valid):
            return self._publish(update.received_time + self._interval)
        return None

    def _judge(self, update: L2Update) -> None:
        if self.pending:
            return
        floor, ceiling = self._bid_floor, self._ask_ceiling
        bids, asks = update.bid_prices, update.ask_prices
        self.pending = (
            (bool(bids) and (floor is None or max(bids) >= floor))
            or (bool(asks) and (ceiling is None or min(asks) <= ceiling))
            or update.received_time - self._published_at >= REPEAT_NS
        )

    def tick(self, now: int) -> Depth | None:
        """Return the pending state if its interval is over at ``now``."""
        if self.pending and self.clock.at(now) >= self._due:
            return self._publish(self._due + self._interval)
        return None

    @property
    def due(self) -> int | None:
        """Time at which :meth:`tick` has something to publish, by the clock of ``now``; None: nothing is pending."""
        return self.clock.when(self._due) if self.pending else None

    def mark(self) -> None:
        """Make the current state pending, whether published before or not."""
        self.pending = True
        self._published = None

    def _publish(self, due: int) -> Depth | None:
        reader = self._reader
        levels = best_levels(reader, self._levels) if reader.valid else _NO_LEVELS
        self.pending = False
        shown = (reader.valid, reader.epoch, levels)
        # The record that invalidated a book by its absence is not the reader's last, and unknown after a restart.
        time = reader.received_time if reader.valid else max(self.clock.latest, reader.received_time)
        if shown == self._published and time - self._published_at < REPEAT_NS:
            return None
        self._due = due
        self._published = shown
        self._published_at = time
        self._valid = reader.valid
        bid_prices, bid_sizes, ask_prices, ask_sizes = levels
        self._bid_floor = bid_prices[-1] if len(bid_prices) == self._levels else None
        self._ask_ceiling = ask_prices[-1] if len(ask_prices) == self._levels else None
        return Depth(
            venue=self._venue,
            symbol=self._symbol,
            valid=reader.valid,
            epoch=reader.epoch,
            sequence=reader.sequence,
            exchange_time=reader.exchange_time,
            received_time=time,
            price_exponent=reader.price_exponent,
            size_exponent=reader.size_exponent,
            bid_prices=bid_prices,
            bid_sizes=bid_sizes,
            ask_prices=ask_prices,
            ask_sizes=ask_sizes,
        )
