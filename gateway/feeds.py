"""Feeds: turn records into messages, encoded once for all subscribers. Pure.

A feed without subscribers encodes nothing. Its snapshot is built on demand and cached until the next record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from alphapulse.freshness import Fault
from gateway import protocol
from gateway.outbox import Source
from gateway.state import TRADES_KEPT, MarketState, ShownInstrument
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Trade

R_contra = TypeVar("R_contra", contravariant=True)


class FeedSubscriber(Protocol):
    """A client, as seen by a feed."""

    def deliver(self, source: Source[str], text: str) -> None:
        """Queue a message for the client; never blocks, never fails."""
        ...


class Feed(ABC, Generic[R_contra]):
    """Base of all feeds.

    A subscriber is added in the same step in which it gets the snapshot, and :meth:`publish` directly follows the
    update of the state by the record: no subscriber sees the state ahead of the feed.

    Attributes:
        subscribers: clients that get every message (in order of subscription).
    """

    def __init__(self) -> None:
        self.subscribers: dict[FeedSubscriber, None] = {}
        self._snapshot: Sequence[str] | None = None

    def snapshot(self) -> Sequence[str]:
        """Return the messages that bring a client up to date with the feed."""
        if self._snapshot is None:
            self._snapshot = self._make_snapshot()
        return self._snapshot

    def resume(self) -> Sequence[str]:
        """Return the same for a subscriber whose queued messages were dropped."""
        return self.snapshot()

    def publish(self, record: R_contra) -> None:
        """Send a record that the state has just applied to the subscribers."""
        self._snapshot = None
        if self.subscribers and (text := self._encode(record)) is not None:
            for subscriber in self.subscribers:
                subscriber.deliver(self, text)

    def retell(self) -> None:
        """Send the current snapshot to all subscribers, after a change that no record reports."""
        self._snapshot = None
        if self.subscribers:
            for text in self.snapshot():
                for subscriber in self.subscribers:
                    subscriber.deliver(self, text)

    @abstractmethod
    def _make_snapshot(self) -> Sequence[str]: ...

    @abstractmethod
    def _encode(self, record: R_contra) -> str | None:
        """Return the message for subscribers; None if nothing changed for them."""


FAULT_EVERY_NS = 1_000_000_000
"""Minimum interval (stream time) of messages on a book that stays invalid; they carry the time of its newest record."""


class BookFeed(Feed[Depth]):
    """Feed of a book: snapshot, then the levels that changed between two Depth records.

    Every message carries the book's ``sequence``; a delta also that of the message before. Each Depth of a valid book
    is sent, without levels if none changed, so that clients know the age of their book. A new epoch, a fault and its
    end are sent to all as a snapshot.
    """

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument
        self._told: Depth | None = None
        self._told_fault: Fault | None = "no_book"

    def _make_snapshot(self) -> Sequence[str]:
        instrument = self._instrument
        self._told, self._told_fault = instrument.depth, instrument.fault
        if instrument.depth is None:
            return (protocol.no_book(instrument.venue, instrument.symbol),)
        return (protocol.book_snapshot(instrument.depth, instrument.fault),)

    def _encode(self, record: Depth) -> str | None:
        told, told_fault = self._told, self._told_fault
        fault = self._instrument.fault
        if told is None or fault != told_fault:
            return self.snapshot()[0]
        if fault is not None:
            if told.epoch == record.epoch and record.received_time - told.received_time < FAULT_EVERY_NS:
                return None
            return self.snapshot()[0]
        if not _continues(told, record):
            return self.snapshot()[0]
        self._told = record
        bids = changed_levels(told.bid_prices, told.bid_sizes, record.bid_prices, record.bid_sizes)
        asks = changed_levels(told.ask_prices, told.ask_sizes, record.ask_prices, record.ask_sizes)
        return protocol.book_delta(record, told.sequence, bids, asks)


def _continues(before: Depth, after: Depth) -> bool:
    """Whether ``after`` can be sent as a delta to ``before``: same epoch, comparable mantissas."""
    return (
        before.epoch == after.epoch
        and before.price_exponent == after.price_exponent
        and before.size_exponent == after.size_exponent
    )


def changed_levels(
    prices_before: Sequence[int], sizes_before: Sequence[int], prices: Sequence[int], sizes: Sequence[int]
) -> list[tuple[int, int]]:
    """Return (price, size) of each new or resized level, then (price, 0) of each removed one."""
    if prices_before == prices:  # most often: then nothing has to be looked up
        if sizes_before == sizes:
            return []
        sized = zip(prices, sizes_before, sizes, strict=True)
        return [(price, size) for price, size_before, size in sized if size != size_before]
    before = dict(zip(prices_before, sizes_before, strict=True))
    changed = [(price, size) for price, size in zip(prices, sizes, strict=True) if before.pop(price, None) != size]
    changed += [(price, 0) for price in before]
    return changed


class TradesFeed(Feed[Trade]):
    """Feed of trades: the latest ones, then each new one."""

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        of = self._instrument
        return (protocol.trades("snapshot", of.venue, of.symbol, list(of.trades)[-TRADES_KEPT:]),)

    def _encode(self, record: Trade) -> str:
        return protocol.trades("trades", record.venue, record.symbol, (record,))


class StatsFeed(Feed[DeltaStatistics]):
    """Feed of statistics: the latest window, then each new one."""

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        windows = self._instrument.windows
        return (protocol.stats(windows[-1]),) if windows else ()

    def _encode(self, record: DeltaStatistics) -> str:
        return protocol.stats(record)


class CandlesFeed(Feed[Candle]):
    """Feed of candles: the latest of each interval, then each new or revised one."""

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        return tuple(protocol.candle(candle) for candle in self._instrument.candles.values())

    def _encode(self, record: Candle) -> str:
        return protocol.candle(record)


class ArbitrageFeed(Feed[ArbitrageOpportunity]):
    """Feed of the open opportunities of a symbol (``*``: of all), then each change of one.

    An opportunity with an invalid or stale book is hidden, whatever its records say: a snapshot without it is sent
        when a
    book becomes invalid, one with it when the book is valid again.
    """

    def __init__(self, state: MarketState, symbol: str) -> None:
        super().__init__()
        self._state = state
        self._symbol = symbol

    def _make_snapshot(self) -> Sequence[str]:
        symbol = None if self._symbol == protocol.EVERY_SYMBOL else self._symbol
        return (protocol.opportunities(self._symbol, self._state.open_opportunities(symbol)),)

    def _encode(self, record: ArbitrageOpportunity) -> str | None:
        if record.state != "CLOSED" and not self._state.shows(record):
            return None
        return protocol.opportunity(record)
