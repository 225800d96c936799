"""Coinbase Advanced Trade's public list of products.

https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused
from producers.feed.venue import canonical, no_matter
from producers.venues.coinbase_advanced.symbols import canonical_symbol, sent_as


class _Product(Struct):
    product_id: str
    product_type: str = "SPOT"
    is_disabled: bool = False
    trading_disabled: bool = False


class _Answer(Struct):
    products: list[_Product]


_decode = msgspec.json.Decoder(_Answer).decode


def parse_instruments(body: bytes, left_out: Callable[[str], None] = no_matter) -> list[str]:
    """Return the canonical symbols of the spot books; of two names of one book (-USDC, -USD) the one used in messages.

    ``left_out`` receives the names that have no canonical symbol.

    Raises:
        FrameRefused: not a list of products.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused("coinbase_advanced", f"list of products: {error} in {body[:200]!r}") from error
    spot = (product for product in answer.products if product.product_type == "SPOT")
    open_ = (product for product in spot if not product.is_disabled and not product.trading_disabled)
    return canonical((sent_as(product.product_id) for product in open_), canonical_symbol, left_out)
