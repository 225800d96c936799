"""Symbol patterns (``*-USD``) and their resolution. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from alphapulse.instruments import is_pattern


@dataclass(frozen=True, slots=True)
class Resolution:
    """Resolution of a venue's configured symbols.

    Attributes:
        symbols: all symbols, named ones first, without duplicates.
        matched: pattern → symbols it matched.
    """

    symbols: tuple[str, ...]
    matched: dict[str, tuple[str, ...]]


def resolve(configured: Sequence[str], listed: Iterable[str]) -> Resolution:
    """Return the symbols for ``configured``, given the venue's ``listed`` instruments.

    A named symbol need not be listed: the venue accepts or refuses it at subscription.
    """
    named = [symbol for symbol in configured if not is_pattern(symbol)]
    known = sorted(set(listed))
    matched = {
        # "-" is never matched by "*": *-USD matches no ticker, and BTC* no pair.
        pattern: tuple(symbol for symbol in known if _matches(symbol, pattern))
        for pattern in configured
        if is_pattern(pattern)
    }
    everything = [*named, *(symbol for symbols in matched.values() for symbol in symbols)]
    return Resolution(tuple(dict.fromkeys(everything)), matched)


def _matches(symbol: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    parts, wanted = symbol.split("-"), pattern.split("-")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
