"""Binance and Binance.US: diffs joined to REST snapshots, trades.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly
"""

from __future__ import annotations

from typing import Any

from tests.calculator.feed import Feed

QUOTES = ("USDT", "USDC", "BUSD", "USD", "BTC", "ETH", "EUR")


class Binance(Feed):
    """Each diff covers the update ids ``U`` to ``u``; the first one follows a REST snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, int] = {}
        self._waiting: dict[str, list[Any]] = {}
        self._snapshots: dict[str, Any] = {}
        self._trade_kinds: dict[str, str] = {}

    def take(self, frame: Any) -> None:
        if "rest" in frame:
            symbol = _symbol(frame["rest"].partition("symbol=")[2].partition("&")[0])
            self._snapshots[symbol] = frame["body"]
            self._join(symbol)
            return
        event = frame.get("data", frame)
        kind = event.get("e")
        if kind == "depthUpdate":
            self._diff(_symbol(event["s"]), event)
        elif kind in ("trade", "aggTrade"):
            symbol = _symbol(event["s"])
            # Both tell of the same trades, with ids of their own: the kind that came first is followed.
            if self._trade_kinds.setdefault(symbol, kind) == kind:
                self.numbered_trade(symbol, event["t" if kind == "trade" else "a"], event["q"])

    def _diff(self, symbol: str, diff: Any) -> None:
        instrument = self.instrument(symbol)
        if not instrument.valid:
            self._waiting.setdefault(symbol, []).append(diff)
            self._join(symbol)
        elif diff["u"] <= self._last[symbol]:
            instrument.ignored += 1
        elif diff["U"] > self._last[symbol] + 1:
            instrument.gaps += 1
            instrument.doubt()
            self._waiting[symbol] = [diff]
            self._join(symbol)
        else:
            self._last[symbol] = diff["u"]
            instrument.update(diff["b"], diff["a"])

    def _join(self, symbol: str) -> None:
        """Begin the book with the last REST snapshot, unless updates between it and the first diff kept are missing."""
        instrument, waiting = self.instrument(symbol), self._waiting.get(symbol, [])
        snapshot = self._snapshots.get(symbol)
        if instrument.valid or not waiting or snapshot is None:
            return
        del self._snapshots[symbol]
        if snapshot["lastUpdateId"] < waiting[0]["U"] - 1:
            return
        self._last[symbol] = snapshot["lastUpdateId"]
        self._waiting[symbol] = []
        if instrument.snapshot(snapshot["bids"], snapshot["asks"]):
            for diff in waiting:
                self._diff(symbol, diff)
        else:
            instrument.ignored += len(waiting)


def _symbol(name: str) -> str:
    quote = next(quote for quote in QUOTES if name.endswith(quote))
    base = name.removesuffix(quote)
    return "SHIB-USD" if name == "SHIBUSD" else f"{base}-{quote}"  # not SHI in BUSD
