"""Bitstamp's WebSocket v2 messages and REST answers, as far as we read them.

https://www.bitstamp.net/websocket/v2/
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from alphapulse.errors import ValueRefused

Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
EMPTY: Final = Raw(b"")


# Every message. The channel names the market; it is empty where a message is about none, also in errors.
class BitstampFrame(Struct):
    event: str
    channel: str = ""
    data: Raw = EMPTY


# diff_order_book_[market], event "data": levels that changed, with their new amounts; an amount of 0, written with as
# many decimals as others ("0.00000000"), removes the level. https://www.bitstamp.net/websocket/v2/#full-order-book
class Diff(Struct):
    microtimestamp: str
    bids: Raw
    asks: Raw


# live_trades_[market], event "trade". type is the aggressor's side, 0 buys and 1 sells; amount and price come as floats
# as well. Ids rise over all markets together. https://www.bitstamp.net/websocket/v2/#live-ticker
class BitstampTrade(Struct):
    id: Int64
    type: Literal[0, 1]
    amount_str: str
    price_str: str
    microtimestamp: str
    symbol: str = ""
    """Not sent: taken from the channel."""


# bts:error: https://www.bitstamp.net/websocket/v2/#errors
class BitstampError(Struct):
    code: Any = None
    message: str = ""


# GET /api/v2/order_book/[market]/?group=1, all levels, the amounts of a price added up:
# https://www.bitstamp.net/api/#tag/Order-book/operation/GetOrderBook
class BitstampSnapshot(Struct):
    microtimestamp: str
    bids: Raw
    asks: Raw


decode_frame = msgspec.json.Decoder(BitstampFrame).decode
decode_diff = msgspec.json.Decoder(Diff).decode
decode_trade = msgspec.json.Decoder(BitstampTrade).decode
decode_error = msgspec.json.Decoder(BitstampError).decode
decode_snapshot = msgspec.json.Decoder(BitstampSnapshot).decode

OTHER_BOOKS: Final = frozenset({"order_book", "detail_order_book"})
"""Channels of the event ``data`` that are not ours."""
IGNORED: Final = frozenset(
    {"order_created", "order_changed", "order_deleted", "funding_rate_saved", "published",
     "bts:unsubscription_succeeded"}
)  # fmt: skip
"""Events of channels that are not ours, and what needs no doing."""

_MOST_MICROSECONDS: Final = (2**63 - 1) // 1000


def microseconds(text: str) -> int:
    """Return a ``microtimestamp``: microseconds since the Unix epoch.

    Raises:
        ValueRefused: it is no such number, or as nanoseconds beyond an int64.
    """
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else -1
    if not 0 <= value <= _MOST_MICROSECONDS:
        raise ValueRefused(f"not a time in microseconds: {text[:80]!r}")
    return value


def split_channel(channel: str) -> tuple[str, str]:
    """Return a channel's kind and market: ``diff_order_book_btcusd`` → (``diff_order_book``, ``btcusd``)."""
    kind, _, market = channel.rpartition("_")
    return kind, market
