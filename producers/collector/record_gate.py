"""Gate before the publisher: lets through only records of instruments that this process has the right to publish.

While it may publish everything, its ``publish`` *is* the publisher's: the gate costs a record nothing. Records that it
holds back are dropped, except those that the publishing process may not have received: the last trades, the last quote
and the last candles of each instrument, which are returned when the instrument is taken over.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Final

from producers.collector.record_sink import RecordSink
from schemas.records import Candle, L2Update, Quote, Record, Trade

MOST_TRADES: Final = 1000
MOST_CANDLES: Final = 5
"""Records held back per instrument: the other process delivers them too, so only the newest can be missing."""


class RecordGate:
    """Gate before ``sink``, closed at first; a :class:`~producers.collector.record_sink.RecordSink` itself.

    Attributes:
        publish: accepts a record, as :meth:`RecordSink.publish` does.
    """

    def __init__(self, sink: RecordSink) -> None:
        self._sink = sink
        self._open = False
        self._except: set[str] = set()
        self._expired = False
        self._muted: set[str] = set()
        self._trades: dict[str, deque[Trade]] = {}
        self._quotes: dict[str, Quote] = {}
        self._candles: dict[str, deque[Candle]] = {}
        self.publish: Callable[[Record], None] = self._judge

    def lets_through(self, symbol: str) -> bool:
        """Whether records of ``symbol`` are published."""
        return self._open != (symbol in self._except)

    def open(self) -> None:
        """Let everything through from now on."""
        self._open, self._except = True, set()
        self._choose()

    def close(self) -> None:
        """Let nothing through from now on, except events and dead letters."""
        self._open, self._except = False, set()
        self._choose()

    def close_for(self, symbols: Collection[str]) -> None:
        """Let nothing of ``symbols`` through any more."""
        self._set(symbols, through=False)

    def open_for(self, symbols: Collection[str]) -> None:
        """Let ``symbols`` through from now on."""
        self._set(symbols, through=True)

    def _set(self, symbols: Collection[str], *, through: bool) -> None:
        if self._open == through:
            self._except.difference_update(symbols)
        else:
            self._except.update(symbols)
        self._choose()

    def expire(self) -> None:
        """Let no book begin an epoch: the right to publish has expired, and another process may have it."""
        self._expired = True
        self._choose()

    def renew(self) -> set[str]:
        """End the effect of :meth:`expire`; return the books that tried to begin an epoch: they have to begin anew."""
        self._expired = False
        muted, self._muted = self._muted, set()
        self._choose()
        return muted

    def take_held(self, symbol: str) -> tuple[list[Trade], list[Quote | Candle]]:
        """Return, and forget, the records of ``symbol`` that were held back last."""
        trades = list(self._trades.pop(symbol, ()))
        quote = self._quotes.pop(symbol, None)
        return trades, [*self._candles.pop(symbol, ()), *([quote] if quote is not None else [])]

    def _choose(self) -> None:
        free = self._open and not self._except and not self._expired
        self.publish = self._sink.publish if free else self._judge

    def _judge(self, record: Record) -> None:
        if isinstance(record, L2Update | Trade | Quote | Candle):
            symbol = record.symbol
            if not self.lets_through(symbol):
                self._hold(record)
                return
            if self._expired and isinstance(record, L2Update):
                if record.kind == "SNAPSHOT":
                    self._muted.add(symbol)
                if symbol in self._muted:
                    return
        self._sink.publish(record)

    def _hold(self, record: L2Update | Trade | Quote | Candle) -> None:
        match record:
            case Trade():
                self._trades.setdefault(record.symbol, deque(maxlen=MOST_TRADES)).append(record)
            case Quote():
                self._quotes[record.symbol] = record
            case Candle():
                self._candles.setdefault(record.symbol, deque(maxlen=MOST_CANDLES)).append(record)

    # --- the sink's own ---

    @property
    def patience(self) -> float:
        """See :class:`RecordSink`, here and below."""
        return self._sink.patience

    @property
    def failed(self) -> asyncio.Event:
        """Set when records can no longer be accepted."""
        return self._sink.failed

    @property
    def taken(self) -> int:
        """Number of records accepted."""
        return self._sink.taken

    @property
    def acknowledged(self) -> int:
        """Number of records acknowledged."""
        return self._sink.acknowledged

    @property
    def published(self) -> Counter[str]:
        """Acknowledged records by topic."""
        return self._sink.published

    @property
    def in_flight(self) -> int:
        """Number of records accepted and not acknowledged."""
        return self._sink.in_flight

    @property
    def in_flight_bytes(self) -> int:
        """Memory that they occupy."""
        return self._sink.in_flight_bytes

    @property
    def full(self) -> bool:
        """Whether the sink's bound is reached."""
        return self._sink.full

    async def room(self) -> None:
        """Wait while the sink is at its bound.

        Raises:
            BrokerError: a record was refused.
        """
        await self._sink.room()

    def confirmed(self) -> int:
        """Return n such that the first n records are all acknowledged."""
        return self._sink.confirmed()
