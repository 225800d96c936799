"""Instruments: venue, symbol and precision."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from alphapulse.errors import ValueRefused

_VENUE = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_SYMBOL = re.compile(r"[^\W_](?:[^\W_]|\.)*(?:-[^\W_](?:[^\W_]|\.)*)?")
"""Letters and digits of any script, dots; at most one hyphen."""
_PATTERN = re.compile(r"(?:[^\W_]|\*)(?:[^\W_]|[.*])*(?:-(?:[^\W_]|\*)(?:[^\W_]|[.*])*)?")


_SEPARATORS = re.compile(r"[-/_:\s]")
# Quote assets, the longest first: a pair ends in USDT before it ends in T.
_QUOTES = ("FDUSD", "USDT", "USDC", "USD", "EUR", "GBP", "JPY", "TRY", "BRL", "BTC", "ETH", "BNB")


def meant(text: str) -> str:
    """Return ``", did you mean BTC-USD?"`` if ``text`` resembles a symbol, else an empty text."""
    parts = _SEPARATORS.split(text.strip().upper())
    if len(parts) == 1:
        parts = next(
            ([text[: -len(end)], end] for text in parts for end in _QUOTES if text[:1] and text.endswith(end)), parts
        )
    likely = "-".join(parts) if text.isascii() else ""
    return f", did you mean {likely}?" if likely != text and _SYMBOL.fullmatch(likely) is not None else ""


def check_venue(venue: str) -> str:
    """Return ``venue`` if it is a valid venue name (``kraken``, ``binance_us``).

    Raises:
        ValueRefused: it is not.
    """
    if _VENUE.fullmatch(venue) is None:
        raise ValueRefused(f"not a venue name: {venue[:80]!r} (lower-case letters, digits and _)")
    return venue


def check_symbol(symbol: str) -> str:
    """Return ``symbol`` if it is canonical: ``BASE-QUOTE`` (``BTC-USD``) or an equity's ticker (``AAPL``).

    Assets are spelled as the venue does, in letters and digits of any script (``AAPLx-USD``, ``币安人生-USDT``), in
    Unicode's form C. All lower case is refused: ``btc`` means ``BTC``.

    Raises:
        ValueRefused: it is not.
    """
    if _SYMBOL.fullmatch(symbol) is None or _misspelled(symbol):
        raise ValueRefused(
            f"not a canonical symbol: {symbol[:80]!r} (BASE-QUOTE in capitals, or a ticker){meant(symbol[:80])}"
        )
    return symbol


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a pattern that matches symbols (``*-USD``)."""
    return "*" in text


def check_symbol_or_pattern(text: str) -> str:
    """Return ``text`` if it is a canonical symbol, or a pattern in which ``*`` matches any letters (``BTC-*``).

    Raises:
        ValueRefused: it is neither.
    """
    if not is_pattern(text):
        return check_symbol(text)
    if _PATTERN.fullmatch(text) is None or _misspelled(text):
        raise ValueRefused(f"not a pattern of symbols: {text[:80]!r} (BTC-* or *-USD; capitals, digits and *)")
    return text


def _misspelled(text: str) -> bool:
    """Whether a part of ``text`` is all lower case, or a letter is composed of several characters."""
    small = any(part.islower() and "*" not in part for part in text.split("-"))
    return small or not unicodedata.is_normalized("NFC", text)


def instrument_key(venue: str, symbol: str) -> str:
    """Return the instrument's key ``venue|symbol``, the Kafka key of its records."""
    return f"{venue}|{symbol}"


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument on one venue.

    ``price_exponent`` and ``size_exponent`` are the venue's stated precision (-2: two decimals), ``None`` if it states
    none; ``venue_symbol`` is the venue's spelling (``BTC/USD``, ``BTCUSDT``).
    """

    venue: str
    symbol: str
    venue_symbol: str
    price_exponent: int | None = None
    size_exponent: int | None = None

    @property
    def key(self) -> str:
        return instrument_key(self.venue, self.symbol)
