"""Binance's stream payloads and REST answers: the fields that are used.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
EMPTY = Raw(b"")


# A combined stream's frame is {"stream", "data"}; a raw stream's frame is the payload itself, with its kind in "e"
# (a book ticker has none). Answers to requests have "result" or "error".
# https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#general-wss-information
class BinanceFrame(Struct):
    stream: str | None = None
    data: Raw = EMPTY
    e: str | None = None
    A: Any = None
    B: Any = None
    result: Any = msgspec.UNSET
    error: Any = msgspec.UNSET
    id: Any = msgspec.UNSET


# <symbol>@depth@100ms: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#diff-depth-stream
class DepthUpdate(Struct, tag_field="e", tag="depthUpdate"):
    E: Int64
    symbol: str = field(name="s")
    U: Int64
    u: Int64
    b: Raw
    a: Raw


# <symbol>@trade: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#trade-streams
class BinanceTrade(Struct, tag_field="e", tag="trade"):
    E: Int64
    symbol: str = field(name="s")
    number: Int64 = field(name="t")
    p: str
    q: str
    T: Int64
    m: bool


# <symbol>@aggTrade: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#aggregate-trade-streams
class AggregateTrade(Struct, tag_field="e", tag="aggTrade"):
    E: Int64
    symbol: str = field(name="s")
    number: Int64 = field(name="a")
    p: str
    q: str
    T: Int64
    m: bool


# GET /api/v3/depth:
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book
class DepthSnapshot(Struct):
    lastUpdateId: Int64  # noqa: N815
    bids: Raw
    asks: Raw


class BinanceError(Struct):
    code: int = 0
    msg: str = ""


decode_frame = msgspec.json.Decoder(BinanceFrame).decode
decode_depth = msgspec.json.Decoder(DepthUpdate).decode
decode_trade = msgspec.json.Decoder(BinanceTrade).decode
decode_aggregate = msgspec.json.Decoder(AggregateTrade).decode
decode_snapshot = msgspec.json.Decoder(DepthSnapshot).decode

IGNORED = frozenset(
    {"bookTicker", "ticker", "miniTicker", "24hrTicker", "24hrMiniTicker", "kline", "avgPrice", "depth5", "depth10",
     "depth20", "ticker_1h", "ticker_4h", "ticker_1d", "1hTicker", "4hTicker", "1dTicker", "rollingWindow",
     "blockTrade", "referencePrice"}
)  # fmt: skip
"""Streams not used here, by the part after the symbol and before the next ``@`` or ``_``'s interval."""
