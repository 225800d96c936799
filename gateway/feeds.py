"""The feeds clients subscribe to: each turns records into messages, encoded once for all of its subscribers. Pure.

A feed with no subscriber encodes nothing. Its snapshot is made when first asked for and kept until the next record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from gateway import protocol
from gateway.outbox import Source
from gateway.state import InstrumentState, Opportunities
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Trade

R_contra = TypeVar("R_contra", contravariant=True)


class Subscriber(Protocol):
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
        self.subscribers: dict[Subscriber, None] = {}
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

    @abstractmethod
    def _make_snapshot(self) -> Sequence[str]: ...

    @abstractmethod
    def _encode(self, record: R_contra) -> str | None:
        """Return the message for subscribers, None if nothing changed for them."""


class BookFeed(Feed[Depth]):
    """A book: snapshot, then the levels that changed from one Depth to the next.

    ``sequence`` numbers the messages of this feed, the same for all clients; a snapshot carries the number of the
    last message it contains. A new epoch, a doubt and the end of a doubt are told by a snapshot to everybody.
    """

    def __init__(self, instrument: InstrumentState) -> None:
        super().__init__()
        self._instrument = instrument
        self._told: Depth | None = None
        self._sequence = 0

    def _make_snapshot(self) -> Sequence[str]:
        self._told = depth = self._instrument.depth
        if depth is None:
            return (protocol.no_book(self._instrument.venue, self._instrument.symbol, self._sequence),)
        return (protocol.book_snapshot(depth, self._sequence),)

    def _encode(self, record: Depth) -> str | None:
        told, self._told = self._told, record
        if told is not None and _continues(told, record):
            bids = changed_levels(told.bid_prices, told.bid_sizes, record.bid_prices, record.bid_sizes)
            asks = changed_levels(told.ask_prices, told.ask_sizes, record.ask_prices, record.ask_sizes)
            if not bids and not asks:
                return None
            self._sequence += 1
            return protocol.book_delta(record, self._sequence, bids, asks)
        if told is not None and not told.valid and not record.valid:
            return None
        self._sequence += 1
        return self.snapshot()[0]


def _continues(before: Depth, after: Depth) -> bool:
    """Whether ``after`` can be told as a change of ``before``: the same epoch, both valid, mantissas comparable."""
    return (
        before.valid
        and after.valid
        and before.epoch == after.epoch
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

    def __init__(self, instrument: InstrumentState) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        of = self._instrument
        return (protocol.trades("snapshot", of.venue, of.symbol, of.trades),)

    def _encode(self, record: Trade) -> str:
        return protocol.trades("trades", record.venue, record.symbol, (record,))


class StatsFeed(Feed[DeltaStatistics]):
    """The latest window's statistics, then each new window's."""

    def __init__(self, instrument: InstrumentState) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        windows = self._instrument.windows
        return (protocol.stats(windows[-1]),) if windows else ()

    def _encode(self, record: DeltaStatistics) -> str:
        return protocol.stats(record)


class CandlesFeed(Feed[Candle]):
    """The latest candle of each interval, then each new or revised one."""

    def __init__(self, instrument: InstrumentState) -> None:
        super().__init__()
        self._instrument = instrument

    def _make_snapshot(self) -> Sequence[str]:
        return tuple(protocol.candle(candle) for candle in self._instrument.candles.values())

    def _encode(self, record: Candle) -> str:
        return protocol.candle(record)


class ArbitrageFeed(Feed[ArbitrageOpportunity]):
    """The open opportunities of a symbol (``*``: of all), then each change of one."""

    def __init__(self, opportunities: Opportunities, symbol: str) -> None:
        super().__init__()
        self._opportunities = opportunities
        self._symbol = symbol

    def _make_snapshot(self) -> Sequence[str]:
        symbol = None if self._symbol == protocol.EVERY_SYMBOL else self._symbol
        return (protocol.opportunities(self._symbol, self._opportunities.open(symbol)),)

    def _encode(self, record: ArbitrageOpportunity) -> str:
        return protocol.opportunity(record)
