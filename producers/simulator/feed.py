"""Interface of a simulated venue's encoder: market events in, that venue's frames out. Pure."""

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
"""(feed, venue's symbol, variant): all subscribers of a topic receive the same frames."""


@dataclass(frozen=True, slots=True)
class RestReply:
    """An answer to a REST request, as JSON text."""

    body: bytes
    status: int = 200


class SimulatedFeed(ABC):
    """One venue's encoder. It receives every event of the venue, with or without subscribers.

    Args:
        instruments: of the venue; their books are read at the time of each event.
    """

    decimals: int | None = None
    """Decimals of all prices and sizes, where the venue writes the same number of them everywhere."""
    unchanged_ns = 60_000_000_000
    """A venue with such messages confirms an unchanged book after this time, and again after each further one."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        self.instruments = {instrument.listing.venue_symbol: instrument for instrument in instruments}
        self.spelling = {symbol: Spelling(one.listing, self.decimals) for symbol, one in self.instruments.items()}

    def topic(self, subscription: VenueSubscription) -> Topic:
        """Return the topic of a subscription."""
        return subscription.feed, subscription.symbol, ""

    def frames(self, event: Event, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        """Return the frames of ``event``, for those of the ``active`` topics that it concerns."""
        if isinstance(event, Trades):
            return self._trades(event, active)
        return self._book(event, active)

    @abstractmethod
    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        """Return the frames sent first to a new subscriber."""

    def alive(self, time_ns: int, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        """Return the frames that only prove the venue alive, at a full second, for those of the ``active`` topics."""
        return []

    def last_trade(self, symbol: str) -> tuple[int, int] | None:
        """Return the id of a symbol's last trade (0: none yet) and the number of its last message.

        None: the venue's heartbeats do not contain them.
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
