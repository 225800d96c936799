"""Coinbase Exchange's list of products.

https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducts
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused
from producers.feed.venue import canonical, no_matter
from producers.venues.coinbase.symbols import canonical_symbol


class Product(Struct):
    id: str
    status: str = "online"
    trading_disabled: bool = False


_decode = msgspec.json.Decoder(list[Product]).decode


def parse_instruments(body: bytes, left_out: Callable[[str], None] = no_matter) -> list[str]:
    """Return the canonical symbols traded now; ``left_out`` receives the names that have none.

    Raises:
        FrameRefused: not such a list.
    """
    try:
        products = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("coinbase", f"{error} in {body[:200]!r}") from error
    names = (product.id for product in products if product.status == "online" and not product.trading_disabled)
    return canonical(names, canonical_symbol, left_out)
