"""The figures of recordings."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.calculator.alpaca import Alpaca
from tests.calculator.binance import Binance
from tests.calculator.bitstamp import Bitstamp
from tests.calculator.coinbase import Coinbase
from tests.calculator.coinbase_advanced import CoinbaseAdvanced
from tests.calculator.feed import Feed
from tests.calculator.kraken import Kraken, longest_side
from tests.calculator.okx import Okx

FEEDS: dict[str, Callable[[Path], Feed]] = {
    "kraken": lambda path: Kraken(max(map(longest_side, frames(path)))),
    "coinbase": lambda _: Coinbase(),
    "coinbase_advanced": lambda _: CoinbaseAdvanced(),
    "binance": lambda _: Binance(),
    "binance_us": lambda _: Binance(),
    "okx": lambda _: Okx(),
    "bitstamp": lambda _: Bitstamp(),
    "alpaca": lambda _: Alpaca(),
}


def frames(path: Path) -> Iterator[Any]:
    """Yield the frames of a recording, decoded; one that is no JSON as text."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = line.rstrip("\n").partition(" ")[2]
            try:
                yield json.loads(text, parse_float=Decimal)
            except json.JSONDecodeError:
                yield text


def venue_of(path: Path) -> str:
    """Return the venue whose name the file's begins with; the longest one."""
    return max((venue for venue in FEEDS if path.name.startswith(venue)), key=len)


def calculate(path: Path) -> dict[str, Any]:
    """Return a recording's entry in ``expected.json``."""
    venue = venue_of(path)
    feed = FEEDS[venue](path)
    for frame in frames(path):
        feed.take(frame)
    return {
        "venue": venue,
        "instruments": {symbol: one.figures() for symbol, one in sorted(feed.instruments.items())},
    }


def calculate_all(folder: Path) -> dict[str, Any]:
    """Return the contents of the ``expected.json`` of a folder of recordings."""
    return {path.name: calculate(path) for path in sorted(folder.glob("*.rec.gz"))}
