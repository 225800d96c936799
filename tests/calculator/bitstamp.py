"""Bitstamp, WebSocket v2: ``diff_order_book`` joined to REST snapshots, ``live_trades``.

https://www.bitstamp.net/websocket/v2/
"""

from __future__ import annotations

from typing import Any

from tests.calculator.feed import Feed

QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "BTC")


class Bitstamp(Feed):
    """Diffs are stamped with microseconds that rise, and not numbered; trade ids have gaps by nature."""

    def __init__(self) -> None:
        super().__init__()
        self._joined: dict[str, int] = {}
        self._applied: dict[str, set[int]] = {}
        self._waiting: dict[str, list[Any]] = {}

    def take(self, frame: Any) -> None:
        if "rest" in frame:
            if "/order_book/" in frame["rest"]:
                market = frame["rest"].partition("/order_book/")[2].partition("/")[0]
                self._snapshot(_symbol(market), frame["body"])
            return
        kind, _, market = frame["channel"].rpartition("_")
        if frame["event"] == "trade":
            self.instrument(_symbol(market)).trade(frame["data"]["id"], frame["data"]["amount_str"])
        elif kind == "diff_order_book" and frame["event"] == "data":
            self._diff(_symbol(market), frame["data"])
        elif kind == "diff_order_book" and frame["event"] == "bts:subscription_succeeded":
            self._begin(_symbol(market))

    def _begin(self, symbol: str) -> None:
        """Begin the stream anew: of what changed before, no diff tells."""
        instrument = self.instrument(symbol)
        instrument.gaps += instrument.valid
        instrument.doubt()
        instrument.ignored += len(self._waiting.pop(symbol, []))

    def _diff(self, symbol: str, diff: Any) -> None:
        instrument, stamp = self.instrument(symbol), int(diff["microtimestamp"])
        if not instrument.valid:
            self._waiting.setdefault(symbol, []).append(diff)
            return
        applied = self._applied[symbol]
        if stamp > max(applied, default=self._joined[symbol]):
            applied.add(stamp)
            instrument.update(diff["bids"], diff["asks"])
            if not self.instrument(symbol).valid:  # crossed: the next snapshot has to contain this one
                self._waiting[symbol] = [diff]
        elif stamp <= self._joined[symbol] or stamp in applied:
            instrument.ignored += 1
        else:  # it comes behind a later one
            instrument.gaps += 1
            instrument.doubt()

    def _snapshot(self, symbol: str, snapshot: Any) -> None:
        """Begin the book with a snapshot, unless it is older than the first diff kept."""
        instrument, stamp = self.instrument(symbol), int(snapshot["microtimestamp"])
        waiting = self._waiting.get(symbol, [])
        if instrument.valid or (waiting and stamp < int(waiting[0]["microtimestamp"])):
            return
        self._waiting[symbol] = []
        self._joined[symbol], self._applied[symbol] = stamp, set()
        instrument.snapshot(snapshot["bids"], snapshot["asks"])
        for diff in waiting:
            self._diff(symbol, diff)


def _symbol(market: str) -> str:
    name = market.upper()
    quote = next(quote for quote in QUOTES if name.endswith(quote))
    return f"{name.removesuffix(quote)}-{quote}"
