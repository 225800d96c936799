"""Coinbase Advanced Trade: ``level2``, ``market_trades``.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels and
…/websocket-overview#sequence-numbers
"""

from __future__ import annotations

from typing import Any

from tests.calculator.feed import Feed


class CoinbaseAdvanced(Feed):
    """Every message of a connection has the next ``sequence_num``, from 0: a jump puts all books in doubt.

    The snapshots that follow are the recorder's new subscriptions. A number that was passed already is a message that
    comes late or again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next = 0

    def take(self, frame: Any) -> None:
        if "sequence_num" not in frame:
            return
        number = frame["sequence_num"]
        if number == 0:
            self._next = 0  # a new connection
        if number > self._next:
            for instrument in self.instruments.values():
                instrument.gaps += instrument.valid
                instrument.doubt()
        late = number < self._next
        self._next = max(self._next, number + 1)
        for event in frame["events"]:
            if frame["channel"] == "l2_data":
                self._book(event, late=late)
            elif frame["channel"] == "market_trades":
                for trade in sorted(event["trades"], key=lambda trade: int(trade["trade_id"])):
                    self.numbered_trade(trade["product_id"], int(trade["trade_id"]), trade["size"])

    def _book(self, event: dict[str, Any], *, late: bool) -> None:
        instrument = self.instrument(event["product_id"])
        sides = {
            side: [(one["price_level"], one["new_quantity"]) for one in event["updates"] if one["side"] == side]
            for side in ("bid", "offer")
        }
        if late:
            instrument.ignored += 1
        elif event["type"] == "snapshot":
            instrument.snapshot(sides["bid"], sides["offer"])
        else:
            instrument.update(sides["bid"], sides["offer"])
