"""OKX's WebSocket v5 messages: the fields that are used.

https://www.okx.com/docs-v5/en/#overview-websocket-overview
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from producers.feed.entries import Entries

Sequence = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]
"""An integer sent as text."""
EMPTY = Raw(b"")

PONG = b"pong"
"""The answer to the text ``ping``; the only message that is not JSON."""


# The subject of a message; answers repeat it.
class Argument(Struct, rename="camel"):
    channel: str = ""
    inst_id: str = ""


# Every message: data has an "arg" and "data", an answer or a notice has an "event".
# https://www.okx.com/docs-v5/en/#overview-websocket-subscribe
class OkxFrame(Struct):
    arg: Argument | None = None
    action: str | None = None
    data: Raw = EMPTY
    event: str | None = None
    code: str = ""
    msg: str = ""


# Channel "books": 400 levels, then changes, every 100 ms.
# https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
class OkxBook(Struct, rename="camel"):
    bids: Raw
    asks: Raw
    ts: Digits
    seq_id: Sequence
    prev_seq_id: Sequence
    symbol: str = ""
    """The instrument of the message, which names it once for all books."""


# Channel "trades": one message per taker order and price; trade_id is the last of the ``count`` trades in it.
# https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel
class OkxTrade(Struct, rename="camel"):
    symbol: str = field(name="instId")
    trade_id: Digits
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: Digits
    count: Digits = "1"


decode_frame = msgspec.json.Decoder(OkxFrame).decode
BOOKS = Entries(OkxBook)
TRADES = Entries(OkxTrade)

IGNORED = frozenset({"tickers", "bbo-tbt", "books5", "trades-all", "instruments", "status", "index-tickers"})
"""Channels not used here."""

_REST_OF_LEVEL = re.compile(rb'",\s*"[0-9]*",\s*"[0-9]*"\s*\]')


def pairs(levels: Raw) -> Raw:
    """Return levels ``[price, size, "0", number of orders]`` as ``[price, size]``; any other form unchanged."""
    return Raw(_REST_OF_LEVEL.sub(b'"]', bytes(levels)))
