"""The feeds clients subscribe to: each turns records into messages, encoded once for all of its subscribers. Pure.

A feed with no subscriber encodes nothing. Its snapshot is made when first asked for and kept until the next record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from alphapulse.freshness import Fault
from gateway import protocol
from gateway.outbox import Source
from gateway.state import MarketState, ShownInstrument
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Trade

R_contra = TypeVar("R_contra", contravariant=True)


class FeedSubscriber(Protocol):
    """One client, as a feed sees it."""

    def deliver(self, source: Source, text: str) -> None:
        """Queue one message for the client; never blocks, never fails."""
        ...


class Feed(ABC, Generic[R_contra]):
    """What all feeds share.

    A subscriber is added in the same breath as it is given the snapshot, and :meth:`publish` follows the state's taking
    of the record at once: nobody sees the state ahead of the feed.

    Attributes:
        subscribers: the clients that get every message from now on (in order of subscription).
    """

    def __init__(self) -> None:
        self.subscribers: dict[FeedSubscriber, None] = {}
        self._snapshot: Sequence[str] | None = None

    def snapshot(self) -> Sequence[str]:
        """Return the messages that put a client in step with the feed as it is now."""
        if self._snapshot is None:
            self._snapshot = self._make_snapshot()
        return self._snapshot

    def publish(self, record: R_contra) -> None:
        """Tell the subscribers of a record that the state has just taken."""
        self._snapshot = None
        if self.subscribers and (text := self._encode(record)) is not None:
            for subscriber in self.subscribers:
                subscriber.deliver(self, text)

    def retell(self) -> None:
        """Give all subscribers the snapshot of now: what they hold has changed, though no record says so."""
        self._snapshot = None
        if self.subscribers:
            for text in self.snapshot():
                for subscriber in self.subscribers:
                    subscriber.deliver(self, text)

    @abstractmethod
    def _make_snapshot(self) -> Sequence[str]: ...

    @abstractmethod
    def _encode(self, record: R_contra) -> str | None:
        """Return the message for subscribers, None if nothing changed for them."""


FAULT_EVERY_NS = 1_000_000_000
"""A book that is not good and stays so is told at most this often (stream time), with the time of its newest record."""


class BookFeed(Feed[Depth]):
    """A book: snapshot, then the levels that changed from one Depth to the next.

    Every message carries the book's own ``sequence``, a delta that of the message before it as well. Each Depth of a
    good book is told, with no levels if none changed, so that clients know how old their book is. A new epoch, a fault
    and the end of one are told by a snapshot to everybody.
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
    """Whether ``after`` can be told as a change of ``before``: the same epoch, mantissas comparable."""
    return (
        before.epoch == after.epoch
        and before.price_exponent == after.price_exponent
        and before.size_exponent == after.size_exponent
    )


def changed_levels(
    prices_before: Sequence[int], sizes_before: Sequence[int], prices: Sequence[int], sizes: Sequence[int]
) -> list[tuple[int, int]]:
    """Return (price, size) of each level that is new or has another size, then (price, 0) of each that is gone."""
    if prices_before == prices and sizes_before == sizes:
        return []
    before = dict(zip(prices_before, sizes_before, strict=True))
    changed = [(price, size) for price, size in zip(prices, sizes, strict=True) if before.pop(price, None) != size]
    changed += [(price, 0) for price in before]
    return changed


class TradesFeed(Feed[Trade]):
    """The latest trades, then each new one."""

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        of = self._instrument
        return (protocol.trades("snapshot", of.venue, of.symbol, of.trades),)

    def _encode(self, record: Trade) -> str:
        return protocol.trades("trades", record.venue, record.symbol, (record,))


class StatsFeed(Feed[DeltaStatistics]):
    """The latest window's statistics, then each new window's."""

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        windows = self._instrument.windows
        return (protocol.stats(windows[-1]),) if windows else ()

    def _encode(self, record: DeltaStatistics) -> str:
        return protocol.stats(record)


class CandlesFeed(Feed[Candle]):
    """The latest candle of each interval, then each new or revised one."""

    def __init__(self, instrument: ShownInstrument) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        return tuple(protocol.candle(candle) for candle in self._instrument.candles.values())

    def _encode(self, record: Candle) -> str:
        return protocol.candle(record)


class ArbitrageFeed(Feed[ArbitrageOpportunity]):
    """The open opportunities of a symbol (``*``: of all), then each change of one.

    One whose books are not both good is not shown, whatever its records say: the snapshot at the end of a book's
    goodness leaves it out, the one at its return holds it again.
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
