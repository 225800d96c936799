"""One instrument's book, trades and figures."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal
from hashlib import sha256
from typing import Any

Number = Decimal | int | str
Level = tuple[Number, Number]
"""Price and size; a size of 0 deletes the level."""


def plain(number: Decimal) -> str:
    """Return ``number`` as a plain decimal without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Instrument:
    """A book, the trades seen, and what was counted.

    Args:
        depth: levels a side that the venue keeps the client informed of: it sends no deletes for what leaves them.
    """

    def __init__(self, depth: int | None = None) -> None:
        self.depth = depth
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.valid = False
        self.snapshots = self.deltas = self.level_changes = self.ignored = self.gaps = 0
        self.checksums_ok = self.checksums_bad = 0
        self.trades = self.duplicate_trades = 0
        self.base_volume = Decimal(0)
        self.trade_ids: set[Hashable] = set()

    @property
    def crossed(self) -> bool:
        return bool(self.bids and self.asks) and max(self.bids) >= min(self.asks)

    def snapshot(self, bids: Iterable[Level], asks: Iterable[Level], right: Callable[[], bool] = lambda: True) -> bool:
        """Take the venue's whole book, which ``right`` checks by the venue's own rule; return whether it is right."""
        self.doubt()
        self._apply(bids, asks)
        if right() and not self.crossed:
            self.valid = True
            self.snapshots += 1
        else:
            self.doubt()
        return self.valid

    def update(self, bids: Iterable[Level], asks: Iterable[Level], right: Callable[[], bool] = lambda: True) -> None:
        """Take a change of the book; ``right`` checks the result by the venue's own rule."""
        if not self.valid:
            self.ignored += 1
            return
        entries = self._apply(bids, asks)
        if right() and not self.crossed:
            self.deltas += 1
            self.level_changes += entries
        else:
            self.doubt()

    def doubt(self) -> None:
        """Forget the book: it may not be the venue's any more."""
        self.valid = False
        self.bids.clear()
        self.asks.clear()

    def trade(self, trade_id: Hashable, size: Number) -> bool:
        """Count a trade; return whether it is new."""
        if trade_id in self.trade_ids:
            self.duplicate_trades += 1
            return False
        self.trade_ids.add(trade_id)
        self.trades += 1
        self.base_volume += Decimal(size)
        return True

    def best_first(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Return the bids from the highest price down and the asks from the lowest up."""
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())

    def figures(self) -> dict[str, Any]:
        """Return the figures as they stand in ``expected.json``."""
        bids, asks = self.best_first()
        lines = [f"{side} {plain(price)} {plain(size)}\n" for side, levels in zip("BA", (bids, asks), strict=True)
                 for price, size in levels]  # fmt: skip
        return {
            "snapshots": self.snapshots,
            "deltas": self.deltas,
            "level_changes": self.level_changes,
            "trades": self.trades,
            "duplicate_trades": self.duplicate_trades,
            "base_volume": plain(self.base_volume),
            "checksums_ok": self.checksums_ok,
            "checksums_bad": self.checksums_bad,
            "gaps": self.gaps,
            "ignored": self.ignored,
            "book": {
                "bid_levels": len(bids),
                "ask_levels": len(asks),
                "best_bid": plain(bids[0][0]) if bids else None,
                "best_ask": plain(asks[0][0]) if asks else None,
                "crossed": self.crossed,
                "sha256": sha256("".join(lines).encode()).hexdigest(),
            },
        }

    def _apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> int:
        """Set and delete levels; return how many entries there were."""
        entries = 0
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for price, size in changes:
                entries += 1
                if Decimal(size):
                    side[Decimal(price)] = Decimal(size)
                else:
                    side.pop(Decimal(price), None)
        if self.depth is not None:
            best_bids, best_asks = self.best_first()
            self.bids, self.asks = dict(best_bids[: self.depth]), dict(best_asks[: self.depth])
        return entries
