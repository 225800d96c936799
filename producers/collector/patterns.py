"""Patterns of symbols (``*-USD``) and what they stand for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from alphapulse.instruments import is_pattern


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a venue's configured symbols stand for.

    Attributes:
        symbols: all of them, those named first, each once.
        matched: what each pattern matched.
    """

    symbols: tuple[str, ...]
    matched: dict[str, tuple[str, ...]]


def resolve(configured: Sequence[str], listed: Iterable[str]) -> Resolution:
    """Return what ``configured`` stands for where ``listed`` is what the venue trades.

    A symbol that is named need not be listed: whether the venue knows it shows when it is subscribed to.
    """
    named = [symbol for symbol in configured if not is_pattern(symbol)]
    known = sorted(set(listed))
    matched = {
        # "-" is never matched by "*": *-USD means no ticker, and BTC* no pair.
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
