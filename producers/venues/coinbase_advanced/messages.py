"""Coinbase Advanced Trade's messages, by ``channel``: the fields that are used.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from producers.feed.entries import UNREADABLE, Entries

Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]
EMPTY = Raw(b"[]")


# Every message; an error has a "type" and no channel. sequence_num increases by one per message of the connection.
class AdvancedFrame(Struct):
    channel: str | None = None
    sequence_num: Int64 | None = None
    timestamp: str = ""
    events: Raw = EMPTY
    type: str | None = None
    message: str = ""


# Channel level2, whose messages say l2_data; a new_quantity of zero removes the level.
# https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels#level2-channel
class LevelUpdate(Struct):
    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


class BookEvent(Struct):
    type: Literal["snapshot", "update"]
    symbol: str = field(name="product_id")
    updates: list[LevelUpdate]


# Channel market_trades, newest first; side is the maker's.
# https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels#market-trades-channel
class AdvancedTrade(Struct):
    trade_id: Digits
    symbol: str = field(name="product_id")
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    time: str


class TradesEvent(Struct):
    trades: Raw


# Channel subscriptions: all subscriptions, by channel.
class AdvancedListing(Struct):
    subscriptions: dict[str, list[str] | None] = {}


decode_frame = msgspec.json.Decoder(AdvancedFrame).decode
decode_listings = msgspec.json.Decoder(list[AdvancedListing]).decode
BOOKS = Entries(BookEvent)
TRADE_EVENTS = Entries(TradesEvent)
TRADES = Entries(AdvancedTrade)

IGNORED = frozenset({"heartbeats", "ticker", "ticker_batch", "status", "candles"})
"""Channels of which only the sequence number is used."""

_NUMBER = re.compile(rb'"sequence_num":\s*([0-9]{1,18})\s*[,}]')


def number_of_broken(frame: bytes) -> int | None:
    """Return the sequence number found in a malformed frame; None if it has none or several."""
    found = _NUMBER.findall(frame)
    return int(found[0]) if len(found) == 1 else None


def channel_of(frame: bytes) -> str | None:
    """Return the channel of a frame (``""``: none); None if the frame is malformed."""
    try:
        return decode_frame(frame).channel or ""
    except UNREADABLE:
        return None
