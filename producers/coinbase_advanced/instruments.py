"""Coinbase Advanced Trade's public list of products.

https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused, ValueRefused
from producers.coinbase_advanced.symbols import canonical_symbol, sent_as


class _Product(Struct):
    product_id: str
    product_type: str = "SPOT"
    is_disabled: bool = False
    trading_disabled: bool = False


class _Answer(Struct):
    products: list[_Product]


_decode = msgspec.json.Decoder(_Answer).decode


def traded(body: bytes) -> list[str]:
    """Return the canonical symbols of the spot books; of two names of one book (-USDC, -USD) the one it is sent under.

    Raises:
        FrameRefused: it is no list of products.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused("coinbase_advanced", f"list of products: {error} in {body[:200]!r}") from error
    found: dict[str, None] = {}
    for product in answer.products:
        if product.product_type == "SPOT" and not product.is_disabled and not product.trading_disabled:
            with suppress(ValueRefused):
                found[canonical_symbol(sent_as(product.product_id))] = None
    return list(found)
