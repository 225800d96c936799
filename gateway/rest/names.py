"""Names of venues and symbols in requests: those of now, and those that stored data has."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from alphapulse.errors import UnknownInstrument
from gateway.state import MarketState
from gateway.tables import Tables, TablesUnavailable

_STORED: Final = """
SELECT DISTINCT venue, symbol FROM trades
UNION DISTINCT
SELECT DISTINCT venue, symbol FROM stats
"""
FRESH_SECONDS: Final = 60.0
"""Age up to which the stored names are not read again: that reads a column of whole tables."""
FAILED_SECONDS: Final = 2.0
"""Age up to which a failure to read them is told again instead of a new attempt."""


class Names:
    """Checks names, so that a misspelt one is told instead of having no rows.

    Args:
        state: instruments of now.
        tables: know those that are collected no longer.
    """

    def __init__(self, state: MarketState, tables: Tables) -> None:
        self._state = state
        self._tables = tables
        self._reading = asyncio.Lock()
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._failure: TablesUnavailable | None = None
        self._fresh_until = 0.0

    async def check(self, venue: str | None, symbol: str | None) -> None:
        """Check that there is, or was, such an instrument; each None: any.

        Raises:
            UnknownInstrument: there is none; the message lists the names of now.
            TablesUnavailable: there is none now, and whether there was one cannot be read.
        """
        try:
            if venue is not None and symbol is not None:
                self._state.instrument(venue, symbol)
            elif venue is not None:
                self._state.instruments(venue)
            elif symbol is not None:
                self._state.check_symbol(symbol)
        except UnknownInstrument as error:
            stored = await self._stored()
            if not any(venue in (None, of) and symbol in (None, name) for of, name in stored):
                raise error from None

    async def _stored(self) -> frozenset[tuple[str, str]]:
        """Return venue and symbol of all stored instruments."""
        async with self._reading:
            if time.monotonic() >= self._fresh_until:
                try:
                    found = await self._tables.read(_STORED, {})
                except TablesUnavailable as error:
                    self._failure, self._fresh_until = error, time.monotonic() + FAILED_SECONDS
                else:
                    self._known = frozenset((str(row["venue"]), str(row["symbol"])) for row in found.to_pylist())
                    self._failure = None
                    self._fresh_until = time.monotonic() + FRESH_SECONDS
            if self._failure is not None:
                raise TablesUnavailable(self._failure.reason)
            return self._known
