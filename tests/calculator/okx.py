"""OKX, WebSocket v5: ``books``, ``trades``.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
"""

from __future__ import annotations

from typing import Any

from tests.calculator.feed import Feed
from tests.calculator.instrument import Level

DEPTH = 400


class Okx(Feed):
    """Each book message names its number and that of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, int] = {}

    def depth(self) -> int:
        return DEPTH

    def take(self, frame: Any) -> None:
        if not isinstance(frame, dict) or "data" not in frame:  # pong, or an answer to a request
            return
        symbol = frame["arg"]["instId"]
        for entry in frame["data"]:
            if frame["arg"]["channel"] == "trades":
                self.instrument(symbol).trade(entry["tradeId"], entry["sz"])
            elif frame["action"] == "snapshot":
                self.instrument(symbol).snapshot(_levels(entry["bids"]), _levels(entry["asks"]))
                self._last[symbol] = entry["seqId"]
            else:
                self._update(symbol, entry)

    def _update(self, symbol: str, entry: dict[str, Any]) -> None:
        instrument = self.instrument(symbol)
        last = self._last.get(symbol)
        if not instrument.valid or (entry["seqId"] == last and entry["prevSeqId"] != last):
            instrument.ignored += 1  # it waits for a snapshot, or the last message comes again
        elif entry["prevSeqId"] != last:
            instrument.gaps += 1
            instrument.doubt()
        else:
            self._last[symbol] = entry["seqId"]
            if entry["bids"] or entry["asks"]:  # without either: nothing changed
                instrument.update(_levels(entry["bids"]), _levels(entry["asks"]))


def _levels(side: list[list[str]]) -> list[Level]:
    return [(price, size) for price, size, *_ in side]
