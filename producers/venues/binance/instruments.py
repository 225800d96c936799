"""Binance's list of traded symbols.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused
from alphapulse.instruments import check_symbol
from producers.feed.venue import canonical, no_matter


class Symbol(Struct, rename="camel"):
    base_asset: str
    quote_asset: str
    status: str = "TRADING"


class ExchangeInfo(Struct):
    symbols: list[Symbol]


_decode = msgspec.json.Decoder(ExchangeInfo).decode


def parse_instruments(body: bytes, left_out: Callable[[str], None] = no_matter) -> list[str]:
    """Return the canonical symbols traded now; ``left_out`` receives the names that have none.

    Raises:
        FrameRefused: not such a list.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("binance", f"{error} in {body[:200]!r}") from error
    pairs = (f"{symbol.base_asset}-{symbol.quote_asset}" for symbol in answer.symbols if symbol.status == "TRADING")
    return canonical(pairs, check_symbol, left_out)
