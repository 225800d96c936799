"""Kraken's list of tradable pairs.

https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused
from producers.feed.venue import canonical, no_matter
from producers.venues.kraken.symbols import canonical_symbol


class AssetPair(Struct):
    wsname: str = ""
    status: str = "online"


class AssetPairs(Struct):
    result: dict[str, AssetPair]


_decode = msgspec.json.Decoder(AssetPairs).decode


def parse_instruments(body: bytes, left_out: Callable[[str], None] = no_matter) -> list[str]:
    """Return the canonical symbols traded now; ``left_out`` receives the names that have none.

    Raises:
        FrameRefused: not such a list.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("kraken", f"{error} in {body[:200]!r}") from error
    names = (pair.wsname for pair in answer.result.values() if pair.status == "online" and pair.wsname)
    return canonical(names, canonical_symbol, left_out)
