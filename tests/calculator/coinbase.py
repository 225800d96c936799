"""Coinbase Exchange: ``level2_batch``, ``matches``.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from typing import Any

from tests.calculator.feed import Feed


class Coinbase(Feed):
    """Book messages carry neither sequence nor checksum; a jump in the trade ids is the only loss that shows."""

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
