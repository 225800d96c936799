"""What the gateway knows: the latest of everything, as the records on the topics tell it. Pure.

Topics are read at least once and a service that starts anew repeats itself: what was seen before changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from alphapulse.errors import UnknownInstrument
from gateway.venues import VenueActivity
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Event, Record, Trade

TRADES_KEPT: Final = 50
"""Trades per instrument that a new client gets."""
TRADE_IDS_KEPT: Final = 1000
"""A venue repeats its latest trades after a reconnect: at most this many are recognised."""
WINDOWS_KEPT: Final = 300
CLOSED_KEPT: Final = 200
EVENTS_KEPT: Final = 200
_NAMES_LISTED: Final = 30


class InstrumentState:
    """The latest of one instrument."""

    __slots__ = ("_trade_ids", "candles", "depth", "symbol", "trades", "venue", "windows")

    def __init__(self, venue: str, symbol: str) -> None:
        self.venue = venue
        self.symbol = symbol
        self.depth: Depth | None = None
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        self.windows: deque[DeltaStatistics] = deque(maxlen=WINDOWS_KEPT)
        self.candles: dict[int, Candle] = {}
        """The latest candle of each interval (ns)."""
        self._trade_ids: dict[str, None] = {}

    def take_depth(self, depth: Depth) -> bool:
        last = self.depth
        if last is not None and (depth.epoch, depth.sequence) < (last.epoch, last.sequence):
            return False
        self.depth = depth
        return True

    def take_trade(self, trade: Trade) -> bool:
        if trade.trade_id in self._trade_ids:
            return False
        self._trade_ids[trade.trade_id] = None
        if len(self._trade_ids) > TRADE_IDS_KEPT:
            del self._trade_ids[next(iter(self._trade_ids))]
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


class Opportunities:
    """The open opportunities, and the latest closed ones (the newest last)."""

    def __init__(self) -> None:
        self._open: dict[str, ArbitrageOpportunity] = {}
        self._closed: dict[str, ArbitrageOpportunity] = {}

    def take(self, opportunity: ArbitrageOpportunity) -> bool:
        """Take one change of state; what is closed stays closed, and time does not run backwards."""
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
        """Return the open ones, of one symbol or of all."""
        return [each for each in self._open.values() if symbol is None or each.symbol == symbol]

    def closed(self, symbol: str | None = None) -> list[ArbitrageOpportunity]:
        """Return the latest closed ones, of one symbol or of all."""
        return [each for each in self._closed.values() if symbol is None or each.symbol == symbol]


class MarketState:
    """All instruments, venues, opportunities and events.

    Args:
        configured: symbols by venue that are expected; others appear with their first record.
    """

    def __init__(self, configured: Mapping[str, Iterable[str]] | None = None) -> None:
        self._instruments: dict[str, dict[str, InstrumentState]] = {}
        self._venues: dict[str, VenueActivity] = {}
        self.opportunities = Opportunities()
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

    def _instrument(self, venue: str, symbol: str) -> InstrumentState:
        self._venue(venue)
        of_venue = self._instruments[venue]
        instrument = of_venue.get(symbol)
        if instrument is None:
            instrument = of_venue[symbol] = InstrumentState(venue, symbol)
        return instrument

    def apply(self, record: Record, time: int) -> bool:
        """Take one record that the broker got at ``time`` (ns); False: it was seen before, or is of no use here."""
        match record:
            case Depth():
                self._venue(record.venue).heard(record.received_time)
                return self._instrument(record.venue, record.symbol).take_depth(record)
            case Trade():
                self._venue(record.venue).heard(record.received_time)
                return self._instrument(record.venue, record.symbol).take_trade(record)
            case DeltaStatistics():
                taken = self._instrument(record.venue, record.symbol).take_window(record)
                if taken:
                    self._venues[record.venue].rate.add(record.snapshots + record.deltas + record.trades, time)
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
        if event.venue is not None and event.kind in ("connected", "disconnected"):
            self._venue(event.venue).connection(event.kind == "connected", event.time)
        return True

    @property
    def venues(self) -> Mapping[str, VenueActivity]:
        return self._venues

    def instruments(self, venue: str | None = None) -> list[InstrumentState]:
        """Return all instruments, or those of one venue.

        Raises:
            UnknownInstrument: no such venue.
        """
        if venue is None:
            return [each for of_venue in self._instruments.values() for each in of_venue.values()]
        return list(self._of_venue(venue).values())

    def _of_venue(self, venue: str) -> dict[str, InstrumentState]:
        of_venue = self._instruments.get(venue)
        if of_venue is None:
            raise UnknownInstrument(f"unknown venue {venue[:80]!r}; there are: {_names(self._instruments)}")
        return of_venue

    def instrument(self, venue: str, symbol: str) -> InstrumentState:
        """Return one instrument.

        Raises:
            UnknownInstrument: no such venue, or it has no such symbol; the text names those there are.
        """
        of_venue = self._of_venue(venue)
        instrument = of_venue.get(symbol)
        if instrument is None:
            raise UnknownInstrument(f"{venue} has no symbol {symbol[:80]!r}; it has: {_names(of_venue)}")
        return instrument

    def check_symbol(self, symbol: str) -> None:
        """Make sure that some venue has ``symbol``.

        Raises:
            UnknownInstrument: none has; the text names the symbols there are.
        """
        symbols = {each for of_venue in self._instruments.values() for each in of_venue}
        if symbol not in symbols:
            raise UnknownInstrument(f"no venue has symbol {symbol[:80]!r}; there are: {_names(symbols)}")


def _names(of: Iterable[str]) -> str:
    names = sorted(of)
    shown = ", ".join(names[:_NAMES_LISTED])
    return f"{shown} and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else shown or "none yet"
