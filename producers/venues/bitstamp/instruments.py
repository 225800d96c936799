"""Which markets Bitstamp trades: https://www.bitstamp.net/api/#tag/Market-info/operation/GetTradingPairsInfo."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alphapulse.errors import FrameRefused, ValueRefused
from alphapulse.instruments import check_symbol
from producers.feed.venue import canonical, no_matter
from producers.venues.bitstamp.symbols import venue_symbol


class _Pair(Struct):
    name: str
    url_symbol: str
    trading: str = "Enabled"


_decode = msgspec.json.Decoder(list[_Pair]).decode


def parse_instruments(body: bytes, left_out: Callable[[str], None] = no_matter) -> list[str]:
    """Return the canonical symbols that are traded now; ``left_out`` is told the names that have none.

    Raises:
        FrameRefused: it is no such list.
    """
    try:
        pairs = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused("bitstamp", f"list of markets: {error} in {body[:200]!r}") from error
    spelled = {pair.name: pair.url_symbol for pair in pairs if pair.trading == "Enabled"}

    def symbol_of(name: str) -> str:
        symbol = check_symbol(name.replace("/", "-"))
        if venue_symbol(symbol) != spelled[name]:
            raise ValueRefused(f"{name[:80]!r} is not asked for as {spelled[name][:80]!r}")
        return symbol

    return canonical(spelled, symbol_of, left_out)
