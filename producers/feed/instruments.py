"""Instruments of one connection: their state and their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, ValueRefused
from alphapulse.instruments import Instrument
from producers.feed.book import BookStream
from producers.feed.counters import InstrumentCounters
from producers.feed.levels import PAIRS, LevelFormat, LevelParser
from producers.feed.trades import TradeStream


class InstrumentState:
    """State of one instrument: book, trades and counters.

    Args:
        venue, symbol, venue_symbol: its names.
        levels: the venue's format of price levels; ``parser`` reads them.
        depth, digest: as in :class:`BookStream`.
        consecutive: as in :class:`TradeStream`.
    """

    __slots__ = ("book", "parser", "symbol", "tally", "trades", "venue_symbol")

    def __init__(
        self,
        venue: str,
        symbol: str,
        venue_symbol: str,
        *,
        levels: LevelFormat = PAIRS,
        depth: int | None = None,
        digest: Callable[[BookStream], int] | None = None,
        consecutive: bool = True,
    ) -> None:
        instrument = Instrument(venue, symbol, venue_symbol)
        self.symbol = symbol
        self.venue_symbol = venue_symbol
        self.tally = InstrumentCounters()
        self.book = BookStream(instrument, self.tally, depth=depth, digest=digest)
        self.trades = TradeStream(instrument, self.tally, consecutive=consecutive)
        self.parser = LevelParser(levels)

    def report(self) -> dict[str, Any]:
        """Return the instrument's status, for ``/status``."""
        book = self.book
        return {**self.tally.report(), "epoch": book.epoch, "sequence": book.sequence, "valid": book.published}


class InstrumentSet(ABC):
    """Set of the instruments collected on one connection.

    Attributes:
        venue: name of the venue.
        instruments: states by canonical symbol.
        withheld: whether the books are withheld because frames are read too late.
    """

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.instruments: dict[str, InstrumentState] = {}
        self.withheld = False
        self._by_venue_symbol: dict[str, InstrumentState] = {}

    def _set_up(self, settings: VenueSettings, faults: list[str]) -> None:
        """Add the symbols of ``settings``.

        Raises:
            ConfigError: the ``faults`` found so far, and one for each symbol that the venue cannot have.
        """
        for symbol in settings.symbols:
            try:
                self._add_instrument(symbol)
            except ValueRefused as error:
                faults.append(f"venues.{self.venue}.symbols: {error}")
        if faults:
            raise ConfigError(faults)

    def _add_instrument(self, symbol: str) -> InstrumentState:
        """Add ``symbol``; subclasses extend this with their own state.

        Raises:
            ValueRefused: the venue cannot have it; nothing was changed.
        """
        state = self._new_state(symbol)
        state.book.withheld = self.withheld
        self.instruments[symbol] = self._by_venue_symbol[state.venue_symbol] = state
        return state

    def _remove_instrument(self, state: InstrumentState) -> None:
        """Remove ``state`` and everything kept with it."""
        self.instruments.pop(state.symbol, None)
        for name in [name for name, known in self._by_venue_symbol.items() if known is state]:
            del self._by_venue_symbol[name]

    @abstractmethod
    def _new_state(self, symbol: str) -> InstrumentState:
        """Return a new state for ``symbol``.

        Raises:
            ValueRefused: the venue cannot have it.
        """

    def _find(self, name: str) -> InstrumentState | None:
        """Return the instrument with the venue's ``name``; None if it is not collected."""
        return self._by_venue_symbol.get(name)

    def _named(self, text: bytes) -> list[str]:
        """Return the symbols that occur in ``text``."""
        found = (state.symbol for name, state in self._by_venue_symbol.items() if f'"{name}"'.encode() in text)
        return list(dict.fromkeys(found))
