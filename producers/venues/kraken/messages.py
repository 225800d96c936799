"""Kraken's WebSocket v2 messages: the fields that are used.

Numbers are not quoted; they stay :class:`msgspec.Raw`, their decimal text, so that none passes through a float.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from producers.feed.entries import Entries
from producers.feed.levels import LevelFormat

Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Precision = Annotated[int, Meta(ge=0, le=18)]
EMPTY = Raw(b"")
NONE = Raw(b"[]")


# Every message: data messages have a channel, answers to requests a method.
# https://docs.kraken.com/api/docs/guides/spot-ws-intro/
class KrakenFrame(Struct):
    channel: str | None = None
    type: str | None = None
    data: Raw = EMPTY
    method: str | None = None
    success: bool | None = None
    error: str | None = None
    symbol: str | None = None
    result: Raw = EMPTY
    req_id: Int64 | None = None


# https://docs.kraken.com/api/docs/websocket-v2/book
class KrakenBook(Struct):
    symbol: str
    bids: Raw = NONE
    asks: Raw = NONE
    checksum: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    timestamp: str | None = None


class Level(Struct):
    price: Raw
    qty: Raw


# https://docs.kraken.com/api/docs/websocket-v2/trade
class KrakenTrade(Struct):
    symbol: str
    side: Literal["buy", "sell"]
    price: Raw
    qty: Raw
    trade_id: Int64
    timestamp: str


# https://docs.kraken.com/api/docs/websocket-v2/instrument
class KrakenPair(Struct):
    symbol: str
    price_precision: Precision
    qty_precision: Precision


class Reference(Struct):
    pairs: Raw = NONE


class SubscribeResult(Struct):
    channel: str = ""
    symbol: str | None = None


decode_frame = msgspec.json.Decoder(KrakenFrame).decode
decode_reference = msgspec.json.Decoder(Reference).decode
decode_result = msgspec.json.Decoder(SubscribeResult).decode
BOOKS = Entries(KrakenBook)
TRADES = Entries(KrakenTrade)
PAIRS = Entries(KrakenPair)
IGNORED = frozenset({"heartbeat", "status", "ticker", "ohlc", "level3", "pong"})
"""Channels not used here."""

_decode_levels = msgspec.json.Decoder(list[Level]).decode


def number_text(raw: Raw) -> str:
    """Return the decimal text of a JSON number (quoted or not)."""
    return bytes(raw).decode("latin-1").strip('" \t\r\n')


def _level_texts(raw: bytes) -> tuple[list[str], list[str]]:
    levels = _decode_levels(raw)
    return [number_text(level.price) for level in levels], [number_text(level.qty) for level in levels]


LEVELS = LevelFormat(r'\{{"price":{price},"qty":{size}\}}', b'[]{}":.priceqty', _level_texts)
"""``[{"price":56119.00000,"qty":0.14375128}, …]``"""
