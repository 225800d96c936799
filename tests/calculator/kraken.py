"""Kraken, WebSocket v2.

https://docs.kraken.com/api/docs/websocket-v2/book, https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zlib import crc32

from tests.calculator.feed import Feed
from tests.calculator.instrument import Instrument, Level

DEPTHS = (10, 25, 100, 500, 1000)


class Kraken(Feed):
    """Book messages carry a checksum; there is no sequence.

    Args:
        longest_snapshot: levels of the longest side of a book snapshot in the recording: where the subscription's
            confirmation is not recorded, a snapshot cut off at one of the depths on offer tells the depth.
    """

    def __init__(self, longest_snapshot: int) -> None:
        super().__init__()
        self._depth = longest_snapshot if longest_snapshot in DEPTHS else max(DEPTHS)
        self._decimals: dict[str, tuple[int, int]] = {}

    def depth(self) -> int:
        return self._depth

    def take(self, frame: Any) -> None:
        channel = frame.get("channel")
        if frame.get("method") == "subscribe" and frame.get("result", {}).get("channel") == "book":
            self._depth = frame["result"]["depth"]
        elif channel == "instrument":
            for pair in frame["data"]["pairs"]:
                self._decimals[pair["symbol"]] = pair["price_precision"], pair["qty_precision"]
        elif channel == "book":
            for book in frame["data"]:
                self._book(frame["type"], book)
        elif channel == "trade":
            for trade in frame["data"]:
                self.numbered_trade(_symbol(trade["symbol"]), trade["trade_id"], trade["qty"])

    def _book(self, kind: str, book: dict[str, Any]) -> None:
        instrument = self.instrument(_symbol(book["symbol"]))
        price_decimals, size_decimals = self._decimals[book["symbol"]]

        def right() -> bool:
            """Check the CRC-32 of the ten best asks, then bids: digits of price and size without leading zeros."""
            bids, asks = instrument.best_first()
            text = "".join(
                _digits(price, price_decimals) + _digits(size, size_decimals) for price, size in asks[:10] + bids[:10]
            )
            if crc32(text.encode()) == book["checksum"]:
                instrument.checksums_ok += 1
                return True
            instrument.checksums_bad += 1
            return False

        take = Instrument.snapshot if kind == "snapshot" else Instrument.update
        take(instrument, _levels(book["bids"]), _levels(book["asks"]), right)


def longest_side(frame: Any) -> int:
    """Return the levels of the longest side of the book snapshots in ``frame``, 0 where it is none."""
    if not isinstance(frame, dict) or frame.get("channel") != "book" or frame["type"] != "snapshot":
        return 0
    return max(max(len(book["bids"]), len(book["asks"])) for book in frame["data"])


def _digits(number: Decimal, decimals: int) -> str:
    return format(number, f".{decimals}f").replace(".", "").lstrip("0")


def _levels(side: list[dict[str, Any]]) -> list[Level]:
    return [(level["price"], level["qty"]) for level in side]


def _symbol(pair: str) -> str:
    base, quote = pair.split("/")
    return f"{'BTC' if base == 'XBT' else base}-{quote}"
