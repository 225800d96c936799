"""What the calculators of all venues share: the instruments of one recording, and numbered trades."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tests.calculator.instrument import Instrument, Number


class Feed(ABC):
    """One venue's frames, taken one after the other; ``instruments`` is by our symbol (``BTC-USD``)."""

    def __init__(self) -> None:
        self.instruments: dict[str, Instrument] = {}
        self._last_trade: dict[str, int] = {}

    @abstractmethod
    def take(self, frame: Any) -> None:
        """Take a frame: decoded JSON, numbers with a fraction as decimals; or text, if it is no JSON."""

    def depth(self) -> int | None:
        """Return the levels a side that the recorder subscribed to; None: all there are."""
        return None

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument of that symbol; the first time, a new one."""
        if symbol not in self.instruments:
            self.instruments[symbol] = Instrument(self.depth())
        return self.instruments[symbol]

    def numbered_trade(self, symbol: str, trade_id: int, size: Number) -> bool:
        """Count a trade of a venue whose ids rise by one; return whether ids before it are missing."""
        new = self.instrument(symbol).trade(trade_id, size)
        last = self._last_trade.setdefault(symbol, trade_id)
        self._last_trade[symbol] = max(last, trade_id)
        return new and trade_id > last + 1

    def known_trade(self, symbol: str, trade_id: int) -> bool:
        """Take the venue's word that there are trades up to ``trade_id``; return whether some are missing for that."""
        last = self._last_trade.setdefault(symbol, trade_id)
        self._last_trade[symbol] = max(last, trade_id)
        return trade_id > last
