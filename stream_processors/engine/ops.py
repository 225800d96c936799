"""Ops endpoints of the worker: ``/books`` and ``/status``.

``GET /books`` lists the instruments of this worker. Counts start with the instrument's state: they are part of the
checkpoints and continue over restarts and handovers. ``snapshots``, ``deltas`` and ``level_changes`` are those applied
from ``md.l2``; ``trades`` and ``base_volume`` are over distinct trade ids. ``GET /books?venue=V&symbol=S&levels=full``
adds all levels, best first, as decimal text.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from aiohttp import web

from alphapulse import metrics, topics
from alphapulse.book import BookSide
from alphapulse.fixed import decimal_text
from stream_processors.engine.worker import INPUTS, Worker
from stream_processors.processing.instrument import ProcessedInstrument


def tell_book(instrument: ProcessedInstrument, *, full: bool = False) -> dict[str, Any]:
    """Return one instrument as JSON-able fields."""
    reader, totals = instrument.reader, instrument.totals
    book, prices, sizes = reader.book, reader.price_exponent, reader.size_exponent
    bid, ask = book.bids.best_price(), book.asks.best_price()
    told: dict[str, Any] = {
        "venue": instrument.venue,
        "symbol": instrument.symbol,
        "valid": reader.valid,
        # Nanoseconds exceed the integer precision of JSON readers in other languages.
        "epoch": str(reader.epoch),
        "sequence": reader.sequence,
        "snapshots": totals.snapshots,
        "deltas": totals.deltas,
        "level_changes": totals.level_changes,
        "trades": totals.trades,
        "duplicate_trades": totals.duplicate_trades,
        "base_volume": decimal_text(int(totals.base_volume), totals.volume_exponent),
        "late_trades": instrument.candles.too_late,
        "doubted_trades": instrument.candles.doubted,
        "gaps": totals.gaps,
        "invalidated": totals.invalidated,
        "bid_levels": len(book.bids),
        "ask_levels": len(book.asks),
        "best_bid": decimal_text(bid, prices) if bid is not None else None,
        "best_ask": decimal_text(ask, prices) if ask is not None else None,
        "crossed": book.crossed,
        "sha256": book.sha256(prices, sizes),
    }
    if full:
        told["bids"] = _levels(book.bids, prices, sizes)
        told["asks"] = _levels(book.asks, prices, sizes)
    return told


def _levels(side: BookSide, price_exponent: int, size_exponent: int) -> list[list[str]]:
    return [[decimal_text(price, price_exponent), decimal_text(size, size_exponent)] for price, size in side]


class Ops:
    """Ops endpoints of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._rate = _Rate()
        # Computed when the metrics are read.
        metrics.BOOKS.labels("true").set_function(lambda: sum(one.reader.valid for one in self._instruments()))
        metrics.BOOKS.labels("false").set_function(lambda: sum(not one.reader.valid for one in self._instruments()))
        metrics.DOUBTED_TRADES.set_function(lambda: sum(one.candles.doubted for one in self._instruments()))
        metrics.LATE_TRADES.set_function(lambda: sum(one.candles.too_late for one in self._instruments()))
        metrics.OPPORTUNITIES.set_function(self._opportunities)
        metrics.CHECKPOINT_AGE.set_function(lambda: worker.ownership.checkpoint_age(time.monotonic()))
        for topic in INPUTS:
            metrics.LAG.labels(worker.group, topic).set_function(partial(self._lag, topic))

    def _instruments(self) -> list[ProcessedInstrument]:
        owned = self._worker.ownership.partitions.values()
        found = [instrument for one in owned for instrument in one.state.instruments.values()]
        return sorted(found, key=lambda instrument: (instrument.venue, instrument.symbol))

    def _lag(self, topic: str) -> int:
        return self._worker.lag()[topic]

    def _opportunities(self) -> int:
        owned = self._worker.ownership.partitions.values()
        return sum(len(symbol.open) for one in owned for symbol in one.state.symbols.values())

    async def books(self, request: web.Request) -> web.Response:
        """Answer ``GET /books``."""
        venue, symbol = request.query.get("venue"), request.query.get("symbol")
        levels = request.query.get("levels", "none")
        if levels not in ("none", "full"):
            raise web.HTTPBadRequest(text=f"levels: expected none or full, found {levels[:80]!r}")
        found = [
            instrument
            for instrument in self._instruments()
            if venue in (None, instrument.venue) and symbol in (None, instrument.symbol)
        ]
        return web.json_response({"instruments": [tell_book(one, full=levels == "full") for one in found]})

    def status(self) -> dict[str, Any]:
        """Return the fields of ``/status``."""
        worker = self._worker
        instruments = self._instruments()
        owned = list(worker.ownership.partitions.values())
        return {
            "records": worker.records,
            "records_per_second": self._rate.of(worker.records, time.monotonic()),
            "lag": worker.lag(),
            "partitions": sorted(one.state.number for one in owned),
            "books": len(instruments),
            "valid_books": sum(instrument.reader.valid for instrument in instruments),
            "opportunities": self._opportunities(),
            "gaps": sum(instrument.totals.gaps for instrument in instruments),
            "dead_letters": worker.dead_letters,
            "lost_records": worker.lost,
            "unread": dict(worker.unread),
            "published": worker.published,
            "topics": [topics.L2, topics.TRADES, topics.DEPTH],
        }


class _Rate:
    """Records per second between two requests."""

    def __init__(self) -> None:
        self._count = 0
        self._at = time.monotonic()
        self._rate = 0.0

    def of(self, count: int, now: float) -> float:
        if now - self._at >= 0.5:
            self._rate = (count - self._count) / (now - self._at)
            self._count, self._at = count, now
        return round(self._rate, 1)
