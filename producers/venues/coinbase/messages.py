"""Coinbase Exchange's messages, by ``type``: the fields that are used.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]


# level2_batch, first message of a product: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#level2-channel
class Snapshot(Struct, tag="snapshot"):
    symbol: str = field(name="product_id")
    bids: Raw
    asks: Raw
    time: str = ""


# level2_batch: [side, price, new size]; a size of zero removes the level.
class CoinbaseL2Update(Struct, tag="l2update"):
    symbol: str = field(name="product_id")
    changes: list[tuple[Literal["buy", "sell"], str, str]]
    time: str = ""


# https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#match ; side is the maker's
class Match(Struct, tag="match"):
    symbol: str = field(name="product_id")
    trade_id: Int64
    side: Literal["buy", "sell"]
    size: str
    price: str
    time: str = ""


# The last match before the subscription.
class LastMatch(Match, tag="last_match"):
    pass


# One per second and product: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#heartbeat-channel ;
# sequence counts the product's messages on all channels. For years last_trade_id was always 0.
class Heartbeat(Struct, tag="heartbeat"):
    symbol: str = field(name="product_id", default="")
    last_trade_id: Int64 = 0
    sequence: Int64 = 0


# The answer to subscribe and unsubscribe, with all subscriptions:
# https://docs.cdp.coinbase.com/exchange/websocket-feed/overview
class Channel(Struct):
    name: str = ""
    product_ids: list[str] | None = None


class CoinbaseSubscriptions(Struct, tag="subscriptions"):
    channels: list[Channel] = []


class CoinbaseError(Struct, tag="error"):
    message: str = ""
    reason: str = ""


decode_message = msgspec.json.Decoder(
    CoinbaseL2Update | Match | LastMatch | Snapshot | Heartbeat | CoinbaseSubscriptions | CoinbaseError
).decode


class _Type(Struct):
    type: str


decode_type = msgspec.json.Decoder(_Type).decode

IGNORED = frozenset({"ticker", "ticker_batch", "status", "auction", "rfq_match", "received", "open", "done", "change"})
"""Types of channels not used here."""
