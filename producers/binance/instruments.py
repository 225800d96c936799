"""Which symbols Binance trades.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused, ValueRefused
from alphapulse.instruments import check_symbol


class Symbol(Struct, rename="camel"):
    base_asset: str
    quote_asset: str
    status: str = "TRADING"


class Answer(Struct):
    symbols: list[Symbol]


_decode = msgspec.json.Decoder(Answer).decode


def traded(body: bytes) -> list[str]:
    """Return the canonical symbols that are traded now; what has no canonical name is left out.

    Raises:
        FrameRefused: it is no such list.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("binance", f"{error} in {body[:200]!r}") from error
    found = []
    for symbol in answer.symbols:
        if symbol.status == "TRADING":
            with suppress(ValueRefused):
                found.append(check_symbol(f"{symbol.base_asset}-{symbol.quote_asset}"))
    return found
