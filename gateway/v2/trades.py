"""Feed of trades: the latest ones, then each new one; never dropped, at most gathered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from alphapulse.fixed import decimal_text
from gateway.protocol import microseconds
from gateway.state import TRADES_KEPT, ShownInstrument
from gateway.v2.encoding import Outgoing
from gateway.v2.feed import Feed
from gateway.v2.history import History
from gateway.v2.messages import TradeItem, Trades, TradesSnapshot
from gateway.v2.pace import Pacer
from gateway.v2.requests import Position, TradePosition
from schemas.codec import Codec
from schemas.records import Trade


def item(trade: Trade) -> TradeItem:
    """Return a trade as clients get it."""
    return TradeItem(
        trade.trade_id,
        trade.side.lower(),  # type: ignore[arg-type]
        decimal_text(trade.price, trade.price_exponent),
        decimal_text(trade.size, trade.size_exponent),
        microseconds(trade.exchange_time or trade.received_time),
        microseconds(trade.received_time),
    )


class TradeHistory:
    """The last trades of an instrument, by id.

    A venue repeats trades after a reconnect. A gateway that has read the topic from further back knows them and drops
    the repetition; one that began in between takes them for new, in the repetition's place. So a trade that is older
    than one before it is no position to continue from: what comes after it might differ from gateway to gateway.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._history = History[str]()
        self._newest = 0

    def add(self, trade: Trade, value: bytes) -> None:
        """Add a trade that the state has applied; without its bytes nothing before it can be continued."""
        if not value:
            self._history.clear()
            return
        late = trade.exchange_time < self._newest
        self._newest = max(self._newest, trade.exchange_time)
        self._history.add("" if late else trade.trade_id, value)

    def clear(self) -> None:
        """Forget all: records are missing after them."""
        self._history.clear()

    def after(self, trade_id: str) -> list[Trade] | None:
        """Return the trades after one; None: it is not known."""
        values = self._history.after(trade_id) if trade_id else None
        return None if values is None else [self._codec.decode_as(Trade, value) for value in values]


class TradesFeed(Feed):
    """Feed of trades; ``_pending`` are those that the subscribers do not know yet."""

    keeps_gaps = True

    def __init__(self, instrument: ShownInstrument, history: TradeHistory, pacer: Pacer, interval_ms: int) -> None:
        super().__init__(pacer, interval_ms)
        self._instrument = instrument
        self._history = history
        self._pending: list[Trade] = []

    def take(self, trade: Trade) -> None:
        """Send a trade at once, or at the next tick."""
        if self.audience:
            self._pending.append(trade)
        self.changed()

    def _begin(self) -> None:
        self._pending.clear()

    def _snapshot(self) -> Sequence[Outgoing]:
        return (self._latest(UNSET),)

    def resumption(self) -> Sequence[Outgoing]:
        return (self._latest(True),)

    def _latest(self, gap: Literal[True] | UnsetType) -> TradesSnapshot:
        of = self._instrument
        known = list(of.trades)[: max(len(of.trades) - len(self._pending), 0)][-TRADES_KEPT:]
        return TradesSnapshot("trades", of.venue, of.symbol, [item(trade) for trade in known], gap)

    def _news(self) -> Sequence[Outgoing]:
        pending, self._pending = self._pending, []
        return (self._message(pending),) if pending else ()

    def _message(self, trades: Iterable[Trade]) -> Trades:
        return Trades("trades", self._instrument.venue, self._instrument.symbol, [item(trade) for trade in trades])

    def recover(self, position: Position) -> Sequence[Outgoing] | None:
        if not isinstance(position, TradePosition):
            return None
        self.catch_up()
        missed = self._history.after(position.trade_id)
        if missed is None:
            return None
        return (self._message(missed),) if missed else ()
