"""Statistics of a book per time window, for ``md.stats``.

Pure. Windows are by ``received_time``. A window ends when the instrument's stream time passes its end (see
:class:`StreamClock`); its record is held back a moment longer, because the window's trades are on another topic, and is
then published by :meth:`DeltaWindows.tick`. An even later trade counts in the next window, so that the sums are
complete; one that arrives before its book's records waits for them.

A quiet instrument gets one window of zeros, so that a reader's rates fall to zero, and no further ones until it
changes.
"""

from __future__ import annotations

from collections import deque

import msgspec

from schemas.book_reader import BookReader, Outcome
from schemas.records import DeltaStatistics, L2Update
from stream_processors.processing.stream_clock import StreamClock

HOLD_NS = 300_000_000
"""How long an ended window waits for its trades, in real time."""


EARLY_WINDOWS = 3_600
"""Maximum windows whose trades wait for the records of their book."""


class Window(msgspec.Struct, array_like=True):
    """Counts of one window; ``latency_*`` are over ``timed`` records.

    The sum of the latencies is ``latency_mean × timed + latency_rest``, because the sum itself can exceed 64 bits (a
    recording of years ago is late by years), which MessagePack cannot represent.
    """

    start: int
    snapshots: int = 0
    deltas: int = 0
    level_changes: int = 0
    added: int = 0
    updated: int = 0
    removed: int = 0
    trades: int = 0
    timed: int = 0
    latency_mean: int = 0
    latency_rest: int = 0
    latency_max: int = 0

    @property
    def empty(self) -> bool:
        """Whether all counts are zero."""
        return not (self.snapshots or self.deltas or self.trades)


class BookEnd(msgspec.Struct, array_like=True):
    """The book at the end of a window."""

    epoch: int
    sequence: int
    valid: bool
    bid_levels: int
    ask_levels: int
    best_bid: int | None
    best_ask: int | None
    price_exponent: int
    size_exponent: int

    @classmethod
    def of(cls, reader: BookReader) -> BookEnd:
        """Return the current state of ``reader``'s book."""
        bids, asks = reader.book.bids, reader.book.asks
        return cls(
            epoch=reader.epoch,
            sequence=reader.sequence,
            valid=reader.valid,
            bid_levels=len(bids),
            ask_levels=len(asks),
            best_bid=bids.best_price(),
            best_ask=asks.best_price(),
            price_exponent=reader.price_exponent,
            size_exponent=reader.size_exponent,
        )


class EndedWindow(msgspec.Struct, array_like=True):
    """An ended window, waiting for late trades until ``due``."""

    window: Window
    book: BookEnd
    due: int


class WindowState(msgspec.Struct, array_like=True):
    """Saved state of :class:`DeltaWindows`."""

    latest: int
    open: Window | None
    ended: list[EndedWindow]
    early: dict[int, int]
    published_until: int
    floor: int = 0


class DeltaWindows:
    """The windows of one instrument.

    For each L2 record: :meth:`before` (the book before the change), the reader's ``apply``, :meth:`after`; for each
        trade
    :meth:`trade`; and :meth:`tick` a few times a second. All times are in nanoseconds.

    Attributes:
        open: the current window; None before the first record and after a quiet window.
        ended: windows that wait for their trades, oldest first.
        early: start of a window → trades of it that arrived before its book's records.
        published_until: end of the last published window: earlier trades count after it.
        floor: windows from there up to this one were published by an earlier owner after its last checkpoint; the same
            records, read again, do not publish them again.
    """

    __slots__ = (
        "_interval",
        "_reader",
        "_symbol",
        "_venue",
        "clock",
        "early",
        "ended",
        "floor",
        "open",
        "published_until",
    )

    def __init__(self, venue: str, symbol: str, reader: BookReader, interval_ns: int) -> None:
        self._venue = venue
        self._symbol = symbol
        self._reader = reader
        self._interval = interval_ns
        self.clock = StreamClock()
        self.open: Window | None = None
        self.ended: deque[EndedWindow] = deque()
        self.early: dict[int, int] = {}
        self.published_until = 0
        self.floor = 0

    def state(self) -> WindowState:
        """Return the state for a later owner."""
        return WindowState(self.clock.latest, self.open, list(self.ended), self.early, self.published_until, self.floor)

    def restore(self, state: WindowState, now: int) -> None:
        """Restore an earlier owner's state."""
        self.clock.advance(state.latest, now)
        self.open = state.open
        self.ended = deque(EndedWindow(ended.window, ended.book, now + HOLD_NS) for ended in state.ended)
        self.early = dict(state.early)
        self.published_until = state.published_until
        # What this owner has read back is before the position from which the next one reads back.
        self.floor = state.floor

    def was_published(self, until: int) -> None:
        """Record that an earlier owner has published the windows up to ``until``."""
        if until > self.published_until:
            self.floor = max(self.floor, until)

    @property
    def active(self) -> bool:
        """Whether :meth:`tick` is needed."""
        return self.open is not None or bool(self.ended) or bool(self.early)

    def before(self, received_time: int, now: int) -> None:
        """Record the arrival of a book record: earlier windows end with the book as it is."""
        start = received_time - received_time % self._interval
        if not self.clock.observe(received_time, now):
            # The clock was set back: windows published for a future time do not count.
            if self.open is not None:
                self._end(self.open, now)
                self.open = None
            self.floor = min(self.floor, start)
            self.published_until = min(self.published_until, start)
        else:
            start = max(start, self._first())
        window = self.open
        if window is not None:
            if start <= window.start:
                return
            self._end(window, now)
        self._end_early(start, now)
        self.open = Window(start, trades=self.early.pop(start, 0))

    def _first(self) -> int:
        """Return the start of the first window that has not ended."""
        return self.ended[-1].window.start + self._interval if self.ended else self.published_until

    def after(self, update: L2Update, outcome: Outcome) -> None:
        """Count the effect of a record (``reader.changes``, for a delta)."""
        window = self.open
        if window is None or outcome is Outcome.SEEN:
            return
        if outcome is Outcome.DELTA:
            changes = self._reader.changes
            window.deltas += 1
            window.level_changes += len(update.bid_prices) + len(update.ask_prices)
            window.added += changes.added
            window.updated += changes.updated
            window.removed += changes.removed
        elif outcome is Outcome.SNAPSHOT:
            window.snapshots += 1
        if update.exchange_time > 0:
            latency = update.received_time - update.exchange_time
            window.latency_max = latency if window.timed == 0 else max(window.latency_max, latency)
            total = window.latency_mean * window.timed + window.latency_rest + latency
            window.latency_mean, window.latency_rest = divmod(total, window.timed + 1)
            window.timed += 1

    def trade(self, received_time: int) -> None:
        """Count a trade in its window, or in the next one to be published."""
        start = received_time - received_time % self._interval
        for ended in self.ended:
            if ended.window.start == start:
                ended.window.trades += 1
                return
        if self.open is not None and start <= self.open.start:
            self.open.trades += 1
            return
        start = max(start, self._first())
        self.early[start] = self.early.get(start, 0) + 1
        if len(self.early) > EARLY_WINDOWS:
            # Trades without a book: no statistics.
            del self.early[min(self.early)]

    def tick(self, now: int) -> list[DeltaStatistics]:
        """Return the windows due at ``now``."""
        time = self.clock.at(now)
        window = self.open
        if window is not None and time >= window.start + self._interval:
            self._end(window, now)
            self.open = None
            if not window.empty:
                start = window.start + self._interval
                self.open = Window(start, trades=self.early.pop(start, 0))
        if self.open is None and self.early:
            self._end_early(time - time % self._interval, now)
        return self._publish(now)

    def flush(self) -> list[DeltaStatistics]:
        """Return all windows, the open one as it is, at the end of the process. Later records count in the next one."""
        if self.open is not None:
            if not self.open.empty:
                self._end(self.open, 0)
            self.open = None
        return self._publish(None)

    def _publish(self, now: int | None) -> list[DeltaStatistics]:
        made: list[DeltaStatistics] = []
        while self.ended and (now is None or self.ended[0].due <= now):
            ended = self.ended.popleft()
            if ended.window.start >= self.floor:
                made.append(self._record(ended.window, ended.book))
            self.published_until = ended.window.start + self._interval
        return made

    def _end_early(self, start: int, now: int) -> None:
        """End the windows before ``start`` that contain only trades."""
        for early in sorted(key for key in self.early if key < start):
            self._end(Window(early, trades=self.early.pop(early)), now)

    def _end(self, window: Window, now: int) -> None:
        self.ended.append(EndedWindow(window, BookEnd.of(self._reader), now + HOLD_NS))

    def _record(self, window: Window, book: BookEnd) -> DeltaStatistics:
        return DeltaStatistics(
            venue=self._venue,
            symbol=self._symbol,
            window_start=window.start,
            window_end=window.start + self._interval,
            epoch=book.epoch,
            sequence=book.sequence,
            valid=book.valid,
            snapshots=window.snapshots,
            deltas=window.deltas,
            level_changes=window.level_changes,
            levels_added=window.added,
            levels_updated=window.updated,
            levels_removed=window.removed,
            trades=window.trades,
            bid_levels=book.bid_levels,
            ask_levels=book.ask_levels,
            best_bid=book.best_bid,
            best_ask=book.best_ask,
            price_exponent=book.price_exponent,
            size_exponent=book.size_exponent,
            latency_max=window.latency_max,
            latency_mean=window.latency_mean,
        )
