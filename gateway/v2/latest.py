"""Feeds of which the latest record is the state: statistics, candles, opportunities. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import protocol
from gateway.state import MarketState, ShownInstrument
from gateway.v2.encoding import Outgoing
from gateway.v2.feed import Feed
from gateway.v2.messages import CandleMessage, OpportunitiesSnapshot, Opportunity, OpportunityItem, Stats
from gateway.v2.pace import Pacer
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics


class StatsFeed(Feed):
    """Feed of statistics: the latest window, then each new one; with an interval the newest at each tick."""

    def __init__(self, instrument: ShownInstrument, pacer: Pacer, interval_ms: int) -> None:
        super().__init__(pacer, interval_ms)
        self._instrument = instrument
        self._told: DeltaStatistics | None = None

    def _newest(self) -> DeltaStatistics | None:
        windows = self._instrument.windows
        return windows[-1] if windows else None

    def _begin(self) -> None:
        self._told = self._newest()

    def _snapshot(self) -> Sequence[Outgoing]:
        if self._told is None:
            return ()
        return (Stats(channel="stats", **protocol.statistics_fields(self._told)),)

    def _news(self) -> Sequence[Outgoing]:
        if self._newest() is self._told:
            return ()
        self._begin()
        return self._snapshot()


def candle_message(record: Candle) -> CandleMessage:
    """Return a candle as clients get it."""
    return CandleMessage(channel="candles", **protocol.candle_fields(record))


class CandlesFeed(Feed):
    """Feed of candles: the latest of each interval, then each new or revised one.

    Args:
        candle_interval: only candles of this interval, seconds; None: of all.
    """

    def __init__(self, instrument: ShownInstrument, pacer: Pacer, candle_interval: int | None) -> None:
        super().__init__(pacer)
        self._instrument = instrument
        self._candle_interval = candle_interval
        self._new: list[Candle] = []

    def take(self, candle: Candle) -> None:
        """Send a candle."""
        if self._wanted(candle):
            if self.audience:
                self._new.append(candle)
            self.changed()

    def _wanted(self, candle: Candle) -> bool:
        return self._candle_interval is None or candle.interval == self._candle_interval * 10**9

    def _begin(self) -> None:
        self._new.clear()

    def _snapshot(self) -> Sequence[Outgoing]:
        return [candle_message(candle) for candle in self._instrument.candles.values() if self._wanted(candle)]

    def _news(self) -> Sequence[Outgoing]:
        new, self._new = self._new, []
        return [candle_message(candle) for candle in new]


class ArbitrageFeed(Feed):
    """Feed of the open opportunities of a symbol, then each change of one.

    An opportunity with an invalid or stale book is hidden, whatever its records say: a snapshot without it is sent when
    a book becomes invalid, one with it when the book is valid again.
    """

    def __init__(self, state: MarketState, symbol: str, pacer: Pacer) -> None:
        super().__init__(pacer)
        self._state = state
        self._symbol = symbol
        self._new: list[Outgoing] = []

    def take(self, record: ArbitrageOpportunity) -> None:
        """Send a change of an opportunity."""
        if self.audience and (record.state == "CLOSED" or self._state.shows(record)):
            self._new.append(Opportunity(**protocol.opportunity_fields(record)))
        self.changed()

    def retell(self) -> None:
        """Send a snapshot to all, after a change that no record reports."""
        self._new = list(self._snapshot()) if self.audience else []
        self.changed()

    def _begin(self) -> None:
        self._new.clear()

    def _snapshot(self) -> Sequence[Outgoing]:
        opened = self._state.open_opportunities(self._symbol)
        items = [OpportunityItem(**protocol.opportunity_fields(record)) for record in opened]
        return (OpportunitiesSnapshot("arbitrage", self._symbol, items),)

    def _news(self) -> Sequence[Outgoing]:
        new, self._new = self._new, []
        return new
