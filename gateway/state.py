"""State of the gateway: the latest values from the records on the topics. Pure.

Topics are read at least once, and a restarted service repeats records: records seen before change nothing.

A book is judged by the freshness rule (:mod:`alphapulse.freshness`) for each of its records and, as time passes, by
:meth:`MarketState.expire`. In between its ``fault`` is fixed, so that REST, stream and opportunities agree on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from alphapulse.errors import UnknownInstrument
from alphapulse.freshness import Fault, book_age, book_fault, is_stale, stale_from
from alphapulse.recent import RecentIds
from gateway.venues import Status, VenueActivity
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Event, Record, Trade

TRADES_KEPT: Final = 50
"""Trades per instrument sent to a new client."""
RECENT_TRADES: Final = 1000
"""Trades per instrument that REST answers from memory."""
TRADE_IDS_KEPT: Final = 1000
"""A venue repeats its latest trades after a reconnect: at most this many are recognised."""
WINDOWS_KEPT: Final = 300
CLOSED_KEPT: Final = 200
EVENTS_KEPT: Final = 200
_NAMES_LISTED: Final = 30


class ShownInstrument:
    """Latest state of one instrument.

    Args:
        max_book_age: ``[freshness] max_book_age_ms``, in nanoseconds.

    Attributes:
        depth: its book; None before the first.
        fault: why the book was not usable when last judged; None: it was.
        candles: the latest candle of each interval (ns).
    """

    __slots__ = ("_max_book_age", "_trade_ids", "candles", "depth", "fault", "symbol", "trades", "venue", "windows")

    def __init__(self, venue: str, symbol: str, max_book_age: int) -> None:
        self.venue = venue
        self.symbol = symbol
        self.depth: Depth | None = None
        self.fault: Fault | None = "no_book"
        self.trades: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self.windows: deque[DeltaStatistics] = deque(maxlen=WINDOWS_KEPT)
        self.candles: dict[int, Candle] = {}
        self._trade_ids = RecentIds[str](TRADE_IDS_KEPT)
        self._max_book_age = max_book_age

    def take_depth(self, depth: Depth, now: int) -> bool:
        """Apply the book and judge it at ``now``.

        Records repeated by a restarted processor are older, or equal. Where all numbers are equal, the record that
        marks the book invalid is the later one: a book becomes valid again only in a new epoch.
        """
        last = self.depth
        if last is not None and (depth.epoch, depth.sequence, depth.received_time, not depth.valid) <= (
            last.epoch,
            last.sequence,
            last.received_time,
            not last.valid,
        ):
            return False
        self.depth = depth
        self.fault = book_fault(depth.valid, depth.received_time, now, self._max_book_age)
        return True

    def age(self, now: int) -> int | None:
        """Return the book's age (ns); None without a book."""
        return None if self.depth is None else book_age(self.depth.received_time, now)

    def take_trade(self, trade: Trade) -> bool:
        if not self._trade_ids.add(trade.trade_id):
            return False
        self.trades.append(trade)
        return True

    def take_window(self, statistics: DeltaStatistics) -> bool:
        if self.windows and statistics.window_start <= self.windows[-1].window_start:
            return False
        self.windows.append(statistics)
        return True

    def take_candle(self, candle: Candle) -> bool:
        last = self.candles.get(candle.interval)
        if last is not None and (candle.open_time, candle.revision) <= (last.open_time, last.revision):
            return False
        self.candles[candle.interval] = candle
        return True


class OpenOpportunities:
    """The open opportunities, and the latest closed ones (the newest last)."""

    def __init__(self) -> None:
        self._open: dict[str, ArbitrageOpportunity] = {}
        self._closed: dict[str, ArbitrageOpportunity] = {}

    @property
    def full(self) -> bool:
        """Whether older closed ones may have been forgotten."""
        return len(self._closed) >= CLOSED_KEPT

    def take(self, opportunity: ArbitrageOpportunity) -> bool:
        """Apply one change of state; closed opportunities stay closed, and older records are ignored."""
        identity = opportunity.opportunity_id
        if identity in self._closed:
            return False
        last = self._open.get(identity)
        if last is not None and (opportunity.updated_time < last.updated_time or opportunity.__dict__ == last.__dict__):
            return False
        if opportunity.state != "CLOSED":
            self._open[identity] = opportunity
            return True
        self._open.pop(identity, None)
        self._closed[identity] = opportunity
        if len(self._closed) > CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]
        return True

    def open(self, symbol: str | None = None) -> list[ArbitrageOpportunity]:
        """Return the open opportunities of one symbol or of all."""
        return [each for each in self._open.values() if symbol is None or each.symbol == symbol]

    def closed(self, symbol: str | None = None) -> list[ArbitrageOpportunity]:
        """Return the latest closed opportunities of one symbol or of all."""
        return [each for each in self._closed.values() if symbol is None or each.symbol == symbol]


@dataclass(frozen=True, slots=True)
class VenueStanding:
    """Status of a venue.

    Attributes:
        status: by its newest book, or without books (trades or quotes alone) by its records. ``late``: its collector
            invalidated the books, because it could not read its frames in time.
        good, stale, invalid: numbers of books.
        youngest, oldest, oldest_fault: ages of its books, and of those not usable, ns; None without one.
    """

    status: Status
    good: int
    stale: int
    invalid: int
    youngest: int | None
    oldest: int | None
    oldest_fault: int | None


class MarketState:
    """All instruments, venues, opportunities and events.

    Args:
        configured: expected symbols by venue; others appear with their first record.
        max_book_age: ``[freshness] max_book_age_ms``, in nanoseconds.

    Attributes:
        max_book_age: as above.
        next_expiry: no book becomes stale before this time (ns); None: there is no valid book.
    """

    def __init__(self, configured: Mapping[str, Iterable[str]] | None = None, *, max_book_age: int) -> None:
        self.max_book_age = max_book_age
        self._good: set[ShownInstrument] = set()
        self.next_expiry: int | None = None
        self._instruments: dict[str, dict[str, ShownInstrument]] = {}
        self._venues: dict[str, VenueActivity] = {}
        self.opportunities = OpenOpportunities()
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        for venue, symbols in (configured or {}).items():
            self._venue(venue)
            for symbol in symbols:
                self._instrument(venue, symbol)

    def _venue(self, venue: str) -> VenueActivity:
        activity = self._venues.get(venue)
        if activity is None:
            activity = self._venues[venue] = VenueActivity()
            self._instruments[venue] = {}
        return activity

    def _instrument(self, venue: str, symbol: str) -> ShownInstrument:
        self._venue(venue)
        of_venue = self._instruments[venue]
        instrument = of_venue.get(symbol)
        if instrument is None:
            instrument = of_venue[symbol] = ShownInstrument(venue, symbol, self.max_book_age)
        return instrument

    def apply(self, record: Record, now: int) -> bool:
        """Apply a record read at ``now`` (ns); False: it was seen before, or has no effect."""
        match record:
            case Depth():
                self._venue(record.venue).heard(record.received_time)
                return self._take_depth(self._instrument(record.venue, record.symbol), record, now)
            case Trade():
                self._venue(record.venue).heard(record.received_time)
                return self._instrument(record.venue, record.symbol).take_trade(record)
            case DeltaStatistics():
                taken = self._instrument(record.venue, record.symbol).take_window(record)
                if taken:
                    count = record.snapshots + record.deltas + record.trades
                    self._venues[record.venue].rate.add(count, record.window_start, record.window_end)
                return taken
            case Candle():
                return self._instrument(record.venue, record.symbol).take_candle(record)
            case ArbitrageOpportunity():
                return self.opportunities.take(record)
            case Event():
                return self._take_event(record)
            case _:
                return False

    def _take_event(self, event: Event) -> bool:
        self.events.append(event)
        if event.venue is not None:
            activity = self._venue(event.venue)
            if event.kind in ("connected", "disconnected"):
                activity.connection(event.kind == "connected", event.time)
            elif event.kind == "late":
                activity.late(event.time)
        return True

    # --- freshness ---

    def book_of(self, depth: Depth) -> ShownInstrument:
        """Return the instrument of a Depth; created if unknown."""
        return self._instrument(depth.venue, depth.symbol)

    def _take_depth(self, instrument: ShownInstrument, depth: Depth, now: int) -> bool:
        last = instrument.depth
        was_good = instrument.fault is None
        if not instrument.take_depth(depth, now):
            return False
        if instrument.fault is None:
            # A valid book's time rarely goes back: another collector, whose clock is behind.
            if not was_good or (last is not None and depth.received_time < last.received_time):
                self._good.add(instrument)
                expiry = stale_from(depth.received_time, self.max_book_age)
                self.next_expiry = expiry if self.next_expiry is None else min(self.next_expiry, expiry)
        elif was_good:
            self._good.discard(instrument)
        return True

    def expire(self, now: int) -> list[ShownInstrument]:
        """Judge the valid books at ``now`` (ns); return those that have become stale.

        Checks all books, but only when the first can have become stale: at most every few seconds while all are
            confirmed,
        since each confirmation postpones its book's expiry.
        """
        if self.next_expiry is None or now < self.next_expiry:
            return []
        expired: list[ShownInstrument] = []
        first: int | None = None
        for instrument in self._good:
            depth = instrument.depth
            if depth is None:
                raise AssertionError(f"{instrument.venue} {instrument.symbol}: valid without a book")
            if is_stale(depth.received_time, now, self.max_book_age):
                instrument.fault = "stale"
                expired.append(instrument)
            elif first is None or depth.received_time < first:
                first = depth.received_time
        self._good.difference_update(expired)
        self.next_expiry = None if first is None else stale_from(first, self.max_book_age)
        return expired

    def shows(self, opportunity: ArbitrageOpportunity) -> bool:
        """Return whether an open opportunity may be shown: both its books are usable."""
        of_symbol = (
            self._instruments.get(venue, {}).get(opportunity.symbol)
            for venue in (opportunity.buy_venue, opportunity.sell_venue)
        )
        return all(instrument is not None and instrument.fault is None for instrument in of_symbol)

    def open_opportunities(self, symbol: str | None = None) -> list[ArbitrageOpportunity]:
        """Return the open opportunities of one symbol or of all, without those whose books are not usable."""
        return [each for each in self.opportunities.open(symbol) if self.shows(each)]

    def standing(self, venue: str, now: int) -> VenueStanding:
        """Return the status of a venue at ``now``."""
        depths = [(each.fault, each.depth) for each in self._instruments[venue].values() if each.depth is not None]
        ages = [book_age(depth.received_time, now) for _, depth in depths]
        faults = [fault for fault, _ in depths]
        of_faults = [age for age, fault in zip(ages, faults, strict=True) if fault is not None]
        return VenueStanding(
            status=self._status(self._venues[venue], depths, now),
            good=faults.count(None),
            stale=faults.count("stale"),
            invalid=faults.count("invalid"),
            youngest=min(ages, default=None),
            oldest=max(ages, default=None),
            oldest_fault=max(of_faults, default=None),
        )

    def _status(self, activity: VenueActivity, books: list[tuple[Fault | None, Depth]], now: int) -> Status:
        if activity.disconnected:
            return "disconnected"
        if not books:
            silent = activity.silent(now)
            return "connecting" if silent is None else "stale" if silent else "connected"
        if any(fault is None for fault, _ in books):
            return "connected"
        if activity.late_time > max(depth.epoch for _, depth in books):
            return "late"
        # Without a valid book: they are not confirmed any longer, or start (again).
        newest = max(depth.received_time for _, depth in books)
        return "stale" if is_stale(newest, now, self.max_book_age) else "connecting"

    @property
    def venues(self) -> Mapping[str, VenueActivity]:
        return self._venues

    def instruments(self, venue: str | None = None) -> list[ShownInstrument]:
        """Return all instruments, or those of one venue.

        Raises:
            UnknownInstrument: unknown venue.
        """
        if venue is None:
            return [each for of_venue in self._instruments.values() for each in of_venue.values()]
        return list(self._of_venue(venue).values())

    def _of_venue(self, venue: str) -> dict[str, ShownInstrument]:
        of_venue = self._instruments.get(venue)
        if of_venue is None:
            raise UnknownInstrument(f"unknown venue {venue[:80]!r}; known: {_names(self._instruments)}")
        return of_venue

    def instrument(self, venue: str, symbol: str) -> ShownInstrument:
        """Return one instrument.

        Raises:
            UnknownInstrument: unknown venue or symbol; the message lists the known ones.
        """
        of_venue = self._of_venue(venue)
        instrument = of_venue.get(symbol)
        if instrument is None:
            raise UnknownInstrument(f"unknown symbol {symbol[:80]!r} of {venue}; known: {_names(of_venue)}")
        return instrument

    def matching(self, venue: object = None, symbol: object = None) -> list[ShownInstrument]:
        """Return the instruments of ``venue`` and ``symbol``, each None: any; none if there are none."""
        found = self._instruments.values() if venue is None else (self._instruments.get(str(venue), {}),)
        return [each for of in found for each in of.values() if symbol is None or each.symbol == symbol]

    def check_symbol(self, symbol: str) -> None:
        """Check that at least one venue has ``symbol``.

        Raises:
            UnknownInstrument: none has; the message lists the known symbols.
        """
        symbols = {each for of_venue in self._instruments.values() for each in of_venue}
        if symbol not in symbols:
            raise UnknownInstrument(f"unknown symbol {symbol[:80]!r}; known: {_names(symbols)}")


def _names(of: Iterable[str]) -> str:
    names = sorted(of)
    shown = ", ".join(names[:_NAMES_LISTED])
    return f"{shown} and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else shown or "none yet"
