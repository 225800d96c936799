"""Channels of the stream's version 1: the records of each and its feed. A new channel of it is an entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from gateway.feeds import ArbitrageFeed, BookFeed, CandlesFeed, Feed, StatsFeed, TradesFeed
from gateway.protocol import EVERY_SYMBOL, Subscription
from gateway.state import MarketState, ShownInstrument
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Record, Trade


@dataclass(frozen=True, slots=True)
class InstrumentChannel:
    """Channel of single instruments.

    Args:
        name: as in the protocol.
        record: class of its records; belongs to no other channel.
        make: creates the feed of an instrument.
    """

    takes_venue: ClassVar[bool] = True
    name: str
    record: type[Depth | Trade | DeltaStatistics | Candle]
    make: Callable[[ShownInstrument], Feed[Any]]

    def subscriptions(self, venue: str, symbol: str) -> tuple[Subscription, ...]:
        """Return the subscriptions of an instrument."""
        return (Subscription(self.name, venue, symbol),)

    def concerned(self, record: Any) -> tuple[Subscription, ...]:
        """Return the subscriptions that receive a record of the channel's class."""
        return (Subscription(self.name, record.venue, record.symbol),)

    def feed(self, state: MarketState, subscription: Subscription) -> Feed[Any]:
        """Create the feed.

        Raises:
            UnknownInstrument: no such instrument.
        """
        return self.make(state.instrument(subscription.venue or "", subscription.symbol))


@dataclass(frozen=True, slots=True)
class SymbolChannel:
    """Channel of symbols across all venues; a subscription names one symbol or ``*`` for all.

    Args:
        make: creates the feed of a symbol.

    The other arguments are those of :class:`InstrumentChannel`.
    """

    takes_venue: ClassVar[bool] = False
    name: str
    record: type[ArbitrageOpportunity]
    make: Callable[[MarketState, str], Feed[Any]]

    def subscriptions(self, symbol: str) -> tuple[Subscription, ...]:
        """Return the subscriptions of a symbol."""
        return (Subscription(self.name, None, symbol), Subscription(self.name, None, EVERY_SYMBOL))

    def concerned(self, record: Any) -> tuple[Subscription, ...]:
        """Return the subscriptions that receive a record of the channel's class."""
        return self.subscriptions(record.symbol)

    def feed(self, state: MarketState, subscription: Subscription) -> Feed[Any]:
        """Create the feed.

        Raises:
            UnknownInstrument: no venue has the symbol.
        """
        if subscription.symbol != EVERY_SYMBOL:
            state.check_symbol(subscription.symbol)
        return self.make(state, subscription.symbol)


Channel: TypeAlias = InstrumentChannel | SymbolChannel

BOOK: Final = InstrumentChannel("book", Depth, BookFeed)
ARBITRAGE: Final = SymbolChannel("arbitrage", ArbitrageOpportunity, ArbitrageFeed)

_ALL: Final[tuple[Channel, ...]] = (
    BOOK,
    InstrumentChannel("trades", Trade, TradesFeed),
    ARBITRAGE,
    InstrumentChannel("stats", DeltaStatistics, StatsFeed),
    InstrumentChannel("candles", Candle, CandlesFeed),
)

CHANNELS: Final[Mapping[str, Channel]] = {channel.name: channel for channel in _ALL}
CHANNEL_OF: Final[Mapping[type[Record], Channel]] = {channel.record: channel for channel in _ALL}
"""Channels by record class; records of other classes belong to no channel."""
