"""Stream protocol, version 1: messages to clients (from clients: :mod:`gateway.requests`). Pure.

JSON text both ways. Prices and sizes are decimal text, times are microseconds since the Unix epoch as integers, a
book's epoch is decimal text (nanoseconds do not fit a JavaScript number). Several messages may share one WebSocket
message, one JSON object per line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from alphapulse.errors import RequestRefused
from alphapulse.fixed import decimal_text
from alphapulse.freshness import Fault
from gateway.access.redaction import redacted
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Trade

VERSION: Final = 1
EVERY_SYMBOL: Final = "*"

RequestId: TypeAlias = int | str | None
Levels: TypeAlias = Iterable[tuple[int, int]]
"""(price mantissa, size mantissa), size 0 for a removed level."""


class Subscription(NamedTuple):
    """A subscription; ``venue`` is None for arbitrage, whose ``symbol`` may be ``*``.

    A tuple: one is made for each record, to look up its feed.
    """

    channel: str
    venue: str | None
    symbol: str


def _json(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields).decode()


def microseconds(nanoseconds: int) -> int:
    """Return a record's time or duration in the unit of stream and REST (rounded down)."""
    return nanoseconds // 1000


# --- about the connection ----------------------------------------------------------------------------------


def hello(heartbeat_ms: int, max_book_age_ms: int, time_ns: int) -> str:
    """First message: limits for the client's timeouts, and the gateway's clock, which ages refer to.

    Args:
        heartbeat_ms: maximum interval between messages.
        max_book_age_ms: a book with an older ``time`` is stale.
        time_ns: the gateway's clock.
    """
    fields = {"type": "hello", "version": VERSION, "heartbeat_ms": heartbeat_ms, "max_book_age_ms": max_book_age_ms}
    return _json(fields | {"time": microseconds(time_ns)})


def heartbeat(time_ns: int) -> str:
    return _json({"type": "heartbeat", "time": microseconds(time_ns)})


def shutdown() -> str:
    """Announces the stop of the gateway; close code 1012 follows."""
    return _json({"type": "shutdown"})


def pong(request_id: RequestId, time_ns: int) -> str:
    """Answer to a ping, with the gateway's clock, so that clients can compute their offset to it."""
    return _json({"type": "pong", "id": request_id, "time": microseconds(time_ns)})


def subscribed(request_id: RequestId, subscription: Subscription) -> str:
    return _answer("subscribed", request_id, subscription)


def unsubscribed(request_id: RequestId, subscription: Subscription) -> str:
    return _answer("unsubscribed", request_id, subscription)


def _answer(kind: str, request_id: RequestId, subscription: Subscription) -> str:
    fields: dict[str, Any] = {"type": kind, "id": request_id, "channel": subscription.channel}
    if subscription.venue is not None:
        fields["venue"] = subscription.venue
    return _json(fields | {"symbol": subscription.symbol})


def error(refused: RequestRefused) -> str:
    return _json({"type": "error", "id": refused.request_id, "code": refused.code, "message": redacted(str(refused))})


# --- books -------------------------------------------------------------------------------------------------


def levels_text(levels: Levels, price_exponent: int, size_exponent: int) -> list[list[str]]:
    """Return ``[[price, size], …]`` as decimal text."""
    return [[decimal_text(price, price_exponent), decimal_text(size, size_exponent)] for price, size in levels]


def book_fields(depth: Depth, valid: bool, bids: Levels, asks: Levels) -> dict[str, Any]:
    """Return the fields common to a snapshot, a delta and the REST response.

    ``epoch`` and ``sequence`` are those of the last ``L2Update`` in the book: the same numbers here, in ``md.l2``,
    ``md.depth``, ``md.stats`` and the tables.
    """
    return {
        "venue": depth.venue,
        "symbol": depth.symbol,
        "epoch": str(depth.epoch),
        "sequence": depth.sequence,
        "time": microseconds(depth.received_time),
        "valid": valid,
        "bids": levels_text(bids, depth.price_exponent, depth.size_exponent),
        "asks": levels_text(asks, depth.price_exponent, depth.size_exponent),
    }


def book_snapshot(depth: Depth, fault: Fault | None) -> str:
    """Snapshot of a book, best levels first; of an invalid or stale book, ``reason`` and no levels."""
    bids = zip(depth.bid_prices, depth.bid_sizes, strict=True) if fault is None else ()
    asks = zip(depth.ask_prices, depth.ask_sizes, strict=True) if fault is None else ()
    fields = book_fields(depth, fault is None, bids, asks)
    return _json({"type": "snapshot", "channel": "book", **fields, "reason": fault})


def no_book(venue: str, symbol: str) -> str:
    """Snapshot of a known instrument without a book yet."""
    head = {"type": "snapshot", "channel": "book", "venue": venue, "symbol": symbol, "epoch": "0", "sequence": 0}
    return _json(head | {"time": 0, "valid": False, "bids": [], "asks": [], "reason": "no_book"})


def book_delta(depth: Depth, previous_sequence: int, bids: Levels, asks: Levels) -> str:
    """Levels that changed between the book's ``previous_sequence`` and ``depth``, within one epoch.

    Size ``"0"``: the level was removed. Without levels: the book is confirmed, at a later ``time``.
    """
    fields = book_fields(depth, True, bids, asks)
    return _json({"type": "delta", "channel": "book", "previous_sequence": previous_sequence, **fields})


# --- trades, statistics, candles, opportunities ------------------------------------------------------------


def _trade(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.trade_id,
        "side": trade.side.lower(),
        "price": decimal_text(trade.price, trade.price_exponent),
        "size": decimal_text(trade.size, trade.size_exponent),
        "time": microseconds(trade.exchange_time or trade.received_time),
    }


def trades(kind: Literal["snapshot", "trades"], venue: str, symbol: str, of: Iterable[Trade]) -> str:
    """The latest trades (``snapshot``) or new ones, the newest last; ``time`` is the venue's if it gives one."""
    head = {"type": kind, "channel": "trades", "venue": venue, "symbol": symbol}
    return _json(head | {"trades": [_trade(trade) for trade in of]})


def statistics_fields(record: DeltaStatistics) -> dict[str, Any]:
    """Return DeltaStatistics' fields; times and latencies in µs, prices as decimal text; no latency where it is 0."""
    fields = record.__dict__ | {
        "window_start": microseconds(record.window_start),
        "window_end": microseconds(record.window_end),
        "epoch": str(record.epoch),
        "latency_max": microseconds(record.latency_max) if record.latency_max else None,
        "latency_mean": microseconds(record.latency_mean) if record.latency_mean else None,
        "best_bid": None if record.best_bid is None else decimal_text(record.best_bid, record.price_exponent),
        "best_ask": None if record.best_ask is None else decimal_text(record.best_ask, record.price_exponent),
    }
    del fields["price_exponent"], fields["size_exponent"]
    return fields


def stats(record: DeltaStatistics) -> str:
    return _json({"type": "stats", "channel": "stats", **statistics_fields(record)})


def candle_fields(record: Candle) -> dict[str, Any]:
    """Return Candle's fields; ``interval`` in seconds, times in µs, prices and sizes as decimal text."""
    fields: dict[str, Any] = {"venue": record.venue, "symbol": record.symbol}
    fields |= {"interval": record.interval // 10**9, "open_time": microseconds(record.open_time)}
    for name, price in (("open", record.open), ("high", record.high), ("low", record.low), ("close", record.close)):
        fields[name] = decimal_text(price, record.price_exponent)
    fields["volume"] = decimal_text(record.volume, record.size_exponent)
    fields["quote_volume"] = record.quote_volume
    fields["vwap"] = decimal_text(record.vwap, record.vwap_exponent)
    return fields | {"trades": record.trades, "revision": record.revision, "partial": record.partial}


def candle(record: Candle) -> str:
    """One candle; ``interval`` in seconds. The highest ``revision`` of an ``open_time`` is the current one."""
    return _json({"type": "candle", "channel": "candles", **candle_fields(record)})


_OPPORTUNITY_PRICES: Final = ("buy_price", "sell_price", "buy_limit_price", "sell_limit_price")
_OPPORTUNITY_TIMES: Final = ("opened_time", "updated_time", "buy_book_time", "sell_book_time")


def opportunity_fields(record: ArbitrageOpportunity) -> dict[str, Any]:
    """Return ArbitrageOpportunity's fields; prices and size as decimal text, times in µs, state in lower case."""
    fields = dict(record.__dict__)
    for name in _OPPORTUNITY_PRICES:
        fields[name] = decimal_text(fields[name], record.price_exponent)
    for name in _OPPORTUNITY_TIMES:
        fields[name] = microseconds(fields[name])
    fields["size"] = decimal_text(record.size, record.size_exponent)
    fields["state"] = record.state.lower()
    del fields["price_exponent"], fields["size_exponent"]
    return fields


def opportunity(record: ArbitrageOpportunity) -> str:
    return _json({"type": "opportunity", "channel": "arbitrage", **opportunity_fields(record)})


def opportunities(symbol: str, of: Sequence[ArbitrageOpportunity]) -> str:
    """The open opportunities of a symbol, or of all (``*``)."""
    head = {"type": "snapshot", "channel": "arbitrage", "symbol": symbol}
    return _json(head | {"opportunities": [opportunity_fields(record) for record in of]})
