"""A simulated venue's side of the market data: events in, that venue's frames out. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from producers.simulator.events import BookChange, Event, Trades
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import SimulatedListing
from producers.simulator.texts import Spelling
from producers.venue_server.session import VenueSubscription

Topic = tuple[str, str, str]
"""(feed, venue's symbol, variant): all who subscribed to the same topic get the same frames."""


@dataclass(frozen=True, slots=True)
class RestReply:
    """An answer to a REST request: JSON text."""

    body: bytes
    status: int = 200


class SimulatedFeed(ABC):
    """One venue's encoder. It sees every event of the venue, whether or not anybody listens.

    Args:
        instruments: the venue's; their books are read at the moment of each event.
    """

    decimals: int | None = None
    """Of all prices and sizes, where the venue writes the same number of them everywhere."""
    unchanged_ns = 60_000_000_000
    """A book that stays the same for so long is said to, by venues that do; so again each time as long after that."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        self.instruments = {instrument.listing.venue_symbol: instrument for instrument in instruments}
        self.spelling = {symbol: Spelling(one.listing, self.decimals) for symbol, one in self.instruments.items()}

    def topic(self, subscription: VenueSubscription) -> Topic:
        """Return the topic of a subscription."""
        return subscription.feed, subscription.symbol, ""

    def frames(self, event: Event, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        """Return the frames that ``event`` makes, for those topics of ``active`` that it concerns."""
        if isinstance(event, Trades):
            return self._trades(event, active)
        return self._book(event, active)

    @abstractmethod
    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        """Return what a new subscriber gets first."""

    def alive(self, time_ns: int, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        """Return what the venue says at a full second only to prove itself alive, for those topics of ``active``."""
        return []

    def last_trade(self, symbol: str) -> tuple[int, int] | None:
        """Return the id of a symbol's last trade (0: none yet), and the number of its last message.

        None: the venue's heartbeats do not tell.
        """
        return None

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        """Answer a REST request; None: the venue has no such path."""
        return None

    @abstractmethod
    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]: ...

    @abstractmethod
    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]: ...

    def _listing(self, symbol: str) -> SimulatedListing:
        return self.instruments[symbol].listing
