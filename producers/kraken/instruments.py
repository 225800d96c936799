"""Which pairs Kraken trades.

https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused, ValueRefused
from producers.kraken.symbols import canonical_symbol


class Pair(Struct):
    wsname: str = ""
    status: str = "online"


class Answer(Struct):
    result: dict[str, Pair]


_decode = msgspec.json.Decoder(Answer).decode


def traded(body: bytes) -> list[str]:
    """Return the canonical symbols that are traded now; what has no canonical name is left out.

    Raises:
        FrameRefused: it is no such list.
    """
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("kraken", f"{error} in {body[:200]!r}") from error
    found = []
    for pair in answer.result.values():
        if pair.status == "online":
            with suppress(ValueRefused):
                found.append(canonical_symbol(pair.wsname))
    return found
