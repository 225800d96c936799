"""Which products Coinbase Exchange trades.

https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducts
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused, ValueRefused
from producers.coinbase.symbols import canonical_symbol


class Product(Struct):
    id: str
    status: str = "online"
    trading_disabled: bool = False


_decode = msgspec.json.Decoder(list[Product]).decode


def traded(body: bytes) -> list[str]:
    """Return the canonical symbols that are traded now; what has no canonical name is left out.

    Raises:
        FrameRefused: it is no such list.
    """
    try:
        products = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("coinbase", f"{error} in {body[:200]!r}") from error
    found = []
    for product in products:
        if product.status == "online" and not product.trading_disabled:
            with suppress(ValueRefused):
                found.append(canonical_symbol(product.id))
    return found
