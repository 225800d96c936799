"""The channels of the stream: which records each tells, and the feed that does. A new channel is an entry here."""

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
    """A channel of single instruments.

    Args:
        name: as clients say it.
        record: the class of the records it tells; of no other channel.
        make: makes the feed of an instrument.
    """

    takes_venue: ClassVar[bool] = True
    name: str
    record: type[Depth | Trade | DeltaStatistics | Candle]
    make: Callable[[ShownInstrument], Feed[Any]]

    def subscriptions(self, venue: str, symbol: str) -> tuple[Subscription, ...]:
        """Return what those listen to who hear of an instrument."""
        return (Subscription(self.name, venue, symbol),)

    def concerned(self, record: Any) -> tuple[Subscription, ...]:
        """Return what those listen to who are told a record of the channel's class."""
        return (Subscription(self.name, record.venue, record.symbol),)

    def feed(self, state: MarketState, subscription: Subscription) -> Feed[Any]:
        """Make the feed.

        Raises:
            UnknownInstrument: there is no such instrument.
        """
        return self.make(state.instrument(subscription.venue or "", subscription.symbol))


@dataclass(frozen=True, slots=True)
class SymbolChannel:
    """A channel of symbols over all venues, one (or ``*``, all) at a time.

    Args:
        make: makes the feed of a symbol.

    The others are those of :class:`InstrumentChannel`.
    """

    takes_venue: ClassVar[bool] = False
    name: str
    record: type[ArbitrageOpportunity]
    make: Callable[[MarketState, str], Feed[Any]]

    def subscriptions(self, symbol: str) -> tuple[Subscription, ...]:
        """Return what those listen to who hear of a symbol."""
        return (Subscription(self.name, None, symbol), Subscription(self.name, None, EVERY_SYMBOL))

    def concerned(self, record: Any) -> tuple[Subscription, ...]:
        """Return what those listen to who are told a record of the channel's class."""
        return self.subscriptions(record.symbol)

    def feed(self, state: MarketState, subscription: Subscription) -> Feed[Any]:
        """Make the feed.

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
"""By the class of the records that it tells; records of other classes are of no channel."""
