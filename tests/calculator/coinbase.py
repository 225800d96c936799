"""Coinbase Exchange: ``level2_batch``, ``matches``.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from typing import Any

from tests.calculator.feed import Feed


class Coinbase(Feed):
    """Book messages carry neither sequence nor checksum; a jump in the trade ids is the only loss that shows.

    Heartbeats name the last trade. One may be ahead of that trade; what the one after it still knows of is sure.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heartbeats: dict[str, int] = {}

    def take(self, frame: Any) -> None:
        symbol = frame.get("product_id", "")
        match frame["type"]:
            case "snapshot":
                self.instrument(symbol).snapshot(frame["bids"], frame["asks"])
            case "l2update":
                sides = {
                    side: [(price, size) for name, price, size in frame["changes"] if name == side]
                    for side in ("buy", "sell")
                }
                self.instrument(symbol).update(sides["buy"], sides["sell"])
            case "match" | "last_match":
                if self.numbered_trade(symbol, frame["trade_id"], frame["size"]):
                    self.instrument(symbol).gaps += 1
            case "heartbeat":
                last = frame["last_trade_id"]
                sure = min(last, self._heartbeats.get(symbol, 0))
                self._heartbeats[symbol] = last
                if sure and self.known_trade(symbol, sure):
                    self.instrument(symbol).gaps += 1
