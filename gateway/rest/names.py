"""Names of venues and symbols in requests: those of now, and those that stored data has."""

from __future__ import annotations

from typing import Final

from alphapulse.errors import UnknownInstrument
from gateway.state import MarketState
from gateway.tables import Tables, TablesUnavailable

_STORED: Final = """
SELECT 1 AS found FROM trades AS t
WHERE ({venue:String} = '' OR t.venue = {venue:String}) AND ({symbol:String} = '' OR t.symbol = {symbol:String})
LIMIT 1
UNION ALL
SELECT 1 AS found FROM stats AS t
WHERE ({venue:String} = '' OR t.venue = {venue:String}) AND ({symbol:String} = '' OR t.symbol = {symbol:String})
LIMIT 1
"""


class Names:
    """Checks names, so that a misspelt one is told instead of having no rows.

    Args:
        state: instruments of now.
        tables: know those that are collected no longer.
    """

    def __init__(self, state: MarketState, tables: Tables) -> None:
        self._state = state
        self._tables = tables

    async def check(self, venue: str | None, symbol: str | None) -> None:
        """Check that there is, or was, such an instrument; each None: any.

        Raises:
            UnknownInstrument: there is none; the message lists the names of now.
        """
        try:
            if venue is not None and symbol is not None:
                self._state.instrument(venue, symbol)
            elif venue is not None:
                self._state.instruments(venue)
            elif symbol is not None:
                self._state.check_symbol(symbol)
        except UnknownInstrument as error:
            if not await self._stored(venue or "", symbol or ""):
                raise error from None

    async def _stored(self, venue: str, symbol: str) -> bool:
        try:
            found = await self._tables.read(_STORED, {"venue": venue, "symbol": symbol})
        except TablesUnavailable:
            return False  # without the tables it has no rows either
        return bool(found.num_rows)
